"""Build: a typed ONNX file to the engine of this device, with its manifest."""

from __future__ import annotations

import ast
import json
from functools import partial
from pathlib import Path
from typing import Any

from engines.backends import BuildRequest, BuildResult, open_backend
from engines.config.model import ModelConfig, load_model
from engines.config.steady import check_steady
from engines.config.target import TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import atomic_path, sha256_file
from engines.machine.fingerprint import differences, read_fingerprint
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest, Postprocess, Source
from engines.records.record import Precision
from pipeline.device.recognition import check_target
from pipeline.device.turn import turn
from pipeline.onnx import reading
from pipeline.progress import note, steps_bar
from pipeline.repository import git


def build(workspace: Workspace, target_name: str, engine: str, *, wait: bool = False) -> Manifest:
    """Build the engine and write its file, then its manifest.

    Raises InputError when the ONNX file is missing, is not what model.yaml says or cannot be
    built, WrongEngine when this device is not the target's or not the one that was probed, Conflict
    when another build or measurement holds this device.
    """
    target = load_target(workspace, target_name)
    target.engine(engine)
    device = _probed_device(workspace, target)
    with turn(f"pipeline build {engine} --target {target_name}", wait=wait):
        return _build(workspace, target, engine, device)


def _build(
    workspace: Workspace, target: TargetConfig, engine: str, device: Fingerprint
) -> Manifest:
    row = target.engine(engine)
    model = load_model(workspace, row.model)
    chosen = open_backend(target.package.name)
    _check_class_names(workspace, target, model)
    onnx, onnx_sha256 = _onnx_file(workspace, model, chosen.onnx_precision(row.precision))
    source = _source(workspace, model, onnx, onnx_sha256)
    folder = workspace.engine(target.target, engine)
    path = folder.path / target.engine_file
    with atomic_path(path) as temporary, steps_bar(f"build {engine}") as progress:
        request = BuildRequest(
            onnx=onnx,
            precision=row.precision,
            batch=target.batch,
            imgsz=model.imgsz,
            device=device,
            options=target.builder,
            progress=progress,
        )
        result = chosen.build(request, temporary)
        _check_output(onnx, model, result)
        before = model, onnx_sha256, _goes_by(target, engine)
        target_now = _goes_by(load_target(workspace, target.target), engine)
        check_steady(before, (load_model(workspace, row.model), sha256_file(onnx), target_now))
        manifest = _manifest(source, target, engine, model, request, temporary, result)
    # Last: until then a new engine does not fit the old manifest and is refused by its sha256.
    folder.write(manifest)
    _warn(manifest)
    return manifest


def _goes_by(target: TargetConfig, engine: str) -> tuple[object, ...]:
    """Of a target's row, what an engine is built by; its budgets may change meanwhile."""
    row = target.engine(engine)
    return target.backend, target.builder, target.batch, target.evaluate, row.model, row.precision


def _manifest(
    source: Source,
    target: TargetConfig,
    engine: str,
    model: ModelConfig,
    request: BuildRequest[Any],
    path: Path,
    result: BuildResult,
) -> Manifest:
    """The manifest of the engine in `path`, which was just built and has that name."""
    package = target.package.name
    return Manifest(
        engine=engine,
        model=model.name,
        model_version=model.version,
        target=target.target,
        precision=request.precision,
        executed_precision=result.executed_precision,
        executed_layers=result.executed_layers,
        engine_file=path.name,
        engine_sha256=sha256_file(path),
        engine_bytes=path.stat().st_size,
        backend=target.backend,
        backend_package=package,
        backend_version=open_backend(package).version(),
        device=request.device,
        batch=request.batch,
        inputs=result.inputs,
        outputs=result.outputs,
        imgsz=model.imgsz,
        classes=model.classes,
        preprocess=result.preprocess,
        postprocess=Postprocess(),
        thresholds=target.evaluate,
        source=source,
        tensorrt=result.tensorrt,
        openvino=result.openvino,
    )


def _check_class_names(workspace: Workspace, target: TargetConfig, model: ModelConfig) -> None:
    """Refuse a class in `evaluate.per_class` that no model of the target has: a slip of the pen
    would leave that class at the common threshold, and nobody would see it."""
    unknown = target.evaluate.per_class.keys() - set(model.classes)
    for other in {row.model for row in target.engines.values()} if unknown else ():
        unknown -= set(load_model(workspace, other).classes)
    if unknown:
        raise InputError(
            f"Expected in `evaluate.per_class` of target {target.target} classes of its models "
            f"({', '.join(model.classes)}), got {', '.join(sorted(unknown))}. Fix its params.yaml."
        )


def _warn(manifest: Manifest) -> None:
    if manifest.tensorrt and manifest.tensorrt.timing_cache == "ignored":
        note(
            f"warning: the timing cache of {manifest.backend_package} {manifest.backend_version} "
            "was not taken: it is of another TensorRT or device, it is damaged, or there is no "
            "GPU to read it with. The engine was built without it, and a new one written."
        )


def _probed_device(workspace: Workspace, target: TargetConfig) -> Fingerprint:
    """This device, which must be the one in `device.json`."""
    here = read_fingerprint()
    check_target(here, target, target.build_device, partial(readable_targets, workspace))
    probed = Fingerprint.read(workspace.device_file(target.target))
    package = target.package.name
    wrong = differences(probed, here, package)
    # The target's own package only: others may come and go beside it.
    before, now = (one.backends.get(package) for one in (probed, here))
    if before != now:
        wrong.append(f"backends: {package}: expected {before or 'none'}, this device has {now}")
    if wrong:
        raise WrongEngine(
            f"Expected to build on the device that was probed for target {target.target}, but "
            f"{'; '.join(wrong)}. Run `pipeline probe --target {target.target}` here first."
        )
    return here


def _onnx_file(workspace: Workspace, model: ModelConfig, precision: Precision) -> tuple[Path, str]:
    """The file to build from, and the SHA-256 that it had before it was read."""
    path = workspace.onnx(model.name, precision)
    step = "export" if precision == "fp32" else "quantize"
    again = (
        f"Make it with `pipeline {step} {model.name}`, or `dvc repro`; a device takes that of CI "
        "or of a laptop, as docs/jetson.md says under 3."
    )
    if not path.is_file():
        raise InputError(
            f"Expected the ONNX file {workspace.relative(path)}, but there is none. {again}"
        )
    sha256 = sha256_file(path)
    graph = reading.parse(path)
    reading.check_self_contained(graph, path)
    metadata = reading.metadata(graph)
    expected = {"names": model.classes, "weights_sha256": model.weights.sha256}
    found = {"names": _names(metadata), "weights_sha256": metadata.get("weights_sha256")}
    for key, value in expected.items():
        if found[key] is not None and found[key] != value:
            raise InputError(
                f"Expected {workspace.relative(path)} to be made from what model.yaml says now, "
                f"{key} {value}, got {found[key]} in its metadata. {again}"
            )
    return path, sha256


def _names(metadata: dict[str, str]) -> tuple[str, ...] | None:
    """The classes in the order of their numbers; None where the file does not name them.

    Jetrail writes them as JSON, Ultralytics as a Python dictionary.
    """
    text = metadata.get("names")
    if text is None:
        return None
    try:
        table = json.loads(text) if text.startswith(('{"', "[", "{}")) else ast.literal_eval(text)
        if isinstance(table, dict):
            table = [table[key] for key in sorted(table, key=int)]
        return tuple(str(name) for name in table)
    except (ValueError, SyntaxError, TypeError) as error:
        raise InputError(
            f"Expected the classes as a list or table in the metadata `names` of the ONNX file, "
            f"got {text[:80]!r}. Make the file again with `pipeline export MODEL`."
        ) from error


def _check_output(onnx: Path, model: ModelConfig, result: BuildResult) -> None:
    expected, found = 4 + len(model.classes), result.outputs[0].shape[1]
    if found != expected:
        raise InputError(
            f"{onnx}: expected {expected} output channels, 4 for the box and one for each of the "
            f"{len(model.classes)} classes in model.yaml, got {found}. "
            f"Export the model again with `pipeline export {model.name}`."
        )


def _source(workspace: Workspace, model: ModelConfig, onnx: Path, onnx_sha256: str) -> Source:
    return Source(
        weights_sha256=model.weights.sha256,
        onnx_sha256=onnx_sha256,
        onnx_file=workspace.relative(onnx),
        git_commit=git.commit(workspace.root),
    )
