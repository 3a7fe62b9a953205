"""Tests that need an NVIDIA GPU: `pytest -m gpu tests/gpu`. They skip with a reason elsewhere.

What they need:

- an NVIDIA GPU (a card or a Jetson) and its driver, of CUDA 12 or later;
- TensorRT: the system's (JetPack; NVIDIA's packages; `pip install tensorrt-cu12` beside a card),
  or TensorRT-RTX (`pip install '.[rtx]'`, cards of the RTX generations alone). Where both are there
  the system's is taken; `JETRAIL_GPU_PACKAGE=tensorrt_rtx` takes the other;
- `pip install '.[device]' pytest onnxruntime`, and for the sample model its ONNX files, which
  `dvc repro quantize` makes: without those, the tests of a tiny network remain;
- for the cross-check trtexec, which `sudo apt-get install libnvinfer-bin` brings;
- a machine on which nobody else uses the GPU.

On a GPU that TensorRT-RTX does not take, tests that load a plan end as xfail with its words: that
is what is known of such a GPU, and no pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import built

from engines.backends import BuildRequest, open_backend
from engines.backends.loading import load_engine
from engines.backends.tensorrt.cuda import driver as cuda
from engines.backends.tensorrt.engine import RTX_DEFAULT
from engines.backends.tensorrt.options import TensorRTOptions
from engines.detect.detector import Detector
from engines.detect.letterbox import letterbox
from engines.errors import WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.packages import installed_version
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest
from engines.records.record import Precision
from engines.records.thresholds import Thresholds
from pipeline.intake.dataset import load_set

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "models" / "meter-yolov8n"
SAMPLE_IMGSZ = (320, 320)
TINY_IMGSZ = (64, 96)
BATCH = Batch(min=1, opt=2, max=4)
PACKAGES = ("tensorrt", "tensorrt_rtx")
THRESHOLDS = Thresholds(confidence=0.25, iou=0.7, max_detections=300)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in this folder are marked."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    """Skips where there is no GPU."""
    try:
        cuda.Gpu().close()
    except WrongEngine as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def package(_gpu: None) -> str:
    """TensorRT's package; skips where there is none. A process can use one alone."""
    asked = os.environ.get("JETRAIL_GPU_PACKAGE")
    for name in (asked,) if asked else PACKAGES:
        if installed_version(name):
            return name
    pytest.skip(f"None of {asked or ', '.join(PACKAGES)} is installed: see tests/gpu/conftest.py")


@pytest.fixture(scope="session")
def device(_gpu: None) -> Fingerprint:
    return read_fingerprint()


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine that was built on this machine, and what it was built from."""

    folder: Path
    onnx: Path
    imgsz: tuple[int, int]
    device: Fingerprint
    package: str

    @property
    def plan(self) -> Path:
        return self.folder / "engine.plan"

    def load(self, *, in_flight: int = 1) -> Any:
        """The session; xfail where TensorRT-RTX does not take this GPU."""
        try:
            return load_engine(self.folder, self.device, in_flight=in_flight)[1]
        except WrongEngine as error:
            sm = self.device.compute_capability
            if self.package == "tensorrt_rtx" and sm not in RTX_DEFAULT:
                pytest.xfail(f"TensorRT-RTX does not take this GPU (SM {sm}): {error}")
            raise

    def detector(self, *, in_flight: int = 1) -> Detector:
        session = self.load(in_flight=in_flight)
        manifest = Manifest.read(self.folder / "manifest.json")
        return Detector(session, manifest, thresholds=THRESHOLDS)

    def reference(self, pictures: Any) -> Any:
        """ONNX Runtime on the same ONNX file, with the preprocessing written out."""
        import onnxruntime

        planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
        session = onnxruntime.InferenceSession(str(self.onnx), providers=["CPUExecutionProvider"])
        return session.run(None, {"images": planes})[0]


@pytest.fixture(scope="session")
def build(
    package: str, device: Fingerprint, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Built]:
    """A function that builds an ONNX file, and writes the manifest."""
    options = TensorRTOptions(
        package=package,  # type: ignore[arg-type]
        workspace_mib=512,
        optimization_level=3,
        timing_cache=False,
        version_compatible=False,
        hardware_compatibility="none",
        dla_core=None,
    )

    def make(onnx: Path, imgsz: tuple[int, int], precision: Precision) -> Built:
        folder = tmp_path_factory.mktemp("engine")
        request = BuildRequest(
            onnx=onnx,
            precision=precision,
            batch=BATCH,
            imgsz=imgsz,
            device=device,
            options=options,
            progress=lambda phase, done, total: None,
        )
        built.build(folder, request, target="this-machine")
        return Built(folder=folder, onnx=onnx, imgsz=imgsz, device=device, package=package)

    return make


@pytest.fixture(scope="session")
def tiny(build: Callable[..., Built], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The network of a few kilobytes that the unit tests use."""
    path = ROOT / "tests" / "unit" / "conftest.py"
    spec = spec_from_file_location("tiny_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    onnx = module.tiny_network(tmp_path_factory.mktemp("onnx") / "model.fp32.onnx")
    return build(onnx, TINY_IMGSZ, "fp32")


@pytest.fixture(scope="session", params=["fp32", "fp16", "int8"])
def sample(request: pytest.FixtureRequest, build: Callable[..., Built], package: str) -> Built:
    """The sample model in each precision, built once."""
    precision: Precision = request.param
    typed = open_backend(package).onnx_precision(precision)
    onnx = SAMPLE / "out" / f"model.{typed}.onnx"
    if not onnx.is_file():
        pytest.skip(f"{onnx.relative_to(ROOT)} is not there: `dvc repro quantize` makes it")
    return build(onnx, SAMPLE_IMGSZ, precision)


@pytest.fixture(scope="session")
def pictures() -> Any:
    """Eight pictures of the tiny network's size: uint8 BGR, shape (8, 64, 96, 3)."""
    return np.random.default_rng(3).integers(0, 256, (8, *TINY_IMGSZ, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def frames() -> list[Any]:
    """Sixteen camera frames of the sample model's evaluation set."""
    samples = load_set(SAMPLE / "data" / "evaluation", "evaluation")[:16]
    return [sample.read_image() for sample in samples]


@pytest.fixture(scope="session")
def letterboxed(frames: list[Any]) -> Any:
    """The frames as the engine takes them: uint8 BGR, shape (16, 320, 320, 3)."""
    out = np.zeros((len(frames), *SAMPLE_IMGSZ, 3), np.uint8)
    for frame, one in zip(frames, out, strict=True):
        letterbox(frame, SAMPLE_IMGSZ, one)
    return out


@pytest.fixture
def free_mib(_gpu: None) -> Iterator[Callable[[], float]]:
    """A function that gives the GPU's free memory in MiB, in NVML's words or in CUDA's."""
    from engines.machine.sensors.nvml import open_card

    card, gpu = open_card(), cuda.Gpu()

    def free() -> float:
        read = card.read().gpu_memory_mib if card else None
        gpu.use()
        return -read if read is not None else float(cuda.call("cuMemGetInfo")[0]) / (1 << 20)

    yield free
    gpu.close()
    if card:
        card.close()


@pytest.fixture
def comes_back(free_mib: Callable[[], float]) -> Callable[..., None]:
    """A function that fails unless what a cycle takes of the GPU's memory comes back.

    The first cycles of a process do not count: they leave CUDA's own context and kernels behind.
    """

    def check(cycle: Callable[[], None], *, first: int, rounds: int) -> None:
        for _ in range(first):
            cycle()
        before = free_mib()
        for _ in range(rounds):
            cycle()
        assert free_mib() > before - 16

    return check
