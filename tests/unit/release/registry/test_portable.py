"""What travels with a released engine, and what pip is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from engines.records.manifest import Manifest
from release.registry import portable

TARGET = "x86-openvino"


@pytest.fixture
def manifest(workspace: Workspace, add_engine: Callable[..., str]) -> Manifest:
    add_engine("fp16")
    return Manifest.read(workspace.engine(TARGET, "meter-fp16").path / "manifest.json")


def test_an_editor_s_lock_does_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emacs puts a link to nothing beside what somebody edits."""
    source = tmp_path / "engines"
    source.mkdir()
    (source / "__init__.py").touch()
    (source / ".#cli.py").symlink_to("somebody@a.host:1")
    monkeypatch.setattr(portable.engines, "__file__", str(source / "__init__.py"))
    copy = Path(portable.copy_code(tmp_path / "code"))
    assert [one.name for one in copy.iterdir()] == ["__init__.py"]


def test_requirements_are_pinned(manifest: Manifest) -> None:
    found = portable.requirements(manifest)
    assert found[0] == f"openvino=={manifest.backend_version}"
    assert f"numpy=={metadata.version('numpy')}" in found
    assert all("==" in one for one in found)


def test_jetrail_is_no_requirement(manifest: Manifest) -> None:
    """Its name may belong to anybody in the index that a loading machine asks."""
    assert not [one for one in portable.requirements(manifest) if "jetrail" in one]


def test_runtime_that_comes_with_the_device(manifest: Manifest) -> None:
    changed = {"backend": "tensorrt", "backend_package": "tensorrt"}
    found = portable.requirements(manifest.model_copy(update=changed))
    assert found[0].startswith("cuda-bindings==")
    assert not [one for one in found if "tensorrt" in one]


def test_runtime_from_the_package_index(manifest: Manifest) -> None:
    changed = {
        "backend": "tensorrt",
        "backend_package": "tensorrt_rtx",
        "backend_version": "1.7.1.116",
    }
    found = portable.requirements(manifest.model_copy(update=changed))
    assert found[:1] == ("tensorrt-rtx==1.7.1.116",)


def test_package_that_is_not_here(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package.startswith("opencv"):
            raise metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(portable, "version", version)
    assert "opencv-python-headless" in portable.requirements(manifest)


def test_code_holds_modules_only(tmp_path: Path) -> None:
    engines = Path(portable.copy_code(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [engines.name] == ["engines"]
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {".py"}
    assert sum(path.stat().st_size for path in files) < 1 << 20
    assert not (engines / "targets").exists()


def test_code_is_whole(tmp_path: Path) -> None:
    """Every module of it imports, and none from anywhere else."""
    portable.copy_code(tmp_path)
    script = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "import engines.detect.detector, engines.machine.fingerprint\n"
        "import engines.backends.openvino.backend, engines.detect.pyfunc\n"
        "ours = [one for name, one in sys.modules.items()"
        " if name.partition('.')[0] in ('engines', 'release', 'pipeline')]\n"
        "print(*{one.__file__.startswith(sys.argv[1]) for one in ours})"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout == "True\n"
