"""A loaded blob: in each slot the buffers, and a request for each row of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.backends.openvino.messages import translated
from engines.backends.openvino.settings import (
    DEVICE,
    Config,
    core,
    latency_config,
    precision_config,
    streams_config,
)
from engines.errors import InputError, WrongEngine
from engines.records.manifest import Manifest

if TYPE_CHECKING:
    import openvino as ov


_RUNS = "Expected an engine that OpenVINO runs here"


class OpenVINOSession:
    """A loaded engine; see `engines.backends.Session`."""

    def __init__(self, engine: Path, manifest: Manifest, *, in_flight: int) -> None:
        self.slots = in_flight
        self.waits: str | None = None
        self._manifest = manifest
        config = latency_config() if in_flight == 1 else streams_config(in_flight)
        with translated(WrongEngine, f"Expected an engine that OpenVINO can load: {engine}"):
            self._blob = engine.read_bytes()
            self._compiled = _import(self._blob, manifest, config)
            self._streams = self._compiled if in_flight > 1 else None
            self._slots = [_Slot(self._compiled, manifest.batch.max) for _ in range(in_flight)]

    def input(self, slot: int, batch: int) -> NDArray[np.uint8]:
        """The slot's buffer for `batch` frames: uint8 BGR, shape (batch, height, width, 3)."""
        chosen = self._slots[slot]
        if not 1 <= batch <= len(chosen.inputs):
            raise InputError(
                f"Expected a batch from 1 to {len(chosen.inputs)}, got {batch}. "
                "Raise `batch:` in the target's params.yaml and build the engine again."
            )
        with translated(WrongEngine, _RUNS):
            chosen.use(batch, self._requests_of(batch))
        return chosen.inputs[:batch]

    def start(self, slot: int) -> None:
        """Begin inference on what the slot's buffer holds; returns at once."""
        with translated(WrongEngine, _RUNS):
            for request in self._slots[slot].running:
                request.start_async()

    def wait(self, slot: int) -> NDArray[np.float32]:
        """The slot's raw head output, shape (batch, 4 + classes, anchors)."""
        chosen = self._slots[slot]
        with translated(WrongEngine, _RUNS):
            for request in chosen.running:
                request.wait()
        return chosen.outputs[: len(chosen.running)]

    def gpu_times_ms(self, batch: int, rounds: int) -> None:
        """None: there is no GPU."""

    def close(self) -> None:
        """Free the engine. The session cannot be used afterwards."""
        self._slots = []
        self._compiled = self._streams = None

    def _requests_of(self, batch: int) -> ov.CompiledModel:
        """All processors on one frame for a single one; a stream for each for a batch."""
        if batch == 1:
            return self._compiled
        if self._streams is None:
            config = streams_config(self._manifest.batch.max)
            self._streams = _import(self._blob, self._manifest, config)
        return self._streams


class _Slot:
    """Buffers for the largest batch, and a request for each of its rows that works on them in
    place. A request is a set of pointers: its activations belong to the stream that runs it."""

    def __init__(self, compiled: ov.CompiledModel, rows: int) -> None:
        self.inputs = np.zeros((rows, *compiled.input(0).shape[1:]), np.uint8)
        self.outputs = np.zeros((rows, *compiled.output(0).shape[1:]), np.float32)
        self.running: list[ov.InferRequest] = []
        self._requests: dict[tuple[int, int], ov.InferRequest] = {}

    def use(self, batch: int, compiled: ov.CompiledModel) -> None:
        """Let the next start run the first `batch` rows with `compiled`."""
        self.running = [self._request(row, compiled) for row in range(batch)]

    def _request(self, row: int, compiled: ov.CompiledModel) -> ov.InferRequest:
        key = (row, id(compiled))
        if key not in self._requests:
            self._requests[key] = self._bind(row, compiled)
        return self._requests[key]

    def _bind(self, row: int, compiled: ov.CompiledModel) -> ov.InferRequest:
        import openvino as ov

        request = compiled.create_infer_request()
        one = slice(row, row + 1)
        request.set_input_tensor(ov.Tensor(self.inputs[one], shared_memory=True))
        request.set_output_tensor(ov.Tensor(self.outputs[one], shared_memory=True))
        return request


def _import(blob: bytes, manifest: Manifest, config: Config) -> ov.CompiledModel:
    return core().import_model(blob, DEVICE, config | precision_config(manifest.precision))
