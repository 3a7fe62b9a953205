"""What `doctor` prints: the machine, its packages, and the targets, in 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.config.workspace import where_to_run
from engines.machine.fingerprint import describe
from engines.records.fingerprint import Fingerprint
from pipeline.device.diagnosis import Diagnosis, TargetState
from pipeline.terminal.tables import print_line, print_whole


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Three tables, then for each target what stands in its way."""
    console = console or Console()
    console.print(_machine(diagnosis))
    console.print(_parts(diagnosis))
    print_whole(_targets(diagnosis), console)
    lines = [
        f"  {target.name}{_for_what(target, sentence)}: {sentence}"
        for target in diagnosis.targets
        for sentence in dict.fromkeys((*(target.build or ()), *(target.measure or ())))
    ]
    if where := where_to_run("\n".join(lines)):
        lines.append(f"  {where}")
    for line in lines:  # not wrapped: commands are there to be copied
        print_line(line, console)


def _for_what(target: TargetState, sentence: str) -> str:
    if sentence not in (target.build or ()):
        return ", to measure"
    return "" if sentence in (target.measure or ()) else ", to build"


def _machine(diagnosis: Diagnosis) -> Table:
    device = diagnosis.device
    table = Table(title="This machine", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    table.add_row("device", escape(describe(device)))
    if device.kind == "jetson":
        table.add_row("processor", escape(f"{device.name}, {device.cores} cores"))
    shared = ", shared with the GPU" if device.unified_memory else ""
    table.add_row("memory", f"{device.memory_gib} GiB{shared}")
    if device.kind != "cpu":
        table.add_row("GPU", escape(_gpu(device)))
    if device.kind == "jetson":
        table.add_row("power mode", escape(diagnosis.power_mode or "unknown"))
    return table


def _gpu(device: Fingerprint) -> str:
    known = [
        device.gpu or "unknown",
        f"SM {device.compute_capability or 'unknown'}",
        f"CUDA {device.cuda or 'unknown'}",
        f"driver {device.driver or 'unknown'}",
        *([f"{device.gpu_memory_gib} GiB"] if not device.unified_memory else []),
        *([f"{device.dla_cores} DLA cores"] if device.dla_cores else []),
    ]
    return ", ".join(known)


def _parts(diagnosis: Diagnosis) -> Table:
    table = Table(title="Packages and tools", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("found", overflow="fold")
    for part in diagnosis.parts:
        table.add_row(escape(part.name), escape(part.found) if part.found else "[red]missing[/]")
    return table


def _targets(diagnosis: Diagnosis) -> Table:
    table = Table(title="Targets", title_justify="left")
    for column in ("target", "for", "build here", "measure here"):
        table.add_column(column)
    for target in diagnosis.targets:
        answers = (_answer(target.build), _answer(target.measure))
        table.add_row(escape(target.name), escape(target.wants), *answers)
    return table


def _answer(obstacles: tuple[str, ...] | None) -> str:
    if obstacles is None:
        return "other device"
    return "[red]not yet[/]" if obstacles else "[green]yes[/]"
