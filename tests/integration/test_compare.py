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
    parts = {figure["key"].partition("_")[0] for figure in report["figures"]}
    assert {"inference", "export", "evaluate"} <= parts, sorted(parts)
    for figure in report["figures"]:
        assert figure["ours"], figure["key"]
        assert all(value > 0 for value in (*figure["ours"], *figure["theirs"])), figure["key"]
    assert any(figure["theirs"] for figure in report["figures"])
