"""A publication that adds up, for tests that need no engine."""

from __future__ import annotations

from engines.config.workspace import Workspace
from engines.records.verdict import Check
from engines.verdict.judged import load_passed
from release.packed import ImageRecord
from release.records import (
    Candidate,
    Candidates,
    Figures,
    MlflowEntry,
    Publication,
    candidates_path,
    publication_path,
)
from release.tags import make_tag

TARGET = "x86-openvino"

PUBLICATION = Publication(
    release=f"v1.0-{TARGET}-fp16-3f2a91c04b7e",
    engine="meter-fp16",
    model="meter",
    model_version="1.0",
    target=TARGET,
    fleet_label=TARGET,
    precision="fp16",
    engine_file="engine.blob",
    engine_sha256="3f2a91c04b7e" + "0" * 52,
    git_commit="c" * 40,
    mlflow=MlflowEntry(
        tracking_uri="sqlite:///mlflow.db",
        experiment="jetrail/meter",
        run_id="0a1b",
        registered_model=f"meter.{TARGET}",
        version=3,
    ),
    figures=Figures(frame_p50_ms=12.5, frame_p99_ms=15.0, map50_95=0.7, engine_bytes=3 << 20),
    verdict="PASS",
    checks=(
        Check(
            **{"name": "frame_p99_ms", "measured": 15.0, "limit": 30.0, "unit": "ms"},
            **{"verdict": "PASS", "rule": "at most"},
        ),
        Check(
            **{"name": "throughput_fps", "measured": 90.0, "limit": 60.0, "unit": "frames/s"},
            **{"verdict": "PASS", "rule": "at least"},
        ),
        Check(
            **{"name": "engine_size_mib", "measured": 3.0, "limit": 64.0, "unit": "MiB"},
            **{"verdict": "PASS", "rule": "at most"},
        ),
    ),
    judged={"engine.blob": "3f2a91c04b7e" + "0" * 52, "manifest.json": "a" * 64},
)

IMAGE = ImageRecord(
    release=PUBLICATION.release,
    digest=f"sha256:{'d' * 64}",
    manifest_bytes=900,
    platform="linux/amd64",
    base=None,
    layers=(),
    files={"engine.blob": PUBLICATION.engine_sha256},
)


def publication_of(target: str, model: str = "meter") -> Publication:
    """The same release of another model or target."""
    return PUBLICATION.model_copy(
        update={
            "release": f"v1.0-{target}-fp16-3f2a91c04b7e",
            "engine": f"{model}-fp16",
            "model": model,
            "target": target,
            "fleet_label": target,
        }
    )


def another(version: str, digit: str) -> Publication:
    """Another release of the same model: its engine's sha256 has that digit only."""
    return PUBLICATION.model_copy(
        update={
            "release": f"v{version}-{TARGET}-fp16-{digit * 12}",
            "model_version": version,
            "engine_sha256": digit * 64,
            "judged": {**PUBLICATION.judged, "engine.blob": digit * 64},
        }
    )


def publish_on_paper(workspace: Workspace, engine: str) -> Publication:
    """The record of an engine that passed, as `release publish` writes it, without an MLflow."""
    judged = load_passed(workspace, TARGET, engine)
    manifest, verdict = judged.manifest, judged.verdict
    names = ("engine", "model", "model_version", "target", "precision", "engine_file")
    publication = PUBLICATION.model_copy(
        update={
            **{name: getattr(manifest, name) for name in (*names, "engine_sha256")},
            "release": make_tag(manifest).name,
            "git_commit": manifest.source.git_commit,
            **{"thresholds": manifest.thresholds, "batch_max": manifest.batch.max},
            "figures": Figures(
                frame_p50_ms=judged.frame.p50_ms,
                frame_p99_ms=judged.frame.p99_ms,
                map50_95=judged.evaluation.map50_95,
                engine_bytes=manifest.engine_bytes,
            ),
            **{"verdict": verdict.verdict, "checks": verdict.checks, "judged": verdict.judged},
        }
    )
    publication.write(publication_path(workspace, publication.release))
    return publication


def record(workspace: Workspace, *publications: Publication) -> None:
    """Write them as the candidates of their models, as `release publish` leaves them."""
    for target in {one.target for one in publications}:
        chosen = {
            one.model: Candidate(release=one.release, engine=one.engine, reason="fastest")
            for one in publications
            if one.target == target
        }
        Candidates(target=target, policy="fastest", candidates=chosen, skipped={}).write(
            candidates_path(workspace, target)
        )
    for one in publications:
        one.write(publication_path(workspace, one.release))
