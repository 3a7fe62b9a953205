"""What a shell completes in place of a word: the names that the clone around it has.

Outside a clone, or where a file of it cannot be read, there is nothing to complete: the command
itself says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from engines.errors import JetrailError

if TYPE_CHECKING:
    from engines.config.workspace import Workspace

Completion = Callable[[typer.Context], list[str]]


def completes(names: Callable[[Workspace, typer.Context], Iterable[str]]) -> Completion:
    """Of all these names typer takes those that begin as the word does."""

    def complete(ctx: typer.Context) -> list[str]:
        from engines.config.workspace import find_workspace

        with suppress(JetrailError, OSError):
            return [*names(find_workspace(), ctx)]
        return []

    return complete


@completes
def models(workspace: Workspace, _: typer.Context) -> Iterable[str]:
    from engines.files import listed

    return [path.parent.name for path in listed(workspace.models, "*/model.yaml")]


@completes
def targets(workspace: Workspace, _: typer.Context) -> Iterable[str]:
    from engines.config.target import target_names

    return target_names(workspace)


@completes
def engines(workspace: Workspace, ctx: typer.Context) -> Iterable[str]:
    """Of the target that was named before, or of the default one."""
    from engines.config.default import target_or_default
    from engines.config.target import load_target

    return load_target(workspace, target_or_default(workspace, ctx.params.get("target"))).engines


@completes
def releases(workspace: Workspace, _: typer.Context) -> Iterable[str]:
    from engines.files import listed

    return [path.parent.name for path in listed(workspace.records, "v*/publication.json")]


@completes
def rings(workspace: Workspace, _: typer.Context) -> Iterable[str]:
    from engines.config.rings import load_rings

    return [ring.name for ring in load_rings(workspace).rings]
