from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.machine.sensors.reading import read_memory_used_mib
from engines.measure.latency import drift_share, latency, quantile_ranks
from engines.measure.memory import memory_peak_mib, peak_resident_mib
from engines.measure.sampler import StateSampler, worst_of
from engines.records.benchmark import MachineState


def test_latency_of_known_times() -> None:
    found = latency(np.arange(1000, 0, -1) / 1e3)
    assert found.count == 1000
    assert (found.min_ms, found.max_ms) == (1, 1000)
    assert found.mean_ms == pytest.approx(500.5)
    assert found.p50_ms == pytest.approx(500.5)
    assert found.p95_ms == pytest.approx(950.05)
    assert found.p99_ms == pytest.approx(990.01)
    # Of Binomial(1000, 0.99), exactly: P(B <= 982) = 0.0138, P(B <= 983) = 0.0264,
    # P(B <= 995) = 0.9713, P(B <= 996) = 0.9899.
    assert (found.p99_low_ms, found.p99_high_ms) == (983, 997)


@pytest.mark.parametrize("count", [400, 1000, 5000])
def test_interval_of_the_p99_covers_it_as_often_as_it_says(count: int) -> None:
    random = np.random.default_rng(count)
    low, high = quantile_ranks(count, 0.99)
    samples = np.sort(random.random((2000, count)), axis=1)
    covered = (samples[:, low] <= 0.99) & (samples[:, high] >= 0.99)
    assert covered.mean() > 0.94


def test_interval_of_few_times_ends_at_the_largest() -> None:
    assert quantile_ranks(367, 0.99)[1] == 366
    assert quantile_ranks(2000, 0.99)[1] < 1999
    found = latency([0.001])
    assert (found.p99_low_ms, found.p99_high_ms, found.count) == (1, 1, 1)


def test_noise_of_the_median_is_how_far_those_of_the_tenths_lie_apart() -> None:
    found = latency(np.repeat(np.arange(1, 11), 3) / 1e3)
    assert found.p50_noise_ms == pytest.approx((10 - 1) / 2)
    assert latency(np.arange(1, 20) / 1e3).p50_noise_ms == 0  # a tenth would be one time


def test_no_times() -> None:
    with pytest.raises(ValueError, match="none"):
        latency([])


def test_drift() -> None:
    assert drift_share([1.0] * 30) == 0
    assert drift_share([1.0] * 10 + [5.0] * 10 + [1.2] * 10) == pytest.approx(0.2)
    assert drift_share([2.0] * 10 + [1.0] * 20) == pytest.approx(0.5)
    assert drift_share([1.0, 2.0]) == 0


def _write(root: Path, path: str, text: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


CPU = "sys/devices/system/cpu"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A file tree like that of a machine with two processors."""
    _stat(tmp_path, (100, 0), (100, 0))
    _write(tmp_path, "proc/self/task/10/schedstat", "1000 50 7")
    _write(tmp_path, "proc/self/task/11/schedstat", "2000 50 7")
    for cpu in (0, 1):
        _write(tmp_path, f"{CPU}/cpu{cpu}/cpufreq/scaling_cur_freq", 2_400_000)
        _write(tmp_path, f"{CPU}/cpu{cpu}/thermal_throttle/core_throttle_count", 5)
    _write(tmp_path, "sys/class/thermal/thermal_zone0/temp", 54_000)
    _write(tmp_path, "sys/class/thermal/thermal_zone1/temp", 61_500)
    return tmp_path


def _stat(root: Path, *cpus: tuple[int, int]) -> None:
    """proc/stat with (user, steal) ticks for each processor, and guest time that counts in user."""
    lines = [f"cpu{n} {user} 0 0 0 0 0 0 {steal} {user} 0" for n, (user, steal) in enumerate(cpus)]
    _write(root, "proc/stat", "\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 12 0"]))


def test_state_of_a_machine(machine: Path) -> None:
    with StateSampler(machine, cpus=[0, 1]) as sampler:
        _stat(machine, (160, 30), (190, 20))
        _write(machine, "proc/self/task/10/schedstat", "1600 150 9")
        _write(machine, "proc/self/task/12/schedstat", "200 100 9")
        _write(machine, f"{CPU}/cpu1/cpufreq/scaling_cur_freq", 1_800_000)
        _write(machine, f"{CPU}/cpu1/thermal_throttle/core_throttle_count", 8)
        _write(machine, "sys/class/thermal/thermal_zone0/temp", 88_000)
    found = sampler.state(0.03)
    assert found.steal_share == pytest.approx(50 / 200)
    assert found.run_queue_wait_share == pytest.approx(200 / (800 + 200))
    assert (found.clock_min_mhz, found.clock_max_mhz) == (1800, 2400)
    assert found.throttle_events == 3
    assert found.temperature_max_c == 88
    assert found.drift_share == 0.03


def test_what_others_used_is_all_work_less_our_own(machine: Path) -> None:
    own = "7 (a name) with) spaces) R " + " ".join(["0"] * 10) + " {user} {system} 0 0 0"
    _write(machine, "proc/self/stat", own.format(user=40, system=10))
    with StateSampler(machine, cpus=[0, 1]) as sampler:
        _stat(machine, (160, 30), (190, 20))
        _write(machine, "proc/self/stat", own.format(user=100, system=30))
    # 150 of 200 ticks were work, 50 were stolen; 80 were ours.
    assert sampler.state(0).others_share == pytest.approx(70 / 200)


def test_only_this_process_own_processors_count(machine: Path) -> None:
    with StateSampler(machine, cpus=[1]) as sampler:
        _stat(machine, (160, 90), (190, 10))
    assert sampler.state(0).steal_share == pytest.approx(0.1)


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    with StateSampler(tmp_path) as sampler:
        pass
    assert sampler.state(0.0) == MachineState(
        steal_share=None,
        others_share=None,
        run_queue_wait_share=None,
        drift_share=0.0,
        clock_min_mhz=None,
        clock_max_mhz=None,
        throttle_events=None,
        temperature_max_c=None,
    )


def test_a_sensor_that_refuses_does_not_stop_the_others(machine: Path) -> None:
    _write(machine, "sys/class/thermal/thermal_zone0/temp", "not a number")
    with StateSampler(machine, cpus=[0, 1]) as sampler:
        (machine / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert sampler.state(0).temperature_max_c == 61.5


def test_a_counter_that_vanishes_is_unknown(machine: Path) -> None:
    with StateSampler(machine, cpus=[0, 1]) as sampler:
        (machine / f"{CPU}/cpu1/thermal_throttle/core_throttle_count").unlink()
    assert sampler.state(0).throttle_events is None


def test_this_machine() -> None:
    """What any Linux says, so that a path or a column that is read wrongly is seen."""
    with StateSampler() as sampler:
        done = time.process_time() + 0.1  # ten ticks
        while time.process_time() < done:
            pass
    found = sampler.state(0.0)
    for share in (found.steal_share, found.others_share, found.run_queue_wait_share):
        assert share is not None
        assert 0 <= share <= 1
    memory = read_memory_used_mib(Path("/"))
    assert memory is not None
    assert 0 < memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert (found.gpu_clock_max_mhz, found.power_mode, found.other_gpu_processes) == (
        None,
        None,
        (),
    )


def test_peak_memory(tmp_path: Path) -> None:
    _write(tmp_path, "proc/self/status", "Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t 100 kB")
    assert peak_resident_mib(tmp_path) == 200
    assert 10 < peak_resident_mib() < os.sysconf("SC_PHYS_PAGES") * 4096 / 2**20


def test_memory_that_is_shared_with_the_gpu_is_what_the_machine_s_rose_by(
    tmp_path: Path, machine: Path
) -> None:
    _write(tmp_path, "proc/self/status", "VmHWM:\t  204800 kB")
    with StateSampler(machine, cpus=[0]) as sampler:
        pass
    state = sampler.state(0).model_copy(update={"gpu_memory_max_mib": 3000.0})
    assert memory_peak_mib(state, 2000.0, tmp_path) == 1000
    assert memory_peak_mib(state, 2900.0, tmp_path) == 200  # resident is more
    assert memory_peak_mib(state, None, tmp_path) == 200  # a card has memory of its own
    assert memory_peak_mib(sampler.state(0), 2000.0, tmp_path) == 200


def test_used_memory(tmp_path: Path) -> None:
    assert read_memory_used_mib(tmp_path) is None
    _write(tmp_path, "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB")
    assert read_memory_used_mib(tmp_path) == 7812.5


def test_a_throttle_counter_that_began_anew_is_not_negative(machine: Path) -> None:
    with StateSampler(machine, cpus=[0, 1]) as sampler:
        _write(machine, f"{CPU}/cpu1/thermal_throttle/core_throttle_count", 2)
    assert sampler.state(0).throttle_events == 2


# --- several measurements ----------------------------------------------------------------------

SHARES = st.none() | st.floats(0, 1)
MHZ = st.none() | st.floats(100, 3000)
EVENTS = st.none() | st.integers(0, 50)
STATES = st.builds(
    MachineState,
    steal_share=SHARES,
    others_share=SHARES,
    run_queue_wait_share=SHARES,
    drift_share=st.floats(0, 1),
    clock_min_mhz=MHZ,
    clock_max_mhz=MHZ,
    throttle_events=EVENTS,
    temperature_max_c=st.none() | st.floats(-20, 110),
    gpu_temperature_max_c=st.none() | st.floats(-20, 110),
    gpu_clock_min_mhz=MHZ,
    gpu_clock_max_mhz=MHZ,
    memory_clock_min_mhz=MHZ,
    memory_clock_max_mhz=MHZ,
    power_mean_w=st.none() | st.floats(0, 700),
    power_max_w=st.none() | st.floats(0, 700),
    over_current_events=EVENTS,
    throttle_reasons=st.lists(st.sampled_from(["SwPowerCap", "HwSlowdown"]), unique=True).map(
        tuple
    ),
    gpu_memory_max_mib=st.none() | st.floats(0, 80_000),
    other_gpu_processes=st.sets(st.integers(1, 9)).map(sorted).map(tuple),
    power_mode=st.none() | st.sampled_from(["MAXN", "15W"]),
)


@given(st.lists(STATES, min_size=1, max_size=4))
def test_the_worst_of_several_is_no_better_than_any(states: list[MachineState]) -> None:
    worst = worst_of(states)
    for field in MachineState.model_fields:
        values = [getattr(one, field) for one in states]
        known = [value for value in values if value is not None]
        found = getattr(worst, field)
        if not known:
            assert found is None
        elif field.endswith("_min_mhz"):
            assert found == min(known)
        elif field.endswith("_events"):
            assert found == sum(known)
        elif field in ("throttle_reasons", "other_gpu_processes"):
            assert set(found) == {one for value in values for one in value}
        elif field == "power_mode":
            assert found == ", then ".join(dict.fromkeys(known))
        else:
            assert found == max(known)


@given(STATES)
def test_the_worst_of_one_is_itself(state: MachineState) -> None:
    same = state.model_copy(update={"throttle_reasons": tuple(sorted(state.throttle_reasons))})
    assert worst_of([state]) == same
    assert worst_of([state, state]).power_mode == state.power_mode
