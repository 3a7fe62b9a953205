"""A loaded plan: pinned buffers, one stream and one CUDA graph a slot, no allocation per frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.backends import cuda
from engines.backends.tensorrt_sdk import Messages, choose, is_rtx, new_logger, trt
from engines.errors import InputError, JetrailError, WrongEngine
from engines.records import Manifest

WARM_UP_ROUNDS = 20


class TensorRTSession:
    """A loaded engine; see `engines.backends.Session`."""

    def __init__(self, path: Path, manifest: Manifest, *, in_flight: int) -> None:
        """Raises WrongEngine where there is no GPU, or TensorRT does not take the plan."""
        self.slots = in_flight
        self._gpu = cuda.Gpu()
        choose(manifest.backend_package)
        self._messages = Messages()
        self._runtime = trt.Runtime(new_logger(self._messages))
        self._engine = self._deserialize(path, manifest)
        self._slots = [self._slot(manifest) for _ in range(in_flight)]

    def input(self, slot: int, batch: int) -> NDArray[np.uint8]:
        """The slot's pinned buffer for `batch` frames: uint8 BGR, shape (batch, height, width, 3).

        Raises InputError for a batch that is outside the plan's profile.
        """
        return self._slots[slot].input(batch)

    def start(self, slot: int) -> None:
        """Begin upload, inference and download; returns at once."""
        self._gpu.use()
        self._slots[slot].start()

    def wait(self, slot: int) -> NDArray[np.float32]:
        """Wait for the slot; its raw head output, shape (batch, 4 + classes, anchors)."""
        self._gpu.use()
        return self._slots[slot].wait()

    def gpu_times_ms(self, batch: int, rounds: int) -> NDArray[np.float64]:
        """Times of the GPU alone for `batch` frames in slot 0, transfers left out, in
        milliseconds, shape (rounds,), by CUDA events around the graph."""
        self._gpu.use()
        return self._slots[0].gpu_times_ms(batch, rounds)

    def close(self) -> None:
        """Free the engine. The session cannot be used afterwards."""
        self._gpu.use()
        for slot in self._slots:
            slot.close()
        self._slots = []
        del self._engine, self._runtime
        self._gpu.close()

    def _deserialize(self, path: Path, manifest: Manifest) -> trt.ICudaEngine:
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise WrongEngine(
                f"Expected a plan that {manifest.backend_package} {trt.__version__} can load on "
                f"this GPU: {path}, but it says: {self._messages.reason()}. Build it here with "
                f"`pipeline build {manifest.engine} --target {manifest.target}`."
            )
        return engine

    def _slot(self, manifest: Manifest) -> _Slot:
        context = _context(self._engine, manifest.backend_package)
        if context is None:
            raise InputError(
                f"Expected enough GPU memory for {self.slots} frames in flight, but TensorRT says: "
                f"{self._messages.reason()}. Stop other programs on the GPU, or lower `batch.max` "
                "in the target's params.yaml and build the engine again."
            )
        return _Slot(context, manifest, self._messages)


def _context(engine: trt.ICudaEngine, package: str) -> trt.IExecutionContext:
    """TensorRT-RTX captures its graphs itself, since it compiles kernels while it runs."""
    if not is_rtx(package):
        return engine.create_execution_context()
    settings = engine.create_runtime_config()
    settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE  # type: ignore[attr-defined]
    return engine.create_execution_context(settings)


class _Slot:
    """Buffers for the largest batch, and for each batch that was used a graph of its own."""

    def __init__(
        self, context: trt.IExecutionContext, manifest: Manifest, messages: Messages
    ) -> None:
        self._context = context
        self._messages = messages
        self._engine = manifest.engine
        self._batches = (manifest.batch.min, manifest.batch.max)
        self._captures = not is_rtx(manifest.backend_package)
        source, result = manifest.inputs[0], manifest.outputs[0]
        self._input_name = source.name
        self._frame = tuple(side or 0 for side in source.shape[1:])
        rows = manifest.batch.max
        self._input = cuda.Memory((rows, *self._frame), np.uint8)
        self._output = cuda.Memory((rows, *(side or 0 for side in result.shape[1:])), np.float32)
        self._stream = cuda.Stream()
        self._runs: dict[int, Callable[[], None]] = {}
        self._graphs: list[cuda.Graph] = []
        self._batch = 0
        context.set_tensor_address(source.name, self._input.address)
        context.set_tensor_address(result.name, self._output.address)

    def input(self, batch: int) -> NDArray[np.uint8]:
        least, most = self._batches
        if not least <= batch <= most:
            raise InputError(
                f"Expected a batch from {least} to {most}, came {batch}. Change `batch:` in the "
                "target's params.yaml and build the engine again."
            )
        self._batch = batch
        return self._input.array[:batch]

    def start(self) -> None:
        if self._batch not in self._runs:
            self._runs[self._batch] = self._prepare(self._batch, transfers=True)
        self._runs[self._batch]()

    def wait(self) -> NDArray[np.float32]:
        self._stream.wait()
        return self._output.array[: self._batch]

    def gpu_times_ms(self, batch: int, rounds: int) -> NDArray[np.float64]:
        run = self._prepare(batch, transfers=False)
        with cuda.stopwatch(self._stream) as milliseconds:
            for _ in range(WARM_UP_ROUNDS):
                milliseconds(run)
            return np.array([milliseconds(run) for _ in range(rounds)])

    def close(self) -> None:
        self._stream.wait()
        self._runs = {}
        for graph in self._graphs:
            graph.close()
        del self._context
        self._input.close()
        self._output.close()
        self._stream.close()

    def _prepare(self, batch: int, *, transfers: bool) -> Callable[[], None]:
        """What runs `batch` frames: the launch of a graph, or all of it call by call where the
        plan cannot be captured (with parts on a DLA, for example)."""
        work = self._work(batch, transfers=transfers)
        # Once before the capture: TensorRT allocates and sets itself up when a shape is new.
        if not work():
            raise JetrailError(
                f"Expected {self._engine} to run {batch} frames, but TensorRT says: "
                f"{self._messages.reason()}. Build the engine again; if it says the same, report "
                "it with these lines."
            )
        self._stream.wait()
        graph = self._stream.capture(work) if self._captures else None
        if graph is None:
            return self._plain(batch, work)
        self._graphs.append(graph)
        return lambda: graph.launch(self._stream)

    def _work(self, batch: int, *, transfers: bool) -> Callable[[], bool]:
        shape = (batch, *self._frame)
        self._context.set_input_shape(self._input_name, shape)

        def work() -> bool:
            if transfers:
                self._input.upload(batch, self._stream)
            done = bool(self._context.execute_async_v3(int(self._stream.handle)))
            if transfers:
                self._output.download(batch, self._stream)
            return done

        return work

    def _plain(self, batch: int, work: Callable[[], bool]) -> Callable[[], None]:
        """Set the shape each time, since another batch may have run in between."""

        def run() -> None:
            self._context.set_input_shape(self._input_name, (batch, *self._frame))
            if not work():
                raise JetrailError(
                    f"Expected {self._engine} to run, but TensorRT says: "
                    f"{self._messages.reason()}. Load the engine again."
                )

        return run
