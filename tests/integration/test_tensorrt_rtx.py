"""NVIDIA's own builder takes every ONNX file that export and quantize make, in all precisions: the
sample model, all the way. TensorRT-RTX builds without a GPU.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.config.model import load_model
from engines.config.target import TargetConfig, load_target
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Manifest, Profile, Tensor
from engines.records.record import Precision
from tests.integration.conftest import BIN, MODEL, PRECISIONS, ROOT, Clone, copy

pytestmark = pytest.mark.integration

RTX = "rtx-x86"
ROW = f"engines/targets/{RTX}/params.yaml"
SIDE = 640
STRIDES = (8, 16, 32)


@pytest.fixture(scope="module")
def rtx(first_run: tuple[Clone, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A finished clone with the target, before anything was built for it."""
    folder = tmp_path_factory.mktemp("rtx")
    subprocess.run(["cp", "-a", str(first_run[0].root), str(folder / "clone")], check=True)
    with with_target(Clone(root=folder / "clone")) as clone:
        yield clone


@contextmanager
def with_target(clone: Clone) -> Iterator[Clone]:
    """The clone with the target; what would be kept between builds is kept beside it."""
    for file in ("params.yaml", "dvc.yaml"):
        path = f"engines/targets/{RTX}/{file}"
        copy(ROOT / path, clone.root / path)
    with clone.edited(ROW) as row:
        row["builder"]["timing_cache"] = (
            True  # of no use to TensorRT-RTX, but it takes and gives it
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(clone.root.parent / "cache"))
        yield clone


# --- what a manifest must say --------------------------------------------------------------------


def check(clone: Clone, model_name: str, precision: Precision) -> Manifest:
    """The plan is raw and whole, and the manifest is of it, of the row and of this machine."""
    engine = f"{model_name}-{precision}"
    folder = clone.workspace.engine(RTX, engine).path
    manifest = Manifest.read(folder / "manifest.json")
    model, target = load_model(clone.workspace, model_name), load_target(clone.workspace, RTX)
    plan = folder / "engine.plan"
    assert plan.read_bytes()[1:4] == b"trt"
    assert manifest.engine_file == plan.name
    assert manifest.engine_sha256 == sha256_file(plan)
    assert manifest.engine_bytes == plan.stat().st_size
    assert (manifest.engine, manifest.target) == (engine, RTX)
    assert manifest.device == read_fingerprint()
    assert (manifest.backend, manifest.backend_package) == ("tensorrt", "tensorrt_rtx")
    assert manifest.backend_version == manifest.device.backends["tensorrt_rtx"]
    assert manifest.precision == manifest.executed_precision == precision
    onnx = clone.workspace.model_out(model_name) / f"model.{precision}.onnx"
    assert manifest.source.onnx_sha256 == sha256_file(onnx)
    assert manifest.source.weights_sha256 == model.weights.sha256
    assert manifest.batch == target.batch
    check_bindings(manifest, len(model.classes), model.imgsz)
    check_plan(manifest, target, model.imgsz)
    check_layers(manifest)
    return manifest


def check_bindings(manifest: Manifest, classes: int, imgsz: tuple[int, int]) -> None:
    """Camera bytes in, the raw head's float32 out."""
    anchors = sum((imgsz[0] // stride) * (imgsz[1] // stride) for stride in STRIDES)
    assert manifest.inputs == (Tensor(name="images", dtype="uint8", shape=(None, *imgsz, 3)),)
    output = Tensor(name="output0", dtype="float32", shape=(None, 4 + classes, anchors))
    assert manifest.outputs == (output,)
    assert manifest.preprocess.in_engine == (
        *("uint8 to float", "NHWC to NCHW", "BGR to RGB", "divide by 255"),
    )


def check_plan(manifest: Manifest, target: TargetConfig, imgsz: tuple[int, int]) -> None:
    """How it was built is what the row says."""
    said, batch, row = manifest.tensorrt, target.batch, target.builder.model_dump()
    assert said is not None
    frame = (*imgsz, 3)
    assert said.profile == {
        "images": Profile(min=(batch.min, *frame), opt=(batch.opt, *frame), max=(batch.max, *frame))
    }
    assert said.single == {"images": Profile(**dict.fromkeys(("min", "opt", "max"), (1, *frame)))}
    assert said.strongly_typed
    for key in ("workspace_mib", "optimization_level", "hardware_compatibility", "dla_core"):
        assert getattr(said, key) == row[key]
    assert not said.version_compatible


def check_layers(manifest: Manifest) -> None:
    """Each precision has the layers of its file: what is neither INT8 nor float16 is the division
    of pixels, the box decode (a softmax, a convolution, six sums and products) and the sigmoid of
    the scores."""
    layers = manifest.executed_layers
    expected = {"fp32": {"fp32"}, "fp16": {"fp16", "fp32"}, "int8": {"int8", "fp16", "fp32"}}
    assert set(layers) == expected[manifest.precision]
    if manifest.precision != "fp32":
        assert layers["fp32"] == 10
        assert layers["fp16"] > 10 * layers["fp32"]
    if manifest.precision == "int8":
        assert layers["int8"] >= 57  # the convolutions of YOLOv8n before its head's outputs


# --- the sample model ----------------------------------------------------------------------------


def stage(engine: str) -> str:
    return f"engines/targets/{RTX}/dvc.yaml:build@{engine}"


def test_the_sample_model_is_built_by_dvc(rtx: Clone) -> None:
    """Probe and build, each once; then nothing, since nothing changed."""
    for precision in PRECISIONS:
        engine = f"{MODEL}-{precision}"
        assert rtx.repro(stage(engine)) == ["probe", f"build@{engine}"]
        manifest = check(rtx, MODEL, precision)
        assert manifest.tensorrt is not None
        # TensorRT-RTX cannot read its own timings back where there is no GPU.
        assert manifest.tensorrt.timing_cache in ("new", "ignored", "used")
    assert rtx.repro(*(stage(f"{MODEL}-{precision}") for precision in PRECISIONS)) == ["probe"]
    assert len(list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.cache"))) == 1


def test_progress_of_the_builder_on_a_terminal(rtx: Clone) -> None:
    rtx.run("pipeline", "probe", "--target", RTX)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(BIN / "pipeline"), "build", f"{MODEL}-fp32", "--target", RTX],
        cwd=rtx.root,
        env=rtx.environment | {"TERM": "xterm", "COLUMNS": "160"},
        stderr=theirs,
    )
    os.close(theirs)
    said = read_all(ours)
    assert process.wait() == 0, said
    phases = set(re.findall(rf"build {MODEL}-fp32: ([A-Z][a-z ]+[a-z])", said))
    assert len(phases) > 1, said
    assert re.search(r"\d+/\d+", said)


def read_all(descriptor: int) -> str:
    """What comes from a terminal until its other side is closed."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux says EIO at the end
        pass
    os.close(descriptor)
    return b"".join(parts).decode()
