"""A command that DVC runs ends with DVC, whatever shell stands between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from hashlib import sha256
from pathlib import Path

import pytest
from factories.processes import PATIENCE_SECONDS, runs, until

from engines.errors import InputError
from engines.process import stage
from engines.process.lock import device_lock

COMMAND = """
import os, tempfile, time
from pathlib import Path

from engines.cli import app, reports_errors
from engines.process.lock import device_lock

commands = app("")

@commands.command()
@reports_errors
def build(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-"), device_lock("a", folder):
        (folder / "pid.new").write_text(str(os.getpid()))
        (folder / "pid.new").rename(folder / "pid")
        time.sleep(600)

commands()
"""

DVC = """
import subprocess, sys
subprocess.Popen(sys.argv[1:]).communicate()
"""
SHELLS = {
    "sh": ("/bin/sh", "-c", "{}"),
    "bash": ("/bin/bash", "--noprofile", "--norc", "-c", "{}"),
    "a shell that stays": ("/bin/sh", "-c", "{}; true"),
    "little memory": ("/bin/sh", "-c", "ulimit -v 4000000; {}"),  # a process waits for the command
    "a shell in a shell": ("/bin/sh", "-c", "/bin/sh -c '{}; true'; true"),
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """A function that starts a stand-in for DVC; returns it and the process of its command."""
    (tmp_path / "command.py").write_text(COMMAND)
    started: list[tuple[subprocess.Popen[bytes], int]] = []

    def make(shell: str, **variables: str) -> tuple[subprocess.Popen[bytes], int]:
        words = f"{sys.executable} {tmp_path}/command.py build {tmp_path}"
        command = [word.replace("{}", words) for word in SHELLS[shell]]
        dvc = subprocess.Popen([sys.executable, "-c", DVC, *command], env=os.environ | variables)
        assert until((tmp_path / "pid").exists)
        started.append((dvc, int((tmp_path / "pid").read_text())))
        return started[-1]

    yield make
    for dvc, command in started:
        dvc.kill()
        dvc.wait()
        with suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_ends_with_dvc(
    start: Callable[..., tuple[subprocess.Popen[bytes], int]],
    tmp_path: Path,
    shell: str,
    number: signal.Signals,
) -> None:
    dvc, command = start(shell, DVC_STAGE="build@meter-fp16")
    assert list(tmp_path.glob("scratch-*"))
    dvc.send_signal(number)
    assert dvc.wait(PATIENCE_SECONDS) == -number
    assert until(lambda: not runs(command))
    assert not list(tmp_path.glob("scratch-*"))  # by SIGTERM, which cleans up
    with device_lock("pipeline build meter-int8", tmp_path):
        pass


def test_a_command_by_hand_outlives_the_shell(
    start: Callable[..., tuple[subprocess.Popen[bytes], int]],
) -> None:
    """As with `nohup`."""
    shell, command = start("sh")
    shell.kill()
    shell.wait(PATIENCE_SECONDS)
    time.sleep(0.3)
    assert runs(command)


LATE = """
import os, sys, time
from engines.process import stage

while os.getppid() == int(sys.argv[1]):
    time.sleep(0.01)
stage.end_with_dvc()
time.sleep(600)
"""


def test_dvc_that_was_gone_before() -> None:
    """The command had not looked yet when DVC was killed."""
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-c', sys.argv[1], str(os.getpid())]\n"
        "print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)\nos._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, LATE],
        env=os.environ | {"DVC_STAGE": "build@meter-fp16"},
        stdout=subprocess.PIPE,
        start_new_session=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert until(lambda: not runs(int(done.stdout)))


@pytest.mark.parametrize(
    "error", [OSError(38, "no such call"), PermissionError(1, "not permitted")]
)
def test_a_kernel_that_cannot_tell(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    from engines.process import stage

    def refuses(_: int) -> int:
        raise error

    monkeypatch.setenv("DVC_STAGE", "build@meter-fp16")
    monkeypatch.setattr(os, "pidfd_open", refuses)
    # An orphan, as these tests may be one, has nobody to ask about.
    monkeypatch.setattr(os, "getsid", lambda _: 1)
    monkeypatch.setattr(stage, "Thread", lambda **_: pytest.fail("it would end"))
    stage.end_with_dvc()


@pytest.mark.parametrize("variable", ["DVC_STAGE", "ANOTHER"])
def test_code_that_is_changed_while_a_stage_runs_by_it(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As by `git pull`: DVC would note the new code beside what the old one made."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setenv(variable, "evaluate")
    now = stage._code()
    assert now[stage.__file__] == sha256(Path(stage.__file__).read_bytes()).digest()
    others = now | {"/release/that/was/not/loaded.py": b"another"}
    seen = iter([now, now, now, others, now, now | {stage.__file__: b"another"}])
    monkeypatch.setattr(stage, "_code", lambda: next(seen))
    refused = pytest.raises(InputError, match="stage.py was changed")
    for ends in (
        nullcontext(),
        nullcontext(),
        refused if variable == "DVC_STAGE" else nullcontext(),
    ):
        with ends, stage.same_code():
            pass


def test_an_editor_s_lock_is_no_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Emacs puts a link to nothing beside what somebody edits."""
    monkeypatch.setattr(stage, "__file__", str(tmp_path / "engines" / "process" / "stage.py"))
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / ".#cli.py").symlink_to("somebody@a.host:1")
    (tmp_path / "pipeline" / "cli.py").touch()
    assert [*stage._code()] == [str(tmp_path / "pipeline" / "cli.py")]
