"""What the backends say of the layers that really run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def main_precision(layers: Sequence[tuple[str, str]]) -> str:
    """The precision of most convolutions, or of most layers where there is none."""
    heavy = [precision for kind, precision in layers if kind.lower() == "convolution"]
    return Counter(heavy or [precision for _, precision in layers]).most_common(1)[0][0]
