"""A command whose address space is limited says how it ended, whatever it ended by."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from factories.processes import PATIENCE_SECONDS, runs, until

from engines import surroundings
from engines.process import limited
from engines.surroundings import in_a_sentence

LIMIT = 4 << 30
COMMAND = """
import ctypes, os, tempfile, time
from pathlib import Path

import typer

from engines.cli import app, reports_errors
from engines.errors import GateFailed

commands = app("")

@commands.command()
@reports_errors
def pid() -> None:
    print(os.getppid())

@commands.command()
@reports_errors
def crash() -> None:
    ctypes.string_at(0)

@commands.command()
@reports_errors
def abort(status: int) -> None:
    os._exit(status)  # as a library in C does, without a word to Python

@commands.command()
@reports_errors
def give_up() -> None:
    raise typer.Abort

class Library:
    def __del__(self) -> None:
        ctypes.string_at(0)

@commands.command()
@reports_errors
def crash_at_the_end(code: int) -> None:
    global library
    library = Library()
    if code:
        raise GateFailed("It misses a budget.")

@commands.command()
@reports_errors
def all_taken() -> None:
    held = []
    size = 1 << 20
    try:
        while True:
            try:
                held.append(bytearray(size))
            except MemoryError:
                if size == 64:
                    raise ValueError
                size //= 4
    finally:
        everything.extend(held)

everything = []

@commands.command()
@reports_errors
def fail() -> None:
    raise GateFailed("It misses a budget.")

@commands.command()
@reports_errors
def library() -> None:
    raise ValueError("Invalid version: ''")

@commands.command()
@reports_errors
def work(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-"):
        (folder / "pid.new").write_text(str(os.getpid()))
        (folder / "pid.new").rename(folder / "pid")
        time.sleep(600)

commands()
"""


def limit(size: int = LIMIT) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def command(*words: str, size: int = LIMIT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: limit(size),
    )


@pytest.fixture
def working(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command at work under a limit, as it was started, and the process that does its work."""
    started = subprocess.Popen([sys.executable, "-c", COMMAND, "work", tmp_path], preexec_fn=limit)
    assert until((tmp_path / "pid").exists)
    worker = int((tmp_path / "pid").read_text())
    yield started, worker
    for one in (started.pid, worker):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    started.wait()


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("crash", "SIGSEGV"),
        ("abort 127", "exit status 127"),
        ("abort 1", "exit status 1"),  # OpenBLAS
    ],
)
def test_a_crash_is_said(words: str, how: str) -> None:
    done = command(*words.split())
    assert done.returncode == 2
    assert done.stderr.startswith("error: Expected enough memory for this command, which may take")
    assert f"{LIMIT >> 20} MiB only (`ulimit -v`), but it crashed ({how})" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("code", "said"), [(0, ""), (3, "error: It misses a budget.\n")])
def test_a_crash_when_all_is_said_changes_nothing(code: int, said: str) -> None:
    done = command("crash-at-the-end", str(code))
    assert (done.returncode, done.stderr) == (code, said)


def test_where_no_memory_is_left_at_all() -> None:
    done = command("all-taken", size=200 << 20)
    assert done.returncode == 2
    assert done.stderr.count("error: Expected enough memory for this command") == 1
    assert "Traceback" not in done.stderr


def test_the_exit_status_is_the_commands_own() -> None:
    done = command("fail")
    assert (done.returncode, done.stderr) == (3, "error: It misses a budget.\n")
    assert command("pid").returncode == 0
    done = command("give-up")
    assert (done.returncode, done.stderr) == (1, "Aborted!\n")


def test_a_library_that_fails_for_lack_of_memory() -> None:
    """It says something else: 300 MB are too few for MLflow, which takes a version for wrong."""
    done = command("library", size=300 << 20)
    assert done.returncode == 2
    assert "(ValueError: Invalid version: '')" in done.stderr
    assert "may take 300 MiB only (`ulimit -v`)" in done.stderr
    assert command("library").returncode == 1


@pytest.mark.usefixtures("hang_up_counts")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_command_lets_it_clean_up(
    working: tuple[subprocess.Popen[bytes], int], tmp_path: Path, number: signal.Signals
) -> None:
    started, worker = working
    started.send_signal(number)
    assert started.wait(PATIENCE_SECONDS) == 128 + number
    assert not [*tmp_path.glob("scratch-*")]
    assert not Path(f"/proc/{worker}").exists()


def test_kill_ends_both(working: tuple[subprocess.Popen[bytes], int]) -> None:
    started, worker = working
    started.kill()
    started.wait()
    assert until(lambda: not runs(worker))


def test_without_a_limit_there_is_one_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "pid"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == os.getpid()


@pytest.mark.parametrize(("left", "said"), [(surroundings.LARGEST_BYTES, False), (0, True)])
def test_other_errors_stay_what_they_are_where_memory_is_left(
    monkeypatch: pytest.MonkeyPatch, left: int, said: bool
) -> None:
    peak = next(
        int(line.split()[1]) << 10
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmPeak:")
    )
    # A little more, for what this very test takes.
    monkeypatch.setattr(surroundings, "limit_bytes", lambda: peak + left + (left and 64 << 20))
    assert (in_a_sentence(ValueError("odd"), "pipeline") is not None) is said


def test_where_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: unlimited)
    assert limited.limit_bytes() is None
    assert limited.run_in_a_fork() is None


def test_what_was_set_aside_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    limited.give_back()  # nothing was set aside here
    reserve = mmap.mmap(-1, mmap.PAGESIZE)
    monkeypatch.setattr(limited, "_reserve", reserve)
    limited.give_back()
    assert reserve.closed
