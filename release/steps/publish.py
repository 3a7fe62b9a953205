"""publish: the engines of a target that passed go to MLflow; the best of each model is `candidate`.

MLflow is told first and the files are written last, so that a record never names a run or a version
that is not there, and a rerun completes whatever is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import listed
from engines.records.manifest import Manifest
from engines.records.record import VerdictName
from engines.verdict.judged import JudgedEngine, load_judged
from release.compared import (
    as_published,
    check_pictures,
    check_rows,
    failed_since,
    failing_since,
    not_quarantined,
    others_that_hold,
    publication_of,
)
from release.lock import exclusive
from release.records import (
    Candidate,
    Candidates,
    MlflowEntry,
    Publication,
    candidates_path,
    publication_path,
    read_publication,
    read_quarantine,
    refuse_old_layout,
)
from release.registry.mlflow import Store, open_store
from release.registry.plots import write_plots
from release.registry.policy import CANDIDATE, choose
from release.registry.submission import Submission, describe, registered_name
from release.registry.uri import shown_uri
from release.say import Say
from release.tags import make_tag

_FOLLOW = " (`release status --repair` lets the rings' aliases follow)"


class Published(NamedTuple):
    """What a target has in MLflow now."""

    publications: tuple[Publication, ...]
    """Of the engines that passed, by engine; as MLflow has them."""
    candidates: Candidates
    page: str
    """Where MLflow's server shows the runs, behind its address; empty where it was not asked."""


class _Change(NamedTuple):
    """What becomes of the models of which nothing passes."""

    kept: dict[str, Candidate]
    """Those that keep the candidate they have."""
    lost: tuple[str, ...]
    """Those that have none any more."""


def publish(workspace: Workspace, target: str, engine: str | None, say: Say) -> Published:
    """Publish the passing engines of `target`, or only `engine`, and name the candidates.

    Engines that did not pass are skipped. What was published before is found again and not made
    twice. A model whose candidate fails gets the best of what passes, or has none and no alias any
    more. Where its measurement is INVALID, or this is about another `engine`, the candidate stays
    where it was, unless another engine is better than it was when it was published. A quarantined
    one is the candidate only where nothing else passes.

    Raises InputError for an engine that was not built, measured and judged by the row of now, or
    engines of a model that were evaluated on different pictures, WrongEngine for files that were
    changed after that, and ServiceError when MLflow does not do its part.
    """
    refuse_old_layout(workspace)
    config = load_target(workspace, target)
    found = _judged(workspace, config, engine)
    check_rows(workspace, target, found.values())
    verdicts = {name: one.verdict.verdict for name, one in found.items()}
    for name, verdict in verdicts.items():
        if verdict != "PASS":
            say(f"{name}: {verdict}, so it is not published")
    for release in (failing := failing_since(workspace, found.values())):
        say(f"{release}: published before and FAILs now; rings that run it keep it")
    passed = [one for one in found.values() if one.verdict.verdict == "PASS"]
    for judged in passed:
        _warn_of_lost_code(judged.manifest, say)
    with exclusive(workspace):
        others = others_that_hold(workspace, config, verdicts)
        check_pictures(config.target, passed, others)
        _check_records(workspace, passed)
        before = _candidates_before(workspace, config)
        change = _change(config, verdicts, before)
        publications, chosen, page = _tell_mlflow(
            workspace, config, passed, others, before.candidates, change, say
        )
        words = {**before.skipped, **verdicts}
        candidates = Candidates(
            target=target,
            policy=config.policy,
            candidates=dict(sorted({**change.kept, **chosen}.items())),
            skipped={
                name: words[name] for name in config.engines if words.get(name, "PASS") != "PASS"
            },
            failed=failed_since(before.failed, passed, failing),
        )
        _write(workspace, publications, candidates, say)
    return Published(tuple(publications), candidates, page)


def _judged(
    workspace: Workspace, config: TargetConfig, engine: str | None
) -> dict[str, JudgedEngine]:
    """The engines that are wanted, with the gate's word on them and what it rests on."""
    wanted = [engine] if engine else list(config.engines)
    return {name: load_judged(workspace, config.target, name) for name in wanted}


def _check_records(workspace: Workspace, passed: Iterable[JudgedEngine]) -> None:
    """Before MLflow is told anything, raise WrongEngine where a release was published before and
    its record was changed since, and InputError where it is another model's."""
    models: dict[str, str] = {}
    for judged in passed:
        release, model = make_tag(judged.manifest).name, judged.manifest.model
        if publication_path(workspace, release).is_file():
            models.setdefault(release, read_publication(workspace, release).model)
        other = models.setdefault(release, model)
        if other != model:
            file = workspace.relative(workspace.model(model) / "model.yaml")
            raise InputError(
                f"Expected another engine for {model} than for {other}, but "
                f"{judged.manifest.engine} is byte for byte that of {other}, in the same version: "
                f"the tag {release} can name one of them only. Give {model} another `version` in "
                f"{file} and run `dvc repro`, or take one of the two away (`pipeline remove-model "
                f"{model}`)."
            )


def _candidates_before(workspace: Workspace, config: TargetConfig) -> Candidates:
    path = candidates_path(workspace, config.target)
    if path.is_file():
        return Candidates.read(path)
    return Candidates(target=config.target, policy=config.policy, candidates={}, skipped={})


def _change(
    config: TargetConfig, verdicts: Mapping[str, VerdictName], before: Candidates
) -> _Change:
    """FAIL speaks of the engine, INVALID of the measurement: only a FAIL takes a candidate away."""
    kept: dict[str, Candidate] = {}
    lost: list[str] = []
    for model in sorted({row.model for row in config.engines.values()}):
        words = {verdicts.get(name) for name, row in config.engines.items() if row.model == model}
        candidate = before.candidates.get(model)
        failed = candidate is not None and verdicts.get(candidate.engine) == "FAIL"
        if "PASS" in words:
            continue
        if failed or words == {"FAIL"}:
            lost.append(model)
        elif candidate is not None:
            kept[model] = candidate
    return _Change(kept, tuple(lost))


def _warn_of_lost_code(manifest: Manifest, say: Say) -> None:
    """Say so when no commit holds the code that the engine was built from."""
    commit, _, dirty = manifest.source.git_commit.partition("-")
    if dirty or not commit:
        code = f"uncommitted code ({commit[:12]}-{dirty})" if commit else "code without a commit"
        # Built again it may be the same bytes, so the same release, whose record stays.
        say(
            f"{manifest.engine}: built from {code}. Before you promote it raise `version` in "
            f"models/{manifest.model}/model.yaml, commit, and run `dvc repro`"
        )


def _tell_mlflow(
    workspace: Workspace,
    config: TargetConfig,
    passed: Sequence[JudgedEngine],
    others: Sequence[Publication],
    before: Mapping[str, Candidate],
    change: _Change,
    say: Say,
) -> tuple[list[Publication], dict[str, Candidate], str]:
    """Publish what passed, point the alias at each model's best and take it off those that lost it.

    MLflow is not asked where nothing passes and nothing of the target was ever published.
    """
    if not passed and not others and not (change.lost and _was_published(workspace, config.target)):
        return [], {}, ""
    submissions = [
        describe(workspace, one, partial(write_plots, one.benchmark, one.evaluation))
        for one in passed
    ]
    doing = "publishing to" if passed else "bringing the aliases up to date in"
    say(f"{config.target}: {doing} MLflow at {shown_uri(workspace.root)}")
    with open_store(workspace.root) as store:
        # Asked first: a version whose model was deleted loses its release to the new one.
        named = {
            model: store.release_at(
                registered_name(model, config.target),
                CANDIDATE,
                perhaps_new=model not in change.lost,
            )
            for model in {row.model for row in config.engines.values()}
        }
        publications = [
            _publish_one(store, workspace, config, judged, submission, say)
            for judged, submission in zip(passed, submissions, strict=True)
        ]
        kept = as_published(workspace, config, before.values(), [*publications, *others])
        # Git is the truth: what another MLflow had, or this one before, is compared all the same.
        found = sorted([*publications, *others, *kept], key=_engine_name)
        compared = not_quarantined(workspace, found)
        for one in found:
            if one not in compared:
                say(f"{one.release}: quarantined, so another engine that passed is the candidate")
            elif one in kept:
                say(f"{one.engine}: the candidate {one.release} is compared as it was published")
            if one in compared and read_quarantine(workspace, one.release):
                say(f"{one.release}: quarantined, so no ring gets it; nothing else passed")
        chosen = choose(config.policy, compared, before, config.policy_margin)
        for model, candidate in chosen.items():
            _say_whose_it_was(workspace, named[model], candidate, say)
            _point_alias(store, registered_name(model, config.target), candidate, say)
        _drop_aliases(store, config.target, sorted({*change.lost} - chosen.keys()), say)
        publications += [one for one in (*others, *kept) if _version(store, one) is not None]
        page = store.page(one.mlflow.run_id for one in publications)
    return sorted(publications, key=_engine_name), chosen, page


def _point_alias(store: Store, name: str, candidate: Candidate, say: Say) -> None:
    version = store.version_of(name, candidate.release)
    if version is not None:
        store.point_alias(name, CANDIDATE, version)
        return
    store.drop_alias(name, CANDIDATE)
    say(
        f"This MLflow has no version of the candidate {candidate.release}, so {name} has no alias "
        f"{CANDIDATE} there until that is published to it"
    )


def _say_whose_it_was(workspace: Workspace, before: str, candidate: Candidate, say: Say) -> None:
    """Where two repositories have a model of the same name, each would take the other's alias and
    nobody see it."""
    if before in ("", candidate.release) or publication_path(workspace, before).is_file():
        return
    say(
        f"MLflow's alias {CANDIDATE} named {before} until now, of which this clone has no record. "
        "If a colleague published it, `git pull` brings the record. If another repository did, the "
        "two take each other's aliases: give one's model another name, or each a store of its own."
    )


def _was_published(workspace: Workspace, target: str) -> bool:
    return any(
        Publication.read(path).target == target
        for path in listed(workspace.records, f"v*-{target}-*/publication.json")
    )


def _publish_one(
    store: Store,
    workspace: Workspace,
    config: TargetConfig,
    judged: JudgedEngine,
    submission: Submission,
    say: Say,
) -> Publication:
    known = store.version_of(submission.registered_model, submission.release)
    whole = known is not None and store.has_files(submission)
    again = store.done_again(submission) if known is not None else ""
    entry = store.publish(submission)
    how, files = "published", ""
    if known is not None and entry.version != known:
        how = (
            f"published before as version {known}, whose model or run was deleted: version "
            f"{entry.version}{_FOLLOW}"
        )
    elif known is None and publication_path(workspace, submission.release).is_file():
        how = (
            f"published before, but this MLflow had no version of it: version {entry.version}"
            f"{_FOLLOW}"
        )
    elif known is not None:
        how = "published before"
        how += f", and {again} since, which is a run of its own," if again else ""
        files = "" if whole else _files_now(store, submission)
    say(f"{judged.manifest.engine}: {how} as {submission.release}{files}")
    return publication_of(config, judged, entry)


def _files_now(store: Store, submission: Submission) -> str:
    if store.has_files(submission):
        return "; files that were gone are back"
    return "; its run is without files, which were of the earlier measurement"


def _version(store: Store, publication: Publication) -> int | None:
    return store.version_of(publication.mlflow.registered_model, publication.release)


def _drop_aliases(store: Store, target: str, models: Iterable[str], say: Say) -> None:
    for model in models:
        name = registered_name(model, target)
        if store.drop_alias(name, CANDIDATE):
            say(f"{model}: no published engine passes any more, so {name} has no {CANDIDATE} now")


def _write(
    workspace: Workspace, publications: Iterable[Publication], candidates: Candidates, say: Say
) -> None:
    """Write the record of each release that has none, then which ones are the candidates."""
    for publication in publications:
        path = publication_path(workspace, publication.release)
        if not path.is_file():
            publication.write(path)
            continue
        recorded = read_publication(workspace, publication.release).mlflow
        told = _other_entry(recorded, publication.mlflow)
        if told:
            say(f"{publication.release}: its record stays as it is and names {told}")
    candidates.write(candidates_path(workspace, candidates.target))


def _other_entry(recorded: MlflowEntry, here: MlflowEntry) -> str:
    """What a record names that is not as here; empty where both are the same."""
    if (recorded.run_id, recorded.version) != (here.run_id, here.version):
        return (
            f"run {recorded.run_id}, version {recorded.version}, at {recorded.tracking_uri}; here "
            f"it is run {here.run_id}, version {here.version}"
        )
    if recorded.tracking_uri.rstrip("/") != here.tracking_uri.rstrip("/"):
        return f"MLflow at {recorded.tracking_uri}; here the same is at {here.tracking_uri}"
    return ""


def _engine_name(publication: Publication) -> str:
    return publication.engine
