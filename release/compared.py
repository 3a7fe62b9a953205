"""What the candidates of a target are chosen from: records of engines as they are measured now, and
as they were published; and which of those that were published FAIL since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engines.config.target import TargetConfig
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.manifest import Manifest
from engines.records.verdict import Check
from engines.verdict.judged import JudgedEngine, load_judged, load_passed
from release.records import (
    Candidate,
    Figures,
    MlflowEntry,
    Publication,
    publication_path,
    read_publication,
    read_quarantine,
)
from release.tags import make_tag


def publication_of(config: TargetConfig, judged: JudgedEngine, entry: MlflowEntry) -> Publication:
    """The record of an engine as it is measured now."""
    manifest, interval = judged.manifest, judged.evaluation.map50_95_drop_interval
    return Publication(
        release=make_tag(judged.manifest).name,
        engine=manifest.engine,
        model=manifest.model,
        model_version=manifest.model_version,
        target=manifest.target,
        fleet_label=config.fleet_label,
        precision=manifest.precision,
        engine_file=manifest.engine_file,
        engine_sha256=manifest.engine_sha256,
        git_commit=manifest.source.git_commit,
        mlflow=entry,
        figures=Figures(
            frame_p50_ms=judged.frame.p50_ms,
            frame_p99_ms=judged.frame.p99_ms,
            map50_95=judged.evaluation.map50_95,
            engine_bytes=manifest.engine_bytes,
            frame_p50_noise_ms=judged.frame.p50_noise_ms,
            map50_95_noise=(interval.high - interval.low) / 2,
            pictures_sha256=_pictures(judged),
        ),
        verdict=judged.verdict.verdict,
        checks=judged.verdict.checks,
        judged=judged.verdict.judged,
        thresholds=manifest.thresholds,
        batch_max=manifest.batch.max,
    )


def check_rows(workspace: Workspace, target: str, found: Iterable[JudgedEngine]) -> None:
    """Raise InputError where engines of releases were built again by a row with other thresholds or
    another largest batch. They are in the manifest and not in its bytes, so it has the tag that it
    had: of what runs nothing would change, and the commit of the row would say that it did. A FAIL
    by them is no word on the release either."""
    changed = [
        (record, fields)
        for judged in found
        if judged.verdict.verdict != "INVALID"
        and (record := _published(workspace, judged.manifest)) is not None
        and (fields := _otherwise(record, judged.manifest))
    ]
    if not changed:
        return
    record, fields = changed[0]
    before = ", ".join(f"{key} {then}" for key, then, _ in fields)
    by_now = ", ".join(f"{key} {now}" for key, _, now in fields)
    row = workspace.relative(workspace.target(target) / "params.yaml")
    models = sorted({one.model for one, _ in changed})
    files = [workspace.relative(workspace.model(one) / "model.yaml") for one in models]
    raise InputError(
        f"Expected {record.engine} by {before}, as {record.release} was published, but it is by "
        f"{by_now} now and the same byte for byte: a tag never moves, so pods would go on by what "
        f"it was. Give {' and '.join(models)} another `version` in {' and '.join(files)}, for a "
        f"release of its own, or put {row} back; then run `dvc repro`."
    )


def _published(workspace: Workspace, manifest: Manifest) -> Publication | None:
    release = make_tag(manifest).name
    there = publication_path(workspace, release).is_file()
    return read_publication(workspace, release) if there else None


def _otherwise(record: Publication, manifest: Manifest) -> list[tuple[str, object, object]]:
    """What of the target's row pods run a release by, and its engine is built by otherwise now:
    the key, then the value of the release and that of now."""
    then, now = record.thresholds or manifest.thresholds, manifest.thresholds
    fields = [(f"evaluate.{name}", getattr(then, name), value) for name, value in now]
    fields += [("batch.max", record.batch_max or manifest.batch.max, manifest.batch.max)]
    return [one for one in fields if one[1] != one[2]]


def others_that_hold(
    workspace: Workspace, config: TargetConfig, wanted: Iterable[str]
) -> list[Publication]:
    """Publications of the engines that this call does not touch, as far as they still hold."""
    publications = []
    for engine in config.engines.keys() - set(wanted):
        try:
            judged = load_passed(workspace, config.target, engine)
            record = read_publication(workspace, make_tag(judged.manifest).name)
        except (InputError, WrongEngine):
            # Not built, measured again, failed or never published: nothing to choose from.
            continue
        if _otherwise(record, judged.manifest):
            continue  # built again by what no pod runs it by
        publications.append(publication_of(config, judged, record.mlflow))
    return publications


def as_published(
    workspace: Workspace,
    config: TargetConfig,
    before: Iterable[Candidate],
    found: Sequence[Publication],
) -> list[Publication]:
    """Records of the candidates `before` of whose engine nothing newer is `found`: measured in
    vain, built anew and not published yet, or not judged. None of that is a word on the release, so
    beside others of its model it is compared as it was published; a FAIL is one."""
    engines, models = {one.engine for one in found}, {one.model for one in found}
    return [
        read_publication(workspace, one.release)
        for one in before
        if one.engine in config.engines.keys() - engines
        and config.engines[one.engine].model in models
        and not _fails(workspace, config.target, one.engine)
        and publication_path(workspace, one.release).is_file()
    ]


def not_quarantined(workspace: Workspace, found: Sequence[Publication]) -> list[Publication]:
    """Those `found` that a ring may get; all of a model of which each one is quarantined, which
    leaves its candidate what it was."""
    free = [one for one in found if read_quarantine(workspace, one.release) is None]
    models = {one.model for one in free}
    return [*free, *(one for one in found if one.model not in models)]


def _fails(workspace: Workspace, target: str, engine: str) -> bool:
    try:
        return load_judged(workspace, target, engine).verdict.verdict == "FAIL"
    except (InputError, WrongEngine):
        return False  # Nobody knows.


def check_pictures(
    target: str, passed: Sequence[JudgedEngine], others: Iterable[Publication]
) -> None:
    """Raise InputError where engines of a model were evaluated on different pictures: nobody knows
    which of them is more accurate, and one is of other data than its release will name. Of models
    that are not published now that is another call's business."""
    models = {one.manifest.model for one in passed}
    known = [
        *((one.manifest.model, one.manifest.engine, _pictures(one)) for one in passed),
        *((it.model, it.engine, it.figures.pictures_sha256) for it in others if it.model in models),
    ]
    first: dict[str, tuple[str, str | None]] = {}
    for model, engine, pictures in known:
        other, expected = first.setdefault(model, (engine, pictures))
        if pictures != expected:
            names = [other, engine]
            again = " and ".join(f"`pipeline evaluate {name} --target {target}`" for name in names)
            raise InputError(
                f"Expected the engines of {model} evaluated on the same pictures, "
                f"but {' and '.join(names)} were not. Run {again}, then `pipeline gate` of both "
                f"likewise, or `dvc repro engines/targets/{target}/dvc.yaml` for "
                "all of it."
            )


def _pictures(judged: JudgedEngine) -> str | None:
    return judged.evaluation.pictures_sha256


def failing_since(workspace: Workspace, found: Iterable[JudgedEngine]) -> dict[str, str]:
    """Releases whose very engine is among `found` and FAILs there: to what it missed."""
    releases = {make_tag(one.manifest).name: one.verdict for one in found}
    return {
        release: "; ".join(_missed(one) for one in verdict.checks if one.verdict == "FAIL")
        for release, verdict in releases.items()
        if verdict.verdict == "FAIL" and publication_path(workspace, release).is_file()
    }


def _missed(check: Check) -> str:
    measured = f"{check.measured:.4g} {check.unit}".rstrip()
    return f"{check.name} {measured}, {check.rule} {check.limit:g}"


def failed_since(
    before: Mapping[str, str], passed: Iterable[JudgedEngine], failing: Mapping[str, str]
) -> dict[str, str]:
    """A FAIL stands until that engine passes again: one that was built anew, or is INVALID, is no
    word on it."""
    again = {make_tag(one.manifest).name for one in passed}
    kept = {release: why for release, why in before.items() if release not in again}
    return dict(sorted({**kept, **failing}.items()))
