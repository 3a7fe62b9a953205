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
