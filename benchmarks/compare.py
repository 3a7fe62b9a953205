"""Jetrail beside its peers on this machine, in one run: ratios, with the limits we set ourselves.

    python benchmarks/compare.py

takes about twelve minutes on two cores, after `dvc repro`. docs/speed.md says what is compared.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from comparison import FULL, QUICK, Comparison
from figures import Figure, print_figures
from peer import environment
from rich.console import Console

from engines.cli import reports_errors
from engines.config.model import load_model
from engines.config.target import load_target
from engines.config.workspace import find_workspace
from engines.errors import InputError
from engines.files import write_atomic
from engines.machine.fingerprint import read_fingerprint

PACKAGES = ("openvino", "ultralytics-opencv-headless", "torch", "numpy", "opencv-python-headless")


class Part(str, Enum):
    """What can be compared by itself."""

    frame = "frame"
    throughput = "throughput"
    inference = "inference"
    export = "export"
    evaluate = "evaluate"
    demo = "demo"


def compare(
    only: Annotated[
        str, typer.Option(help=f"Comma-separated parts: {', '.join(Part)}.")
    ] = ",".join(Part),
    quick: Annotated[bool, typer.Option("--quick", help="A look, not a measurement.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all samples to this file.")
    ] = None,
    model: Annotated[str, typer.Option(help="A folder under models/.")] = "meter-yolov8n",
    target: Annotated[str, typer.Option(help="A folder under engines/targets/.")] = "x86-openvino",
) -> None:
    """Print our figures beside those of Ultralytics and OpenVINO's benchmark_app."""
    parts = _parts(only)
    with tempfile.TemporaryDirectory(prefix="jetrail-compare-") as name:
        comparison = _prepare(Path(name), model, target, quick=quick)
        figures: list[Figure] = []
        for part in parts:
            Console(stderr=True).print(f"comparing: {part.value} …")
            figures += _functions()[part](comparison)
    print_figures(figures, Console(width=80))
    if json_file:
        write_atomic(json_file, json.dumps(_report(figures, quick), indent=1) + "\n")


def _parts(only: str) -> list[Part]:
    known = [part.value for part in Part]
    asked = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in known]:
        raise InputError(
            f"Expected parts of {', '.join(known)} after --only, got {', '.join(unknown)}. "
            "Name one or more of them, with commas between."
        )
    return [Part(name) for name in asked]


def _functions() -> dict[Part, Callable[[Comparison], list[Figure]]]:
    from demo import demo
    from evaluating import evaluating
    from exporting import exporting
    from in_process import throughput, whole_frame
    from inference import inference

    return {
        Part.frame: whole_frame,
        Part.throughput: throughput,
        Part.inference: inference,
        Part.export: exporting,
        Part.evaluate: evaluating,
        Part.demo: demo,
    }


def _prepare(scratch: Path, model: str, target: str, *, quick: bool) -> Comparison:
    workspace = find_workspace()
    variables = environment(scratch)
    comparison = Comparison(
        workspace=workspace,
        target=load_target(workspace, target),
        model=load_model(workspace, model),
        effort=QUICK if quick else FULL,
        scratch=scratch,
        environment=variables,
        opencv_threads=cv2.getNumThreads(),
    )
    os.environ.update(variables)
    return comparison


def _report(figures: list[Figure], quick: bool) -> dict[str, Any]:
    return {
        "quick": quick,
        "device": read_fingerprint().model_dump(mode="json"),
        "versions": {package: version(package) for package in PACKAGES},
        "figures": [figure.as_json() for figure in figures],
    }


if __name__ == "__main__":
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(reports_errors(compare))
    app()
