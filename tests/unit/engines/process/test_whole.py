"""engines.process.whole: signals wait, whichever thread of the process takes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from engines.process.whole import ENDINGS, done_first


@pytest.fixture
def another_thread() -> Iterator[None]:
    """One that takes signals where the main thread does not, as those of NumPy do."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("another_thread")
@pytest.mark.parametrize("number", ENDINGS)
def test_what_ends_a_command_comes_when_the_block_is_over(number: signal.Signals) -> None:
    done = []
    said = partial(done.append, "and said")
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), done_first(said):  # the point of it
            os.kill(os.getpid(), number)
            time.sleep(0.2)
            done.append("all of it")
        assert done == ["all of it", "and said"]
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


@pytest.mark.usefixtures("another_thread")
def test_programs_that_are_started_wait_too() -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('all of it')"
    with done_first(pytest.fail):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"all of it"


@pytest.mark.usefixtures("another_thread")
def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with done_first(pytest.fail):
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
