"""What others did to the GPU in a window of time: another program's work, a clock that moved.

A clock that moves within a window says of its times nothing that a pod could count on. Whether it
stood at one value in all the windows that count is judged afterwards, as are throttling and heat:
those are the engine's own, and no window of them is set aside.
"""

from __future__ import annotations

from collections.abc import Callable

from engines.machine.sensors.reading import Reading


class GpuNeighbours:
    """Watches the GPU (see `WindowWatch` of `windows`)."""

    def __init__(self, read: Callable[[], Reading], clock_share: float | None) -> None:
        """`read` asks the machine. `clock_share`: how far a clock may move within a window, as a
        part of the higher; None: it is not looked at."""
        self._read = read
        self._clock_share = clock_share
        self.quiet: list[Reading] = []
        """What was read at both ends of the windows that count."""
        self.slight: str | None = None
        """Always None: a program computes on the GPU or does not."""

    def begin(self) -> None:
        """A window begins."""
        self._start = self._read()

    def end(self, seconds: float) -> str | None:
        """What disturbed the window: `gpu` or `clock`; None if nothing."""
        ends = (self._start, self._read())
        if any(one.other_gpu_processes for one in ends):
            return "gpu"
        throttled = any(one.throttle_reasons for one in ends)
        if not throttled and self._moved(*ends):
            return "clock"
        self.quiet += ends
        return None

    def _moved(self, start: Reading, end: Reading) -> bool:
        if self._clock_share is None:
            return False
        pairs = (
            (start.gpu_clock_mhz, end.gpu_clock_mhz),
            (start.memory_clock_mhz, end.memory_clock_mhz),
        )
        return any(
            one is not None
            and other is not None
            and abs(one - other) > self._clock_share * max(one, other)
            for one, other in pairs
        )
