"""Ctrl-C and SIGTERM while a command is still being imported."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
PROGRAMS = ("pipeline", "release", "runtime")


def ended_while_importing(
    command: list[str], folder: Path, number: int, *, ignored: bool = False
) -> tuple[int, str]:
    """Exit status and stderr of a command that is sent a signal while it imports Typer."""
    (folder / "typer.py").write_text(SLOW)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()
    said = process.communicate()[1]
    return process.returncode, said


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_signal_in_an_import_ends_the_command_without_a_traceback(
    program: str, tmp_path: Path
) -> None:
    named = re.search(rf'^{program} = "(.+):(.+)"$', PYPROJECT.read_text(), re.MULTILINE)
    assert named is not None
    script = [sys.executable, "-c", f"from {named[1]} import {named[2]} as main; main()"]
    for command in (script, [sys.executable, "-m", program, "--help"]):
        assert ended_while_importing(command, tmp_path, signal.SIGINT) == (130, "")
    assert ended_while_importing(script, tmp_path, signal.SIGTERM) == (143, "")


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline"]
    status, said = ended_while_importing(command, tmp_path, signal.SIGINT, ignored=True)
    assert (status, said) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_numpy_begins_no_threads(program: str) -> None:
    """OpenBLAS ends the process with SIGINT where a limit on pids leaves it none."""
    if program == "pipeline" and os.uname().machine != "x86_64":
        pytest.skip("PyTorch for ARM computes by OpenBLAS")
    code = (
        "import os, types; from engines import entry; "
        "entry.import_module = lambda _: types.SimpleNamespace(main=lambda: None); "
        f"entry.begin('{program}.cli'); "
        "import numpy; print(len(os.listdir('/proc/self/task')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_an_installation_a_sentence_says_how_to_make_one(program: str) -> None:
    command = [sys.executable, "-S", "-m", program, "--help"]
    ended = subprocess.run(command, cwd=PYPROJECT.parent, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"error: Expected Jetrail .* has no typer\. .*make demo.*\n", ended.stderr)
