"""Who imports whom: no cycles, and what a pod pulls in is known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("engines", "pipeline", "release")

POD = {
    *("engines", "engines.errors", "engines.files", "engines.packages"),
    *("engines.records", "engines.records.fingerprint", "engines.records.folder"),
    *("engines.records.manifest", "engines.records.record", "engines.records.thresholds"),
    *("engines.machine", "engines.machine.cuda", "engines.machine.fingerprint"),
    "engines.machine.jetson",
    *("engines.machine.jetson_facts", "engines.machine.processor", "engines.machine.sensors"),
    *("engines.machine.sensors.jetson", "engines.machine.sensors.nvml"),
    *("engines.machine.sensors.processors", "engines.machine.sensors.reading"),
    *("engines.backends", "engines.backends.loading"),
    *("engines.detect", "engines.detect.decode", "engines.detect.detections"),
    *("engines.detect.detector", "engines.detect.letterbox"),
}
"""All of ours that `import engines.detect.detector` brings."""

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
    return grimp.build_graph(*PACKAGES)


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
    ("module", "more"), [("detector", set()), ("pyfunc", {"engines.detect.pyfunc"})]
)
def test_what_a_pod_imports(module: str, more: set[str]) -> None:
    """And what MLflow does with a released engine."""
    script = (
        "import json, sys; before = set(sys.modules);"
        f"import engines.detect.{module}, engines.detect.detector;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = set(json.loads(done.stdout))
    assert {one for one in names if one.partition(".")[0] in PACKAGES} == POD | more
    others = {one.partition(".")[0] for one in names} - {*PACKAGES, *sys.stdlib_module_names}
    assert {one for one in others if not one.startswith("_")} <= LIBRARIES | {"typing_inspection"}
