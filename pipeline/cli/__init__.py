"""The command `pipeline`. Each command parses, calls one step, and maps errors to exit codes.

app      the app itself, and options of several commands
models   commands that change which models and targets there are; the others are here

Steps and everything heavy are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from pipeline.cli import models  # noqa: F401 it registers its commands
from pipeline.cli.app import Engine, Model, Target, commands

NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="End with exit 7 where another command holds this device."),
]


@commands.command()
@reports_errors
def export(model: Model) -> None:
    """Export the checkpoint to out/model.fp32.onnx of the model.

    Example: pipeline export meter-yolov8n
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.export import export

    export(find_workspace(), model)


@commands.command()
@reports_errors
def verify(model: Model) -> None:
    """Compare the ONNX file with the checkpoint on real images.

    Also measures the FP32 accuracy that engines are compared with.

    Example: pipeline verify meter-yolov8n
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.verify import verify

    verify(find_workspace(), model)


@commands.command()
@reports_errors
def quantize(model: Model) -> None:
    """Make the fp16 and int8 ONNX files, by real images.

    Example: pipeline quantize meter-yolov8n
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.quantize import quantize

    quantize(find_workspace(), model)


@commands.command()
@reports_errors
def pull(
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="Whose engines; repeat for more. Default: `target` of params.yaml.",
            show_default=False,
            autocompletion=completion.targets,
        ),
    ] = None,
) -> None:
    """Bring what this machine needs from DVC's remote.

    Weights, data sets, ONNX files, and what was made for the target. Run it
    after `git pull` and before `dvc repro`, which takes older files that lie
    here for newer ones. After `git revert` it brings back what was, also
    without a remote.

    Example: pipeline pull --target jetson-orin-nx
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace, root_if_elsewhere
    from pipeline.steps.pull import pull

    workspace = find_workspace()
    for name in pull(workspace, target or [target_or_default(workspace, None)]):
        next_is = f"next{root_if_elsewhere()}: dvc repro engines/targets/{name}/dvc.yaml"
        print(f"{name}: no engine was kept yet; {next_is}")


@commands.command()
@reports_errors
def ci(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Whose jobs; default: all targets that name a `runner_tag`.",
            show_default=False,
            autocompletion=completion.targets,
        ),
    ] = None,
) -> None:
    """Print the GitLab jobs of the targets that have runners.

    Of each two: one measures on the device, the other releases what passed there.

    Example: pipeline ci jetson-orin-nx > devices.gitlab-ci.yml
    """
    from engines.config.workspace import find_workspace
    from pipeline.steps.ci import ci

    print(ci(find_workspace(), targets or []), end="")


@commands.command()
@reports_errors
def probe(target: Target = None) -> None:
    """Say which device this is; exit 5 if it is not the target's.

    Example: pipeline probe --target x86-openvino
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.probe import probe

    workspace = find_workspace()
    probe(workspace, target_or_default(workspace, target))


@commands.command()
@reports_errors
def build(engine: Engine, target: Target = None, no_wait: NoWait = False) -> None:
    """Build the engine on this device, with its manifest.

    Example: pipeline build meter-yolov8n-fp16 --target x86-openvino
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.build import build

    workspace = find_workspace()
    build(workspace, target_or_default(workspace, target), engine, wait=not no_wait)


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
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.benchmark import benchmark

    workspace = find_workspace()
    chosen = target_or_default(workspace, target)
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
    """Measure the accuracy of the engine, against FP32.

    Example: pipeline evaluate meter-yolov8n-fp16 --target x86-openvino
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.evaluate import evaluate

    workspace = find_workspace()
    evaluate(workspace, target_or_default(workspace, target), engine, wait=not no_wait)


@commands.command()
@reports_errors
def predict(
    source: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.")],
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            "-e",
            help="<model>-<precision>, built on this device.",
            autocompletion=completion.engines,
        ),
    ],
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the drawn pictures.")] = Path(
        "predictions"
    ),
) -> None:
    """Draw what an engine finds on pictures.

    Example: pipeline predict photos/ --engine meter-yolov8n-fp16
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.predict import predict
    from pipeline.terminal.predicted import print_predicted

    workspace = find_workspace()
    print_predicted(
        predict(workspace, target_or_default(workspace, target), engine, source, out), out
    )


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
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.gate import gate, raise_unless_pass
    from pipeline.terminal.verdicts import print_verdict

    workspace = find_workspace()
    verdict, summary = gate(workspace, target_or_default(workspace, target), engine)
    print_verdict(verdict, summary)
    if not exit_zero:
        raise_unless_pass(verdict, bare=target is None)


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
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.budgets import budgets, parse_margin

    workspace = find_workspace()
    chosen = target_or_default(workspace, target)
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
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from pipeline.steps.report import (
        budget_sources,
        executed,
        invalid_engines,
        raise_unless_all_are_judged,
        raise_unless_all_pass,
        raise_unless_one_passes,
        report,
    )
    from pipeline.terminal.verdicts import print_report

    workspace = find_workspace()
    chosen = target_or_default(workspace, target)
    if invalid:
        for engine in invalid_engines(workspace, chosen):
            print(engine)
        return
    rows = report(workspace, chosen)
    ran = executed(workspace, chosen, [summary.engine for summary, _ in rows])
    print_report(chosen, rows, budget_sources(workspace, chosen), ran)
    raise_unless_all_are_judged(workspace, chosen)
    if one_passes:
        raise_unless_one_passes(rows, bare=target is None)
    elif not exit_zero:
        raise_unless_all_pass(rows, bare=target is None)


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
    from engines.config.workspace import find_workspace
    from pipeline.steps import doctor as step
    from pipeline.terminal.diagnosis import print_diagnosis

    if record is not None:
        print(step.record(record))
    diagnosis = step.doctor(find_workspace())
    print_diagnosis(diagnosis)
    step.raise_unless_useful(diagnosis)


def main() -> None:
    """Run the command line."""
    commands()
