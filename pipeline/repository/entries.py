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
from engines.files import remove_folder, write_atomic
from pipeline.repository.yaml_edit import edited_yaml
from pipeline.repository.yaml_text import (
    edited,
    with_entry,
    with_item,
    without_entry,
    without_item,
    write_all,
)

PRECISIONS = ("fp32", "fp16", "int8")


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
    edits = {
        _row(workspace, target): [
            without_entry(("engines",), engine) for engine in engines_of(workspace, target, model)
        ]
        for target in target_names(workspace)
    }
    if model in named_models(workspace):
        edits[params] = [without_item(("models",), model)]
    write_all({path: edited(path, *of_it) for path, of_it in edits.items() if of_it})
    _forget(workspace.root / "dvc.lock", {model})
    engines = {f"{model}-{precision}" for precision in PRECISIONS}
    for target in target_names(workspace):
        _forget(workspace.target(target) / "dvc.lock", engines)
        _drop_candidate(workspace.records / "candidates" / f"{target}.json", model, engines)
        for engine in engines:
            folder = workspace.engine(target, engine)
            folder.summary.unlink(missing_ok=True)
            folder.latency_table.unlink(missing_ok=True)
            remove_folder(folder.path)


def _row(workspace: Workspace, target: str) -> Path:
    return workspace.target(target) / "params.yaml"


def _engines(workspace: Workspace, target: str) -> dict[str, dict[str, Any]]:
    content = load_yaml(_row(workspace, target))
    engines = content.get("engines") if isinstance(content, dict) else None
    rows = engines if isinstance(engines, dict) else {}
    return {str(name): row for name, row in rows.items() if isinstance(row, dict)}


def _forget(lock_file: Path, items: set[str]) -> None:
    """Take the stages `<step>@<item>` out of a dvc.lock; without any, the file goes."""
    if not lock_file.is_file() or not any(_of(items, stage) for stage in _stages(lock_file)):
        return
    if all(_of(items, stage) for stage in _stages(lock_file)):
        lock_file.unlink()
        return
    with edited_yaml(lock_file) as content:
        for stage in [one for one in content["stages"] if _of(items, one)]:
            del content["stages"][stage]


def _stages(lock_file: Path) -> Iterator[str]:
    content: Any = load_yaml(lock_file)
    stages = content.get("stages") if isinstance(content, dict) else None
    yield from stages if isinstance(stages, dict) else ()


def _of(items: set[str], stage: str) -> bool:
    return stage.partition("@")[2] in items


def _drop_candidate(path: Path, model: str, engines: set[str]) -> None:
    """`release publish` writes the file; the two packages meet in it only."""
    if not path.is_file():
        return
    before = path.read_text(encoding="utf-8")
    try:
        content = json.loads(before)
        content["candidates"].pop(model, None)
        for engine in engines:
            content["skipped"].pop(engine, None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Expected {path} as `release publish` writes it, got something else. Bring it back "
            f"with `git checkout -- {shlex.quote(str(path))}`, then run the same command again."
        ) from error
    if json.loads(before) != content:
        write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
