"""Simplify an ONNX file with onnxsim in a child process.

onnxsim can crash (onnxsim#187) or hang, which must not take the export with it. The child starts
early and imports while the parent traces, since onnxsim takes longer to import than to run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.disks import disk_error
from engines.errors import says_lack_of_memory
from engines.extras import require
from engines.process.orphans import FOR_MEMORY, ends_with_us

TIMEOUT_SECONDS = 120

_CHILD = """
import sys
sys.modules["torch"] = sys.modules["sympy"] = None  # for features that are not used here
import onnx, onnxsim
before, after = sys.stdin.readline().rstrip("\\n"), sys.stdin.readline().rstrip("\\n")
model, same = onnxsim.simplify(onnx.load(before), check_n=1)
if not same:
    sys.exit("its result computes something else")
onnx.save(model, after)
"""


class Simplifier:
    """A child process that waits for one file to simplify."""

    def __init__(self, code: str | None = None) -> None:
        require("onnxsim")
        self._child = subprocess.Popen(
            ends_with_us([sys.executable, "-c", code or _CHILD]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def begin(self, before: Path, after: Path) -> None:
        """Have the simplified form of `before` written to `after`; returns at once."""
        assert self._child.stdin is not None
        with suppress(OSError):  # of a child that ended `wait` says why
            self._child.stdin.write(f"{before}\n{after}\n")
            self._child.stdin.flush()

    def wait(self, after: Path, timeout: float = TIMEOUT_SECONDS) -> str | None:
        """None once `after` is there, or why that did not work. Raises OSError for a disk that is
        full or broken, and MemoryError where memory runs out: what a machine lacks must not decide
        what is exported."""
        try:
            output, _ = self._child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.close()
            return f"onnxsim took longer than {timeout:g} s"
        if self._child.returncode == 0 and after.is_file():
            return None
        if error := disk_error(output, after):
            raise error
        if self._child.returncode in FOR_MEMORY or says_lack_of_memory(output):
            raise MemoryError("onnxsim got none, or was killed, as happens then")
        last = output.strip().splitlines()[-1:] or [f"exit status {self._child.returncode}"]
        return f"onnxsim failed: {last[0][:200]}"

    def close(self) -> None:
        """End the child if it still runs."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()


@contextmanager
def simplifier() -> Iterator[Simplifier]:
    """A simplifier that is gone when the block ends, however it ends."""
    child = Simplifier()
    try:
        yield child
    finally:
        child.close()
