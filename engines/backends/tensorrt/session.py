"""A loaded plan: in each slot pinned buffers, a stream, and for each batch that is used a context
and a CUDA graph. Nothing is allocated per frame.

    input  -> the slot's pinned array, which the caller fills
    start  -> one launch: upload as uint8, inference, download as float32
    wait   -> the slot's pinned result
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensorrt.cuda import stream
from engines.backends.tensorrt.cuda.driver import Gpu
from engines.backends.tensorrt.cuda.memory import Buffer, DeviceMemory
from engines.backends.tensorrt.engine import Context, Engine, out_of_memory
from engines.errors import InputError, JetrailError
from engines.records.manifest import Manifest

WARM_UP_ROUNDS = 20


class _Closes(Protocol):
    def close(self) -> None: ...


Closable = TypeVar("Closable", bound=_Closes)


class TensorRTSession:
    """A loaded engine; see `engines.backends.Session`.

    Any thread may call it, and several at once for slots that differ.
    """

    def __init__(self, path: Path, manifest: Manifest, *, in_flight: int) -> None:
        """Raises WrongEngine where there is no GPU, or TensorRT does not take the plan; InputError
        when the GPU's memory is used up. Then nothing of it stays taken."""
        self.slots = in_flight
        self._slots: list[_Slot] = []
        self._gpu = Gpu()
        with ExitStack() as resources:
            resources.callback(self._gpu.close)
            self.waits: str | None = self._gpu.waits
            try:
                engine = Engine(path, manifest)
            except MemoryError as error:
                raise out_of_memory(str(error) or "Python got no more of it") from error
            resources.callback(engine.close)
            for _ in range(in_flight):
                self._slots.append(_Slot(self._gpu, engine, manifest, resources))
            self._resources = resources.pop_all()

    def input(self, slot: int, batch: int) -> NDArray[np.uint8]:
        """The slot's pinned buffer for `batch` frames: uint8 BGR, shape (batch, height, width, 3).

        Raises InputError for a batch that is outside the plan's profile.
        """
        return self._slot(slot).input(batch)

    def start(self, slot: int) -> None:
        """Begin upload, inference and download; returns at once, but for a batch's first time."""
        chosen = self._slot(slot)
        self._gpu.use()
        chosen.start()

    def wait(self, slot: int) -> NDArray[np.float32]:
        """Wait for the slot; its raw head output, shape (batch, 4 + classes, anchors), which may be
        read until the slot is started again, even after `close`."""
        chosen = self._slot(slot)
        self._gpu.use()
        return chosen.wait()

    def gpu_times_ms(self, batch: int, rounds: int) -> NDArray[np.float64]:
        """Times of the GPU alone for `batch` frames in slot 0, transfers left out, in
        milliseconds, shape (rounds,), by CUDA events around the graph."""
        chosen = self._slot(0)
        self._gpu.use()
        return chosen.gpu_times_ms(batch, rounds)

    def close(self) -> None:
        """Free the engine; may be called twice. The session cannot be used afterwards."""
        slots, self._slots = self._slots, []
        if not slots:
            return
        self._gpu.use()
        try:
            for slot in slots:
                slot.idle()
        finally:
            self._resources.close()

    def _slot(self, number: int) -> _Slot:
        if not self._slots:
            raise JetrailError("Expected an open engine, but it was closed. Load it again.")
        return self._slots[number]


class _Slot:
    """Buffers for the largest batch, and what runs each batch that was used."""

    def __init__(self, gpu: Gpu, engine: Engine, manifest: Manifest, resources: ExitStack) -> None:
        """What it takes is freed with `resources`."""
        self._engine = engine
        self._resources = ExitStack()
        resources.push(self._resources)
        self._batches = (manifest.batch.min, manifest.batch.max)
        self._names = (manifest.inputs[0].name, manifest.outputs[0].name)
        frame, result = (
            tuple(side or 0 for side in tensor.shape[1:])
            for tensor in (manifest.inputs[0], manifest.outputs[0])
        )
        self._frame = frame
        rows = manifest.batch.max
        self._scratch = self._open(DeviceMemory(engine.scratch_bytes))
        self._input = self._open(Buffer(gpu, (rows, *frame), np.uint8))
        self._output = self._open(Buffer(gpu, (rows, *result), np.float32))
        self._stream = self._open(stream.Stream())
        self._contexts: dict[int, Context] = {}
        self._runs: dict[tuple[int, bool], Callable[[], object]] = {}
        self._filled = self._started = 0

    def input(self, batch: int) -> NDArray[np.uint8]:
        self._check(batch)
        self._filled = batch
        return self._input.array[:batch]

    def start(self) -> None:
        self._started = self._filled
        self._run(self._filled, transfers=True)()

    def wait(self) -> NDArray[np.float32]:
        self._stream.wait()
        return self._output.array[: self._started]

    def gpu_times_ms(self, batch: int, rounds: int) -> NDArray[np.float64]:
        run = self._run(batch, transfers=False)
        self._input.upload(batch, self._stream)
        for count in (WARM_UP_ROUNDS, rounds):
            times = np.fromiter(stream.times_ms(self._stream, run, count), np.float64, count)
        return times

    def idle(self) -> None:
        """Return when nothing is in flight."""
        self._stream.wait()

    def _run(self, batch: int, *, transfers: bool) -> Callable[[], object]:
        key = (batch, transfers)
        if key not in self._runs:
            self._check(batch)
            self._runs[key] = self._prepare(batch, transfers=transfers)
        return self._runs[key]

    def _prepare(self, batch: int, *, transfers: bool) -> Callable[[], object]:
        """The launch of a graph, or all of it call by call where the plan cannot be captured (with
        parts on a DLA, for example)."""
        work = self._work(batch, transfers=transfers)
        # Once before the capture: TensorRT sets itself up when a context or a shape is new.
        work()
        self._stream.wait()
        if not self._engine.captures:
            return work
        graph = self._stream.capture(work)
        if graph is None:
            self._forget_the_capture(work)
            return work
        return partial(self._open(graph).launch, self._stream)

    def _forget_the_capture(self, work: Callable[[], object]) -> None:
        """Run once after a capture that failed, and let that run fail.

        The CUDA runtime inside TensorRT keeps the capture's error until somebody asks for it, and
        the next run may be who does: trtexec asks for it there ("Ensure any CUDA error has been
        cleaned up", sampleInference.cpp), which the driver API cannot. An error of the run after
        it is that run's own.
        """
        with suppress(JetrailError):
            work()
        self._stream.wait()
        self._engine.forget_messages()

    def _work(self, batch: int, *, transfers: bool) -> Callable[[], object]:
        context = self._context(batch)

        def work() -> None:
            if transfers:
                self._input.upload(batch, self._stream)
            context.enqueue(self._stream)
            if transfers:
                self._output.download(batch, self._stream)

        return work

    def _context(self, batch: int) -> Context:
        """The batch's own: a graph captured from it holds its state. Their scratch memory is one,
        since one stream runs them."""
        if batch not in self._contexts:
            source, result = self._names
            context = self._engine.context(
                self._scratch,
                {source: self._input.address, result: self._output.address},
                {source: (batch, *self._frame)},
                self._stream,
            )
            self._contexts[batch] = self._open(context)
        return self._contexts[batch]

    def _check(self, batch: int) -> None:
        least, most = self._batches
        if not least <= batch <= most:
            raise InputError(
                f"Expected a batch from {least} to {most}, got {batch}. Change `batch:` in the "
                "target's params.yaml and build the engine again."
            )

    def _open(self, resource: Closable) -> Closable:
        """Remember to close it."""
        self._resources.callback(resource.close)
        return resource
