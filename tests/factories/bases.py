"""The real x86 base, built by `release base build` on a Debian that is made here: no registry of
images can be reached from a test.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.containers import Podman
from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from release.image.layout import Image, Layout
from release.steps.base import Built, build_base

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = "python3,libstdc++6,usr-is-merged,ca-certificates"
"""What `python:3.11-slim` has besides, as far as the base needs it."""


@dataclass(frozen=True, kw_only=True)
class RealBase:
    """The base `x86`, in the layout of a repository of its own."""

    workspace: Workspace
    built: Built

    @property
    def layout(self) -> Layout:
        return Layout(self.workspace.images)

    @property
    def image(self) -> Image:
        return self.layout.image("base-x86")


def build_real_base(folder: Path, tools: Podman) -> RealBase:
    """Build it; half a minute, and as much again where Debian must be made first."""
    workspace = lay_out_bases(folder / "clone")
    options = [f"--build-arg=FROM={debian(folder, tools)}", "--pull=never"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tools.settings.items():
            patch.setenv(name, value)
        built = build_base(workspace, "x86", options, lambda _: None)
    return RealBase(workspace=workspace, built=built)


def lay_out_bases(root: Path) -> Workspace:
    """The files of bases in a repository, with the code that goes into them."""
    shutil.copytree(ROOT / "release" / "bases", root / "release" / "bases")
    shutil.copyfile(ROOT / "release" / "bases.yaml", root / "release" / "bases.yaml")
    shutil.copyfile(ROOT / "constraints.txt", root / "constraints.txt")
    for package in ("engines", "runtime"):
        code = shutil.ignore_patterns("__pycache__", "out")
        shutil.copytree(ROOT / package, root / package, ignore=code)
    return Workspace(root=root)


def use_base(workspace: Workspace, target: str, base: str) -> None:
    """Let a target's images stand on a base."""
    yaml = YAML()
    content = yaml.load(workspace.bases_file)
    content["targets"][target] = base
    yaml.dump(content, workspace.bases_file)


def debian(folder: Path, tools: Podman) -> str:
    """An image of Debian 12 with Python 3.11, kept in the storage of `tools`."""
    key = hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:12]
    name = f"localhost/jetrail-test-debian:{key}"
    if tools.run("podman", "image", "exists", name, check=False).returncode == 0:
        return name
    root = folder / "debian.tar"
    make = ("mmdebstrap", "--quiet", "--variant=essential", f"--include={PACKAGES}")
    tools.run(*make, SUITE, root)
    container = tools.run("buildah", "from", "scratch").stdout.strip()
    tools.run("buildah", "add", "--quiet", container, root, "/")
    tools.run("buildah", "commit", "--rm", container, name)
    root.unlink()
    return name
