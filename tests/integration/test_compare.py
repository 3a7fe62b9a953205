"""`python benchmarks/compare.py --quick` runs to its end: each peer beside ours, with figures."""

from __future__ import annotations

import json
import sys

import pytest

from tests.integration.conftest import ROOT, Clone

pytestmark = pytest.mark.integration


def test_every_part_is_compared(finished: Clone) -> None:
    finished.run(
        sys.executable, str(ROOT / "benchmarks" / "compare.py"), "--quick", "--json", "figures.json"
    )
    report = json.loads((finished.root / "figures.json").read_text())
    assert report["quick"] is True
    parts = {figure["key"] for figure in report["figures"]}
    assert parts == {"frame", "throughput", "inference", "export", "evaluate"}
    for figure in report["figures"]:
        assert figure["ours"], figure["name"]
    beside = [figure for figure in report["figures"] if figure["theirs"]]
    assert {figure["key"] for figure in beside} >= {"frame", "throughput", "export", "evaluate"}
    for figure in beside:
        assert all(value > 0 for value in (*figure["ours"], *figure["theirs"])), figure["name"]
