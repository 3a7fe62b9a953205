"""A package that is not installed here: every command says which extra brings it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement

from engines.errors import InputError
from engines.extras import DISTRIBUTIONS, INSTEAD, missing_extra
from release.registry.surroundings import service_errors

ROOT = Path(__file__).parents[3]
PROGRAMS = ("pipeline", "release", "runtime")
NEVER_ALONE = {
    "tensorrt": "JetPack or NVIDIA brings it, which `pipeline doctor` says",
    "psycopg2": "used where it is there; MLflow's store in PostgreSQL may have another driver",
}
BY_OTHERS = {
    "alembic": "by mlflow, whose SQL stores it makes",
    "google": "by protobuf, which onnx brings",
    "ruamel": "by ruamel.yaml, which Jetrail itself wants",
    "packageurl": "by cyclonedx-python-lib",
    "pydantic_core": "by pydantic, which Jetrail itself wants",
}
"""Modules that no row of pyproject.toml names, and what brings them."""
BY_NAME = {"torch", "ultralytics", "onnxsim", "dvc", "pytest", "pytest_benchmark", "tensorrt_rtx"}
"""What no import statement names."""


def requirements() -> list[Requirement]:
    return [Requirement(row) for row in requires("jetrail") or []]


def imported(program: str) -> set[str]:
    """The modules of others that a program's package, or `engines`, imports."""
    graph = grimp.build_graph("engines", program, include_external_packages=True, cache_dir=None)
    every = {name for name in graph.modules if graph.is_module_squashed(name)}
    return {name for name in every if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_package_that_is_imported_has_its_sentence(program: str) -> None:
    always = {one.name.lower() for one in requirements() if one.marker is None}
    wanted = imported(program) - always - {*NEVER_ALONE, *BY_OTHERS, "typing_extensions", program}
    wanted = {name for name in wanted if name.partition(".")[0] != "engines"}
    assert len(wanted) >= 4
    for module in wanted | (BY_NAME if program == "pipeline" else set()):
        error = ModuleNotFoundError(f"No module named '{module}'", name=f"{module}.inner")
        assert missing_extra(error, program), module


@pytest.mark.parametrize("extra", INSTEAD)
def test_every_extra_names_its_packages(extra: str) -> None:
    modules = {package: module for module, package in DISTRIBUTIONS.items()}
    packages = {
        one.name
        for one in requirements()
        if one.marker and one.marker.evaluate({"extra": extra}) and one.name != "jetrail"
    }
    assert packages
    for package in packages:
        module = modules.get(package, package.replace("-", "_"))
        said = missing_extra(ModuleNotFoundError(name=module), "other")
        assert said is not None
        assert f"Expected the Python package {package}, which is not installed" in said
        assert "editable '.[" in said
        assert said.count("\n") == 0


def test_what_is_not_ours_is_no_matter_of_an_extra() -> None:
    assert missing_extra(ModuleNotFoundError(name="nobody_has_this"), "pipeline") is None
    assert missing_extra(ImportError("libcudnn.so.9: not found", name="torch"), "pipeline") is None


def test_mlflow_s_absence_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no ModuleNotFoundError: a move in git stands where MLflow cannot be told of it."""
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with (
        pytest.raises(InputError, match=r"mlflow, which is not installed.*jetrail\[release\]"),
        service_errors("sqlite:///mlflow.db"),
    ):
        pass


@pytest.mark.parametrize(
    ("without", "command", "extra"),
    [
        ("torch", "pipeline export meter-yolov8n", "export"),
        ("dvc", "pipeline pull", "device"),
        ("yaml", "release lint", "release"),
        ("prometheus_client", "runtime serve nowhere", "runtime"),
    ],
)
def test_commands_say_which_extra_is_missing(
    tmp_path: Path, without: str, command: str, extra: str
) -> None:
    """In a process that cannot import it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {without!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    program, *words = command.split()
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"it comes with the extra jetrail[{extra}]" in done.stderr
