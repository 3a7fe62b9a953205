"""Bases: what people write of them, and what is laid beside a Containerfile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.config.target import target_names
from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from release.image import base_build
from release.image.base_build import build, lay_context
from release.image.bases import BaseRow, base_name, load_bases, write_digest

ROOT = Path(__file__).parents[4]
OURS = Workspace(root=ROOT)
DIGEST = f"sha256:{'d' * 64}"
NAMES = ("x86", "jetpack-6", "jetpack-7")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "release").mkdir()
    text = OURS.bases_file.read_text()
    (tmp_path / "release" / "bases.yaml").write_text(text)
    for target in target_names(OURS):
        row = tmp_path / "engines" / "targets" / target / "params.yaml"
        row.parent.mkdir(parents=True)
        row.touch()
    return Workspace(root=tmp_path)


def test_every_target_has_a_word() -> None:
    assert sorted(load_bases(OURS).targets) == target_names(OURS)
    assert tuple(load_bases(OURS).bases) == NAMES
    assert base_name(OURS, "x86-openvino") is None


def test_without_the_file_there_is_no_base(tmp_path: Path) -> None:
    assert base_name(Workspace(root=tmp_path), "x86-openvino") is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x86-openvino: none", "x86-openvino: x68", "expected none or one of x86, jetpack-6"),
        ("digest: null", "digest: latest", "bases.x86.digest"),
        ("linux/amd64", "windows/amd64", "bases.x86.platform"),
        ('python: "3.11"', "python: 3.11", "bases.x86.python"),
        ("schema: 1", "schema: 2", "schema"),
        ("platform: linux/amd64", "platfrom: linux/amd64", "platform"),
        ("repository: registry.example.com/jetrail/base-x86", "repository: ''", "repository"),
        ("  jetson-orin-nx:", "  jetson-orinnx:", r"'jetson-orinnx' \(did you mean jetson-orin-nx"),
    ],
)
def test_mistakes(workspace: Workspace, old: str, new: str, said: str) -> None:
    text = workspace.bases_file.read_text()
    assert old in text
    workspace.bases_file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        load_bases(workspace)


def test_only_the_digest_is_written(workspace: Workspace) -> None:
    before = workspace.bases_file.read_text()
    write_digest(workspace, "jetpack-6", DIGEST)
    row = before.index("  jetpack-6:")
    expected = before[:row] + before[row:].replace("digest: null", f"digest: {DIGEST}", 1)
    assert workspace.bases_file.read_text() == expected
    modified = workspace.bases_file.stat().st_mtime_ns
    write_digest(workspace, "jetpack-6", DIGEST)
    assert workspace.bases_file.stat().st_mtime_ns == modified


def test_link_mode_and_line_ends_stay(workspace: Workspace, tmp_path: Path) -> None:
    real = workspace.bases_file.rename(tmp_path / "bases-of-the-site.yaml")
    real.write_bytes(real.read_bytes().replace(b"\n", b"\r\n"))
    real.chmod(0o640)
    workspace.bases_file.symlink_to(real)
    write_digest(workspace, "jetpack-6", DIGEST)
    assert workspace.bases_file.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    content = real.read_bytes()
    assert DIGEST.encode() in content
    assert content.count(b"\n") == content.count(b"\r\n") > 10


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_as_root_and_nothing_is_fetched(name: str) -> None:
    text = (ROOT / "release" / "bases" / name / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "USER 1000:1000" in lines
    assert not [line for line in lines if "pip install" in line or "apt-get" in line]
    assert 'CMD ["runtime", "serve"]' in lines


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip is asked for; it lays some files."""
    asked: list[tuple[str, ...]] = []

    def run(*words: str, scratch: Path) -> None:
        asked.append(words)
        folder = Path(words[words.index("--target") + 1])
        for name in (
            *("numpy/__init__.py", "numpy/tests/test_a.py", "numpy/__init__.pyi"),
            *("openvino/libs/libopenvino_intel_gpu_plugin.so", "openvino/libs/libopenvino.so"),
            *("openvino_telemetry/main.py", "bin/numpy-config", "pygments/lexers/a.py"),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")

    monkeypatch.setattr(base_build, "_run", run)
    return asked


def test_what_is_laid_beside_the_containerfile(tmp_path: Path, site: list[tuple[str, ...]]) -> None:
    lay_context(OURS, "x86", load_bases(OURS).row("x86"), tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"Containerfile", "site/bin/runtime", "site/runtime/cli.py"} <= found
    assert "site/engines/detect/detector.py" in found
    assert "site/numpy/__init__.py" in found
    assert "site/openvino/libs/libopenvino.so" in found
    gone = ("telemetry", "gpu_plugin", "tests/", ".pyi", "pygments", "numpy-config", "pipeline/")
    assert not [one for one in found if any(word in one for word in gone)]
    assert not [one for one in found if one.startswith("site/release")]
    for path in tmp_path.rglob("site/*"):
        assert path.stat().st_mode & 0o777 in (0o755, 0o644)


@pytest.mark.parametrize(
    ("name", "python", "has", "has_not"),
    [
        ("x86", "3.11", "openvino nvidia-ml-py", "cuda-bindings"),
        ("jetpack-6", "3.10", "cuda-bindings", "openv nvidia-ml-py"),
        ("jetpack-7", "3.12", "cuda-bindings", "openv nvidia-ml-py"),
    ],
)
def test_wheels_are_the_base_s(
    tmp_path: Path,
    site: list[tuple[str, ...]],
    name: str,
    python: str,
    has: str,
    has_not: str,
) -> None:
    """And not this machine's."""
    lay_context(OURS, name, load_bases(OURS).row(name), tmp_path)
    (words,) = site
    assert words[words.index("--python-version") + 1] == python
    machine = "x86_64" if name == "x86" else "aarch64"
    assert f"manylinux2014_{machine}" in words
    assert "--only-binary=:all:" in words
    for one in has.split():
        assert any(word.startswith(one) for word in words)
    assert not any(word.startswith((*has_not.split(), "mlflow", "dvc", "torch")) for word in words)


@pytest.mark.parametrize("name", NAMES)
def test_pins_are_those_of_the_base_s_python(
    tmp_path: Path, site: list[tuple[str, ...]], name: str
) -> None:
    """pip asks conditions of the Python that runs it, so none is left to it."""
    row = load_bases(OURS).row(name)
    lay_context(OURS, name, row, tmp_path)
    (words,) = site
    pins = Path(words[words.index("--constraint") + 1]).read_text().splitlines()
    assert not [one for one in pins if ";" in one or "#" in one]
    assert len({one.partition("==")[0] for one in pins}) == len(pins) > 100
    condition = f"python_version {'<' if row.python == '3.10' else '>='} '3.11'"
    ours = (ROOT / "constraints.txt").read_text().splitlines()
    (numpy,) = (one for one in ours if one.startswith("numpy==") and condition in one)
    assert numpy.partition(" ;")[0] in pins


@pytest.mark.parametrize("tool", ["buildah", "podman", "docker"])
def test_whichever_engine_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """What each is told; the real buildah is in tests/integration."""
    said: list[tuple[str, ...]] = []

    def run(*words: str) -> None:
        said.append(words)
        if "--iidfile" in words:
            Path(words[words.index("--iidfile") + 1]).write_text("sha256:1d")

    monkeypatch.setattr(base_build.shutil, "which", lambda name: name if name == tool else None)
    monkeypatch.setattr(base_build, "_run", run)
    row, context = load_bases(OURS).row("x86"), tmp_path / "context"
    assert build("x86", row, context, tmp_path / "layout", ["--pull=never"]) == tool
    first = said[0]
    assert first[:2] == (tool, "build")
    assert f"FROM={row.from_}" in first
    assert ("--format" in first) == (tool != "docker")
    assert first[-2:] == ("--pull=never", str(context))
    assert any(word.startswith("oci:") for words in said[1:] for word in words)
    # Not by the name, which a build in another clone may give to its own image meanwhile.
    assert said[1][0] == said[-1][0] == tool
    assert "sha256:1d" in said[1]
    assert said[-1][1:] == ("rmi", "sha256:1d")
    assert not any("jetrail-base" in word for words in said[1:] for word in words)


def test_pip_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_build, "_requirements", lambda _: ["./nowhere-at-all"])
    row: BaseRow = load_bases(OURS).row("x86")
    with pytest.raises(ServiceError, match="failed while the base was built"):
        lay_context(OURS, "x86", row, tmp_path)


def test_a_full_disk_is_no_fault_of_pip() -> None:
    with pytest.raises(InputError, match=r"No space left on device.*more room .* MiB free"):
        base_build._run("sh", "-c", "echo OSError: [Errno 28] No space left on device >&2; exit 1")


BUILDER = """
from release.image.base_build import _run

_run("sh", "-c", "trap 'touch removed; exit' TERM; touch begun; while :; do sleep 0.02; done")
"""
"""With something to remove, as buildah has its working container."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_builder_may_clean_up_when_we_are_ended(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", BUILDER]
    paths = {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **paths}, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(tmp_path / "begun")
        process.send_signal(number)
        wait_for(tmp_path / "removed")
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)
