"""`pipeline` on a machine with a GPU: a repository with one target, which is this very machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.manifest import Manifest
from pipeline.latency import trtexec
from pipeline.steps.benchmark import benchmark
from pipeline.steps.build import build
from pipeline.steps.evaluate import evaluate
from pipeline.steps.gate import gate
from pipeline.steps.probe import probe

ROOT = Path(__file__).parents[2]
ROWS = {"tensorrt": "dgpu-x86", "tensorrt_rtx": "rtx-x86"}
TARGET = "this-machine"
ENGINE = "meter-yolov8n-fp16"


@pytest.fixture(scope="module")
def workspace(package: str, device: Any, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With the row of such machines, but short measurements."""
    root = tmp_path_factory.mktemp("repository")
    (root / "dvc.yaml").touch()
    (root / "models").symlink_to(ROOT / "models")
    missing = [name for name in ("model.fp32.onnx", "model.fp16.onnx") if not _made(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} of the sample model: `dvc repro quantize` makes them")
    yaml = YAML()
    row = yaml.load(ROOT / "engines" / "targets" / ROWS[package] / "params.yaml")
    row["target"] = TARGET
    row["device"] = {"kind": device.kind, "architecture": device.architecture}
    row["builder"].pop("device", None)
    row["builder"]["timing_cache"] = False
    row["batch"] = {"min": 1, "opt": 2, "max": 4}
    row["benchmark"] |= {"warmup_seconds": 0.5, "seconds": 1.0, "max_seconds": 1.0}
    row["benchmark"] |= {"max_attempts": 1}
    folder = Workspace(root=root).target(TARGET)
    folder.mkdir(parents=True)
    yaml.dump(row, folder / "params.yaml")
    return Workspace(root=root)


def _made(name: str) -> bool:
    return (ROOT / "models" / "meter-yolov8n" / "out" / name).is_file()


@pytest.fixture(scope="module")
def built(workspace: Workspace, tiny: Any) -> Manifest:
    """The engine of the sample model, through `pipeline probe` and `pipeline build`."""
    tiny.load().close()  # xfail where TensorRT-RTX does not take this GPU
    probe(workspace, TARGET)
    return build(workspace, TARGET, ENGINE)


def test_the_manifest_names_this_gpu(built: Manifest, device: Any) -> None:
    assert built.device == device
    assert built.device.gpu
    assert built.device.compute_capability
    assert built.executed_precision == "fp16"
    assert built.inputs[0].dtype == "uint8"


def test_benchmark_and_soak(workspace: Workspace, built: Manifest) -> None:
    """Whether the measurement is valid is the machine's affair; that it is one, is ours."""
    record = benchmark(workspace, TARGET, ENGINE, soak_minutes=0.1)
    print(record.model_dump_json(indent=1))
    assert set(record.inference) == set(record.frame) == {"1", "2"}
    for batch in ("1", "2"):
        assert 0 < record.inference[batch].p50_ms < record.frame[batch].p50_ms < 1000
    assert record.throughput.frames_per_second > 500 / record.frame["1"].p50_ms
    assert record.machine.gpu_memory_max_mib is None or record.machine.gpu_memory_max_mib > 0
    assert record.soak is not None
    assert record.soak.hot.count > 100
    assert record.soak.windows[-1].start_s >= 0


def test_cross_check_with_trtexec(workspace: Workspace, built: Manifest) -> None:
    """What the two say is printed: more than 3 % apart makes the record INVALID, not the test."""
    try:
        trtexec.find(built.backend_package)
    except InputError as error:
        pytest.skip(str(error))
    checked = benchmark(workspace, TARGET, ENGINE, cross_check=True).cross_check
    assert checked is not None
    print(checked.model_dump_json(indent=1))
    ours, theirs = checked.ours_p50_ms, checked.trtexec_p50_ms
    assert min(ours, theirs) > 0
    assert checked.difference_share == pytest.approx((ours - theirs) / theirs)


def test_evaluate_and_gate(workspace: Workspace, built: Manifest) -> None:
    """fp16 loses nothing worth a word; the verdict stands on a short measurement."""
    if not _made("reference.npz"):
        pytest.skip("reference.npz of the sample model: `dvc repro verify` makes it")
    found = evaluate(workspace, TARGET, ENGINE)
    assert found.map50_95_drop < 0.01
    assert found.confidence_shift < 0.02
    if not (workspace.engine(TARGET, ENGINE).path / "benchmark.json").is_file():
        benchmark(workspace, TARGET, ENGINE)
    verdict, _ = gate(workspace, TARGET, ENGINE)
    print(verdict.model_dump_json(indent=1))
    accuracy = {check.name: check for check in verdict.checks}["map50_95_drop"]
    assert accuracy.measured < accuracy.limit
