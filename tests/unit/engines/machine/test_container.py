"""A container without privileges on a Jetson: the paths that tell which one it is are masked.

The trees are those of tests/documented/jetson with the device tree taken away, as moby/moby#43419
says, and with a package list of the image's own; CUDA is stood in for. No real device confirmed it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError
from engines.machine import cuda
from engines.machine.cuda import CudaDevice, read_cuda_device
from engines.machine.fingerprint import NODE_FILE, describe, differences, read_fingerprint
from engines.machine.jetson_facts import FAMILIES, FAMILIES_OF_SM
from engines.machine.sensors.nvml import Card
from engines.records.fingerprint import Fingerprint

JETSONS = Path(__file__).parents[3] / "documented/jetson"
IMAGE = """\
Package: nvidia-l4t-core
Status: install ok installed
Version: 35.4.1-20230801124926

Package: bash
Status: install ok installed
Version: 5.1-6ubuntu1
"""
MULTIPROCESSORS = {
    "orin-nx-16gb": 8,
    "orin-nx-8gb-jetpack-6.0": 8,
    "orin-nano-8gb": 8,
    "agx-orin-64gb": 16,
    "agx-thor": 20,
}


def on_the_node(name: str) -> Fingerprint:
    found = read_fingerprint(JETSONS / name, architecture="aarch64")
    return found.model_copy(update={"backends": {"tensorrt": "10.3.0"}})


@pytest.fixture
def masked(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes the tree which a container sees on a documented Jetson."""

    def make(name: str, *, release_file: bool = True) -> Path:
        root = Path(shutil.copytree(JETSONS / name, tmp_path / name))
        shutil.rmtree(root / "proc/device-tree")
        (root / "sys/firmware").mkdir(exist_ok=True)
        (root / "proc/device-tree").symlink_to("../sys/firmware/devicetree/base")
        (root / "var/lib/dpkg/status").write_text(IMAGE)
        if not release_file:
            (root / "etc/nv_tegra_release").unlink()
        return root

    return make


def says(name: str) -> Callable[[], CudaDevice]:
    node = on_the_node(name)
    return lambda: CudaDevice(
        compute_capability=node.compute_capability or "",
        integrated=True,
        multiprocessors=MULTIPROCESSORS[name],
        cuda=node.cuda or "",
    )


@pytest.mark.parametrize("name", sorted(MULTIPROCESSORS))
@pytest.mark.parametrize("release_file", [True, False])
def test_the_right_engine_is_taken_in_a_container(
    masked: Callable[..., Path], name: str, release_file: bool
) -> None:
    root = masked(name, release_file=release_file)
    here = read_fingerprint(root, architecture="aarch64", gpu=says(name))
    assert (here.kind, here.source, here.unified_memory) == ("jetson", "cuda", True)
    assert here.l4t == (on_the_node(name).l4t if release_file else None)
    assert differences(on_the_node(name), here, "tensorrt") == []
    assert differences(here, on_the_node(name), "tensorrt") == []
    assert "as CUDA tells in a container" in describe(here)


def test_modules_that_look_the_same_to_cuda_are_not_guessed(masked: Callable[..., Path]) -> None:
    root = masked("orin-nano-8gb")
    here = read_fingerprint(root, architecture="aarch64", gpu=says("orin-nano-8gb"))
    assert (here.family, here.module, here.dla_cores) == (None, None, None)
    root = masked("orin-nx-16gb")
    here = read_fingerprint(root, architecture="aarch64", gpu=says("orin-nx-16gb"))
    assert (here.family, here.module, here.dla_cores) == ("orin-nx", "Jetson Orin NX 16GB", 2)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ("agx-thor", "compute_capability"),
        ("agx-orin-64gb", "family"),
        ("orin-nx-8gb-jetpack-6.0", "l4t"),
    ],
)
def test_an_engine_of_another_jetson_is_still_refused(
    masked: Callable[..., Path], other: str, field: str
) -> None:
    root = masked("orin-nx-16gb")
    here = read_fingerprint(root, architecture="aarch64", gpu=says("orin-nx-16gb"))
    found = differences(on_the_node(other), here, "tensorrt")
    assert any(line.startswith(f"{field}: expected") for line in found), found


def test_a_field_that_a_jetson_itself_does_not_tell_is_a_difference() -> None:
    """Only CUDA's silence in a container is no difference."""
    node = on_the_node("orin-nx-16gb")
    other = node.model_copy(update={"l4t": None})
    assert differences(node, other, "tensorrt") == ["l4t: expected '36.4.3', this device has None"]


@pytest.mark.parametrize(
    ("architecture", "gpu"),
    [
        ("aarch64", None),
        ("aarch64", {"integrated": False}),  # an ARM server with a card
        ("aarch64", {"compute_capability": "12.1", "multiprocessors": 48}),  # a GB10
        ("x86_64", {}),
    ],
)
def test_other_machines_are_no_jetsons(
    masked: Callable[..., Path], architecture: str, gpu: dict[str, Any] | None
) -> None:
    facts = {"compute_capability": "8.7", "integrated": True, "multiprocessors": 8, "cuda": "12.6"}
    said = None if gpu is None else CudaDevice(**(facts | gpu))  # type: ignore[arg-type]
    card = Card(
        name="NVIDIA GB10", compute_capability="12.1", memory_mib=None, driver="580", cuda="13.0"
    )
    found = read_fingerprint(
        masked("orin-nx-16gb"), architecture=architecture, gpu=lambda: said, card=lambda: card
    )
    assert (found.kind, found.source, found.gpu) == ("dgpu", "machine", "NVIDIA GB10")


def test_a_jetson_whose_files_are_seen_is_not_asked() -> None:
    def fail() -> CudaDevice | None:
        raise AssertionError("CUDA was started")

    found = read_fingerprint(JETSONS / "orin-nx-16gb", architecture="aarch64", gpu=fail)
    assert found.source == "machine"


# --- the node's own file --------------------------------------------------------------------------


@pytest.fixture
def node_file(tmp_path: Path) -> Path:
    """device.json as `pipeline probe` wrote it on an Orin Nano."""
    path = tmp_path / "device.json"
    on_the_node("orin-nano-8gb").write(path)
    return path


def test_a_file_of_the_node_tells_all(masked: Callable[..., Path], node_file: Path) -> None:
    root = masked("orin-nano-8gb", release_file=False)
    here = read_fingerprint(root, architecture="aarch64", node_file=node_file)
    node = on_the_node("orin-nano-8gb")
    assert here.source == "node"
    assert (here.module, here.l4t, here.jetpack) == (node.module, node.l4t, node.jetpack)
    assert here.backends != {"tensorrt": "10.3.0"}, "the container's packages are its own"
    assert here.cores == node.cores
    assert differences(node, here, "tensorrt") == []


def test_the_file_is_named_by_the_environment(
    node_file: Path, monkeypatch: pytest.MonkeyPatch, masked: Callable[..., Path]
) -> None:
    monkeypatch.setenv(NODE_FILE, str(node_file))
    monkeypatch.setattr("engines.machine.fingerprint.ROOT", masked("orin-nano-8gb"))
    root = node_file.parent / "orin-nano-8gb"
    nothing = {"card": lambda: None, "gpu": lambda: None}
    assert read_fingerprint(root, architecture="aarch64", **nothing).source == "node"
    other = masked("agx-thor")
    assert read_fingerprint(other, architecture="aarch64").source == "machine"


def test_what_the_machine_itself_tells_goes_first(node_file: Path) -> None:
    found = read_fingerprint(JETSONS / "agx-orin-64gb", architecture="aarch64", node_file=node_file)
    assert (found.family, found.source) == ("agx-orin", "machine")


def test_a_file_of_another_node_is_refused(masked: Callable[..., Path], node_file: Path) -> None:
    root = masked("agx-thor")
    with pytest.raises(InputError, match=f"{NODE_FILE}.*SM 11.0, but it is of Jetson Orin Nano"):
        read_fingerprint(root, architecture="aarch64", node_file=node_file, gpu=says("agx-thor"))
    with pytest.raises(InputError, match="this node, which has x86_64 and SM 8.7"):
        read_fingerprint(root, architecture="x86_64", node_file=node_file)


def test_a_file_that_is_not_there(masked: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"device\.json"):
        read_fingerprint(
            masked("orin-nx-16gb"), architecture="aarch64", node_file=tmp_path / "x/device.json"
        )


# --- CUDA itself ----------------------------------------------------------------------------------


class Library:
    """libcuda's few functions; `failing` is one that gives an error."""

    def __init__(self, failing: str = "") -> None:
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        values = {"cuDeviceGet": 0, "cuDriverGetVersion": 12060}
        attributes = {75: 8, 76: 7, 18: 1, 16: 8}

        def call(*arguments: Any) -> int:
            if name == self._failing:
                return 100
            if name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = attributes[arguments[1]]
            elif name in values:
                arguments[0]._obj.value = values[name]
            return 0

        return call


def test_asks_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert read_cuda_device() == CudaDevice(
        compute_capability="8.7", integrated=True, multiprocessors=8, cuda="12.6"
    )
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    "failing", ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute", "cuDriverGetVersion"]
)
def test_a_driver_that_does_not_say(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library(failing))
    assert read_cuda_device() is None


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        assert name == cuda.LIBRARY
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert read_cuda_device() is None


def test_attributes_have_the_numbers_of_nvidia_s_bindings() -> None:
    bindings = pytest.importorskip("cuda.bindings.driver").CUdevice_attribute
    begin = "CU_DEVICE_ATTRIBUTE_"
    for name, number in (
        ("COMPUTE_CAPABILITY_MAJOR", cuda.MAJOR),
        ("COMPUTE_CAPABILITY_MINOR", cuda.MINOR),
        ("INTEGRATED", cuda.INTEGRATED),
        ("MULTIPROCESSOR_COUNT", cuda.MULTIPROCESSORS),
    ):
        assert int(getattr(bindings, begin + name)) == number


def test_every_family_has_a_compute_capability() -> None:
    assert {one for families in FAMILIES_OF_SM.values() for one in families} == set(FAMILIES)
