"""`python benchmarks/compare.py --quick` runs to its end: each peer beside ours, with figures."""

from __future__ import annotations

import json
import sys

import pytest

from tests.integration.conftest import ROOT, Clone

pytestmark = pytest.mark.integration

WITHOUT_PEER = {"inference"}


@pytest.mark.parametrize(
    # All but the demo, which is what `finished` was made with.
    "only",
    [
        "frame,throughput,inference",
        pytest.param("export,evaluate", marks=pytest.mark.long),  # two minutes of a processor
    ],
)
def test_every_part_is_compared(finished: Clone, only: str) -> None:
    parts = set(only.split(","))
    compare = str(ROOT / "benchmarks" / "compare.py")
    finished.run(sys.executable, compare, "--quick", "--only", only, "--json", "figures.json")
    report = json.loads((finished.root / "figures.json").read_text())
    assert report["quick"] is True
    assert {figure["key"] for figure in report["figures"]} == parts
    for figure in report["figures"]:
        assert figure["ours"], figure["name"]
    beside = [figure for figure in report["figures"] if figure["theirs"]]
    assert {figure["key"] for figure in beside} >= parts - WITHOUT_PEER
    for figure in beside:
        assert all(value > 0 for value in (*figure["ours"], *figure["theirs"])), figure["name"]
