"""publish: the engines of a target that passed go to MLflow; the best of each model is `candidate`.

MLflow is told first and the files are written last, so that a record never names a run or a version
that is not there, and a rerun completes whatever is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from release.lock import exclusive
from release.measured import Measured, load_measured, load_verdict
from release.records import (
    ChosenCandidate,
    MlflowEntry,
    Published,
    PublishedEngine,
    ReleaseRecord,
    SkippedEngine,
    published_path,
    record_path,
)
from release.registry.mlflow import Entry, open_store, without_credentials
from release.registry.plots import write_plots
from release.registry.policy import Candidate, Choice, choose
from release.registry.publication import Publication, describe, registered_name

ALIAS = "candidate"
LOCAL_STORE = "mlflow.db"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Release:
    """An engine that passed, and its record."""

    measured: Measured
    record: ReleaseRecord


def publish(workspace: Workspace, target: str, engine: str | None, say: Say) -> Published:
    """Publish the passing engines of `target`, or only `engine`, and name the candidates.

    Engines that did not pass are skipped. What was published before is found again and not made
    twice. A model of which nothing passes any more loses its alias, unless this is about one
    `engine`. Raises InputError for files that are missing or speak of another engine, and
    ServiceError when MLflow does not do its part.
    """
    config = load_target(workspace, target)
    wanted = [engine] if engine else list(config.engines)
    verdicts = [_verdict(workspace, config, name) for name in wanted]
    skipped = [verdict for verdict in verdicts if verdict.verdict != "PASS"]
    for verdict in skipped:
        say(f"{verdict.engine}: {verdict.verdict}, so it is not published")
    passed = [
        load_measured(workspace, target, verdict.engine)
        for verdict in verdicts
        if verdict not in skipped
    ]
    for measured in passed:
        _warn_of_lost_code(measured.manifest, say)
    with exclusive(workspace):
        before = _published_before(workspace, config, wanted)
        outdated = () if engine else _outdated(workspace, config, passed)
        releases, choices = _tell_mlflow(workspace, config, passed, before, outdated, say)
        return _write(workspace, config, releases, choices, skipped)


def tracking_uri(workspace: Workspace) -> str:
    """Where MLflow is: MLFLOW_TRACKING_URI, or else a SQLite file in the repository."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root / LOCAL_STORE}"


def shown_uri(workspace: Workspace) -> str:
    """`tracking_uri` as it stands in records: without credentials or this machine's folders."""
    uri = tracking_uri(workspace)
    local = f"sqlite:///{workspace.root / LOCAL_STORE}"
    return f"sqlite:///{LOCAL_STORE}" if uri == local else without_credentials(uri)


def _verdict(workspace: Workspace, config: TargetConfig, engine: str) -> Verdict:
    config.engine(engine)
    return load_verdict(workspace, config.target, engine)


def _published_before(
    workspace: Workspace, config: TargetConfig, wanted: Sequence[str]
) -> list[_Release]:
    """Releases of the engines that this call does not touch, as far as they still hold."""
    releases = []
    for engine in config.engines.keys() - set(wanted):
        try:
            measured = load_measured(workspace, config.target, engine)
            record = ReleaseRecord.read(record_path(workspace, measured.tag.name))
        except InputError:
            # Not built, measured again, failed or never published: nothing to choose from.
            continue
        if record.mlflow.tracking_uri == shown_uri(workspace):
            releases.append(_Release(measured=measured, record=record))
    return releases


def _outdated(
    workspace: Workspace, config: TargetConfig, passed: Sequence[Measured]
) -> tuple[str, ...]:
    """Models of the target of which nothing passes now, so that none of them has a candidate.

    None where nothing passes at all and no record says that MLflow ever heard of the target.
    """
    left = {row.model for row in config.engines.values()}
    left -= {measured.manifest.model for measured in passed}
    return tuple(sorted(left)) if passed or _was_published(workspace, config.target) else ()


def _was_published(workspace: Workspace, target: str) -> bool:
    # Records, and not the target's summary: that one speaks of the last time only.
    records = map(ReleaseRecord.read, workspace.records.glob(f"v*-{target}-*.json"))
    wanted = (target, shown_uri(workspace))
    return any((record.target, record.mlflow.tracking_uri) == wanted for record in records)


def _warn_of_lost_code(manifest: Manifest, say: Say) -> None:
    """Say so when no commit holds the code that the engine was built from."""
    commit, _, dirty = manifest.source.git_commit.partition("-")
    if dirty or not commit:
        code = f"uncommitted code ({commit[:12]}-{dirty})" if commit else "code without a commit"
        say(f"{manifest.engine}: built from {code}; commit and build again before you promote it")


def _tell_mlflow(
    workspace: Workspace,
    config: TargetConfig,
    passed: Sequence[Measured],
    before: Sequence[_Release],
    outdated: Sequence[str],
    say: Say,
) -> tuple[list[_Release], dict[str, Choice]]:
    """Publish what passed, point the alias at each model's best and take it off `outdated`."""
    if not passed and not before and not outdated:
        return [], {}
    publications = [
        describe(workspace, one, partial(write_plots, one.benchmark, one.evaluation))
        for one in passed
    ]
    doing = "publishing to" if passed else "bringing the aliases up to date in"
    say(f"{config.target}: {doing} MLflow at {shown_uri(workspace)}")
    with open_store(tracking_uri(workspace), workspace.root) as store:
        releases = list(before)
        for measured, publication in zip(passed, publications, strict=True):
            entry = store.publish(publication)
            how = "published" if entry.is_new else "published before"
            say(f"{measured.manifest.engine}: {how} as {publication.release}")
            record = _record(workspace, measured, publication, entry)
            releases.append(_Release(measured=measured, record=record))
        releases.sort(key=_engine_name)
        choices = choose(config.policy, map(_candidate, releases))
        by_release = {one.record.release: one.record.mlflow for one in releases}
        for choice in choices.values():
            best = by_release[choice.candidate.release]
            store.point_alias(best.registered_model, ALIAS, best.version)
        for model in outdated:
            name = registered_name(model, config.target)
            if store.drop_alias(name, ALIAS):
                say(f"{model}: no engine passes any more, so {name} has no {ALIAS} now")
    return releases, choices


def _write(
    workspace: Workspace,
    config: TargetConfig,
    releases: Iterable[_Release],
    choices: dict[str, Choice],
    skipped: Iterable[Verdict],
) -> Published:
    """Write the record of each release, then the summary of the target."""
    records = [release.record for release in releases]
    for record in records:
        record.write(record_path(workspace, record.release))
    published = Published(
        target=config.target,
        policy=config.policy,
        engines=tuple(_published_engine(record) for record in records),
        skipped=tuple(SkippedEngine(engine=one.engine, verdict=one.verdict) for one in skipped),
        candidates={
            model: ChosenCandidate(
                release=choice.candidate.release,
                engine=choice.candidate.engine,
                reason=choice.reason,
            )
            for model, choice in choices.items()
        },
    )
    published.write(published_path(workspace, config.target))
    return published


def _record(
    workspace: Workspace, measured: Measured, publication: Publication, entry: Entry
) -> ReleaseRecord:
    """The record of a release; an image digest and a signature that it has already are kept."""
    manifest, path = measured.manifest, record_path(workspace, publication.release)
    known = ReleaseRecord.read(path) if path.is_file() else None
    return ReleaseRecord(
        release=publication.release,
        engine=manifest.engine,
        model=manifest.model,
        model_version=manifest.model_version,
        target=manifest.target,
        precision=manifest.precision,
        engine_sha256=manifest.engine_sha256,
        digest=known.digest if known else None,
        mlflow=MlflowEntry(
            tracking_uri=shown_uri(workspace),
            experiment=publication.experiment,
            run_id=entry.run_id,
            registered_model=publication.registered_model,
            version=entry.version,
        ),
        signature=known.signature if known else None,
        git_commit=manifest.source.git_commit,
        verdict=measured.verdict.verdict,
        frame_p50_ms=measured.frame.p50_ms,
        frame_p99_ms=measured.frame.p99_ms,
        map50_95=measured.evaluation.map50_95,
    )


def _candidate(release: _Release) -> Candidate:
    measured = release.measured
    return Candidate(
        release=release.record.release,
        engine=measured.manifest.engine,
        model=measured.manifest.model,
        frame_p50_ms=measured.frame.p50_ms,
        map50_95=measured.evaluation.map50_95,
        engine_bytes=measured.manifest.engine_bytes,
    )


def _published_engine(record: ReleaseRecord) -> PublishedEngine:
    return PublishedEngine(
        release=record.release,
        engine=record.engine,
        model=record.model,
        run_id=record.mlflow.run_id,
        registered_model=record.mlflow.registered_model,
        version=record.mlflow.version,
    )


def _engine_name(release: _Release) -> str:
    return release.record.engine
