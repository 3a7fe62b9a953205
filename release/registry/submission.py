"""What MLflow is told about one engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from engines.records.benchmark import Benchmark, Latency
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.evidence import RECORDS
from engines.verdict.judged import JudgedEngine
from release.lineage import data_set_hashes, dvc_md5, lock_files
from release.registry import description
from release.registry.portable import requirements
from release.tags import make_tag


@dataclass(frozen=True, kw_only=True)
class Descriptions:
    """Markdown for MLflow's pages."""

    experiment: str
    model: str
    run: str
    version: Callable[[str, str | None], str]
    """By the number of the version, which says how to load just that one, and the description of
    its run, where that is of an earlier measurement."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One engine for MLflow: a run, a model and a version of it."""

    release: str
    """The image tag: the name of the run, and what everything is found again by."""
    experiment: str
    registered_model: str
    tags: Mapping[str, str]
    """The few that people filter runs, models and versions by."""
    descriptions: Descriptions
    data_sets: Mapping[str, tuple[str, str]]
    """Of the run's inputs: purpose to folder and DVC's hash."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    files: tuple[Path, ...]
    """Artifacts of the run."""
    draw: Callable[[Path], None]
    """Writes the run's plots into a folder; called only when they are needed."""
    fingerprint: str
    """Sha256 over all that a run is told: another one means that something is missing there."""
    measurement: str
    """Sha256 over the records: another one means that the engine was measured or judged again."""
    model_files: tuple[Path, ...]
    """Engine and manifest, which `engines.detect.pyfunc` loads."""
    thresholds: Mapping[str, Any]
    requirements: tuple[str, ...]
    """What pip has to install where the model is loaded."""


def describe(
    workspace: Workspace, judged: JudgedEngine, draw: Callable[[Path], None]
) -> Submission:
    """The submission of an engine that passed.

    Raises InputError when the ONNX file is not the one that the engine was built from.
    """
    manifest = judged.manifest
    metrics, lineage = _metrics(judged), _lineage(workspace, judged)
    tags = _tags(judged, lineage)
    folder = judged.folder
    records = [folder.path / name for name in (*RECORDS, Verdict.file)]
    raw = [folder.raw_times] if folder.raw_times.is_file() else []
    release, name = make_tag(manifest).name, registered_name(manifest.model, manifest.target)
    return Submission(
        release=release,
        experiment=f"jetrail/{manifest.model}",
        registered_model=name,
        # Of an engine's name MLflow's list of versions shows ten letters. Not in the fingerprint,
        # or runs of before would be written again.
        tags={"precision": manifest.precision, **tags},
        descriptions=Descriptions(
            experiment=description.of_experiment(manifest.model),
            model=description.of_model(manifest.model, manifest.target),
            run=description.of_run(judged, release, lineage),
            version=partial(description.of_version, judged, release, name),
        ),
        data_sets=_data_sets(workspace, judged, lineage),
        params=_params(judged),
        metrics=metrics,
        files=(_onnx(workspace, judged), judged.engine_file, *records, *raw),
        draw=draw,
        fingerprint=_fingerprint({**tags, **lineage}, metrics, records),
        measurement=_fingerprint({}, {}, records),
        model_files=(judged.engine_file, folder.file(Manifest)),
        thresholds=manifest.thresholds.model_dump(),
        requirements=requirements(manifest),
    )


def registered_name(model: str, target: str) -> str:
    """Name of the registered model that holds the engines of `model` for `target`."""
    return f"{model}.{target}"


def _onnx(workspace: Workspace, judged: JudgedEngine) -> Path:
    source = judged.manifest.source
    path = workspace.model_out(judged.manifest.model) / Path(source.onnx_file).name
    was_built = f"from which {judged.manifest.engine} was built"
    if not path.is_file():
        raise InputError(
            f"Expected {path}, {was_built}, but it is not there. Bring it from there, with "
            f"`pipeline pull --target {judged.manifest.target}`, or copy "
            f"{workspace.relative(path.parent)}."
        )
    if (found := sha256_file(path)) != source.onnx_sha256:
        raise InputError(
            f"Expected {path} with sha256 {source.onnx_sha256[:12]}…, {was_built}, got "
            f"{found[:12]}. Build and measure the engine again with `dvc repro "
            f"engines/targets/{judged.manifest.target}/dvc.yaml`."
        )
    return path


def _params(judged: JudgedEngine) -> dict[str, str]:
    """What the engine is. MLflow never lets a param change, so nothing that could is here."""
    manifest = judged.manifest
    return {
        "model": manifest.model,
        "model_version": manifest.model_version,
        "target": manifest.target,
        "precision": manifest.precision,
        "executed_precision": manifest.executed_precision,
        "backend": manifest.backend,
        "backend_package": manifest.backend_package,
        "backend_version": manifest.backend_version,
        "imgsz": "x".join(str(side) for side in manifest.imgsz),
        "batch_min": str(manifest.batch.min),
        "batch_opt": str(manifest.batch.opt),
        "batch_max": str(manifest.batch.max),
        "classes": str(len(manifest.classes)),
    }


def _metrics(judged: JudgedEngine) -> dict[str, float]:
    """In the order of the run's page, which is this one: what people choose by comes first."""
    benchmark, evaluation = judged.benchmark, judged.evaluation
    return {
        "frame_p50_ms": judged.frame.p50_ms,
        "frame_p99_ms": judged.frame.p99_ms,
        "throughput_fps": benchmark.throughput.frames_per_second,
        "map50_95": evaluation.map50_95,
        "map50_95_drop": evaluation.map50_95_drop,
        "confidence_shift": evaluation.confidence_shift,
        "memory_peak_mib": benchmark.memory_peak_mib,
        "engine_size_mib": judged.manifest.engine_bytes / 2**20,
        "map50": evaluation.map50,
        **_latencies("frame", benchmark.frame),
        **_latencies("inference", benchmark.inference),
        **_where_measured(benchmark),
    }


def _where_measured(benchmark: Benchmark) -> dict[str, float]:
    """Figures that not every device or every measurement has."""
    figures = {
        "energy_per_frame_mj": benchmark.energy_per_frame_mj,
        "hot_frame_p99_ms": benchmark.soak.hot.p99_ms if benchmark.soak else None,
        "power_mean_w": benchmark.machine.power_mean_w,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _latencies(name: str, batches: Mapping[str, Latency]) -> dict[str, float]:
    """For example `frame_p50_ms` at batch 1 and `frame_batch_4_p50_ms`."""
    return {
        f"{name}{'' if batch == '1' else f'_batch_{batch}'}_{figure}": getattr(latency, figure)
        for batch, latency in batches.items()
        for figure in ("p50_ms", "p95_ms", "p99_ms", "mean_ms")
    }


def _tags(judged: JudgedEngine, lineage: Mapping[str, str]) -> dict[str, str]:
    """What people filter by; an empty tag is left out. Every hash is in the run's description."""
    manifest = judged.manifest
    # Any x86 machine may build for TensorRT-RTX: what measured is what the figures are of.
    device = judged.benchmark.device or manifest.device
    tags = {
        "verdict": judged.verdict.verdict,
        "engine": manifest.engine,
        "device": device.module or device.gpu or device.name,
        "git_commit": manifest.source.git_commit,
        "dvc.weights_md5": lineage.get("dvc.weights_md5", ""),
    }
    return {key: value for key, value in tags.items() if value}


def _lineage(workspace: Workspace, judged: JudgedEngine) -> dict[str, str]:
    """By which git and DVC find again what the engine was made from and measured with."""
    manifest = judged.manifest
    model = load_model(workspace, manifest.model)
    locks = lock_files(workspace, manifest.target)
    files = {
        "dvc.weights_md5": workspace.model(manifest.model) / model.weights.path,
        "dvc.onnx_md5": _onnx(workspace, judged),
        "dvc.engine_md5": judged.engine_file,
    }
    data_sets = data_set_hashes(workspace, manifest.model, manifest.target, manifest.engine)
    found = {
        "git_commit": manifest.source.git_commit,
        "weights_sha256": manifest.source.weights_sha256,
        "onnx_sha256": manifest.source.onnx_sha256,
        "engine_sha256": manifest.engine_sha256,
        **{key: dvc_md5(path, locks) for key, path in files.items()},
        **{f"dvc.{name}_md5": one.removeprefix("md5:") for name, one in data_sets.items()},
    }
    return {key: value for key, value in found.items() if value}


def _data_sets(
    workspace: Workspace, judged: JudgedEngine, lineage: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Each data set's folder in the repository, and by which hash DVC knows it (empty: by none)."""
    model = load_model(workspace, judged.manifest.model)
    folder = workspace.relative(workspace.model(model.name))
    return {
        name: (f"{folder}/{path}", lineage.get(f"dvc.{name}_md5", ""))
        for name, path in model.data.model_dump().items()
    }


def _fingerprint(tags: Mapping[str, str], metrics: Mapping[str, float], records: list[Path]) -> str:
    digest = hashlib.sha256(json.dumps([tags, metrics], sort_keys=True).encode())
    for record in records:
        digest.update(record.read_bytes())
    return digest.hexdigest()
