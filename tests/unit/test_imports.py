"""Who imports whom: no cycles, and what a pod pulls in is known."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("engines", "pipeline", "release", "runtime")

POD = {
    *("engines", "engines.errors", "engines.disks", "engines.files", "engines.packages"),
    *("engines.records", "engines.records.explain", "engines.records.fingerprint"),
    "engines.records.folder",
    *("engines.records.manifest", "engines.records.record", "engines.records.thresholds"),
    *("engines.machine", "engines.machine.cuda", "engines.machine.fingerprint"),
    "engines.machine.jetson",
    *("engines.machine.jetson_facts", "engines.machine.processor", "engines.machine.sensors"),
    *("engines.machine.sensors.jetson", "engines.machine.sensors.nvml"),
    *("engines.machine.sensors.processors", "engines.machine.sensors.quota"),
    "engines.machine.sensors.reading",
    *("engines.backends", "engines.backends.loading"),
    *("engines.detect", "engines.detect.decode", "engines.detect.detections"),
    *("engines.detect.detector", "engines.detect.letterbox"),
}
"""All of ours that `import engines.detect.detector` brings."""

SERVING = {
    *POD,
    *("runtime", "runtime.check", "runtime.health", "runtime.memory", "runtime.metrics"),
    *("runtime.pod", "runtime.server", "runtime.trust", "runtime.worker"),
    *("engines.detect.arrays", "engines.detect.golden", "engines.records.verdict"),
    *("engines.records.attestation", "engines.records.signed_folder"),
    "engines.records.trusted_key",
}
"""And all that `runtime serve` does. A backend and its SDK are loaded with the engine."""

LIBRARIES = {
    "annotated_types",
    "numpy",
    "packaging",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
}
"""And all of others' (`typing_inspection` comes with newer pydantic)."""


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imports_between(names: Iterable[str]) -> dict[str, set[str]]:
    """Each of the modules or packages to those of them that it imports, itself left out."""
    names = sorted(names)
    found: dict[str, set[str]] = {name: set() for name in names}
    for module in graph().modules:
        for imported in graph().find_modules_directly_imported_by(module):
            one, other = _of(module, names), _of(imported, names)
            if one and other and one != other:
                found[one].add(other)
    return found


def _of(module: str, names: Iterable[str]) -> str | None:
    return next((one for one in names if module == one or module.startswith(f"{one}.")), None)


def check_acyclic(imports: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


def test_no_module_imports_back() -> None:
    modules = graph().modules
    check_acyclic({one: graph().find_modules_directly_imported_by(one) for one in modules})


@pytest.mark.parametrize(
    "package", sorted(one for one in graph().modules if graph().find_children(one))
)
def test_no_room_imports_back(package: str) -> None:
    """Rooms that lie side by side in a package, as wholes."""
    check_acyclic(imports_between(graph().find_children(package)))


@pytest.mark.parametrize(
    ("module", "ours", "libraries"),
    [
        ("engines.detect.detector", POD, LIBRARIES),
        (
            "engines.detect.pyfunc",
            POD | {"engines.detect.pictures", "engines.detect.pyfunc"},
            LIBRARIES,
        ),
        ("runtime.pod", SERVING, LIBRARIES | {"prometheus_client"}),
    ],
)
def test_what_a_pod_imports(module: str, ours: set[str], libraries: set[str]) -> None:
    """And what MLflow does with a released engine."""
    script = (
        "import json, sys; before = set(sys.modules);"
        f"import {module}, engines.detect.detector;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = set(json.loads(done.stdout))
    assert {one for one in names if one.partition(".")[0] in PACKAGES} == ours
    others = {one.partition(".")[0] for one in names} - {*PACKAGES, *sys.stdlib_module_names}
    assert {one for one in others if not one.startswith("_")} <= libraries | {"typing_inspection"}


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_no_private_name_is_imported(folder: str) -> None:
    """What another module needs has a name without an underscore."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module != "__future__":
                private = [one.name for one in node.names if one.name.startswith("_")]
                assert not private, f"{path.relative_to(ROOT)}:{node.lineno} imports {private}"
