from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.processes import PATIENCE_SECONDS, runs, until

from engines.errors import InputError
from engines.process.child import ChildEnded, run_in_child, tell

ROOT = Path(__file__).parents[4]


# What children do; they import it from this file, which pytest keeps under this module's name.


def double(number: int) -> int:
    for done in range(number):
        tell("counting", done + 1, number)
    return 2 * number


def refuse(message: str) -> None:
    raise InputError(message)


def run_out_of_memory(_: object) -> None:
    raise MemoryError("no more")


def fill_the_disk(path: str) -> None:
    raise OSError(28, "No space left on device", path)


def fail_unexpectedly(_: object) -> None:
    raise KeyError("of no kind that travels")


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(status: int) -> None:
    os._exit(status)


def say_and_sleep(_: object) -> None:
    tell(os.getpid())
    time.sleep(600)


def no_word(*_: object) -> None:
    pass


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children find this file as the module that pytest made of it."""
    monkeypatch.syspath_prepend(str(ROOT))


# --- results -------------------------------------------------------------------------------------


def test_gives_the_result_and_what_was_told() -> None:
    heard: list[tuple[str, int, int]] = []
    assert run_in_child(double, 3, lambda *words: heard.append(words)) == 6
    assert heard == [("counting", 1, 3), ("counting", 2, 3), ("counting", 3, 3)]


def test_telling_nobody_is_allowed() -> None:
    assert double(1) == 2


@pytest.mark.parametrize(
    ("work", "argument", "kind", "said"),
    [
        (refuse, "Expected better.", InputError, "Expected better."),
        (run_out_of_memory, None, MemoryError, "no more"),
        (fill_the_disk, "engine.plan", OSError, "No space left on device"),
    ],
)
def test_raises_what_the_child_raised(
    work: Callable[..., None], argument: object, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        run_in_child(work, argument, no_word)


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "argument", "said", "killed"),
    [
        (end_by, signal.SIGKILL, "it was killed (signal 9), as happens when memory", True),
        (end_by, signal.SIGTERM, "it was killed (signal 15), as happens when memory", True),
        (end_by, signal.SIGSEGV, "it ended by signal 11 (SIGSEGV)", False),
        (end_by, signal.SIGABRT, "it ended by signal 6 (SIGABRT)", False),
        (leave, 3, "it ended with exit status 3", False),
        (leave, 0, "it ended with exit status 0", False),
    ],
)
def test_says_how_the_child_ended(
    work: Callable[..., None], argument: int, said: str, killed: bool
) -> None:
    with pytest.raises(ChildEnded) as raised:
        run_in_child(work, argument, no_word)
    assert said in str(raised.value)
    assert raised.value.killed is killed


def test_an_unexpected_exception_is_printed_by_the_child(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChildEnded, match="exit status 1, and what it said stands above"):
        run_in_child(fail_unexpectedly, None, no_word)
    printed = capfd.readouterr().err
    assert "in fail_unexpectedly" in printed
    assert "KeyError: 'of no kind that travels'" in printed


def test_a_listener_that_fails_ends_the_child() -> None:
    pids: list[int] = []

    def fail(pid: int) -> None:
        pids.append(pid)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        run_in_child(say_and_sleep, None, fail)
    assert not runs(pids[0])


PARENT = """
from engines.process.child import run_in_child
from tests.unit.engines.process.test_child import say_and_sleep
if __name__ == "__main__":
    run_in_child(say_and_sleep, None, lambda pid: print(pid, flush=True))
"""


def start_parent(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A process with a child that sleeps, in a group of their own; and the child's number."""
    script = folder / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_with_its_parent(tmp_path: Path, end: int) -> None:
    parent, child = start_parent(tmp_path)
    parent.send_signal(end)
    parent.wait()
    ended = until(lambda: not runs(child))
    if not ended:
        os.kill(child, signal.SIGKILL)
    parent.communicate()
    assert ended


def test_ctrl_c_is_for_the_parent_which_ends_the_child(tmp_path: Path) -> None:
    """The terminal sends it to both."""
    parent, child = start_parent(tmp_path)
    os.kill(child, signal.SIGINT)
    time.sleep(0.3)
    assert runs(child)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=PATIENCE_SECONDS)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert "SpawnProcess" not in said
    assert said.count("Traceback") == 1
    assert not runs(child)
