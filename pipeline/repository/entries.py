"""Where a model is named beside its own folder: params.yaml, targets' rows, what DVC and `release`
keep of it. Added and removed here, so that nothing dangles.

    params.yaml                          an item of `models:`
    engines/targets/<t>/params.yaml      an entry of `engines:` for each precision
    dvc.lock, targets' dvc.lock          the stages of the model and of its engines
    release/records/candidates/<t>.json  the release that is its candidate
    engines/targets/<t>/out/             its engines and their figures
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.config.target import target_names
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.files import remove_in_place, write_atomic
from engines.records.record import PRECISIONS, refuse_conflict
from pipeline.repository.yaml_edit import edited_yaml
from pipeline.repository.yaml_text import (
    edited,
    with_entry,
    with_item,
    without_entry,
    without_item,
    write_all,
)


@contextmanager
def entries(workspace: Workspace, model: str, targets: Iterable[str]) -> Iterator[None]:
    """Name the model in params.yaml, and an engine of each precision in the rows of `targets`; what
    the files said before comes back when the block fails.

    Raises InputError where one of the files cannot be edited; then none is.
    """
    rows = {
        _row(workspace, target): [
            with_entry(
                # The model last: where two people bring theirs, the entries that git shows of
                # both sides are whole, and it is enough to keep both.
                ("engines",),
                f"{model}-{precision}",
                {"precision": precision, "model": model},
            )
            for precision in PRECISIONS
        ]
        for target in targets
    }
    params = workspace.root / "params.yaml"
    edits = {**rows, params: [with_item(("models",), model)]}
    before = {path: path.read_bytes() for path in edits}
    try:
        write_all({path: edited(path, *of_it) for path, of_it in edits.items()})
        yield
    except BaseException:  # Ctrl-C too
        write_all(before)
        raise


def engines_of(workspace: Workspace, target: str, model: str) -> list[str]:
    """The engines of a model in a target's row. Raises InputError where that is not YAML."""
    return [name for name, row in _engines(workspace, target).items() if row.get("model") == model]


def targets_of(workspace: Workspace, model: str) -> list[str]:
    """The targets whose row has an engine of the model."""
    return [name for name in target_names(workspace) if engines_of(workspace, name, model)]


def named_models(workspace: Workspace) -> list[str]:
    """The models that params.yaml names, in its order: those of the stages of dvc.yaml."""
    params = workspace.root / "params.yaml"
    content = load_yaml(params) if params.is_file() else None
    models = content.get("models") if isinstance(content, dict) else None
    return list(map(str, models)) if isinstance(models, list) else []


def models_in_rows(workspace: Workspace) -> set[str]:
    """The models that targets have engines of."""
    return {
        str(row.get("model"))
        for target in target_names(workspace)
        for row in _engines(workspace, target).values()
    }


def remove_entries(workspace: Workspace, model: str) -> None:
    """Take the model out of every file that names it, and remove its engines; run again after it
    was killed, this goes on.

    Raises InputError where a file cannot be edited; then nothing was changed.
    """
    params = workspace.root / "params.yaml"
    targets = target_names(workspace)
    edits = {
        _row(workspace, target): [
            without_entry(("engines",), engine) for engine in engines_of(workspace, target, model)
        ]
        for target in targets
    }
    if model in named_models(workspace):
        edits[params] = [without_item(("models",), model)]
    engines = {f"{model}-{precision}" for precision in PRECISIONS}
    # All is read before any of it is written: a file that cannot be stops nothing halfway.
    texts = {path: edited(path, *of_it) for path, of_it in edits.items() if of_it}
    locks = {workspace.root / "dvc.lock": {model}}
    locks |= {workspace.target(target) / "dvc.lock": engines for target in targets}
    stages = {path: _stages(path, items) for path, items in locks.items() if path.is_file()}
    lists = [workspace.records / "candidates" / f"{target}.json" for target in targets]
    candidates = {
        path: _without_candidate(path, model, engines) for path in lists if path.is_file()
    }
    write_all(texts)
    for path, (theirs, others) in stages.items():
        _forget(path, theirs, others=others)
    for path, text in candidates.items():
        if text is not None:
            write_atomic(path, text)
    for target in targets:
        for engine in engines:
            folder = workspace.engine(target, engine)
            folder.summary.unlink(missing_ok=True)
            folder.latency_table.unlink(missing_ok=True)
            remove_in_place(folder.path, "verdict.json")


def _row(workspace: Workspace, target: str) -> Path:
    return workspace.target(target) / "params.yaml"


def _engines(workspace: Workspace, target: str) -> dict[str, dict[str, Any]]:
    content = load_yaml(_row(workspace, target))
    engines = content.get("engines") if isinstance(content, dict) else None
    rows = engines if isinstance(engines, dict) else {}
    return {str(name): row for name, row in rows.items() if isinstance(row, dict)}


def _stages(lock_file: Path, items: set[str]) -> tuple[list[str], bool]:
    """The stages `<step>@<item>` of a dvc.lock, and whether it has others."""
    content: Any = load_yaml(lock_file)
    stages = content.get("stages") if isinstance(content, dict) else None
    names = list(stages) if isinstance(stages, dict) else []
    theirs = [name for name in names if name.partition("@")[2] in items]
    return theirs, len(theirs) < len(names)


def _forget(lock_file: Path, stages: list[str], *, others: bool) -> None:
    """Take stages out of a dvc.lock; without any, the file goes."""
    if not stages:
        return
    if not others:
        lock_file.unlink()
        return
    with edited_yaml(lock_file) as content:
        for stage in stages:
            del content["stages"][stage]


def _without_candidate(path: Path, model: str, engines: set[str]) -> str | None:
    """The list of candidates without the model's, as text; None where it has none. `release
    publish` writes the file; the two packages meet in it only."""
    before = path.read_bytes()
    try:
        content = json.loads(before)
        content["candidates"].pop(model, None)
        for engine in engines:
            content["skipped"].pop(engine, None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        refuse_conflict(before, str(path))
        raise InputError(
            f"Expected {path} as `release publish` writes it, got something else. Bring it back "
            f"with `git checkout -- {shlex.quote(str(path))}`, then run the same command again."
        ) from error
    if json.loads(before) == content:
        return None
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
