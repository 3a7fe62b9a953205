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
from factories.built import build

from engines.backends import BuildRequest
from engines.backends.openvino.options import OpenVINOOptions
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Batch, Manifest
from engines.records.record import Precision

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
    return build(
        folder,
        build_request(onnx, precision=precision),
        engine=f"tiny-{precision}",
        model="tiny",
        target="x86-openvino",
        classes=("bolt", "nut", "washer"),
    )


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


def same(found: Any, expected: Any) -> None:
    """Equal but for the order in which floats were added."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
