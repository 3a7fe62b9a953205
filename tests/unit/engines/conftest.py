"""An engine of the tiny network, built once."""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engines.backends import BuildRequest, Session
from engines.backends.openvino.backend import OpenVINO
from engines.backends.openvino.options import OpenVINOOptions
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Batch, Manifest, Postprocess, Source
from engines.records.record import Precision
from engines.records.thresholds import Thresholds

BATCH = Batch(min=1, opt=2, max=4)
IMGSZ = (64, 96)


def build_request(onnx: Path, **changes: Any) -> BuildRequest:
    """Build `onnx` in fp32 for this machine with OpenVINO, but for the changes."""
    request = BuildRequest(
        onnx=onnx,
        precision="fp32",
        batch=BATCH,
        imgsz=IMGSZ,
        device=read_fingerprint(),
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    return replace(request, **changes)


@pytest.fixture(scope="session")
def make_request() -> Callable[..., BuildRequest]:
    """`build_request`, for tests that need a variant of it."""
    return build_request


def build_tiny(folder: Path, onnx: Path, precision: Precision = "fp32") -> Manifest:
    """Build the engine and its manifest in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = OpenVINO()
    engine = folder / "engine.blob"
    request = build_request(onnx, precision=precision)
    result = backend.build(request, engine)
    manifest = Manifest(
        engine=f"tiny-{precision}",
        model="tiny",
        model_version="1.0",
        target="x86-openvino",
        precision=precision,
        executed_precision=result.executed_precision,
        executed_layers=result.executed_layers,
        engine_file=engine.name,
        engine_sha256=sha256_file(engine),
        engine_bytes=engine.stat().st_size,
        backend="openvino",
        backend_package="openvino",
        backend_version=backend.version(),
        device=request.device,
        batch=BATCH,
        inputs=result.inputs,
        outputs=result.outputs,
        imgsz=IMGSZ,
        classes=("bolt", "nut", "washer"),
        preprocess=result.preprocess,
        openvino=result.openvino,
        postprocess=Postprocess(),
        thresholds=Thresholds(confidence=0.25, iou=0.7, max_detections=300),
        source=Source(
            weights_sha256="0" * 64,
            onnx_sha256=sha256_file(onnx),
            onnx_file="model.fp32.onnx",
            git_commit="",
        ),
    )
    manifest.write(folder / "manifest.json")
    return manifest


@pytest.fixture(scope="session")
def built_engine(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    """Folder of the tiny engine; read only, see `engine_folder`."""
    folder = tmp_path_factory.mktemp("engine") / "tiny-fp32"
    build_tiny(folder, tiny_onnx)
    return folder


@pytest.fixture
def engine_folder(built_engine: Path, tmp_path: Path) -> Path:
    """A copy of the tiny engine's folder that a test may damage."""
    return Path(shutil.copytree(built_engine, tmp_path / "tiny-fp32"))


@pytest.fixture(scope="session")
def standin() -> Callable[[str], ModuleType]:
    """Loads a module of tests/standins: what stands in for a GPU, and was confirmed by none."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).parents[2] / "standins" / f"{name}.py"
        spec = spec_from_file_location(f"standin_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look there
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(
    params=[("tensorrt", "8.6.2"), ("tensorrt", "10.3.0"), ("tensorrt_rtx", "1.7.1")],
    ids="-".join,
)
def machine(
    request: pytest.FixtureRequest,
    standin: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tiny_onnx: Path,
    built_engine: Path,
    tmp_path: Path,
) -> Iterator[Any]:
    """A machine with a stand-in for its GPU, one for each TensorRT; checks that all was freed."""
    made = standin("machine").Machine(
        standin("cuda_driver"),
        standin("tensorrt"),
        monkeypatch,
        tmp_path,
        tiny_onnx,
        Manifest.read(built_engine / "manifest.json"),
        request.param,
    )
    yield made
    if made.driver.leaks():
        gc.collect()
    assert not made.driver.leaks()


@pytest.fixture(scope="session")
def expected(tiny_onnx: Path) -> Callable[[Any], Any]:
    """ONNX Runtime on the tiny network as it is, with the preprocessing written out."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tiny_onnx), providers=["CPUExecutionProvider"])

    def run(pictures: Any) -> Any:
        planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
        return session.run(None, {"images": planes})[0]

    return run


# --- plans on stand-ins --------------------------------------------------------------------------

only_10 = pytest.mark.parametrize(
    "machine", [("tensorrt", "10.3.0")], indirect=True, ids=["tensorrt-10"]
)
"""For what does not differ between TensorRT's versions."""


def run(session: Session, slot: int, pictures: Any) -> Any:
    """The raw head output of the pictures."""
    session.input(slot, len(pictures))[:] = pictures
    session.start(slot)
    return session.wait(slot)


def same(found: Any, expected: Any) -> None:
    """Equal but for the order in which floats were added."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
