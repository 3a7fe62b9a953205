"""The command `pipeline`. Each command parses, calls one step, and maps errors to exit codes.

Steps and everything heavy are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.cli import app, reports_errors

if TYPE_CHECKING:
    from engines.config.workspace import Workspace

commands = app("From a YOLOv8 checkpoint to a verdict on each engine of a target.")

Model = Annotated[str, typer.Argument(help="A folder under models/.", show_default=False)]
Engine = Annotated[str, typer.Argument(help="<model>-<precision>, for example meter-yolov8n-fp16.")]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="A folder under engines/targets/; default: `target` of params.yaml.",
        show_default=False,
    ),
]


NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="End with exit 7 where another command holds this device."),
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
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Version of the model, part of its tags.")] = "1.0",
    track: Annotated[str, typer.Option(help="Keep weights and data in `git` or in `dvc`.")] = "dvc",
    single_class: Annotated[
        bool,
        typer.Option(
            "--single-class", help="Every object is of the checkpoint's one class (single_cls)."
        ),
    ] = False,
) -> None:
    """Bring your own checkpoint: weights, data sets and engines.

    Example: pipeline add-model helmets --weights best.pt --data data.yaml --imgsz 384,640
    """
    from pipeline.steps.add_model import NewModel, add_model, parse_imgsz
    from pipeline.terminal.added import print_next_of_model, print_sets

    workspace = _workspace()
    new = NewModel(
        name=name,
        weights=weights,
        data=data,
        imgsz=parse_imgsz(imgsz),
        targets=tuple(target or [_target(workspace, None)]),
        version=version,
        track=track,
        single_class=single_class,
    )
    added = add_model(workspace, new)
    print_sets(added.split, added.facts, added.classes)
    print_next_of_model(name, new.targets, new.imgsz, added.trained_at)


@commands.command("update-model")
@reports_errors
def update_model(
    name: Model,
    weights: Annotated[Path, typer.Option(help="The new checkpoint (.pt), of the same classes.")],
    version: Annotated[
        str | None,
        typer.Option(
            help="New version of the model; default: its last part counted up.", show_default=False
        ),
    ] = None,
) -> None:
    """Give a model new weights, under a new version.

    Example: pipeline update-model helmets --weights best.pt --version 1.1
    """
    from pipeline.steps.update_model import update_model
    from pipeline.terminal.models import print_updated

    updated = update_model(_workspace(), name, weights, version)
    print_updated(name, updated.before, updated.now)


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
    from pipeline.steps.remove_model import remove_model
    from pipeline.terminal.models import print_removed

    removed = remove_model(_workspace(), name, force=force)
    print_removed(name, removed.rings, removed.others)


@commands.command("list")
@reports_errors
def list_models() -> None:
    """List models, their engines by target, and what rings run.

    Example: pipeline list
    """
    from pipeline.steps.list_models import list_models
    from pipeline.terminal.models import print_models

    print_models(list_models(_workspace()))


@commands.command("add-target")
@reports_errors
def add_target(
    name: Annotated[str, typer.Argument(help="Name of the new folder under engines/targets/.")],
    source: Annotated[str, typer.Option("--from", help="The target to copy the row of.")],
) -> None:
    """Add a kind of device, with the row of a target that is there.

    Example: pipeline add-target line-4-box --from x86-openvino
    """
    from pipeline.steps.add_target import add_target
    from pipeline.terminal.added import print_next_of_target

    add_target(_workspace(), name, source)
    print_next_of_target(name, source)


@commands.command()
@reports_errors
def export(model: Model) -> None:
    """Export the checkpoint to out/model.fp32.onnx of the model.

    Example: pipeline export meter-yolov8n
    """
    from pipeline.steps.export import export

    export(_workspace(), model)


@commands.command()
@reports_errors
def verify(model: Model) -> None:
    """Compare the ONNX file with the checkpoint on real images.

    Also measures the FP32 accuracy that engines are compared with.

    Example: pipeline verify meter-yolov8n
    """
    from pipeline.steps.verify import verify

    verify(_workspace(), model)


@commands.command()
@reports_errors
def quantize(model: Model) -> None:
    """Make the fp16 and int8 ONNX files, calibrated on real images.

    Example: pipeline quantize meter-yolov8n
    """
    from pipeline.steps.quantize import quantize

    quantize(_workspace(), model)


@commands.command()
@reports_errors
def probe(target: Target = None) -> None:
    """Say which device this is; exit 5 if it is not the target's.

    Example: pipeline probe --target x86-openvino
    """
    from pipeline.steps.probe import probe

    workspace = _workspace()
    probe(workspace, _target(workspace, target))


@commands.command()
@reports_errors
def build(engine: Engine, target: Target = None, no_wait: NoWait = False) -> None:
    """Build the engine on this device, with its manifest.

    Example: pipeline build meter-yolov8n-fp16 --target x86-openvino
    """
    from pipeline.steps.build import build

    workspace = _workspace()
    build(workspace, _target(workspace, target), engine, wait=not no_wait)


@commands.command()
@reports_errors
def benchmark(
    engine: Engine,
    target: Target = None,
    soak: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0,
            max=24 * 60,
            help="Then measure hot for so long; the row's benchmark.soak_minutes if not given.",
            show_default=False,
        ),
    ] = None,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Compare with trtexec, which must be installed.")
    ] = False,
    no_wait: NoWait = False,
) -> None:
    """Measure latency, throughput and memory of the engine here.

    Example: pipeline benchmark meter-yolov8n-fp16 --target x86-openvino
    """
    from pipeline.steps.benchmark import benchmark

    workspace = _workspace()
    chosen = _target(workspace, target)
    benchmark(
        workspace,
        chosen,
        engine,
        soak_minutes=soak,
        cross_check=cross_check,
        wait=not no_wait,
    )


@commands.command()
@reports_errors
def evaluate(engine: Engine, target: Target = None, no_wait: NoWait = False) -> None:
    """Measure the accuracy of the engine and its drop against FP32.

    Example: pipeline evaluate meter-yolov8n-fp16 --target x86-openvino
    """
    from pipeline.steps.evaluate import evaluate

    workspace = _workspace()
    evaluate(workspace, _target(workspace, target), engine, wait=not no_wait)


@commands.command()
@reports_errors
def predict(
    source: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.")],
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="<model>-<precision>, built on this device.")
    ],
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the drawn pictures.")] = Path(
        "predictions"
    ),
) -> None:
    """Draw what an engine finds on pictures.

    Example: pipeline predict photos/ --engine meter-yolov8n-fp16
    """
    from pipeline.steps.predict import predict
    from pipeline.terminal.predicted import print_predicted

    workspace = _workspace()
    print_predicted(predict(workspace, _target(workspace, target), engine, source, out), out)


@commands.command()
@reports_errors
def gate(
    engine: Engine,
    target: Target = None,
    exit_zero: Annotated[
        bool,
        typer.Option("--exit-zero", help="Exit 0 on FAIL and INVALID too, as in `dvc repro`."),
    ] = False,
) -> None:
    """Judge the engine by its budgets: exit 0, 3 FAIL, 4 INVALID.

    Example: pipeline gate meter-yolov8n-fp16 --target x86-openvino
    """
    from pipeline.steps.gate import gate, raise_unless_pass
    from pipeline.terminal.verdicts import print_verdict

    workspace = _workspace()
    verdict, summary = gate(workspace, _target(workspace, target), engine)
    print_verdict(verdict, summary)
    if not exit_zero:
        raise_unless_pass(verdict)


@commands.command()
@reports_errors
def budgets(
    measurement: Annotated[
        Path, typer.Option("--from", help="A benchmark.json of the target's own device.")
    ],
    target: Target = None,
    margin: Annotated[
        str, typer.Option(help="What an engine may be worse than it was measured, in percent.")
    ] = "25%",
) -> None:
    """Take an engine's budgets from what its device measured.

    Example: pipeline budgets --target t --from engines/targets/t/out/m-fp16/benchmark.json
    """
    from pipeline.steps.budgets import budgets, parse_margin

    workspace = _workspace()
    chosen = _target(workspace, target)
    print(budgets(workspace, chosen, measurement, parse_margin(margin)))


@commands.command()
@reports_errors
def report(
    target: Target = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 also when an engine does not pass.")
    ] = False,
    one_passes: Annotated[
        bool, typer.Option("--one-passes", help="Exit 0 when one engine passes at least.")
    ] = False,
    invalid: Annotated[
        bool,
        typer.Option(
            "--invalid", help="Only name the engines that were last judged INVALID, one a line."
        ),
    ] = False,
) -> None:
    """Print all verdicts of a target; write the data of its plots.

    Exits 3 if an engine fails, else 4 if one is INVALID. Example: pipeline report
    """
    from pipeline.steps.report import (
        budget_sources,
        executed,
        invalid_engines,
        raise_unless_all_pass,
        raise_unless_one_passes,
        report,
    )
    from pipeline.terminal.verdicts import print_report

    workspace = _workspace()
    chosen = _target(workspace, target)
    if invalid:
        for engine in invalid_engines(workspace, chosen):
            print(engine)
        return
    rows = report(workspace, chosen)
    print_report(chosen, rows, budget_sources(workspace, chosen), executed(workspace, chosen))
    if one_passes:
        raise_unless_one_passes(rows)
    elif not exit_zero:
        raise_unless_all_pass(rows)


@commands.command()
@reports_errors
def doctor(
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also save this device's files, without serial numbers, to a new folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what this machine is, what it can do, what is missing.

    Exits 5 if it can build no target's engines. Example: pipeline doctor
    """
    from pipeline.steps import doctor as step
    from pipeline.terminal.diagnosis import print_diagnosis

    if record is not None:
        print(step.record(record))
    diagnosis = step.doctor(_workspace())
    print_diagnosis(diagnosis)
    step.raise_unless_useful(diagnosis)


def _workspace() -> Workspace:
    from engines.config.workspace import find_workspace

    return find_workspace()


def _target(workspace: Workspace, target: str | None) -> str:
    from engines.config.default import target_or_default

    return target_or_default(workspace, target)


def main() -> None:
    """Run the command line."""
    commands()


if __name__ == "__main__":
    main()
