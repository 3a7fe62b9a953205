"""The pictures of `dvc plots show`: names that are told apart by their ends are not cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = sorted((Path(__file__).parents[4] / ".dvc" / "plots").glob("*.json"))


def encodings(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for one in node:
            yield from encodings(one)
    if isinstance(node, dict):
        yield from node.get("encoding", {}).items()
        for one in node.values():
            yield from encodings(one)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.stem))
def test_an_engine_of_any_length_is_named_whole(template: Path) -> None:
    """Vega cuts a legend's words at 160 pixels and an axis' at 180: of a model of 40 letters the
    precision, which is what its engines are told apart by, was cut off."""
    found = [
        encoding["legend" if channel == "color" else "axis"]
        for channel, encoding in encodings(json.loads(template.read_text()))
        if (channel, encoding.get("field")) in (("color", "engine"), ("y", "<DVC_METRIC_Y>"))
        and encoding["type"] == "nominal"
    ]
    assert found == [{"labelLimit": 0}]
