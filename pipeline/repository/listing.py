"""The models of a repository: what is known of their engines, and where they run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from engines.config.model import ModelConfig, load_model
from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError
from engines.files import listed
from engines.records.verdict import Verdict
from engines.verdict.judged import load_judged
from pipeline.repository.entries import engines_of, models_in_rows, named_models, targets_of
from pipeline.repository.fleet import released_in
from pipeline.repository.kept import holds_a_model_s
from pipeline.repository.kept import problems as kept_problems


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model as the repository has it."""

    name: str
    config: ModelConfig | None
    """None where models/<name> has no sound model.yaml."""
    engines: dict[str, dict[str, str | None]]
    """Target to precision to what verdict.json says on this machine, with the version that it
    speaks of where that is another; None without one that is of these weights, at this size, and
    that counts."""
    rings: tuple[str, ...]
    """`<target>/<ring>` of each ring that runs it."""
    problems: tuple[str, ...]
    """What is wrong with it, a sentence each."""


def listed_models(workspace: Workspace) -> list[ListedModel]:
    """Every model that has a folder or is named somewhere, by name, and what is left of one. Raises
    InputError for a row that is not YAML."""
    folders = {path.parent.name for path in listed(workspace.models, "*/model.yaml")}
    names = folders | {*named_models(workspace)} | models_in_rows(workspace)
    left = {path.name for path in listed(workspace.models, "*") if holds_a_model_s(path)} - names
    return sorted(
        [
            *(_listed(workspace, name) for name in names),
            *(_left(workspace, name) for name in left),
        ],
        key=lambda one: one.name,
    )


def _left(workspace: Workspace, name: str) -> ListedModel:
    """What git does not keep: the folder after its model.yaml went with `git revert`."""
    problem = (
        f"models/{name} has no model.yaml and nothing names it: weights and data that git left, "
        "for example when it took the model's commit back. `git add` would take them. Remove them "
        f"with `pipeline remove-model {name}`."
    )
    rings = tuple(released_in(workspace, name))
    return ListedModel(name=name, config=None, engines={}, rings=rings, problems=(problem,))


def _gone(workspace: Workspace, name: str) -> str:
    """Of a model whose folder was removed by hand, or that a merge took from one side only."""
    rows = (f"engines/targets/{target}/params.yaml" for target in targets_of(workspace, name))
    naming = [*(["params.yaml"] if name in named_models(workspace) else []), *rows]
    return (
        f"models/{name} has no model.yaml, but {' and '.join(naming)} "
        f"{'name' if len(naming) > 1 else 'names'} it, so `dvc repro` fails. Take it out of "
        f"everything with `pipeline remove-model {name}`, or bring it back with `git checkout -- "
        f"models/{name}` and `pipeline pull`."
    )


def _listed(workspace: Workspace, name: str) -> ListedModel:
    config, problems = None, []
    there = (workspace.model(name) / "model.yaml").is_file()
    if not there:
        problems.append(_gone(workspace, name))
    else:
        try:
            config = load_model(workspace, name)
        except InputError as error:
            problems.append(str(error))
    if config is not None:
        problems += kept_problems(workspace, config)
    if there and name not in named_models(workspace):
        problems.append(
            "`models:` of params.yaml does not name it, so `dvc repro` leaves it out: add it there."
        )
    return ListedModel(
        name=name,
        config=config,
        engines={
            target: {
                engine.removeprefix(f"{name}-"): _verdict(workspace, target, engine, config)
                for engine in engines_of(workspace, target, name)
            }
            for target in targets_of(workspace, name)
        },
        rings=tuple(released_in(workspace, name)),
        problems=tuple(problems),
    )


def _verdict(
    workspace: Workspace, target: str, engine: str, model: ModelConfig | None
) -> str | None:
    """The word that `release publish` would take; None where it would refuse it, as when the engine
    was built or measured again and not judged since, or its target's row was edited."""
    if not workspace.engine(target, engine).file(Verdict).exists():
        return None  # At once: most targets are built elsewhere, and each row is read anew below.
    with suppress(JetrailError):
        judged = load_judged(workspace, target, engine)
        verdict, built = judged.verdict.verdict, judged.manifest
        if model is None or model.version != built.model_version:
            return f"{verdict} of {built.model_version}"
        now = (model.weights.sha256, model.imgsz)
        return verdict if (built.source.weights_sha256, built.imgsz) == now else None
    return None
