"""What an environment gets that knows nothing but the package index: there PyTorch for Linux is the
build for CUDA, while a machine with wheels or an index of its own may have another.

uv asks for the metadata of one Python and platform on another; nothing is downloaded or installed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINUX, JETPACK = "x86_64-manylinux_2_28", "aarch64-manylinux_2_35"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DEMO = ("export", "device", "release")
SOURCE_ONLY = "antlr4-python3-runtime"
"""Pure Python. All else would want a compiler where it has no wheel."""
DEVICES = {("3.10", JETPACK): "12.", ("3.12", JETPACK): "13.", ("3.10", LINUX): "12."}
"""Python and platform to the CUDA of NVIDIA's bindings: JetPack 6, whose driver takes CUDA 12, has
Python 3.10."""

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """What is found for a Python, a platform and extras. All are asked at once: it is waiting."""
    asked = [(python, LINUX, DEMO) for python in PYTHONS] + [(*one, ("device",)) for one in DEVICES]
    uv = partial(resolve, tmp_path_factory.mktemp("uv"))
    with ThreadPoolExecutor() as pool:
        running = {one: pool.submit(uv, *one) for one in asked}
    return lambda *one: running[one].result()


def resolve(cache: Path, python: str, platform: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Package to version, as `pip install --constraint constraints.txt '.[EXTRAS]'` finds them."""
    done = subprocess.run(
        [
            *("uv", "pip", "compile", "--quiet", "--no-config", "--no-annotate", "--no-header"),
            *("--python-version", python, "--python-platform", platform),
            *("--constraint", "constraints.txt"),
            *("--only-binary", ":all:", "--no-binary", SOURCE_ONLY),
            *(word for extra in extras for word in ("--extra", extra)),
            "pyproject.toml",
        ],
        cwd=ROOT,
        env=os.environ | {"UV_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pins = (line.partition("==") for line in done.stdout.splitlines())
    return {name: version for name, _, version in pins}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_demo_installs_with_the_index_s_own_pytorch(
    resolved: Callable[..., dict[str, str]], python: str
) -> None:
    found = resolved(python, LINUX, DEMO)
    assert "torch" in found
    assert any(name.startswith("nvidia-cudnn") for name in found), "the build for CUDA"


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_installs_without_pytorch(
    resolved: Callable[..., dict[str, str]], device: tuple[str, str]
) -> None:
    found = resolved(*device, ("device",))
    assert found["cuda-bindings"].startswith(DEVICES[device])
    assert "torch" not in found
