"""An engine of the tiny network, built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.backends import BuildRequest
from engines.backends.openvino import OpenVINO
from engines.config import OpenVINOBuilder
from engines.device import read_fingerprint
from engines.files import sha256_file
from engines.records import Batch, Manifest, Postprocess, Precision, Source

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
        options=OpenVINOBuilder(),
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
    engine = folder / backend.engine_file
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
        backend=backend.name,
        backend_package="openvino",
        backend_version=backend.version(),
        device=request.device,
        batch=BATCH,
        inputs=result.inputs,
        outputs=result.outputs,
        imgsz=IMGSZ,
        classes=("bolt", "nut", "washer"),
        preprocess=result.preprocess,
        postprocess=Postprocess(),
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
