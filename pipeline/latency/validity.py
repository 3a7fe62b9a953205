"""When a measurement cannot be trusted: what the machine did against the target's row."""

from __future__ import annotations

from collections.abc import Iterator

from engines.config.target import BenchmarkRow
from engines.records.benchmark import MODE_CHANGED, MachineState, Quiet
from engines.records.reason import Reason

WORDS = {
    "steal": "the hypervisor gave the processors to others",
    "others": "other programs used the processors",
    "wait": "the measuring threads waited for a processor",
    "gpu": "another program computed on the GPU",
    "clock": "the GPU's clock moved",
}
"""What disturbs a window, in words."""


def invalid_reasons(
    state: MachineState, quiet: Quiet, row: BenchmarkRow, *, jetson: bool = False
) -> tuple[Reason, ...]:
    """Why a measurement cannot be trusted, each with what to do; none when it can.

    `jetson`: whether the target's devices are Jetsons, which all count over-current events.
    """
    return (
        *unread(state, row, jetson=jetson),
        *_quota(state),
        # Who is held back waits, too: that says nothing of others.
        *(() if state.quota_throttles else _too_little_quiet(quiet)),
        *_gpu_processes(state),
        *_power_mode(state, row),
        # Times that others disturbed drift too, and say nothing of the engine's.
        *(_drift(state, row) if quiet.enough else ()),
        *_throttling(state),
        *_over_currents(state),
        *_clocks(state, row),
        *_temperature(state, row),
    )


def _too_little_quiet(quiet: Quiet) -> Iterator[Reason]:
    if not quiet.enough:
        why = ", ".join(
            f"{WORDS[name]} in {count} of the windows"
            for name, count in sorted(quiet.set_aside.items(), key=lambda item: -item[1])
        )
        on_gpu = quiet.set_aside.keys() & {"gpu", "clock"}
        had = "the processors or the GPU" if on_gpu else "the processors"
        got = (
            f"Expected enough time in which nobody else had {had}, got {quiet.share:.0%} "
            f"quiet ({why})"
            if why
            else "Expected as many calls as are wanted, got fewer, though nobody else was seen to "
            f"have {had}: the machine became slower while it was measured"
        )
        yield Reason(
            "quiet",
            f"{got}. Stop other programs on this machine and measure again, or raise "
            "benchmark.max_seconds in the target's params.yaml.",
        )


def _quota(state: MachineState) -> Iterator[Reason]:
    if state.quota_throttles:
        of = f" of {state.quota_processors:g} processors" if state.quota_processors else ""
        yield Reason(
            "quota",
            f"The container's CPU quota{of} held the measurement back "
            f"{state.quota_throttles} times (nr_throttled in cpu.stat); the limit is 0. Give it "
            "more (`docker run --cpus`, `resources.limits.cpu` in Kubernetes) or no quota, and "
            "measure again.",
        )


def disturbances(state: MachineState, row: BenchmarkRow) -> tuple[Reason, ...]:
    """What others did to a soak, and another power mode: a soak is INVALID for nothing else."""
    quieter = "Stop other programs on this machine and measure again."
    shares = (
        (
            state.steal_share,
            row.max_steal_share,
            "of the processors' time was taken by the hypervisor",
            "Measure when the host is less loaded, or on a machine of its own.",
        ),
        (
            state.others_share,
            row.max_others_share,
            "of the processors' time was used by other programs",
            quieter,
        ),
        (
            state.run_queue_wait_share,
            row.max_run_queue_wait_share,
            "of the measuring threads' time was spent waiting for a processor",
            quieter,
        ),
    )
    taken = tuple(
        Reason("soak", f"{share:.1%} {what}; the limit is {limit:.1%}. {todo}")
        for share, limit, what, todo in shares
        if share is not None and share > limit
    )
    return (*taken, *_gpu_processes(state), *_power_mode(state, row))


def _gpu_processes(state: MachineState) -> Iterator[Reason]:
    if state.other_gpu_processes:
        pids = ", ".join(map(str, state.other_gpu_processes))
        yield Reason(
            "gpu_processes",
            f"Expected the GPU to itself, but other programs computed on it: process {pids} as its "
            "driver counts them (in a container, as its host does: there this measurement is one "
            "of them). `nvidia-smi` names them: stop them and measure again.",
        )


def lasting_reasons(
    state: MachineState, row: BenchmarkRow, *, jetson: bool = False
) -> tuple[Reason, ...]:
    """Those of `invalid_reasons` that stay until somebody acts, however often one measures."""
    changing = MODE_CHANGED in (state.power_mode or "")
    return (
        *unread(state, row, jetson=jetson),
        *_quota(state),
        *(() if changing else _power_mode(state, row)),
    )


def passing_reasons(state: MachineState, row: BenchmarkRow) -> tuple[Reason, ...]:
    """Those of `invalid_reasons` that say what the machine did in passing: another measurement, of
    all figures, may meet it cool and undisturbed, or as slow from the first call to the last."""
    changing = MODE_CHANGED in (state.power_mode or "")
    return (
        *_drift(state, row),
        *_gpu_processes(state),
        *(_power_mode(state, row) if changing else ()),
        *_throttling(state),
        *_over_currents(state),
        *_clocks(state, row),
        *_temperature(state, row),
    )


def unread(state: MachineState, row: BenchmarkRow, *, jetson: bool = False) -> tuple[Reason, ...]:
    """What must be known and the device does not say: measuring again would not change that."""
    found = list[Reason]()
    if row.max_clock_drift_share is not None and state.gpu_clock_max_mhz is None:
        where = (
            "Run where /sys/class/devfreq shows the GPU (in a container: with /sys of the device)"
            if jetson
            else "Run where `nvidia-smi --query-gpu=clocks.gr --format=csv` answers, with "
            "nvidia-ml-py installed"
        )
        found.append(
            Reason(
                "unread",
                "Expected the GPU's clock, which benchmark.max_clock_drift_share limits, but this "
                f"machine does not say it. {where}, or take the limit out of the target's "
                "params.yaml.",
            )
        )
    if jetson and state.over_current_events is None:
        found.append(
            Reason(
                "unread",
                "Expected the Jetson's over-current counters, but they cannot be read at both ends "
                "of the measurement. Run where /sys/class/hwmon/hwmon*/oc1_event_cnt is there (in "
                "a container: with /sys of the device), and measure again.",
            )
        )
    return tuple(found)


def _drift(state: MachineState, row: BenchmarkRow) -> Iterator[Reason]:
    if state.drift_share > row.max_drift_share:
        yield Reason(
            "drift",
            f"{state.drift_share:.1%} lies between the medians of the first and the last third of "
            f"the times; the limit is {row.max_drift_share:.1%}. Let the machine settle (clock, "
            "temperature, other programs) and measure again.",
        )


def _throttling(state: MachineState) -> Iterator[Reason]:
    if state.throttle_events:
        yield Reason(
            "throttling",
            f"The processors' throttle counters rose by {state.throttle_events}; the limit is 0. "
            "Cool the machine and measure again.",
        )
    if state.throttle_reasons:
        capped = any("power" in name.lower() for name in state.throttle_reasons)
        yield Reason(
            "power" if capped else "throttling",
            "Expected a GPU that nothing slows down, but it was held back by "
            f"{', '.join(state.throttle_reasons)}. Cool the device, give it the power that it "
            "asks for or set a lower clock that it can hold, and measure again.",
        )


def _over_currents(state: MachineState) -> Iterator[Reason]:
    if state.over_current_events:
        yield Reason(
            "over_current",
            f"The Jetson's over-current and under-voltage counters rose by "
            f"{state.over_current_events}; the limit is 0. Use a stronger power supply or a lower "
            "power mode (`sudo nvpmodel -m NUMBER`, and `benchmark.power_mode` in the target's "
            "params.yaml), and measure again.",
        )


def _clocks(state: MachineState, row: BenchmarkRow) -> Iterator[Reason]:
    if row.max_clock_drift_share is None:
        return
    clocks = (
        ("clock", state.gpu_clock_min_mhz, state.gpu_clock_max_mhz),
        ("memory clock", state.memory_clock_min_mhz, state.memory_clock_max_mhz),
    )
    for what, low, high in clocks:
        if low is None or high is None or high - low <= row.max_clock_drift_share * high:
            continue
        yield Reason(
            "clock",
            f"The GPU's {what} moved between {low:.0f} and {high:.0f} MHz, {1 - low / high:.1%} of "
            f"the higher; the limit is {row.max_clock_drift_share:.1%}. Hold it still with `sudo "
            f"jetson_clocks` on a Jetson, elsewhere with `sudo nvidia-smi -lgc MHZ` (-lmc for the "
            "memory's), and measure again.",
        )


def _temperature(state: MachineState, row: BenchmarkRow) -> Iterator[Reason]:
    """A card has the limit of a card: the processors beside it may be hotter."""
    card = state.gpu_temperature_max_c
    what, hottest = ("GPU", card) if card is not None else ("machine", state.temperature_max_c)
    if hottest is not None and hottest > row.max_temperature_c:
        yield Reason(
            "temperature",
            f"The {what} reached {hottest:.0f} °C; the limit is {row.max_temperature_c:.0f} °C. "
            "Cool it and measure again.",
        )


def _power_mode(state: MachineState, row: BenchmarkRow) -> Iterator[Reason]:
    if MODE_CHANGED in (state.power_mode or ""):
        yield Reason(
            "power_mode",
            f"Expected one power mode all the time, got {state.power_mode}. Let nobody change it "
            "(`nvpmodel -q` says which it is), and measure again.",
        )
        return
    if row.power_mode is None or state.power_mode == row.power_mode:
        return
    if state.power_mode is None:
        yield Reason(
            "unread",
            f"Expected the power mode {row.power_mode}, but this machine does not say which it is "
            "in. Run where `nvpmodel -q` answers, or take `benchmark.power_mode` out of the "
            "target's params.yaml.",
        )
        return
    yield Reason(
        "power_mode",
        f"Expected the power mode {row.power_mode}, got {state.power_mode}. Set it with `sudo "
        "nvpmodel -m NUMBER` (`/etc/nvpmodel.conf` has the numbers), let the device settle, and "
        "measure again.",
    )
