"""The whole way of the sample: `dvc repro` in a fresh clone, as `make demo` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from comparison import Comparison
from figures import Figure
from timing import run_process

LIMIT_S = 120
DVC = Path(sys.executable).parent / "dvc"


def demo(comparison: Comparison) -> list[Figure]:
    """Once, from the commit that is checked out; nothing of the installation is in it."""
    clone = comparison.scratch / "demo"
    subprocess.run(
        ["git", "clone", "--quiet", comparison.workspace.root, clone],
        check=True,
    )
    done = run_process([DVC, "repro"], cwd=clone, environment=comparison.environment)
    return [
        Figure(
            key="demo",
            name="make demo, installed",
            unit="s",
            ours=(done.seconds,),
            limit=LIMIT_S,
            notes=("Demo: `dvc repro` in a fresh clone of the commit that is checked out, once.",),
        )
    ]
