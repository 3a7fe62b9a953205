"""Commands that change which models and targets there are: what people keep, and its undoing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from pipeline.cli.app import Model, commands

SingleClass = Annotated[
    bool,
    typer.Option(
        "--single-class", help="Every object is of the checkpoint's one class (single_cls)."
    ),
]


@commands.command("add-model")
@reports_errors
def add_model(
    name: Annotated[str, typer.Argument(help="Name of the new folder under models/.")],
    weights: Annotated[Path, typer.Option(help="A YOLOv8 detect checkpoint (.pt).")],
    data: Annotated[Path, typer.Option(help="An Ultralytics data.yaml.")],
    imgsz: Annotated[
        str, typer.Option(help="Side, or height,width, in pixels: multiples of 32.")
    ] = "640",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="Target to add the engines to; repeat for more. Default: that of params.yaml.",
            show_default=False,
            autocompletion=completion.targets,
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Version of the model, part of its tags.")] = "1.0",
    track: Annotated[str, typer.Option(help="Keep weights and data in `git` or in `dvc`.")] = "dvc",
    single_class: SingleClass = False,
) -> None:
    """Bring your own checkpoint: weights, data sets and engines.

    Example: pipeline add-model helmets --weights best.pt --data data.yaml --imgsz 384,640
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.add_model import NewModel, add_model, parse_imgsz
    from pipeline.terminal.added import print_next_of_model, print_sets

    workspace = find_workspace()
    new = NewModel(
        name=name,
        weights=weights,
        data=data,
        imgsz=parse_imgsz(imgsz),
        targets=tuple(target or [target_or_default(workspace, None)]),
        version=version,
        track=track,
        single_class=single_class,
    )
    added = add_model(workspace, new)
    print_sets(added.sets)
    print_next_of_model(name, new.targets, new.imgsz, added.trained_at)


@commands.command("update-model")
@reports_errors
def update_model(
    name: Model,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The new checkpoint (.pt), of the same classes. Default: it stays.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="An Ultralytics data.yaml of the new data sets. Default: they stay.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            help="New version, above the present one; default: its last part counted up.",
            show_default=False,
        ),
    ] = None,
    single_class: SingleClass = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="Another target to add its engines to; repeat for more.",
            show_default=False,
            autocompletion=completion.targets,
        ),
    ] = None,
) -> None:
    """Give a model new weights or data, or more targets.

    Example: pipeline update-model helmets --weights best.pt --data data.yaml
    """
    from engines.config.target import load_target
    from engines.config.workspace import find_workspace
    from pipeline.steps.add_model import add_engines
    from pipeline.steps.update_model import Change, update_model
    from pipeline.terminal.models import print_more_targets, print_updated

    workspace = find_workspace()
    new = Change(weights=weights, data=data, version=version, single_class=single_class)
    for one in target or ():
        load_target(workspace, one)  # a name that is mistyped leaves the model as it is
    if not target or new != Change():
        updated = update_model(workspace, name, new)
        print_updated(name, *updated)
    if target:
        add_engines(workspace, name, target)
        print_more_targets(name, target)


@commands.command("remove-model")
@reports_errors
def remove_model(
    name: Model,
    force: Annotated[
        bool, typer.Option("--force", help="Also where a ring runs it: its clusters lose it.")
    ] = False,
) -> None:
    """Remove a model, its engines and all that names it.

    Example: pipeline remove-model helmets
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.remove_model import remove_model
    from pipeline.terminal.models import print_removed

    removed = remove_model(find_workspace(), name, force=force)
    print_removed(name, removed.rings, removed.others, kept=removed.kept)


@commands.command("list")
@reports_errors
def list_models() -> None:
    """List models, their engines by target, and what rings run.

    Example: pipeline list
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.list_models import list_models
    from pipeline.terminal.models import print_models

    print_models(list_models(find_workspace()))


@commands.command("add-target")
@reports_errors
def add_target(
    name: Annotated[str, typer.Argument(help="Name of the new folder under engines/targets/.")],
    source: Annotated[
        str,
        typer.Option(
            "--from", help="The target to copy the row of.", autocompletion=completion.targets
        ),
    ],
) -> None:
    """Add a kind of device, with the row of another target.

    Example: pipeline add-target line-4-box --from x86-openvino
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.add_target import add_target
    from pipeline.terminal.added import print_next_of_target

    add_target(find_workspace(), name, source)
    print_next_of_target(name, source)
