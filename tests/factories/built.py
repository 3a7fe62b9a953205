"""An engine that is really built, with its manifest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factories.records import manifest, source

from engines.backends import BuildRequest, open_backend
from engines.files import sha256_file
from engines.packages import PACKAGES
from engines.records.manifest import Manifest


def build(folder: Path, request: BuildRequest[Any], **about: Any) -> Manifest:
    """Build what is asked for in `folder`, and write the manifest, which says `about` the engine
    what the builder does not know. Classes are numbers unless they are given."""
    package = PACKAGES[request.options.package]
    backend = open_backend(package.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.engine_file
    result = backend.build(request, path)
    channels = result.outputs[0].shape[1]
    assert channels is not None
    facts: dict[str, Any] = {
        "engine": folder.name,
        "precision": request.precision,
        "executed_precision": result.executed_precision,
        "executed_layers": result.executed_layers,
        "engine_file": path.name,
        "engine_sha256": sha256_file(path),
        "backend": package.backend,
        "backend_package": package.name,
        "backend_version": backend.version(),
        "device": request.device,
        "batch": request.batch,
        "inputs": result.inputs,
        "outputs": result.outputs,
        "imgsz": request.imgsz,
        "classes": tuple(map(str, range(channels - 4))),
        "preprocess": result.preprocess,
        "source": source(request.onnx.name, onnx_sha256=sha256_file(request.onnx)),
        "tensorrt": result.tensorrt,
        "openvino": result.openvino,
    }
    built = manifest(path.stat().st_size, **(facts | about))
    built.write(folder / Manifest.file)
    return built
