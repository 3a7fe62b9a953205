"""The benchmark of the simulation prints a line for each number of clusters."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[5]


def test_it_prints_time_and_memory() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "rollout.py", "10", "1000"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, count in zip(lines, ("10", "1,000"), strict=True):
        assert re.fullmatch(rf" *{count} clusters +[0-9.]+ s +[0-9]+ MiB", line)
