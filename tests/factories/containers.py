"""Real containers in tests: podman and buildah with a storage of their own, which is kept for this
machine's later test runs. One run has it at a time: some tests look at all that is in it.

As root, with Debian's `podman`, `runc`, `catatonit`, `buildah`, `mmdebstrap` and `skopeo`;
elsewhere a test that asks for it is skipped.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("podman", "runc", "catatonit", "buildah", "mmdebstrap", "skopeo")
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
        return os.environ | self.settings

    @property
    def settings(self) -> dict[str, str]:
        """Which storage and which way of isolation they use."""
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
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


@contextmanager
def podman() -> Iterator[Podman]:
    """Once no other run of the tests has it. Skips the test where there are no containers."""
    missing = [one for one in TOOLS if shutil.which(one) is None]
    if missing or os.geteuid() or platform.machine() != "x86_64":
        pytest.skip(
            f"containers want root on an x86 machine, and `apt-get install {' '.join(TOOLS)}`"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "jetrail-tests" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    roots = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{roots}')
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Podman(folder=folder)
