"""A Docker engine of a test: dockerd with a storage of its own and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("docker", "dockerd", "containerd", "runc")
NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
PATIENCE_S = 60


@contextmanager
def running_docker(folder: Path) -> Iterator[str]:
    """Its address, for DOCKER_HOST; skips the test where there is no Docker."""
    missing = [one for one in PROGRAMS if shutil.which(one) is None]
    if missing or os.geteuid():
        pytest.skip(f"{', '.join(missing)} wanted, as root: apt-get install docker.io")
    host = f"unix://{folder}/docker.sock"
    with ExitStack() as stack:
        socket = f"{folder}/containerd.sock"
        roots = ("--root", folder / "containerd", "--state", folder / "containerd-state")
        stack.enter_context(_running(folder, "containerd", *roots, "--address", socket))
        stack.enter_context(
            _running(
                folder,
                "dockerd",
                *("--host", host, "--containerd", socket, "--pidfile", folder / "docker.pid"),
                *("--data-root", folder / "data", "--exec-root", folder / "exec"),
                *("--exec-opt", "native.cgroupdriver=cgroupfs", *NO_NETWORK),
            )
        )
        end = time.monotonic() + PATIENCE_S
        while subprocess.run(["docker", "--host", host, "info"], capture_output=True).returncode:
            assert time.monotonic() < end, (folder / "dockerd.log").read_text()
            time.sleep(0.1)
        yield host


@contextmanager
def _running(folder: Path, *words: str | Path) -> Iterator[None]:
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
