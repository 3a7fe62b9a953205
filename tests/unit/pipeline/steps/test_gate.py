"""pipeline gate: the three verdicts, and what people and GitLab read of them."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engines.config.target import Budgets
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid, InputError
from engines.records.benchmark import (
    Benchmark,
    Latency,
    MachineState,
    Soak,
    SoakWindow,
    Throughput,
    Validity,
)
from engines.records.evaluation import Evaluation, Interval
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest, Postprocess, Preprocess, Source
from engines.records.thresholds import Thresholds
from engines.records.verdict import Verdict
from pipeline.report.summary import Summary, summarise
from pipeline.steps.gate import gate, judge, junit, raise_unless_pass
from pipeline.terminal.verdicts import print_report, print_verdict

REPOSITORY = Path(__file__).parents[4]
GOLDEN = REPOSITORY / "tests" / "golden"
BUDGETS = Budgets(
    frame_p99_ms=30,
    frame_p50_ms=20,
    throughput_fps=60,
    map50_95_drop=0.01,
    confidence_shift=0.05,
    memory_peak_mib=1024,
    engine_size_mib=64,
)
TARGET, ENGINE = "x86-openvino", "meter-yolov8n-fp16"
BUSY = "Others took 21 % of the processors. Stop other work on the machine."


def manifest(engine_bytes: int = 8 << 20) -> Manifest:
    return Manifest(
        engine="m-fp16",
        model="m",
        model_version="1.0",
        target="t",
        precision="fp16",
        executed_precision="bf16",
        executed_layers={"bf16": 60},
        engine_file="engine.blob",
        engine_sha256="a" * 64,
        engine_bytes=engine_bytes,
        backend="openvino",
        backend_package="openvino",
        backend_version="1",
        device=Fingerprint(
            kind="cpu",
            name="cpu",
            architecture="x86_64",
            isa=(),
            cores=2,
            memory_gib=8,
            backends={},
        ),
        batch=Batch(min=1, opt=4, max=8),
        inputs=(),
        outputs=(),
        imgsz=(320, 320),
        classes=("a",),
        preprocess=Preprocess(in_engine=()),
        postprocess=Postprocess(),
        thresholds=Thresholds(confidence=0.25, iou=0.7, max_detections=300),
        source=Source(
            weights_sha256="b" * 64, onnx_sha256="c" * 64, onnx_file="x.onnx", git_commit=""
        ),
    )


def benchmark(p99: float = 10, p50: float = 5, fps: float = 200, valid: bool = True) -> Benchmark:
    latency = Latency(
        p50_ms=p50,
        p95_ms=p99,
        p99_ms=p99,
        p99_low_ms=p99,
        p99_high_ms=p99,
        mean_ms=p50,
        min_ms=p50,
        max_ms=p99,
        count=400,
    )
    return Benchmark(
        engine="m-fp16",
        target="t",
        engine_sha256="a" * 64,
        frame_size=(720, 1280),
        inference={"1": latency},
        frame={"1": latency},
        throughput=Throughput(frames_per_second=fps, in_flight=4, count=500),
        memory_peak_mib=300,
        machine=MachineState(
            steal_share=0.21,
            others_share=0,
            run_queue_wait_share=0,
            drift_share=0,
            clock_min_mhz=None,
            clock_max_mhz=None,
            throttle_events=None,
            temperature_max_c=None,
        ),
        validity=Validity(valid=valid, reasons=() if valid else (BUSY,), attempts=1),
    )


def evaluation(drop: float = 0.001, shift: float = 0.01, references: int = 100) -> Evaluation:
    return Evaluation(
        engine="m-fp16",
        target="t",
        engine_sha256="a" * 64,
        images=300,
        objects=900,
        map50_95=0.7,
        map50=0.9,
        map50_95_small=0.5,
        map50_95_medium=0.8,
        map50_95_large=None,
        per_class={},
        reference_map50_95=0.7 + drop,
        map50_95_drop=drop,
        map50_95_drop_interval=Interval(low=0, high=0, resamples=1),
        confidence_shift=shift,
        confidence_threshold=0.25,
        reference_detections=references,
        lost_detections=0,
    )


def test_within_every_budget_is_pass() -> None:
    verdict = judge(manifest(), benchmark(), evaluation(), BUDGETS)
    assert verdict.verdict == "PASS"
    assert [check.name for check in verdict.checks] == list(BUDGETS.limits())
    raise_unless_pass(verdict)


@pytest.mark.parametrize(
    ("missed", "change"),
    [
        ("frame_p99_ms", {"benchmark": benchmark(p99=30.1)}),
        ("frame_p50_ms", {"benchmark": benchmark(p50=20.1)}),
        ("throughput_fps", {"benchmark": benchmark(fps=59)}),
        ("map50_95_drop", {"evaluation": evaluation(drop=0.011)}),
        ("confidence_shift", {"evaluation": evaluation(shift=0.06)}),
        ("memory_peak_mib", {"benchmark": benchmark().model_copy(update={"memory_peak_mib": 2e3})}),
        ("engine_size_mib", {"manifest": manifest(65 << 20)}),
    ],
)
def test_each_missed_budget_fails_alone(missed: str, change: dict[str, Any]) -> None:
    whole: dict[str, Any] = {
        "manifest": manifest(),
        "benchmark": benchmark(),
        "evaluation": evaluation(),
    }
    verdict = judge(**(whole | change), budgets=BUDGETS)
    assert [check.name for check in verdict.checks if check.verdict == "FAIL"] == [missed]
    with pytest.raises(GateFailed, match=missed):
        raise_unless_pass(verdict)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_never_reaches_the_gate(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        evaluation(drop=value)
    with pytest.raises(ValueError, match="finite number"):
        benchmark(fps=value)


def test_a_busy_machine_makes_the_timings_invalid_however_good_they_are() -> None:
    verdict = judge(manifest(), benchmark(p99=1, valid=False), evaluation(), BUDGETS)
    assert verdict.verdict == "INVALID"
    assert {check.name for check in verdict.checks if check.verdict == "INVALID"} == {
        "frame_p99_ms",
        "frame_p50_ms",
        "throughput_fps",
    }
    with pytest.raises(GateInvalid) as raised:
        raise_unless_pass(verdict)
    assert re.findall(r"`([^`]+)`", str(raised.value)) == [
        "pipeline benchmark m-fp16 --target t",
        "dvc commit --force engines/targets/t/dvc.yaml:benchmark@m-fp16",
        "dvc repro engines/targets/t/dvc.yaml",
    ]


def test_a_busy_machine_does_not_excuse_an_inaccurate_engine() -> None:
    verdict = judge(manifest(), benchmark(valid=False), evaluation(drop=0.5), BUDGETS)
    assert verdict.verdict == "FAIL"


def test_nothing_to_compare_with_is_no_pass() -> None:
    verdict = judge(manifest(), benchmark(), evaluation(references=0, shift=0), BUDGETS)
    assert verdict.verdict == "INVALID"
    assert [check.name for check in verdict.checks if check.verdict == "INVALID"] == [
        "confidence_shift"
    ]
    assert "finds nothing at or above confidence 0.25" in verdict.reasons[0]


def test_a_budget_within_the_interval_of_the_p99_is_undecided() -> None:
    frame = {"1": benchmark().frame["1"].model_copy(update={"p99_low_ms": 9, "p99_high_ms": 31})}
    verdict = judge(
        manifest(), benchmark().model_copy(update={"frame": frame}), evaluation(), BUDGETS
    )
    assert verdict.verdict == "INVALID"
    assert "between 9.00 and 31.00 ms" in verdict.reasons[0]


def test_a_slow_engine_on_a_busy_machine_is_not_blamed() -> None:
    verdict = judge(manifest(), benchmark(p99=500, valid=False), evaluation(), BUDGETS)
    assert verdict.verdict == "INVALID"


@given(
    p99=st.floats(1, 60),
    drop=st.floats(-0.1, 0.1),
    valid=st.booleans(),
)
def test_pass_never_comes_with_a_miss_or_an_untrusted_timing(
    p99: float, drop: float, valid: bool
) -> None:
    verdict = judge(
        manifest(), benchmark(p99=p99, p50=1, valid=valid), evaluation(drop=drop), BUDGETS
    )
    good = valid and p99 <= 30 and drop <= 0.01
    assert (verdict.verdict == "PASS") == good


def test_junit_tells_failures_from_errors() -> None:
    verdict = judge(manifest(), benchmark(valid=False), evaluation(drop=0.5), BUDGETS)
    suite = ET.fromstring(junit(verdict)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "1", "3")
    failure = suite.find("testcase[@name='map50_95_drop']/failure")
    assert failure is not None
    assert failure.get("message") == "measured 0.5 , at most 0.01"
    error = suite.find("testcase[@name='frame_p99_ms']/error")
    assert error is not None
    assert BUSY in str(error.get("message"))


# --- hot ---------------------------------------------------------------------------------------

HOT = BUDGETS.model_copy(update={"hot_frame_p99_ms": 35.0})


def soaked(
    p99: float,
    low: float | None = None,
    high: float | None = None,
    valid: bool = True,
    minutes: float = 10,
    count: int = 400,
) -> Benchmark:
    cool = benchmark(valid=valid)
    interval = {"p99_low_ms": low or p99, "p99_high_ms": high or p99}
    hot = cool.frame["1"].model_copy(update={"p99_ms": p99, "count": count} | interval)
    window = SoakWindow(
        start_s=0,
        p50_ms=5,
        p99_ms=p99,
        count=100,
        gpu_clock_min_mhz=612,
        temperature_max_c=84,
        power_mean_w=12,
    )
    soak = Soak(
        minutes=minutes,
        windows=(window,),
        hot=hot,
        throttle_events=3,
        over_current_events=1,
        throttle_reasons=("HwThermalSlowdown",),
    )
    return cool.model_copy(update={"soak": soak, "energy_per_frame_mj": 93.25})


@pytest.mark.parametrize(("p99", "expected"), [(34.9, "PASS"), (35.0, "PASS"), (40.0, "FAIL")])
def test_a_hot_p99_has_a_budget_of_its_own(p99: float, expected: str) -> None:
    verdict = judge(manifest(), soaked(p99), evaluation(), HOT)
    assert verdict.verdict == expected
    hot = verdict.checks[-1]
    assert (hot.name, hot.measured, hot.limit) == ("hot_frame_p99_ms", p99, 35)
    assert {check.verdict for check in verdict.checks[:-1]} == {"PASS"}
    assert [check.name for check in verdict.checks] == list(HOT.limits())


def test_throttling_in_the_soak_is_no_reason_for_invalid() -> None:
    assert judge(manifest(), soaked(20), evaluation(), HOT).reasons == ()


def test_a_hot_p99_whose_interval_holds_the_budget_is_undecided() -> None:
    verdict = judge(manifest(), soaked(34, low=33, high=36), evaluation(), HOT)
    assert verdict.verdict == "INVALID"
    assert [check.name for check in verdict.checks if check.verdict == "INVALID"] == [
        "hot_frame_p99_ms"
    ]
    (reason,) = verdict.reasons
    assert "The hot frame's p99 lies between 33.00 and 36.00 ms" in reason
    assert "benchmark.soak_minutes" in reason


@pytest.mark.parametrize("p99", [20, 500])
def test_a_soak_shorter_than_the_row_s_is_not_judged(p99: float) -> None:
    verdict = judge(manifest(), soaked(p99, minutes=0.05), evaluation(), HOT, soak_minutes=30)
    assert (verdict.verdict, verdict.checks[-1].verdict) == ("INVALID", "INVALID")
    (reason,) = verdict.reasons
    assert "at least 30 minutes" in reason
    assert "came one of 0.05" in reason
    assert "`pipeline benchmark m-fp16 --target t` without --soak" in reason
    # 60 times 0.7 and a 60th of it again is a little less.
    same = judge(manifest(), soaked(20, minutes=60 * 0.7 / 60), evaluation(), HOT, soak_minutes=0.7)
    assert same.verdict == "PASS"


def test_a_hot_p99_of_too_few_frames_is_not_judged() -> None:
    verdict = judge(manifest(), soaked(20, count=367), evaluation(), HOT, soak_minutes=10)
    assert (verdict.verdict, verdict.checks[-1].verdict) == ("INVALID", "INVALID")
    (reason,) = verdict.reasons
    assert "at least 368 frames" in reason
    assert "came 367" in reason
    assert judge(manifest(), soaked(20, count=368), evaluation(), HOT).verdict == "PASS"


@pytest.fixture
def laid_out(tmp_path: Path) -> Workspace:
    """One engine with its records, of a target with a budget for the hot p99."""
    text = (REPOSITORY / "engines/targets" / TARGET / "params.yaml").read_text()
    text = text.replace("benchmark:\n", "benchmark:\n  soak_minutes: 30\n", 1)
    text = text.replace("budgets:\n", "budgets:\n  hot_frame_p99_ms: 35\n", 1)
    workspace = Workspace(root=tmp_path)
    folder = workspace.engine(TARGET, ENGINE)
    folder.mkdir(parents=True)
    (workspace.target(TARGET) / "params.yaml").write_text(text)
    manifest().write(folder / "manifest.json")
    evaluation().write(folder / "evaluation.json")
    soaked(20, minutes=30).write(folder / "benchmark.json")
    return workspace


def test_the_gate_reads_how_long_the_row_s_soak_is(laid_out: Workspace) -> None:
    verdict, _ = gate(laid_out, TARGET, ENGINE)
    assert verdict.verdict == "PASS"
    soaked(20, minutes=0.05).write(laid_out.engine(TARGET, ENGINE) / "benchmark.json")
    verdict, _ = gate(laid_out, TARGET, ENGINE)
    assert verdict.verdict == "INVALID"


def on_gpu(**changes: Any) -> Fingerprint:
    gpu = {"kind": "dgpu", "gpu": "NVIDIA L4", "compute_capability": "8.9", "driver": "560"}
    return manifest().device.model_copy(update=gpu | changes)


def gate_of(
    workspace: Workspace, built: Fingerprint, here: Fingerprint | None, package: str
) -> Verdict:
    folder = workspace.engine(TARGET, ENGINE)
    changes = {"device": built, "backend_package": package}
    manifest().model_copy(update=changes).write(folder / "manifest.json")
    record = soaked(20, minutes=30).model_copy(update={"device": here})
    record.write(folder / "benchmark.json")
    return gate(workspace, TARGET, ENGINE)[0]


@pytest.mark.parametrize(
    "other", [{"gpu": "NVIDIA T4"}, {"compute_capability": "8.6"}, {"driver": "570"}]
)
def test_figures_of_another_device_are_refused(laid_out: Workspace, other: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"measured where m-fp16 was built, on NVIDIA L4"):
        gate_of(laid_out, on_gpu(), on_gpu(**other), "tensorrt")


def test_figures_of_a_device_that_the_engine_may_run_on_are_judged(laid_out: Workspace) -> None:
    plain = manifest().device
    for package, built, here in (
        ("tensorrt", on_gpu(), on_gpu()),
        ("tensorrt", on_gpu(), None),  # of before the record had a device
        ("tensorrt_rtx", plain, on_gpu()),  # built without a GPU
        ("tensorrt_rtx", on_gpu(), on_gpu(gpu="NVIDIA T4")),
        ("openvino", plain, on_gpu()),  # somebody put a card in
    ):
        assert gate_of(laid_out, built, here, package).verdict == "PASS"


def test_a_hot_p99_of_a_disturbed_machine_is_not_judged() -> None:
    verdict = judge(manifest(), soaked(500, valid=False), evaluation(), HOT)
    assert (verdict.verdict, verdict.checks[-1].verdict) == ("INVALID", "INVALID")


def test_a_budget_without_a_soak_is_invalid_and_says_which_command_to_run() -> None:
    verdict = judge(manifest(), benchmark(), evaluation(), HOT)
    assert verdict.verdict == "INVALID"
    (reason,) = verdict.reasons
    assert "came none" in reason
    assert "pipeline benchmark m-fp16 --target t --soak MINUTES" in reason
    with pytest.raises(GateInvalid):
        raise_unless_pass(verdict)
    suite = ET.fromstring(junit(verdict)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("errors")) == ("8", "1")
    error = suite.find("testcase[@name='measured']/error")
    assert error is not None
    assert "--soak MINUTES" in str(error.get("message"))


def test_a_missing_soak_does_not_excuse_an_inaccurate_engine() -> None:
    assert judge(manifest(), benchmark(), evaluation(drop=0.5), HOT).verdict == "FAIL"


def test_a_soak_without_a_budget_is_no_check() -> None:
    verdict = judge(manifest(), soaked(500), evaluation(), BUDGETS)
    assert verdict.verdict == "PASS"
    assert [check.name for check in verdict.checks] == list(BUDGETS.limits())


def _summary(of: Benchmark) -> Summary:
    return summarise(manifest(), of, evaluation(), judge(manifest(), of, evaluation(), BUDGETS))


def test_the_summary_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    _summary(benchmark()).write(path)
    assert "hot" not in path.read_text()
    assert "null" not in path.read_text()
    assert Summary.read(path).energy_per_frame_mj is None
    _summary(soaked(20)).write(path)
    assert (Summary.read(path).hot_frame_p99_ms, Summary.read(path).energy_per_frame_mj) == (
        20,
        93.25,
    )


def test_energy_and_hot_p99_are_printed_where_they_were_measured() -> None:
    def printed(of: Benchmark) -> str:
        console = Console(width=80, file=io.StringIO())
        verdict = judge(manifest(), of, evaluation(), BUDGETS)
        print_verdict(verdict, _summary(of), console)
        print_report("t", [(_summary(of), verdict)], console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(len(line) for line in text.splitlines()) <= 80
        return str(text)

    assert "hot" not in printed(benchmark())
    assert "mJ" not in printed(benchmark())
    text = printed(soaked(20))
    assert text.count("hot p99 20.00 ms, 93.2 mJ a frame") == 2


def test_the_table_is_as_people_know_it() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(valid=False), evaluation(0.5), BUDGETS)
    print_verdict(verdict, console=console)
    assert console.file.getvalue() == (GOLDEN / "verdict-table.txt").read_text()
