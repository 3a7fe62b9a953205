"""Values laid over values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Options = dict[str, Any]
"""What a bundle or a target says of a deployment: `helm`, `namespace` and the like, as decoded."""


def merge_maps(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over values: maps deeply, everything else as a whole, null too."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge_maps(below, value)
        else:
            merged[key] = value
    return merged
