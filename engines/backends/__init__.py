"""Backends: how an engine is built and run, one folder each behind the protocols below.

openvino/   OpenVINO, on CPUs
tensorrt/   TensorRT and TensorRT-RTX, on NVIDIA GPUs
float32     a file with float16 Q/DQ in float32, for who does not take it
layers      what backends say of the layers that really run
loading     the checks before an engine is deserialised

To add a backend: a folder with a class that has `Backend`'s methods, which `build`s an engine and
`load`s a `Session`; a model of its options, derived from `BuilderOptions`; and in
`engines.packages` a row for each package that it runs on. Then a target's row may name it under
`backend:`.

An SDK is imported inside functions only, so that naming a backend costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from engines.packages import PACKAGES, backend_names, packages_of
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest, OpenVINOBlob, Preprocess, Tensor, TensorRTPlan
from engines.records.record import Part, Precision

INPUT, OUTPUT = "images", "output0"
"""Tensors of the ONNX files, and of the engines that are built from them."""

Progress = Callable[[str, int, int], None]
"""Told the phase of the build, how many of its steps are done, and how many it has."""


class BuilderOptions(Part):
    """What every backend's options have: `builder:` of a target's row."""

    package: str
    """A name in `engines.packages`."""
    device: dict[str, str] | None = None
    """What the machine that builds must be, where it need not be the target's own device."""


Options = TypeVar("Options", bound=BuilderOptions)


@dataclass(frozen=True, kw_only=True)
class BuildRequest(Generic[Options]):
    """What an engine is built from."""

    onnx: Path
    """Typed ONNX file: float32 NCHW input INPUT, raw head output OUTPUT, dynamic axis `batch`."""
    precision: Precision
    batch: Batch
    imgsz: tuple[int, int]
    """Height and width, in pixels."""
    device: Fingerprint
    """The machine at hand."""
    options: Options
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
    openvino: OpenVINOBlob | None = None


class Session(Protocol):
    """A loaded engine with `slots` independent sets of buffers, so that several frames can be in
    flight. Buffers are allocated at load and reused: nothing is allocated per frame."""

    slots: int
    waits: str | None
    """How a thread waits for the GPU (`spin`, `yield`, `block`, `auto`); None where there is none.
    Latencies hang on it."""

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


class Backend(Protocol[Options]):
    """Builds engines and loads them."""

    def version(self) -> str:
        """Version of the backend's package that is installed. Raises InputError when it is
        missing, with how it is installed here."""

    def onnx_precision(self, precision: Precision) -> Precision:
        """Precision of the ONNX file that an engine of `precision` is built from."""

    def build(self, request: BuildRequest[Options], engine: Path) -> BuildResult:
        """Build and write the engine to `engine` (a temporary path that the caller made)."""

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> Session:
        """Deserialise an engine whose manifest was checked; `in_flight` 1 means lowest latency."""


def open_backend(package: str) -> Backend[Any]:
    """The backend that runs on a package of `engines.packages`."""
    return cast("Backend[Any]", _load(PACKAGES[package].location)(package))


def options_type(backend: str) -> type[BuilderOptions]:
    """What a target's row may say under `builder:` with that `backend:`.

    Raises ValueError, with the backends there are, where there is none of that name.
    """
    rows = packages_of(backend)
    if not rows:
        raise ValueError(f"expected one of the backends {', '.join(backend_names())}")
    return cast("type[BuilderOptions]", _load(rows[0].options))


def _load(location: str) -> Any:
    module, attribute = location.split(":")
    return getattr(import_module(module), attribute)
