"""The benchmark of a pod's start prints a line for each part of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from factories import served
from factories.signed import Signer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PARTS = (
    "ready, all of it",
    *("Python by itself", "with the imports", "from there to an open port"),
    *("signature and hashes", "loading the engine"),
)


def test_it_prints_where_the_time_goes(models: Path, signer: Signer, tmp_path: Path) -> None:
    keys = served.write_keys(tmp_path / "keys", signer)
    words = [sys.executable, "benchmarks/ready.py", "--runs", "1"]
    done = subprocess.run(
        [*words, "--models", models, "--keys", keys],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(PARTS)
    for line, part in zip(lines, PARTS, strict=True):
        seconds = r"[0-9]+\.[0-9]{3}"
        assert re.fullmatch(rf" *{part} +{seconds} s  \({seconds} to {seconds}\)", line)
