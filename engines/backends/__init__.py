"""Backends: one file each, behind the two small protocols below, listed in one dictionary.

A backend's SDK is imported inside its functions alone, so that naming a backend costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from engines.config.target import Builder
from engines.errors import InputError
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest, Preprocess, Tensor, TensorRTPlan
from engines.records.record import Precision

Progress = Callable[[str, int, int], None]
"""Told the phase of the build, how many of its steps are done, and how many it has."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What an engine is built from."""

    onnx: Path
    """Typed ONNX file: float32 NCHW input `images`, raw head output, dynamic axis `batch`."""
    precision: Precision
    batch: Batch
    imgsz: tuple[int, int]
    """Height and width, in pixels."""
    device: Fingerprint
    """The machine at hand."""
    options: Builder
    """`builder:` of the target's row."""
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What the backend says of the engine that it built."""

    executed_precision: str
    executed_layers: dict[str, int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    preprocess: Preprocess
    tensorrt: TensorRTPlan | None = None


class Session(Protocol):
    """A loaded engine with `slots` independent sets of buffers, so that several frames can be in
    flight. Buffers are allocated at load and reused: nothing is allocated per frame."""

    slots: int

    def input(self, slot: int, batch: int) -> NDArray[np.uint8]:
        """The slot's input buffer to fill: uint8 BGR, shape (batch, height, width, 3)."""

    def start(self, slot: int) -> None:
        """Begin inference on what the slot's buffer holds; returns at once."""

    def wait(self, slot: int) -> NDArray[np.float32]:
        """Wait for the slot; its raw head output, shape (batch, 4 + classes, anchors), valid until
        the slot is started again."""

    def gpu_times_ms(self, batch: int, rounds: int) -> NDArray[np.float64] | None:
        """Times that the GPU alone took for what slot 0 holds, transfers left out, in
        milliseconds, shape (rounds,); None where there is no GPU."""

    def close(self) -> None:
        """Free the engine."""


class Backend(Protocol):
    """Builds engines and loads them."""

    name: str
    engine_file: str
    """`engine.blob` or `engine.plan`."""

    def version(self) -> str:
        """Version of the backend's package that is installed. Raises InputError when it is
        missing, with how it is installed here."""

    def onnx_precision(self, precision: Precision) -> Precision:
        """Precision of the ONNX file that an engine of `precision` is built from."""

    def build(self, request: BuildRequest, engine: Path) -> BuildResult:
        """Build and write the engine to `engine` (a temporary path that the caller made)."""

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> Session:
        """Deserialise an engine whose manifest was checked; `in_flight` 1 means lowest latency."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a backend is, and what it runs on."""

    location: str
    """`module:class`; the class is made with the package's name."""
    packages: tuple[str, ...]
    """Packages that it can run on, named as their distributions are."""


BACKENDS = {
    "openvino": Entry(
        location="engines.backends.openvino.backend:OpenVINO", packages=("openvino",)
    ),
    "tensorrt": Entry(
        location="engines.backends.tensorrt.backend:TensorRT", packages=("tensorrt", "tensorrt_rtx")
    ),
}


def backend(name: str, package: str) -> Backend:
    """The backend of that name on that package. Raises InputError when there is none."""
    if name not in BACKENDS:
        raise InputError(
            f"Expected one of the backends {', '.join(BACKENDS)}; came {name!r}. "
            "Mend `backend:` in the target's params.yaml."
        )
    if package not in BACKENDS[name].packages:
        raise InputError(
            f"Expected one of the packages {', '.join(BACKENDS[name].packages)} for the backend "
            f"{name}, came {package!r}. Mend `builder.package` in the target's params.yaml."
        )
    module, attribute = BACKENDS[name].location.split(":")
    make = cast("Callable[[str], Backend]", getattr(import_module(module), attribute))
    return make(package)
