"""Sensors on the documented file trees of Jetsons, and on trees that change and break meanwhile.

No real device made those trees: tests/documented/jetson/*/SOURCE.md says where each line is from.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.machine.jetson import is_jetson
from engines.machine.sensors import open_sensors
from engines.machine.sensors.jetson import JetsonSensor, read_power_mode
from engines.machine.sensors.processors import ProcessorSensor, read_other_threads
from engines.machine.sensors.reading import (
    Counters,
    Reading,
    count_all,
    read_all,
    read_number,
    rise,
)
from engines.measure import sampler as measure
from engines.measure.sampler import StateSampler

TREES = Path(__file__).parents[3] / "documented" / "jetson"
NX, AGX, THOR = "orin-nx-16gb", "agx-orin-64gb", "agx-thor"


@pytest.fixture
def nx(tmp_path: Path) -> Path:
    """A copy of the Orin NX to change."""
    return Path(shutil.copytree(TREES / NX, tmp_path / NX))


def _write(root: Path, path: str, text: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


@pytest.mark.parametrize("gone", [FileNotFoundError, ProcessLookupError])
def test_a_process_that_ends_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: type[OSError]
) -> None:
    for process in (71, 72, 73):
        _write(tmp_path, f"proc/{process}/task/{process}/schedstat", "5 0 1")
    _write(tmp_path, "proc/74/task/74/schedstat", "5 0 1")
    listdir, open_file = os.listdir, os.open

    def ending(path: str) -> list[str]:
        if "proc/72/task" in path:
            raise gone
        return listdir(path)

    def ended(path: str, flags: int) -> int:
        if "proc/74/task" in path:
            raise gone
        return open_file(path, flags)

    monkeypatch.setattr(os, "listdir", ending)
    monkeypatch.setattr(os, "open", ended)
    assert read_other_threads(tmp_path) == {"71/71": 5, "73/73": 5}


@pytest.mark.parametrize(
    ("device", "gpu_mhz", "memory_mhz", "watts", "gpu_memory_mib"),
    [
        # VDD_IN: 5016 mV * 1520 mA.
        (NX, 306, None, 7.62432, 6803.5),
        ("orin-nx-8gb-jetpack-6.0", 306, None, 6.011008, 2786),
        ("orin-nano-8gb", 306, None, 6.580992, 2786),
        # 20.160 * 0.144 + 20.160 * 0.032 + 5.040 * 0.744; VDDQ_VDD2_1V8AO is in the last of them.
        (AGX, 306, None, 7.29792, 30396.5),
        # 19.9 * 0.258 + 19.9 * 0.298 + 5 * 0.987; not VIN's 23 W, which hold the carrier board.
        (THOR, 630, 4266, 15.9994, 61862),
    ],
)
def test_what_a_jetson_says(
    device: str, gpu_mhz: float, memory_mhz: float | None, watts: float, gpu_memory_mib: float
) -> None:
    found = JetsonSensor(TREES / device).read()
    assert found.gpu_clock_mhz == gpu_mhz
    assert found.memory_clock_mhz == memory_mhz
    assert found.power_w == pytest.approx(watts)
    assert found.gpu_memory_mib == gpu_memory_mib
    assert found.throttle_reasons == frozenset()


@pytest.mark.parametrize("device", sorted(path.name for path in TREES.iterdir() if path.is_dir()))
def test_every_jetson_is_one_and_counts_over_currents(device: str) -> None:
    root = TREES / device
    assert is_jetson(root)
    assert read_power_mode(root)
    counted = JetsonSensor(root).count().over_currents
    assert counted is not None
    assert len(counted) == 3
    hottest = max(ProcessorSensor(root, [0]).read().temperatures_c)
    assert 40 < hottest < 60


def test_a_machine_that_is_no_jetson(tmp_path: Path) -> None:
    assert not is_jetson(tmp_path)
    assert read_power_mode(tmp_path) is None


def test_a_zone_that_is_off_says_minus_256(nx: Path) -> None:
    for zone in nx.glob("sys/class/thermal/thermal_zone*/temp"):
        zone.write_text("-256000\n")
    assert ProcessorSensor(nx, [0]).read().temperatures_c == ()


def test_alerts_of_throttling_but_not_of_a_hot_surface(nx: Path) -> None:
    devices = ("cpufreq-cpu0", "pwm-fan", "gpu-throttle-alert", "hot-surface-alert", "devfreq-gpu")
    for number, name in enumerate(devices):
        _write(nx, f"sys/class/thermal/cooling_device{number}/type", name)
        _write(nx, f"sys/class/thermal/cooling_device{number}/cur_state", 1)
    sensor = JetsonSensor(nx)
    assert sensor.read().throttle_reasons == {"gpu-throttle-alert"}
    _write(nx, "sys/class/thermal/cooling_device2/cur_state", 0)
    assert sensor.read().throttle_reasons == frozenset()


@pytest.mark.parametrize("which", [0, 1])
def test_each_of_two_alerts_of_one_name_counts(nx: Path, which: int) -> None:
    for number in (0, 1):
        _write(nx, f"sys/class/thermal/cooling_device{number}/type", "gpu-throttle-alert")
        _write(nx, f"sys/class/thermal/cooling_device{number}/cur_state", int(number == which))
    assert JetsonSensor(nx).read().throttle_reasons == {"gpu-throttle-alert"}


def test_a_part_of_the_rails_is_no_total(tmp_path: Path) -> None:
    root = Path(shutil.copytree(TREES / AGX, tmp_path / AGX))
    (root / "sys/class/hwmon/hwmon1/curr2_input").unlink()
    assert JetsonSensor(root).read().power_w is None


def test_an_older_jetpack_calls_the_gpu_by_its_chip(nx: Path) -> None:
    shutil.move(nx / "sys/class/devfreq/17000000.gpu", nx / "sys/class/devfreq/17000000.ga10b")
    assert JetsonSensor(nx).read().gpu_clock_mhz == 306


def test_what_a_jetson_did_while_it_was_measured(nx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SAMPLE_SECONDS", 60)  # at both ends only
    with StateSampler(nx, cpus=[0], gpu=True) as sampler:
        _write(nx, "sys/class/devfreq/17000000.gpu/cur_freq", 612_000_000)
        _write(nx, "sys/class/hwmon/hwmon3/oc3_event_cnt", 4)
        _write(nx, "sys/class/hwmon/hwmon1/curr1_input", 4000)
        _write(nx, "sys/class/thermal/thermal_zone1/temp", 82_500)
        _write(nx, "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB")
    found = sampler.state(0.1)
    assert (found.gpu_clock_min_mhz, found.gpu_clock_max_mhz) == (306, 612)
    assert found.over_current_events == 4
    assert found.power_max_w == pytest.approx(20.064)
    assert found.power_mean_w == pytest.approx((7.62432 + 20.064) / 2)
    assert found.temperature_max_c == 82.5
    assert found.gpu_memory_max_mib == 7812.5
    assert found.power_mode == read_power_mode(nx)
    assert found.memory_clock_max_mhz is None


def test_where_a_part_counts_the_gpu_s_clocks_and_programs_are_those_of_the_part(nx: Path) -> None:
    with StateSampler(nx, cpus=[0], gpu=True) as sampler:
        _write(nx, "sys/class/devfreq/17000000.gpu/cur_freq", 612_000_000)
        counted = [sampler.read()]
    found = sampler.state(0.1, counted)
    assert (found.gpu_clock_min_mhz, found.gpu_clock_max_mhz) == (612, 612)
    assert found.temperature_max_c is not None  # of all the time


def test_a_power_mode_that_was_changed_meanwhile_is_two(nx: Path) -> None:
    before = read_power_mode(nx)
    with StateSampler(nx, cpus=[0], gpu=True) as sampler:
        _write(nx, "var/lib/nvpmodel/status", "pmode:0001")
    assert read_power_mode(nx) not in (before, None)
    assert sampler.state(0).power_mode == f"{before}, then {read_power_mode(nx)}"


def test_the_gpu_is_not_watched_for_an_engine_that_does_not_run_on_it(nx: Path) -> None:
    with StateSampler(nx, cpus=[0]) as sampler:
        _write(nx, "sys/class/hwmon/hwmon3/oc3_event_cnt", 4)
    found = sampler.state(0)
    assert (found.gpu_clock_max_mhz, found.over_current_events, found.power_mode) == (None,) * 3
    assert found.temperature_max_c is not None


def test_readings_between_two_moments(nx: Path) -> None:
    with StateSampler(nx, cpus=[0], gpu=True) as sampler:
        pass
    moments = [when for when, _ in sampler._samples]
    assert len(sampler.readings()) == len(moments) >= 2
    assert len(sampler.readings(moments[0], moments[-1])) == len(moments) - 1


@pytest.mark.parametrize("text", ["", "N/A", "1.5", "--3", "12 34", "\u00b2"])
def test_what_is_no_number_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text, encoding="utf-8")
    assert read_number(tmp_path / "file") is None
    assert read_number(tmp_path / "missing") is None
    assert read_number(None) is None


NAMES = st.sampled_from(["oc1", "oc2", "oc3"])
COUNTERS = st.dictionaries(NAMES, st.integers(0, 1 << 40))


@given(start=COUNTERS, end=COUNTERS)
def test_counters_never_rise_by_less_than_nothing(
    start: dict[str, int], end: dict[str, int]
) -> None:
    found = rise(start, end)
    both = start.keys() & end.keys()
    stood = all(end[name] in (0, start[name]) for name in both)
    if not start or (stood and start.keys() != end.keys()):
        assert found is None  # one that came or went is not known to have stood still
    else:
        assert found is not None
        assert (found == 0) == stood
        assert found >= max((end[name] - start[name] for name in both), default=0)


def test_a_counter_that_vanishes_hides_no_other_s_events() -> None:
    assert rise({"oc1": 0, "oc2": 3}, {"oc2": 5}) == 2
    assert rise({"oc1": 0, "oc2": 3}, {"oc2": 3}) is None
    assert rise({"oc1": 0}, {"oc1": 1, "oc2": 7}) == 1


def test_counters_that_are_not_counted_are_unknown() -> None:
    assert rise(None, {"oc1": 3}) is None
    assert rise({"oc1": 3}, None) is None


READINGS = st.builds(
    Reading,
    clocks_mhz=st.lists(st.floats(0, 5000), max_size=2).map(tuple),
    temperatures_c=st.lists(st.floats(0, 100), max_size=2).map(tuple),
    gpu_clock_mhz=st.none() | st.floats(0, 3000),
    power_w=st.none() | st.floats(0, 700),
    throttle_reasons=st.frozensets(st.sampled_from(["a", "b"])),
)


class Saying:
    """A sensor that says what a test wants."""

    def __init__(self, reading: Reading, counters: Counters) -> None:
        self._reading = reading
        self._counters = counters

    def read(self) -> Reading:
        return self._reading

    def count(self) -> Counters:
        return self._counters

    def close(self) -> None:
        pass


@given(one=READINGS, other=READINGS)
def test_the_first_sensor_that_says_a_thing_is_believed(one: Reading, other: Reading) -> None:
    found = read_all([Saying(one, Counters()), Saying(other, Counters())])
    expected = one.power_w if one.power_w is not None else other.power_w
    assert found.power_w == expected
    assert found.temperatures_c == one.temperatures_c + other.temperatures_c
    assert found.throttle_reasons == one.throttle_reasons | other.throttle_reasons
    assert found.gpu_memory_mib is None


def test_counters_of_several_sensors_stand_beside_each_other() -> None:
    sensors = [
        Saying(Reading(), Counters(throttles={"cpu0": 1})),
        Saying(Reading(), Counters(over_currents={"oc1": 2}, energy_mj=5)),
    ]
    assert count_all(sensors) == Counters(
        throttles={"cpu0": 1}, over_currents={"oc1": 2}, energy_mj=5
    )


def test_a_jetson_s_gpu_is_read_from_its_files_alone() -> None:
    kinds = [type(sensor) for sensor in open_sensors(TREES / THOR, [0], gpu=True)]
    assert kinds == [ProcessorSensor, JetsonSensor]
