"""engines.process.orphans: how a program of ours is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.process.orphans import ends_with_us


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 knows no PYTHONSAFEPATH")
def test_a_python_takes_no_file_of_the_current_folder_for_a_module(tmp_path: Path) -> None:
    """With somebody's onnx.py there, the graph of an export stayed as it was traced, and with a
    random.py a benchmark failed."""
    (tmp_path / "random.py").write_text("raise RuntimeError('theirs')")
    command = ends_with_us([sys.executable, "-c", "import random"])
    subprocess.run(command, cwd=tmp_path, check=True)
