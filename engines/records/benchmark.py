"""`benchmark.json`: how fast an engine is on its device, and what the device did meanwhile.

Units stand in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from engines.records.fingerprint import Fingerprint
from engines.records.reason import Kind, Reason, causes
from engines.records.record import EngineRecord, Part


class Latency(Part):
    """A distribution of times over single calls; a call handles one batch."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    p99_low_ms: float
    p99_high_ms: float
    """Bounds of the 95 % confidence interval of the p99, from order statistics."""
    mean_ms: float
    min_ms: float
    max_ms: float
    count: int
    p50_noise_ms: float = 0.0
    """Half of the range of the medians of the tenths, in the order in which they were taken."""


class Throughput(Part):
    """Whole frames a second with several in flight: the machine's best mode that was tried."""

    frames_per_second: float
    in_flight: int
    count: int


MODE_CHANGED = ", then "
"""Between the names of power modes that a machine was in one after the other."""


class MachineState(Part):
    """What the machine did while it measured. `None`: cannot be read here."""

    steal_share: float | None
    """Part of the processors' time that the hypervisor gave to others, 0 to 1."""
    others_share: float | None
    """Part of the processors' time that other programs used, 0 to 1."""
    run_queue_wait_share: float | None
    """Part of the measuring threads' time spent ready but waiting for a processor, 0 to 1."""
    drift_share: float
    """How far the medians of the first and the last third lie apart, as a part of the first."""
    clock_min_mhz: float | None
    clock_max_mhz: float | None
    throttle_events: int | None
    temperature_max_c: float | None
    """Of all zones of the machine, a card among them."""
    gpu_temperature_max_c: float | None = None
    """Of a card; a Jetson's GPU is one of its zones."""
    gpu_clock_min_mhz: float | None = None
    gpu_clock_max_mhz: float | None = None
    memory_clock_min_mhz: float | None = None
    memory_clock_max_mhz: float | None = None
    """Of the GPU's memory; on a Jetson of the memory (EMC) that all share."""
    power_mean_w: float | None = None
    power_max_w: float | None = None
    """Of the whole module on a Jetson (VDD_IN and its like), of the card on a dGPU."""
    over_current_events: int | None = None
    """How far the over-current counters of a Jetson rose."""
    throttle_reasons: tuple[str, ...] = ()
    """Why the GPU ran slower than it could: in NVML's words, or a Jetson's alerts by name."""
    gpu_memory_max_mib: float | None = None
    """The most that was taken of the GPU's memory by all programs, unified memory included."""
    other_gpu_processes: tuple[int, ...] = ()
    """Ids of other processes that computed on the card, as its driver counts them. A Jetson does
    not say."""
    quota_processors: float | None = None
    """What the container may use of the processors; None where there is no quota."""
    quota_throttles: int | None = None
    """How often the quota held the latencies back; throughput may use it up."""
    power_mode: str | None = None
    """A Jetson's, by name, for example `MAXN`; two of them when it was changed meanwhile."""


class Quiet(Part):
    """How much of the measuring time nobody else had the processors or the GPU, whose clock stood
    still. Only the times of those windows (`engines.measure.windows`) are in the figures."""

    share: float
    """Of the time that was measured, the part whose calls count, 0 to 1: of the measurement that
    others disturbed most."""
    enough: bool
    """Whether each measurement got its calls in quiet windows; otherwise its figures hold all."""
    seconds: float
    """Time of all measurements whose calls count."""
    set_aside: dict[str, int]
    """What disturbed windows (`steal`, `others`, `wait`; `gpu`, `clock`), and how many."""


class Validity(Part):
    """Whether the measurement can be trusted; each reason is a sentence that says what to do."""

    valid: bool
    reasons: tuple[str, ...]
    kinds: tuple[Kind, ...] = ()
    """What each reason is about, in the same order; none in a record of before this was noted."""
    attempts: int = Field(ge=1)
    """Measurements of all figures that were made: another one where the machine did what passes."""

    def by_kind(self) -> tuple[Reason, ...]:
        """The reasons with their kinds."""
        known = len(self.kinds) == len(self.reasons)
        kinds = self.kinds if known else tuple[Kind, ...]("unknown" for _ in self.reasons)
        return tuple(map(Reason, kinds, self.reasons))

    def causes(self) -> tuple[str, ...]:
        """The reasons that follow from no other one: what to tell people."""
        return causes(self.by_kind())


class SoakWindow(Part):
    """One stretch of a soak, whole frames at batch 1."""

    start_s: float
    """Since the soak began."""
    p50_ms: float
    p99_ms: float
    count: int
    gpu_clock_min_mhz: float | None
    temperature_max_c: float | None
    power_mean_w: float | None


class Soak(Part):
    """Whole frames at batch 1 without a pause, for so long that the device is as hot as it gets.

    Throttling is what a soak looks for: it makes no measurement INVALID.
    """

    minutes: float
    windows: Annotated[tuple[SoakWindow, ...], Field(min_length=1)]
    hot: Latency
    """Of the last third of the time."""
    throttle_events: int | None
    over_current_events: int | None
    throttle_reasons: tuple[str, ...]


class CrossCheck(Part):
    """The same engine measured by trtexec, for the GPU's compute time at batch 1."""

    command: tuple[str, ...]
    version: str
    """TensorRT's, as trtexec says it."""
    ours_p50_ms: float
    trtexec_p50_ms: float
    difference_share: float
    """Ours less trtexec's, as a part of trtexec's."""


class Benchmark(EngineRecord):
    """Latency and throughput of one engine on its device; keys of the dictionaries are batches."""

    file: ClassVar[str] = "benchmark.json"
    written_by: ClassVar[str] = "pipeline benchmark"

    frame_size: tuple[int, int]
    """Height and width of the camera frame that the whole-frame figures start from, in pixels."""
    inference: dict[str, Latency]
    frame: dict[str, Latency]
    throughput: Throughput
    memory_peak_mib: float
    """The most that the measuring process had resident, soak included. Where GPU and processors
    share one memory (a Jetson), what the machine's used memory rose by since before the engine was
    loaded, if that is more: CUDA's memory is not resident. A card's own memory is not in it."""
    machine: MachineState
    quiet: Quiet
    validity: Validity
    device: Fingerprint | None = None
    """What measured it: another machine than the one that built the engine, where any may build."""
    gpu_wait: str | None = None
    """How threads waited for the GPU, on which the p99 hangs: `spin`, `yield`, `block`, or `auto`
    (CUDA's own choice). None without a GPU."""
    energy_per_frame_mj: float | None = None
    """Mean power times time of whole frames at batch 1. None where power cannot be read."""
    soak: Soak | None = None
    cross_check: CrossCheck | None = None


def contradictions(
    inference: Mapping[str, Latency], frame: Mapping[str, Latency]
) -> tuple[str, ...]:
    """Batches at which inference alone took longer than whole frames, of which it is a part, a
    sentence each: they were measured one after the other, and somebody disturbed the first."""
    return tuple(
        f"Inference alone took {inference[batch].p50_ms:.2f} ms at batch {batch} (p50) and whole "
        f"frames, of which it is a part, {frame[batch].p50_ms:.2f} ms, so one of the two was "
        "disturbed. Stop other programs on this machine and measure again."
        for batch in sorted(inference.keys() & frame.keys(), key=int)
        if inference[batch].p50_ms > frame[batch].p50_ms
    )
