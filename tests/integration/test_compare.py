"""`python benchmarks/compare.py --quick` runs to its end: each peer beside ours, with figures."""

from __future__ import annotations

import json
import sys

import pytest

from tests.integration.conftest import ROOT, Clone

pytestmark = pytest.mark.integration


def test_every_part_is_compared(finished: Clone) -> None:
    # But for the demo, which is what `finished` was made with.
    parts = "frame,throughput,inference,export,evaluate"
    compare = str(ROOT / "benchmarks" / "compare.py")
    finished.run(sys.executable, compare, "--quick", "--only", parts, "--json", "figures.json")
    report = json.loads((finished.root / "figures.json").read_text())
    assert report["quick"] is True
    assert {figure["key"] for figure in report["figures"]} == set(parts.split(","))
    for figure in report["figures"]:
        assert figure["ours"], figure["name"]
    beside = [figure for figure in report["figures"] if figure["theirs"]]
    assert {figure["key"] for figure in beside} >= {"frame", "throughput", "export", "evaluate"}
    for figure in beside:
        assert all(value > 0 for value in (*figure["ours"], *figure["theirs"])), figure["name"]
