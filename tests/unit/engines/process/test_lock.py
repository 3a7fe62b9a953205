from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import Conflict
from engines.process.lock import FILE, device_lock

HOLD = """
import sys
from pathlib import Path
from engines.process.lock import device_lock
with device_lock("pipeline build slow-fp16", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_second_is_told_who_holds_the_device(tmp_path: Path) -> None:
    holder = _holder(tmp_path)
    with pytest.raises(Conflict) as raised, device_lock("pipeline build meter-int8", tmp_path):
        pass
    holder.communicate()
    message = str(raised.value)
    assert raised.value.exit_code == 7
    for part in ("pipeline build slow-fp16", f"process {holder.pid}", "meter-int8"):
        assert part in message


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path: Path) -> None:
    holder, told = _holder(tmp_path), []

    def release(text: str) -> None:
        told.append(text)
        holder.communicate()

    with device_lock("pipeline build meter-int8", tmp_path, wait_seconds=60, waiting=release):
        assert f"process {os.getpid()}" in (tmp_path / FILE).read_text()
    assert len(told) == 1
    assert "pipeline build slow-fp16" in told[0]
    assert f"process {holder.pid}" in told[0]


def test_waiting_has_an_end(tmp_path: Path) -> None:
    holder, told = _holder(tmp_path), []
    lock = device_lock("pipeline build meter-int8", tmp_path, wait_seconds=0.5, waiting=told.append)
    with pytest.raises(Conflict, match=r"still holds it after 0\.5 s"), lock:
        pass
    holder.communicate()
    assert len(told) == 1


def test_a_killed_holder_leaves_the_device_free(tmp_path: Path) -> None:
    holder = _holder(tmp_path)
    holder.kill()
    holder.wait()
    with device_lock("pipeline build meter-int8", tmp_path):
        text = (tmp_path / FILE).read_text()
    assert "slow-fp16" not in text
    assert f"process {os.getpid()}" in text


def test_other_users_may_lock_it_too(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with device_lock("pipeline build meter-int8", tmp_path):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o666
