"""Real containers in tests: podman with a storage of its own, and a base image with the runtime.

As root, with Debian's `podman`, `runc`, `catatonit`, `buildah` and `mmdebstrap`; elsewhere a test
that asks for it is skipped. The base is kept for this machine's later test runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = ("podman", "runc", "buildah", "mmdebstrap")
SUITE = "bookworm"
"""Debian with Python 3.11, whose wheels this Python may choose."""
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
"""For machines without systemd and without bridge networks, as CI's are."""
SITE = "/opt/jetrail"
LEFT_OUT = (
    *("openvino_telemetry*", "openvino/include", "openvino/libs/*_frontend.so*"),
    *("openvino/libs/libopenvino_intel_[gn]pu_*", "openvino/libs/*.json"),
)
SCRIPT = "#!/usr/bin/python3\nfrom runtime.cli import main\n\nmain()\n"


@dataclass(frozen=True, kw_only=True)
class Podman:
    """Podman and Buildah on a storage of ours."""

    folder: Path

    def run(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """For example `run("podman", "images")`."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }

    def image(self, name: str, base: str, files: Path, where: str) -> str:
        """An image of `base` with a folder's files; gives `name@sha256:…`."""
        container = self.run("buildah", "from", base).stdout.strip()
        self.run("buildah", "copy", "--chmod", "755", container, files, where)
        self.run("buildah", "commit", "--rm", container, name)
        return f"{name}@{self.digest(name)}"

    def digest(self, name: str) -> str:
        done = self.run("podman", "image", "inspect", "--format", "{{.Digest}}", name)
        return done.stdout.strip()


def podman() -> Podman:
    """Skips the test where there are no containers."""
    missing = [one for one in TOOLS if shutil.which(one) is None]
    if missing or os.geteuid() or platform.machine() != "x86_64":
        pytest.skip(
            "containers want root on an x86 machine, and `apt-get install "
            f"{' '.join(TOOLS)} catatonit`"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "jetrail-tests" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    roots = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{roots}')
    return Podman(folder=folder)


def make_runtime_image(tools: Podman) -> str:
    """The image with Python, what `jetrail[runtime]` needs, and the runtime as it is here."""
    base = _base(tools)
    with tempfile.TemporaryDirectory() as folder:
        for package in ("engines", "runtime"):
            for source in (ROOT / package).rglob("*.py"):
                target = Path(folder) / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        script = Path(folder) / "bin" / "runtime"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        name = f"localhost/jetrail-test-runtime:{os.getpid()}"
        container = tools.run("buildah", "from", base).stdout.strip()
        tools.run("buildah", "copy", "--chmod", "755", container, folder, SITE)
        settings = ("--env", f"PATH={SITE}/bin:/usr/bin:/bin", "--env", f"PYTHONPATH={SITE}")
        tools.run("buildah", "config", *settings, "--user", "1000:1000", container)
        tools.run("buildah", "commit", "--rm", container, name)
    return name


def _base(tools: Podman) -> str:
    requirements = _requirements()
    constraints = ROOT / "constraints.txt"
    key = hashlib.sha256(json.dumps([SUITE, requirements]).encode() + constraints.read_bytes())
    name = f"localhost/jetrail-test-base:{key.hexdigest()[:12]}"
    if tools.run("podman", "image", "exists", name, check=False).returncode == 0:
        return name
    with tempfile.TemporaryDirectory() as folder:
        root, site = Path(folder) / "root.tar", Path(folder) / "site"
        tools.run(*("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", SUITE, root))
        tools.run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", site),
            *("--python-version", "3.11", "--only-binary=:all:"),
            *("--constraint", constraints, *requirements),
        )
        _leave_out(site)
        container = tools.run("buildah", "from", "scratch").stdout.strip()
        tools.run("buildah", "add", container, root, "/")
        tools.run("buildah", "copy", container, site, SITE)
        tools.run("buildah", "commit", "--rm", container, name)
    return name


def _leave_out(site: Path) -> None:
    """What no pod of ours loads, half of it all; telemetry would write a client id and send."""
    for pattern in LEFT_OUT:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _requirements() -> list[str]:
    """What `jetrail[runtime]` depends on."""
    found = [Requirement(one) for one in requires("jetrail") or ()]
    needed = [
        one for one in found if one.marker is None or one.marker.evaluate({"extra": "runtime"})
    ]
    return sorted(f"{one.name}{one.specifier}" for one in needed)
