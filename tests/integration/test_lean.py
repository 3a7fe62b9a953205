"""`pip install .[device]` alone runs the on-device pipeline, on the Pythons that Jetsons have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from tests.integration.conftest import MODEL, ROOT, TARGET, Clone, stages

pytestmark = pytest.mark.integration

PYTHONS = ("3.10", "3.12")
ENGINE = f"{MODEL}-fp16"
GLIBC = {"3.10": 35, "3.12": 39}
"""Minor version of glibc 2 on JetPack 6 (Ubuntu 22.04) and JetPack 7 (Ubuntu 24.04)."""
NEEDED_ON_A_LAPTOP_ALONE = ("torch", "ultralytics", "mlflow", "onnxruntime", "onnxsim")
"""Beginnings of names."""
SOURCE_ALONE = {"antlr4-python3-runtime"}
"""Packages without any wheel: ANTLR's 4.9, which OmegaConf and Hydra want for DVC, is source only.
pip installs it on the device with nothing to compile."""
COMMANDS = (
    ("probe",),
    *((step, ENGINE) for step in ("build", "benchmark", "evaluate", "gate")),
)


def find_python(version: str) -> str:
    """A Python of that version that really runs: pyenv leaves shims that do not. uv installs one
    where the machine has none."""
    homes = (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python")
    words = ("uv", "python", "find", "--managed-python", version)
    managed = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    for candidate in (shutil.which(f"python{version}"), *map(str, sorted(homes)), managed):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return str(pytest.fail(f"expected Python {version}: run `uv python install {version}`"))


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
    run(
        *pip,
        "install",
        "--no-compile",
        *(("-c", str(pins)) if pins.is_file() else ()),
        f"{source}[device]",
    )
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
    assert {"jetrail", "openvino", "cuda-bindings", "polygraphy"} <= names
    assert not {name for name in names if name.startswith(NEEDED_ON_A_LAPTOP_ALONE)}
    assert run(python, "--version").startswith(f"Python {version}.")


@pytest.mark.parametrize("version", PYTHONS)
def test_every_dependency_comes_to_a_jetson_as_a_wheel(
    environments: dict[str, Path], version: str, tmp_path: Path
) -> None:
    python = str(environments[version] / "python")
    inspected = json.loads(run(python, "-m", "pip", "inspect", "--local"))
    pins, built = needed_on_a_jetson(inspected)
    assert "openvino" not in pins
    assert built.keys() == SOURCE_ALONE
    for metadata in built.values():
        (module,) = (metadata / "top_level.txt").read_text().split()
        files = (file for file in (metadata.parent / module).rglob("*") if file.is_file())
        assert {file.suffix for file in files} - {".pyc"} == {".py"}
    wanted = tmp_path / "pins.txt"
    wanted.write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))
    report = tmp_path / "report.json"
    run(
        *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"),
        *("--ignore-installed", "--no-deps", "--target", str(tmp_path / "nowhere")),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", version),
        *(word for tag in platforms(version) for word in ("--platform", tag)),
        *("--report", str(report), "--requirement", str(wanted)),
    )
    found = {one["download_info"]["url"] for one in json.loads(report.read_text())["install"]}
    assert len(found) == len(pins)
    assert {"any", "aarch64"} == {file_platform(url) for url in found}


def needed_on_a_jetson(inspected: dict[str, Any]) -> tuple[dict[str, str], dict[str, Path]]:
    """Versions of what `jetrail[device]` needs on an aarch64 machine with this Python, and the
    metadata of those that come as source; from what `pip inspect` says of the environment.

    Markers are asked anew, since pip asks them for the machine that it runs on.
    """
    marker = inspected["environment"] | {"platform_machine": "aarch64"}
    packages = {canonicalize_name(one["metadata"]["name"]): one for one in inspected["installed"]}
    todo, seen = [("jetrail", "device")], set[tuple[str, str]]()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in packages[name]["metadata"].get("requires_dist", []):
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate(marker | {"extra": extra}):
                todo += [(canonicalize_name(need.name), one) for one in ("", *need.extras)]
    names = {name for name, _ in seen} - {"jetrail"}
    pins = {name: packages[name]["metadata"]["version"] for name in names - SOURCE_ALONE}
    built = {name: Path(packages[name]["metadata_location"]) for name in names & SOURCE_ALONE}
    return pins, built


def platforms(version: str) -> tuple[str, ...]:
    """The tags of the wheels that pip takes on an aarch64 machine with that JetPack's glibc."""
    return (
        "manylinux2014_aarch64",
        *(f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC[version] + 1)),
    )


def file_platform(url: str) -> str:
    """`any`, or the architecture in the name of a wheel."""
    tag = url.removesuffix(".whl").rpartition("-")[2]
    return "aarch64" if tag.endswith("aarch64") else tag


@pytest.mark.parametrize("version", PYTHONS)
def test_models_are_taken_over_from_ci(
    environments: dict[str, Path], finished: Clone, version: str
) -> None:
    """As the GitLab jobs of devices do: dvc.lock and out/ of the models come as artifacts."""
    shutil.rmtree(finished.root / ".dvc" / "cache")
    shutil.rmtree(finished.out)
    lean = environments[version]
    variables = {
        "PATH": f"{lean}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(finished.root.parent / "another-site-cache"),
    }
    finished.run(str(lean / "dvc"), "commit", "export", "verify", "quantize", **variables)
    build = f"engines/targets/{TARGET}/dvc.yaml:build@{ENGINE}"
    said = finished.run(str(lean / "dvc"), "repro", build, **variables)
    assert stages(said) == ["probe", f"build@{ENGINE}"]


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
    folder = finished.workspace.engine(TARGET, ENGINE).path
    assert Verdict.read(folder / "verdict.json").verdict == "PASS"
    manifest = Manifest.read(folder / "manifest.json")
    installed = run(
        str(environments[version] / "python"),
        *("-c", "from importlib.metadata import version; print(version('openvino'))"),
    )
    assert manifest.backend_version == installed.strip()
