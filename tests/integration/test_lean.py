"""`pip install .[device]` alone runs the on-device pipeline, on the Pythons that Jetsons have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.records import Manifest, Verdict
from tests.integration.conftest import MODEL, ROOT, TARGET, Clone

pytestmark = pytest.mark.integration

PYTHONS = ("3.10", "3.12")
ENGINE = f"{MODEL}-fp16"
NEEDED_ON_A_LAPTOP_ALONE = {"torch", "torchvision", "ultralytics", "mlflow", "onnx", "onnxruntime"}
COMMANDS = (
    ("probe",),
    *((step, ENGINE) for step in ("build", "benchmark", "evaluate", "gate")),
)


def find_python(version: str) -> str:
    """A Python of that version that really runs: pyenv leaves shims that do not."""
    homes = (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python")
    for candidate in (shutil.which(f"python{version}"), *map(str, sorted(homes))):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return str(pytest.fail(f"expected Python {version} on PATH or below ~/.pyenv/versions"))


def run(*words: str, cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def install(version: str, folder: Path) -> Path:
    """A fresh environment with the project and its extra `device`; returns its bin."""
    source = folder / "source"
    for package in ("engines", "pipeline", "release"):
        unused = shutil.ignore_patterns("out", "__pycache__")
        shutil.copytree(ROOT / package, source / package, symlinks=True, ignore=unused)
    for file in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        if (ROOT / file).is_file():
            shutil.copyfile(ROOT / file, source / file)
    run(find_python(version), "-m", "venv", str(folder / "venv"))
    pins = source / "constraints.txt"
    pip = (str(folder / "venv/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", *(("-c", str(pins)) if pins.is_file() else ()), f"{source}[device]")
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bin folder of an environment for each Python, installed side by side."""
    folder = tmp_path_factory.mktemp("lean")
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda version: install(version, folder / version), PYTHONS)
        return dict(zip(PYTHONS, found, strict=True))


@pytest.mark.parametrize("version", PYTHONS)
def test_nothing_of_the_model_side_is_installed(
    environments: dict[str, Path], version: str
) -> None:
    python = str(environments[version] / "python")
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json"))
    names = {one["name"].lower() for one in listed}
    assert {"jetrail", "openvino"} <= names
    assert names.isdisjoint(NEEDED_ON_A_LAPTOP_ALONE)
    assert run(python, "--version").startswith(f"Python {version}.")


@pytest.mark.parametrize("version", PYTHONS)
def test_on_device_pipeline(environments: dict[str, Path], finished: Clone, version: str) -> None:
    shutil.rmtree(finished.out)
    # As on a device: the models and targets lie there, the code is what was installed.
    for package in ("engines", "pipeline", "release"):
        for code in (finished.root / package).rglob("*.py"):
            code.unlink()
    for step, *engine in COMMANDS:
        pipeline = str(environments[version] / "pipeline")
        run(pipeline, step, *engine, "--target", TARGET, cwd=finished.root)
    folder = finished.workspace.engine(TARGET, ENGINE)
    assert Verdict.read(folder / "verdict.json").verdict == "PASS"
    manifest = Manifest.read(folder / "manifest.json")
    installed = run(
        str(environments[version] / "python"),
        *("-c", "from importlib.metadata import version; print(version('openvino'))"),
    )
    assert manifest.backend_version == installed.strip()
