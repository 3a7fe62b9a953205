"""pipeline benchmark: what is made of pytest-benchmark's rounds, and when they are trusted.

The harness itself runs for real in tests/integration; here its answers are given.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.machine.sensors.reading import Counters, Reading
from engines.measure import sampler as measure
from engines.measure.neighbours import Limits
from engines.measure.windows import WINDOW_SECONDS, Wanted, run_windows
from engines.records.benchmark import Benchmark, CrossCheck, MachineState, Soak, Validity
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from pipeline.latency import attempts
from pipeline.latency import record as recorded
from pipeline.latency import results as figures
from pipeline.latency.harness import bench_engine, rounds
from pipeline.latency.harness.bench_engine import TestLatency as Latencies
from pipeline.latency.harness.patience import Patience
from pipeline.latency.harness.plan import LATENCY, SOAK, THROUGHPUT, BenchmarkPlan, SoakProgress
from pipeline.latency.harness.timed import TimedDetector
from pipeline.latency.measurement import Extra, Measurement, WindowCounts
from pipeline.latency.pytest_benchmark import parse
from pipeline.report.summary import table_text

TARGET = load_target(Workspace(root=Path(__file__).parents[4]), "x86-openvino")
ROW = TARGET.benchmark.model_copy(update={"p99_interval_share": 0.25})
TARGET = TARGET.model_copy(update={"benchmark": ROW})
QUIET = {
    "steal_share": 0.0,
    "others_share": 0.0,
    "run_queue_wait_share": 0.0,
    "drift_share": 0.0,
    "clock_min_mhz": None,
    "clock_max_mhz": None,
    "throttle_events": None,
    "temperature_max_c": None,
}


def times(spread: float = 0.01, count: int = 600) -> tuple[float, ...]:
    """Seconds around 5 ms; a `spread` of 1 makes the p99 uncertain."""
    tail = np.random.default_rng(0).exponential(spread, count)
    return tuple((0.005 * (1 + tail)).tolist())


def windows(share: float = 1.0, **set_aside: int) -> WindowCounts:
    """Windows of ten seconds, of which so much was quiet."""
    counts = {"seconds": 10.0, "quiet_seconds": 10 * share, "set_aside": set_aside}
    return WindowCounts(**counts, enough=share > 0.5)


def measured(
    name: str,
    batch: int,
    seconds: tuple[float, ...],
    counts: WindowCounts | None = None,
    **machine: Any,
) -> Measurement:
    return Measurement(
        name=name,
        parameters={"batch": batch},
        seconds=seconds,
        extra=Extra(
            machine=MachineState(**QUIET | machine),
            windows=counts or windows(),
            memory_peak_mib=200.0 + batch,
        ),
    )


def throughput(in_flight: int, *seconds: float) -> Measurement:
    return Measurement(
        name="test_throughput",
        parameters={"in_flight": in_flight},
        seconds=seconds,
        extra=Extra(in_flight=in_flight, memory_peak_mib=300.0),
    )


def whole(
    seconds: tuple[float, ...], counts: WindowCounts | None = None, **machine: Any
) -> tuple[Measurement, ...]:
    names = ("test_inference", "test_frame")
    return (
        *(measured(name, batch, seconds, counts, **machine) for name in names for batch in (1, 4)),
        throughput(2, 0.01, 0.01, 0.01),
        throughput(4, 0.01, 0.01, 0.04),
    )


def plan() -> BenchmarkPlan:
    return BenchmarkPlan(
        tests=(*LATENCY, *THROUGHPUT),
        engine_folder=Path("m-fp16"),
        frames=(),
        frame_size=(720, 1280),
        batches=(1, 4),
        in_flight=(2, 4),
        warmup_seconds=1,
        seconds=2,
        max_seconds=6,
        p99_interval_share=0.25,
        drift_share=0.1,
        limits=Limits(steal_share=0.05, others_share=0.05, wait_share=0.25),
        gpu=False,
        soak_seconds=0,
    )


def run(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[Measurement, ...]],
    target: TargetConfig | None = None,
) -> tuple[list[BenchmarkPlan], Any]:
    """The plans that were measured, and the validity of the end, for the given answers."""
    asked: list[BenchmarkPlan] = []

    def answer(asked_plan: BenchmarkPlan, _: Path, __: Any = None) -> tuple[Measurement, ...]:
        asked.append(asked_plan)
        return answers[len(asked) - 1]

    monkeypatch.setattr(attempts, "measure", answer)
    _, validity = attempts.measure_until_valid(plan(), target or TARGET, Path())
    return asked, validity


def test_a_quiet_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, validity = run(monkeypatch, [whole(times())])
    assert (len(asked), validity.valid, validity.attempts) == (1, True, 1)
    assert validity.reasons == ()


def test_inference_is_timed_within_the_frame() -> None:
    """So that it is never above the frame, of which it is a part, however the machine moves."""
    session = SimpleNamespace(
        start=lambda slot: None, wait=lambda slot: time.sleep(0.002) or np.zeros((1, 5, 1))
    )
    manifest = SimpleNamespace(
        thresholds=SimpleNamespace(confidences=lambda classes: 0.5), classes=("a",)
    )
    detector = TimedDetector(cast(Any, session), cast(Any, manifest))

    def frame() -> None:
        time.sleep(0.001)
        detector.infer()

    benchmark, quick = Rounds(), plan().model_copy(update={"warmup_seconds": 0, "seconds": 0})
    parts = rounds.measure_calls(
        *(benchmark, quick, None, Patience(), frame), part=lambda: detector.inference_seconds
    )
    seconds = benchmark.stats.stats.data
    assert len(parts) == len(seconds) >= rounds.LEAST_ROUNDS
    assert all(0.002 <= part <= whole - 0.001 for part, whole in zip(parts, seconds, strict=True))


def test_what_others_did_in_windows_that_were_set_aside_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = whole(times(), windows(0.6, others=40), others_share=0.4, run_queue_wait_share=0.4)
    asked, validity = run(monkeypatch, [busy])
    assert (len(asked), validity.valid, validity.reasons) == (1, True, ())


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"drift_share": 0.4}, "40.0% lies between the medians"),
        ({"throttle_events": 2}, "throttle counters rose by 8"),
        ({"temperature_max_c": 99.0}, "The machine reached 99"),
        ({"throttle_reasons": ("HwThermalSlowdown",)}, "held back by HwThermalSlowdown"),
        ({"over_current_events": 1}, "over-current and under-voltage counters rose by 4"),
        ({"other_gpu_processes": (7,)}, "process 7"),
    ],
)
def test_what_the_machine_does_in_passing_is_measured_again_whole(
    monkeypatch: pytest.MonkeyPatch, machine: dict[str, Any], said: str
) -> None:
    """A device that throttles now and then must not get each figure in a cool moment: all of one
    measurement has to be cool."""
    disturbed = whole(times(), **machine)
    asked, validity = run(monkeypatch, [disturbed, whole(times())])
    assert (len(asked), validity.valid, validity.attempts) == (2, True, 2)
    assert asked[0] == asked[1]
    asked, validity = run(monkeypatch, [disturbed] * ROW.max_attempts)
    assert (len(asked), validity.valid) == (ROW.max_attempts, False)
    assert said in validity.reasons[0]


def test_a_quota_is_measured_once_however_often_it_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = whole(times(), quota_throttles=9, quota_processors=0.5, throttle_events=1)
    asked, validity = run(monkeypatch, [held])
    assert (len(asked), validity.valid) == (1, False)
    assert "quota of 0.5 processors held the measurement back" in validity.reasons[0]


def test_a_machine_without_quiet_is_invalid_at_once_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = whole(times(spread=1), windows(0.05, wait=2, others=90), drift_share=0.5)
    asked, validity = run(monkeypatch, [busy])
    assert (len(asked), validity.valid, validity.attempts) == (1, False, 1)
    (reason,) = validity.reasons
    assert "5% quiet (other programs used the processors in 360 of the windows, the" in reason
    assert "Stop other programs" in reason


def test_the_share_of_quiet_is_that_of_the_measurement_disturbed_most() -> None:
    found = figures.quiet(
        [
            measured("test_frame", 1, times(), windows(0.6, others=3)),
            measured("test_frame", 4, times(), windows(0.9, others=1, steal=2)),
        ]
    )
    assert (found.share, found.enough, found.seconds) == (0.6, True, 15.0)
    assert found.set_aside == {"others": 4, "steal": 2}


def test_a_jetson_that_counts_no_over_currents_is_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jetson = TARGET.model_copy(update={"device": {"kind": "jetson"}})
    asked, validity = run(monkeypatch, [whole(times())], jetson)
    (reason,) = validity.reasons
    assert "over-current counters" in reason
    assert (len(asked), validity.attempts) == (1, 1)  # another one would not count them either


def in_mode(mode: str) -> TargetConfig:
    return TARGET.model_copy(update={"benchmark": ROW.model_copy(update={"power_mode": mode})})


def test_a_wrong_power_mode_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, validity = run(monkeypatch, [whole(times(), power_mode="15W")], in_mode("MAXN"))
    assert (len(asked), validity.valid, validity.attempts) == (1, False, 1)
    (reason,) = validity.reasons
    assert "Expected the power mode MAXN, got 15W" in reason


def test_a_power_mode_that_was_changed_meanwhile_is_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = whole(times(), power_mode="15W, then MAXN")
    calm = whole(times(), power_mode="MAXN")
    asked, validity = run(monkeypatch, [changed, calm], in_mode("MAXN"))
    assert (len(asked), validity.valid) == (2, True)


def test_a_p99_that_is_uncertain_after_all_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, validity = run(monkeypatch, [whole(times(spread=1))])
    assert (len(asked), validity.valid) == (1, False)
    assert "The p99 of frame at batch 1 is uncertain" in validity.reasons[0]


def test_the_worst_moment_speaks_for_the_whole() -> None:
    calm, hot = (
        measured("test_frame", 1, times(), temperature_max_c=celsius, throttle_events=events)
        for celsius, events in ((50.0, 1), (90.0, 2))
    )
    state = figures.machine_state([calm, hot])
    assert (state.temperature_max_c, state.throttle_events) == (90.0, 3)
    assert state.clock_min_mhz is None


def test_the_better_number_in_flight_counts() -> None:
    best = figures.best_throughput([throughput(2, 0.010, 0.010), throughput(4, 0.016, 0.016)])
    assert (best.frames_per_second, best.in_flight, best.count) == (pytest.approx(250.0), 4, 8)


def test_a_slow_turn_counts_in_the_throughput() -> None:
    best = figures.best_throughput(whole(times()))  # 12 frames in 0.06 s, or 6 in 0.03 s
    assert (best.frames_per_second, best.in_flight) == (pytest.approx(200.0), 2)


def test_the_histogram_holds_nearly_every_frame() -> None:
    rows = list(csv.DictReader(io.StringIO(table_text(figures.histogram("m-fp16", times())))))
    assert {row["engine"] for row in rows} == {"m-fp16"}
    assert sum(float(row["share"]) for row in rows) == pytest.approx(0.995, abs=0.005)
    assert all(5 <= float(row["latency_ms"]) < 6 for row in rows)


def test_pytest_benchmark_s_json_is_read(tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    one = {
        "name": "test_frame[4]",
        "params": {"batch": 4},
        "stats": {"data": [0.1, 0.2]},
        "extra_info": {"memory_peak_mib": 3},
    }
    raw.write_text(json.dumps({"benchmarks": [one]}))
    assert parse(raw) == (
        Measurement(
            name="test_frame",
            parameters={"batch": 4},
            seconds=(0.1, 0.2),
            extra=Extra(memory_peak_mib=3),
        ),
    )


# --- energy ------------------------------------------------------------------------------------


def test_energy_is_the_power_while_frames_were_measured_times_their_time() -> None:
    frames = (0.010, 0.014, 0.012)
    measurements = (
        measured("test_inference", 1, frames, power_mean_w=99.0),
        measured("test_frame", 1, frames, power_mean_w=7.5),
        measured("test_frame", 4, frames, power_mean_w=50.0),
    )
    assert figures.energy_per_frame_mj(measurements) == pytest.approx(7.5 * 12)


def test_energy_is_unknown_where_power_is() -> None:
    assert figures.energy_per_frame_mj(whole(times())) is None


# --- soak --------------------------------------------------------------------------------------


def soaked(**machine: Any) -> tuple[Measurement, ...]:
    frame = figures.latencies(whole(times()), "test_frame")["1"]
    window = {"start_s": 0, "p50_ms": 5, "p99_ms": 6, "count": 9, "gpu_clock_min_mhz": None}
    found = {
        "minutes": 1,
        "windows": [window | {"temperature_max_c": 83.0, "power_mean_w": None}],
        "hot": frame.model_dump(),
        "throttle_events": 4,
        "over_current_events": None,
        "throttle_reasons": ["HwThermalSlowdown"],
    }
    state = MachineState(**QUIET | machine)
    extra = Extra(machine=state, soak=Soak.model_validate(found), memory_peak_mib=1)
    return (Measurement(name="test_soak", parameters={}, seconds=(60.0,), extra=extra),)


def soak(
    monkeypatch: pytest.MonkeyPatch,
    minutes: float,
    target: TargetConfig = TARGET,
    **machine: Any,
) -> tuple[list[BenchmarkPlan], Benchmark]:
    asked: list[BenchmarkPlan] = []

    def answer(plan: BenchmarkPlan, _: Path, tell: Any) -> tuple[Measurement, ...]:
        asked.append(plan)
        tell(SoakProgress(seconds=30.0, p99_ms=6.0))
        return soaked(**machine)

    monkeypatch.setattr(recorded, "measure", answer)
    return asked, recorded.with_soak(record(), plan(), minutes, target, Path())


def test_a_soak_runs_alone_and_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    (asked,), found = soak(monkeypatch, 1.5)
    assert (asked.tests, asked.soak_seconds) == (SOAK, 90)
    assert found.soak is not None
    assert found.soak.windows[0].temperature_max_c == 83
    assert found.validity.valid


def test_throttling_in_a_soak_is_the_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    hot: dict[str, Any] = {
        "throttle_events": 4,
        "throttle_reasons": ["HwThermalSlowdown"],
        "drift_share": 0.8,
    }
    _, found = soak(monkeypatch, 1, **hot, temperature_max_c=120.0)
    assert found.soak is not None
    assert found.soak.throttle_reasons == ("HwThermalSlowdown",)
    assert found.validity.valid


def test_other_programs_in_a_soak_make_it_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = soak(monkeypatch, 1, others_share=0.5)
    (reason,) = found.validity.reasons
    assert reason.startswith("During the soak: 50.0% of the processors' time was used by other")
    assert not found.validity.valid


def test_a_soak_in_the_wrong_power_mode_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found = soak(monkeypatch, 20, in_mode("MAXN"), power_mode="MAXN")
    assert (asked, found.soak, found.validity.valid) == ([], None, False)
    assert "The soak of 20 minutes was left out" in found.validity.reasons[-1]


def test_the_figures_stay_when_a_soak_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = soak(monkeypatch, 1)
    assert found.model_copy(update={"soak": None}) == record()


# --- memory ------------------------------------------------------------------------------------


DEVICE = Fingerprint(
    kind="dgpu",
    name="cpu",
    architecture="x86_64",
    isa=(),
    cores=2,
    memory_gib=8,
    backends={},
    gpu="NVIDIA L4",
)


def record(**extra: Any) -> Benchmark:
    """Of a whole measurement; `extra` is of the first, inference at batch 1."""
    manifest = cast(Manifest, SimpleNamespace(engine="m-fp16", engine_sha256="a" * 64))
    valid = Validity(valid=True, reasons=(), attempts=1)
    one, *rest = whole(times())
    first = replace(one, extra=one.extra.model_copy(update=extra))
    return recorded.measured_record(manifest, TARGET, DEVICE, (first, *rest), valid)


def test_the_record_says_what_measured() -> None:
    assert record().device == DEVICE


def test_the_record_says_how_threads_waited_for_the_gpu() -> None:
    assert record(gpu_wait="spin").gpu_wait == "spin"
    assert record().gpu_wait is None


def test_memory_is_the_most_of_all_measurements_and_of_the_soak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert record().memory_peak_mib == 300
    (one,) = soaked()
    grown = replace(one, extra=one.extra.model_copy(update={"memory_peak_mib": 900.0}))
    monkeypatch.setattr(recorded, "measure", lambda *_: (grown,))
    assert recorded.with_soak(record(), plan(), 1, TARGET, Path()).memory_peak_mib == 900
    monkeypatch.setattr(recorded, "measure", lambda *_: (one,))
    assert recorded.with_soak(record(), plan(), 1, TARGET, Path()).memory_peak_mib == 300


@pytest.mark.parametrize(
    ("gpu", "unified", "counted"),
    [(True, True, True), (True, False, False), (True, None, False), (False, True, False)],
)
def test_used_memory_counts_where_the_gpu_shares_it(
    gpu: bool, unified: bool | None, counted: bool
) -> None:
    device = cast(Fingerprint, SimpleNamespace(unified_memory=unified))
    found = plan().model_copy(update={"gpu": gpu}).used_memory_mib(device)
    assert (found is not None) == counted


class Rounds:
    """Stands in for pytest-benchmark's fixture."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[0.1] * 9))

    def pedantic(self, call: Any, *, args: Any = (), rounds: int) -> Any:
        assert rounds == 1
        return call(*args)


def test_the_harness_compares_the_memory_with_that_before_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float | None] = []
    monkeypatch.setattr(rounds, "memory_peak_mib", lambda _, before: asked.append(before) or 1.0)
    quick = plan().model_copy(update={"warmup_seconds": 0, "seconds": 0})
    rounds.measure_calls(Rounds(), quick, 1234.0, Patience(), lambda: None, part=lambda: 0.0)
    assert asked == [1234.0]


def test_nothing_lets_the_gpu_fall_idle_between_the_warm_up_and_the_first_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    def tells(name: str, answer: Any) -> Any:
        def told(*_: Any, **__: Any) -> Any:
            happened.append(name)
            return answer

        return told

    for name, answer in (("open_sensors", ()), ("read_power_mode", "MAXN")):
        monkeypatch.setattr(measure, name, tells(name, answer))
    monkeypatch.setattr(measure, "count_all", tells("count", Counters()))
    quick = plan().model_copy(update={"gpu": True, "warmup_seconds": 0, "seconds": 0})
    rounds.measure_calls(Rounds(), quick, None, Patience(), tells("call", None), part=lambda: 0.0)
    calls = [one for one in happened if one != "call"]
    assert calls == ["open_sensors", "read_power_mode", "count", "count", "read_power_mode"]
    assert happened.index("read_power_mode") < happened.index("call") < happened.index("count")
    assert happened[-3:] == ["call", "count", "read_power_mode"]
    assert happened.count("call") > rounds.LEAST_ROUNDS


# --- cross-check -------------------------------------------------------------------------------


def gpu_time(p50_ms: float | None) -> Measurement:
    return Measurement(
        name="test_gpu_time",
        parameters={},
        seconds=(1.0,),
        extra=Extra(gpu_p50_ms=p50_ms, memory_peak_mib=1.0),
    )


MANIFEST = cast(Manifest, SimpleNamespace(engine="m-fp16", backend="tensorrt"))
"""What the cross-check reads of one."""


def test_the_gpu_time_is_compared_with_trtexec_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(engine: Path, _: Any, ours_p50_ms: float) -> CrossCheck:
        return CrossCheck(
            command=("trtexec", f"--loadEngine={engine.name}"),
            version="10.3.0",
            ours_p50_ms=ours_p50_ms,
            trtexec_p50_ms=4.0,
            difference_share=ours_p50_ms / 4.0 - 1,
        )

    monkeypatch.setattr(recorded.trtexec, "cross_check", answer)
    found = recorded.with_cross_check(
        record(), Path("engine.plan"), MANIFEST, (*whole(times()), gpu_time(5.0))
    )
    assert found.cross_check is not None
    assert found.cross_check.command[1] == "--loadEngine=engine.plan"
    assert found.cross_check.difference_share == pytest.approx(0.25)
    assert not found.validity.valid


def test_an_engine_without_gpu_times_cannot_be_cross_checked() -> None:
    with pytest.raises(InputError, match="TensorRT engine on a GPU for --cross-check"):
        recorded.with_cross_check(record(), Path("engine.plan"), MANIFEST, (gpu_time(None),))


@pytest.mark.parametrize(("batch", "sure"), [(1, True), (4, False)])
def test_the_p99_that_has_a_budget_has_to_be_sure(batch: int, sure: bool) -> None:
    asked: list[bool] = []
    measure = lambda call, *, part, sure: asked.append(sure)  # noqa: E731
    Latencies().test_frame(cast(Any, measure), cast(Any, None), [], {}, batch)
    assert asked == [sure]


def test_the_harness_hands_in_inference_and_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    inference: dict[int, Any] = {}
    measure = lambda call, *, part, sure: np.array([0.1, 0.2])  # noqa: E731
    detector = cast(Any, SimpleNamespace(waits="spin"))
    Latencies().test_frame(cast(Any, measure), detector, [], inference, 4)
    benchmark = Rounds()
    Latencies().test_inference(benchmark, detector, inference, 4)
    assert benchmark.stats.stats.data == [0.1, 0.2]
    assert benchmark.extra_info["gpu_wait"] == "spin"


def test_a_measurement_that_has_to_be_sure_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run_quiet(_: Any, __: Any, wanted: Any, *___: Any, **____: Any) -> Any:
        asked.append((wanted.p99_interval_share, wanted.calm, wanted.drift_share))
        return Extra(memory_peak_mib=1.0), np.zeros(0)

    monkeypatch.setattr(rounds, "run_quiet", run_quiet)
    quick = plan().model_copy(update={"warmup_seconds": 0})
    for sure in (True, False):
        rounds.measure_calls(
            Rounds(), quick, None, Patience(), lambda: None, part=lambda: 0.0, sure=sure
        )
    assert asked == [(quick.p99_interval_share, True, 0.1), (None, False, 0.1)]


class Streams:
    """Stands in for a detector: as many frames as are asked for."""

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stream(self, frames: Any) -> Any:
        yield from frames


def test_a_throughput_may_use_a_quota_up_and_wait_for_a_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More frames in flight than processors is the plan; what else the machine does, is not."""
    state = MachineState(
        **QUIET | {"quota_throttles": 7, "run_queue_wait_share": 0.5, "throttle_events": 3}
    )
    extra = Extra(memory_peak_mib=1.0, machine=state, windows=windows())
    limits: list[Limits] = []

    def run_quiet(_: Any, __: Any, ___: Any, limit: Limits, *____: Any, **_____: Any) -> Any:
        limits.append(limit)
        return extra, np.zeros(0)

    monkeypatch.setattr(bench_engine, "run_quiet", run_quiet)
    monkeypatch.setattr(BenchmarkPlan, "open_detector", lambda *_, **__: Streams())
    quick, benchmark = plan().model_copy(update={"warmup_seconds": 0}), Rounds()
    frames = [np.zeros((1, 1, 3), np.uint8)]
    bench_engine.test_throughput(benchmark, quick, None, Patience(), frames, 4)
    found = Extra.model_validate(benchmark.extra_info)
    assert found.machine is not None
    assert (found.machine.quota_throttles, found.machine.run_queue_wait_share) == (None, None)
    assert (found.machine.throttle_events, found.in_flight) == (3, 4)
    assert (limits[0].wait_share, limits[0].others_share) == (1.0, quick.limits.others_share)


class GpuSampler:
    """Stands in for a sampler of a GPU on which another program computes at the readings named."""

    gpu = True

    def __init__(self, *others_at: int) -> None:
        self.others_at, self.asked = others_at, 0
        self.counted: list[Reading] = []

    def __enter__(self) -> GpuSampler:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Reading:
        self.asked += 1
        others = {7} if self.asked in self.others_at else set()
        return Reading(gpu_clock_mhz=1000.0 + self.asked, other_gpu_processes=frozenset(others))

    def state(self, drift: float, gpu: Any) -> MachineState:
        self.counted = list(gpu)
        return MachineState(**QUIET | {"drift_share": drift})


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A call that takes a window, by a clock that nobody else moves."""
    now = [0.0]

    def call() -> None:
        now[0] += 1.01 * WINDOW_SECONDS

    monkeypatch.setattr(rounds, "run_windows", partial(run_windows, clock=lambda: now[0]))
    return call


def test_a_window_in_which_another_program_had_the_gpu_is_set_aside(
    slow: Callable[[], None],
) -> None:
    sampler = GpuSampler(3)
    limits = Limits(steal_share=9, others_share=9, wait_share=9, clock_share=0.5)
    wanted = Wanted(calls=1, seconds=0.25, max_seconds=60)
    extra, _ = rounds.run_quiet(Rounds(), slow, wanted, limits, cast(Any, sampler), None)
    assert extra.windows is not None
    assert extra.windows.set_aside == {"gpu": 1}
    # Readings 3 and 4 are those of the window that was set aside.
    assert [one.gpu_clock_mhz for one in sampler.counted] == [1001, 1002, 1005, 1006, 1007, 1008]


def test_without_enough_quiet_all_that_was_read_is_shown(slow: Callable[[], None]) -> None:
    sampler = GpuSampler(*range(1, 9))
    limits = Limits(steal_share=9, others_share=9, wait_share=9)
    wanted = Wanted(calls=2, seconds=0, max_seconds=0.1)
    extra, _ = rounds.run_quiet(Rounds(), slow, wanted, limits, cast(Any, sampler), None)
    assert extra.windows is not None
    assert not extra.windows.enough
    assert sampler.counted == []


def test_a_slow_engine_may_wait_for_quiet_until_a_sixth_of_the_time_was() -> None:
    wanted = Patience().wanted(plan(), calls=300, pace=40)
    assert wanted.max_seconds == pytest.approx(6 * 300 / 40)
    assert wanted.settle_seconds == pytest.approx(2 * 300 / 40)
    quick = Patience().wanted(plan(), calls=300, pace=1000)
    assert (quick.max_seconds, quick.settle_seconds) == (plan().max_seconds, plan().max_seconds)


def test_a_slow_first_call_says_nothing_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that never settles was to take eight minutes because of one."""
    now, took = [0.0], iter([4.0])

    def call() -> None:
        now[0] += next(took, 0.25)

    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert rounds.warm_up(call, 0.5) == 4
    assert now[0] == 4.5  # three calls


def test_after_too_little_quiet_nothing_is_waited_for() -> None:
    patience = Patience()
    patience.saw(Extra(memory_peak_mib=1.0, windows=windows(0.01, others=9)))
    assert patience.wanted(plan(), calls=300, pace=40).max_seconds == 0
