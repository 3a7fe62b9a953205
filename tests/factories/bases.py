"""The real x86 base, built by `release base build` on a Debian that is made here: no registry of
images can be reached from a test.

As root on an x86 machine with Debian's `buildah`, `mmdebstrap` and `skopeo`; elsewhere a test that
asks for it is skipped.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from release.image.layout import Image, Layout
from release.steps.base import Built, build_base

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "mmdebstrap", "skopeo")
DEBIAN = "localhost/jetrail-test-debian"
PACKAGES = "python3,libstdc++6,usr-is-merged,ca-certificates"
"""What `python:3.11-slim` has besides, as far as the base needs it."""
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
"""For machines without systemd and without bridge networks, as CI's are."""


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


def container_settings(folder: Path) -> dict[str, str]:
    """Variables with which buildah and podman have a storage of their own below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    roots = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{roots}')
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
    }


def build_real_base(folder: Path) -> RealBase:
    """Build it; half a minute."""
    missing = [one for one in TOOLS if shutil.which(one) is None]
    if missing or os.geteuid() or platform.machine() != "x86_64":
        pytest.skip(f"a base is built as root on an x86 machine; apt-get install {' '.join(TOOLS)}")
    workspace = lay_out_bases(folder / "clone")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in container_settings(folder / "containers").items():
            patch.setenv(name, value)
        try:
            _make_debian(folder)
            options = [f"--build-arg=FROM={DEBIAN}", "--pull=never"]
            built = build_base(workspace, "x86", options, lambda _: None)
        finally:
            subprocess.run(["buildah", "rmi", "--all", "--force"], capture_output=True, check=False)
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


def _make_debian(folder: Path) -> None:
    root = folder / "debian.tar"
    quiet = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={PACKAGES}"]
    subprocess.run([*quiet, "bookworm", str(root)], check=True, capture_output=True)
    done = subprocess.run(
        ["buildah", "from", "scratch"], check=True, capture_output=True, text=True
    )
    container = re.sub(r"\s", "", done.stdout)
    for words in (["add", "--quiet", container, str(root), "/"], ["commit", container, DEBIAN]):
        subprocess.run(["buildah", *words], check=True, capture_output=True)
    subprocess.run(["buildah", "rm", container], check=True, capture_output=True)
    root.unlink()
