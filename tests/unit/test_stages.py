"""dvc.yaml: a stage runs again when code changed that decides what it makes, and for no other.

What a stage names under `deps` is compared with the import closure of its step. The closure is read
from the source (grimp), so that an import inside a function counts like any other; what a step
finds by name only (a backend, the harness) stands in BY_NAME.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest

from engines.config.yaml import load_yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("engines", "pipeline", "release")
BACKENDS = ("openvino", "tensorrt")

LEFT_OUT = {
    "engines.errors": "sentences and exit codes",
    "engines.extras": "which extra brings what is not installed: a sentence",
    "engines.disks": "sentences",
    "engines.files": "how a file is written, and not what",
    "engines.config": "reads what people write, which is a dependency or a parameter itself",
    "engines.packages": "what is installed is in device.json and in the manifest",
    "engines.process": "who may run, and how a child ends",
    "engines.streams": "how what is said is written",
    "pipeline.config": "reads params.yaml, whose values are parameters of the stage",
    "pipeline.device": "whether this machine may: its word is exit 5 or device.json",
    "pipeline.progress": "bars on a terminal",
    "pipeline.repository": "git's commit, DVC as a command",
    "release.lock": "who may run",
    "release.say": "lines on a terminal",
}
"""What no stage depends on, and why: a comment changed there builds and measures nothing again."""

LEFT_OUT_OF: Mapping[str, Mapping[str, str]] = {
    "export": {
        "engines.detect": "prepares pictures of checkpoint.npz, which verify knows by content",
        "engines.machine": "how many threads compute, of which none changes a byte",
        "engines.records": "as engines.detect",
    },
    "verify": {"engines.machine": "as for the export"},
    "quantize": {"engines.machine": "as for the export"},
    "build": {"engines.machine": "its word is device.json"},
    "benchmark": {"pipeline.intake.way_back": "words of a refusal"},
    "evaluate": {
        "engines.machine": "its word is exit 5",
        "pipeline.intake.way_back": "words of a refusal",
    },
    "gate": {
        "engines.machine": "its word is in benchmark.json and the manifest",
        "engines.backends": "names the fields that tie an engine to its device",
    },
    "report": {
        "engines.machine": "as for the gate, whose word it repeats",
        "engines.backends": "as for the gate",
    },
    "sign": {
        "engines.machine": "as for the gate, whose word it repeats",
        "engines.backends": "as for the gate",
        "engines.detect": "what it found is in the engine's folder",
    },
    "pack": {
        "engines.machine": "as for the gate, whose word it repeats",
        "engines.backends": "as for the gate",
        "engines.detect": "what it found is in the engine's folder",
    },
    "write": {
        "engines.machine": "as for the gate, whose word it repeats",
        "engines.backends": "as for the gate",
    },
    "publish": {
        "engines.machine": "its word is in the manifest",
        "engines.backends": "travels with a new version; an old one keeps what it came with",
        "engines.detect": "as the backends",
    },
}
"""What one stage does not depend on besides."""

BY_NAME = {
    "build": ("engines.backends.{backend}",),
    "benchmark": ("engines.backends.{backend}", "pipeline.latency.harness"),
    "evaluate": ("engines.backends.{backend}",),
}
"""What a step runs without an import statement."""

ALWAYS = {"probe": "always_changed: the machine is asked each time"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def _stages(file: Path) -> dict[str, dict[str, Any]]:
    stages = load_yaml(file)["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


MODEL_SIDE = _stages(ROOT / "dvc.yaml")
ON_DEVICE = _stages(ROOT / "engines" / "targets" / "device.dvc.yaml")
CASES = [
    *((name, stage, Path(), "") for name, stage in MODEL_SIDE.items()),
    *(
        (name, stage, Path("engines/targets/any"), backend)
        for name, stage in ON_DEVICE.items()
        for backend in BACKENDS
        if name not in ALWAYS
    ),
]
each_stage = pytest.mark.parametrize(
    ("name", "stage", "folder", "backend"), CASES, ids=[f"{one[0]}-{one[3]}" for one in CASES]
)


def step(stage: dict[str, Any]) -> str:
    """The module of the command that the stage runs."""
    package, command = stage["cmd"].split()[:2]
    return f"{package}.steps.{command.replace('-', '_')}"


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def decisive(name: str, stage: dict[str, Any], backend: str) -> set[str]:
    """The modules that decide what the stage makes: all that its step imports, and they in turn,
    but for what is left out and what is only imported by that."""
    left_out = [*LEFT_OUT, *LEFT_OUT_OF.get(name, ())]
    waiting, found = {step(stage)}, set[str]()
    for package in BY_NAME.get(name, ()):
        waiting |= {one for one in graph().modules if within(one, package.format(backend=backend))}
    while waiting:
        module = waiting.pop()
        if module in found or any(within(module, package) for package in left_out):
            continue
        found.add(module)
        waiting |= graph().find_modules_directly_imported_by(module)
    return found - set(PACKAGES)  # those are docstrings


def code(stage: dict[str, Any], folder: Path, backend: str) -> list[Path]:
    """What the stage names of our code: modules' files, and packages' folders."""
    paths = (Path(os.path.normpath(folder / one)) for one in stage.get("deps", []))
    ours = (Path(str(one).replace("${backend}", backend)) for one in paths)
    return [one for one in ours if one.parts[0] in PACKAGES and _is_code(one)]


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or (ROOT / path / "__init__.py").is_file()


def covers(path: Path, module: str) -> bool:
    """Whether a dependency on `path` notices a change of the module."""
    name = ".".join(path.with_suffix("").parts)
    if path.suffix == ".py":
        return module == name.removesuffix(".__init__")
    return within(module, name)


@each_stage
def test_all_that_decides_is_a_dependency(
    name: str, stage: dict[str, Any], folder: Path, backend: str
) -> None:
    paths = code(stage, folder, backend)
    modules = decisive(name, stage, backend)
    assert {one for one in modules if not any(covers(path, one) for path in paths)} == set()


@each_stage
def test_every_dependency_decides_something(
    name: str, stage: dict[str, Any], folder: Path, backend: str
) -> None:
    modules = decisive(name, stage, backend)
    for path in code(stage, folder, backend):
        assert (ROOT / path).exists()
        assert any(covers(path, one) for one in modules), path


@each_stage
def test_words_on_a_terminal_rebuild_nothing(
    name: str, stage: dict[str, Any], folder: Path, backend: str
) -> None:
    words = {one for one in graph().modules if within(one, "pipeline.terminal")}
    words |= {"pipeline.cli", "release.cli", "engines.cli", "release.terminal", *LEFT_OUT}
    for path in code(stage, folder, backend):
        assert not any(covers(path, one) for one in words), path


def test_what_is_left_out_is_there() -> None:
    every = {*LEFT_OUT, *(one for left in LEFT_OUT_OF.values() for one in left)}
    assert every <= graph().modules


def test_only_a_probe_runs_always() -> None:
    always = {name for name, one in ON_DEVICE.items() if one.get("always_changed")}
    assert always == ALWAYS.keys()


def test_what_stages_make_are_files() -> None:
    """On a full disk `dvc repro` ends with 0 where its cache took a part of a folder only, and
    dvc.lock names the whole (DVC 3.67); of a file it says so and ends with 255."""
    outs = [
        one if isinstance(one, str) else next(iter(one))
        for stage in (*MODEL_SIDE.values(), *ON_DEVICE.values())
        for one in stage.get("outs", ())
    ]
    folders = [one for one in outs if not (Path(one).suffix or one.endswith("_file}"))]
    assert not folders
