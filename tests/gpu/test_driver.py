"""Our half of running an engine on a real driver: memory, streams, graphs, events, sensors.

Needs a GPU, its driver, and `pip install '.[device]' pytest`: no TensorRT, no model, no CUDA
toolkit. In the place of a plan stands a kernel of a few lines in PTX, which the driver compiles;
all else is what a pod runs. `pytest -s -m gpu tests/gpu/test_driver.py` shall take under five
minutes, and prints what the driver said: write that down with the card's name.

Nobody has run it on a GPU yet: a unit test runs it on the stand-in for the driver, sensors left
out, and ptxas of CUDA 12.9 assembles the kernel for SM 7.5 to 12.0.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import records
from factories.sessions import SLOTS, close_in_a_thread, in_threads, run, use_all

from engines.backends.tensorrt import session as session_module
from engines.backends.tensorrt.cuda import driver as cuda
from engines.backends.tensorrt.cuda.memory import Buffer, DeviceMemory
from engines.backends.tensorrt.cuda.stream import Graph, Stream, times_ms
from engines.backends.tensorrt.session import TensorRTSession
from engines.errors import InputError, JetrailError
from engines.machine.cuda import read_cuda_device
from engines.machine.fingerprint import read_fingerprint
from engines.machine.sensors.nvml import open_card, read_card
from engines.measure.sampler import StateSampler
from engines.records.manifest import Batch, Manifest, Tensor

FRAME = (64, 96, 3)
RESULT = (6, 64 * 96 * 3 // 6)
"""As many numbers as a frame has bytes."""
MOST = 4
THREADS = 256

# For each byte of the input half of it and one, as float32. Compute capability 7.0 and later.
PTX = """
.version 6.0
.target sm_70
.address_size 64
.visible .entry halve(.param .u64 source, .param .u64 result, .param .u32 count)
{
    .reg .pred %beyond;
    .reg .b16 %byte;
    .reg .b32 %block, %size, %thread, %index, %count;
    .reg .f32 %value;
    .reg .b64 %source, %result, %offset, %wide;
    ld.param.u64 %source, [source];
    ld.param.u64 %result, [result];
    ld.param.u32 %count, [count];
    cvta.to.global.u64 %source, %source;
    cvta.to.global.u64 %result, %result;
    mov.u32 %block, %ctaid.x;
    mov.u32 %size, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.u32 %index, %block, %size, %thread;
    setp.ge.u32 %beyond, %index, %count;
    @%beyond bra done;
    cvt.u64.u32 %offset, %index;
    add.u64 %source, %source, %offset;
    ld.global.u8 %byte, [%source];
    cvt.rn.f32.u16 %value, %byte;
    fma.rn.f32 %value, %value, 0f3F000000, 0f3F800000;
    shl.b64 %wide, %offset, 2;
    add.u64 %result, %result, %wide;
    st.global.f32 [%result], %value;
done:
    ret;
}
"""


class Kernel:
    """The kernel, compiled by the driver."""

    def __init__(self) -> None:
        self._module = cuda.call("cuModuleLoadData", PTX.encode() + b"\0")
        self._function = cuda.call("cuModuleGetFunction", self._module, b"halve")

    def launch(self, source: int, result: int, count: int, stream: Stream) -> None:
        """Let the stream come to it."""
        values = (np.array(source, np.uint64), np.array(result, np.uint64), np.uint32(count))
        held = [np.atleast_1d(value) for value in values]
        pointers = np.array([value.ctypes.data for value in held], np.uint64)
        blocks = -(-count // THREADS)
        cuda.call(
            "cuLaunchKernel",
            *(self._function, blocks, 1, 1, THREADS, 1, 1, 0, stream.handle),
            *(pointers.ctypes.data, 0),
        )

    def close(self) -> None:
        cuda.call("cuModuleUnload", self._module)


@dataclass
class KernelContext:
    """In the place of TensorRT's execution context."""

    kernel: Kernel
    addresses: tuple[int, int]
    count: int
    waits_inside: bool

    def enqueue(self, stream: Stream) -> None:
        if self.waits_inside:
            stream.wait()  # what CUDA does not take in a capture
        self.kernel.launch(*self.addresses, self.count, stream)

    def close(self) -> None:
        """Nothing is its own."""


class KernelEngine:
    """In the place of a loaded plan. `waits_inside`: its work cannot be captured."""

    captures = True
    scratch_bytes = 4096

    def __init__(self, path: Path, manifest: Manifest, *, waits_inside: bool = False) -> None:
        self._kernel = Kernel()
        self._waits_inside = waits_inside

    def context(
        self,
        scratch: DeviceMemory,
        addresses: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
        stream: Stream,
    ) -> KernelContext:
        count = int(np.prod(shapes["images"]))
        pair = (addresses["images"], addresses["output0"])
        return KernelContext(self._kernel, pair, count, self._waits_inside)

    def forget_messages(self) -> None:
        """It says nothing."""

    def close(self) -> None:
        self._kernel.close()


@pytest.fixture
def gpu() -> Iterator[cuda.Gpu]:
    found = cuda.Gpu()
    yield found
    found.close()


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return records.manifest(
        engine="kernel-fp32",
        precision="fp32",
        executed_precision="fp32",
        executed_layers={"fp32": 1},
        engine_file="engine.plan",
        backend="tensorrt",
        backend_package="tensorrt",
        device=read_fingerprint(),
        batch=Batch(min=1, opt=2, max=MOST),
        inputs=(Tensor(name="images", dtype="uint8", shape=(None, *FRAME)),),
        outputs=(Tensor(name="output0", dtype="float32", shape=(None, *RESULT)),),
        imgsz=FRAME[:2],
        classes=("one", "two"),
    )


@pytest.fixture
def load(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TensorRTSession]:
    """A function that loads the kernel as a pod loads a plan."""

    def make(in_flight: int = 1, **facts: bool) -> TensorRTSession:
        monkeypatch.setattr(session_module, "Engine", partial(KernelEngine, **facts))
        return TensorRTSession(Path("engine.plan"), manifest, in_flight=in_flight)

    return make


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[Graph | None]:
    """What each capture gives from now on."""
    found: list[Graph | None] = []
    capture = Stream.capture

    def keep(stream: Stream, work: Callable[[], object]) -> Graph | None:
        graph = capture(stream, work)
        found.append(graph)
        return graph

    monkeypatch.setattr(Stream, "capture", keep)
    return found


@pytest.fixture(scope="module")
def frames() -> Any:
    """Eight frames of noise: uint8, shape (8, height, width, 3)."""
    return np.random.default_rng(5).integers(0, 256, (8, *FRAME), dtype=np.uint8)


def expected(pictures: Any) -> Any:
    return (pictures.astype(np.float32) / 2 + 1).reshape(len(pictures), *RESULT)


def every_batch(session: TensorRTSession, frames: Any) -> list[BaseException]:
    """Every batch twice, in a thread for each of four slots, all at the same time; what failed."""
    together = threading.Barrier(SLOTS)

    def work(slot: int) -> None:
        try:
            for batch in (1, 2, 3, 4, 1, 2, 3, 4):
                together.wait(timeout=60)
                part = np.roll(frames, slot + batch, axis=0)[:batch]
                assert np.array_equal(run(session, slot, part), expected(part)), (slot, batch)
        except BaseException:
            together.abort()
            raise

    return in_threads(work)


class TestFrames:
    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_every_batch_in_any_order(
        self, load: Callable[..., TensorRTSession], frames: Any, in_flight: int
    ) -> None:
        session = load(in_flight)
        for slot in range(in_flight):
            for batch in (1, 4, 2, 1, 3, 4, 1):
                part = np.roll(frames, slot + batch, axis=0)[:batch]
                assert np.array_equal(run(session, slot, part), expected(part))
        session.close()

    def test_a_frame_is_one_launch_of_a_graph(
        self, load: Callable[..., TensorRTSession], frames: Any, captured: list[Graph | None]
    ) -> None:
        session = load()
        for turn in range(1000):
            part = np.roll(frames, turn, axis=0)[:2]
            assert np.array_equal(run(session, 0, part), expected(part))
        assert [graph is not None for graph in captured] == [True], "captured once, then launched"
        session.close()

    def test_slots_in_flight_do_not_disturb_each_other(
        self, load: Callable[..., TensorRTSession], frames: Any
    ) -> None:
        session = load(4)
        for _ in range(200):
            for slot in range(4):
                session.input(slot, 2)[:] = frames[2 * slot : 2 * slot + 2]
                session.start(slot)
            for slot in reversed(range(4)):
                part = frames[2 * slot : 2 * slot + 2]
                assert np.array_equal(session.wait(slot), expected(part))
        session.close()

    def test_four_threads_capture_at_once(
        self, load: Callable[..., TensorRTSession], frames: Any, captured: list[Graph | None]
    ) -> None:
        """Each in a slot of its own and with every batch new to it; none of them loaded it."""
        for _ in range(5):
            session = load(4)
            assert not every_batch(session, frames)
            assert len(captured) == 16
            assert all(captured), "one broke another's capture"
            captured.clear()
            close_in_a_thread(session)

    def test_what_cannot_be_captured_runs_call_by_call(
        self, load: Callable[..., TensorRTSession], frames: Any, captured: list[Graph | None]
    ) -> None:
        session = load(waits_inside=True)
        for batch in (1, 4, 1, 2):
            assert np.array_equal(run(session, 0, frames[:batch]), expected(frames[:batch]))
        assert captured == [None] * 3
        session.close()


class TestMemory:
    def test_a_result_that_was_kept_stays_readable(
        self, load: Callable[..., TensorRTSession], frames: Any
    ) -> None:
        session = load()
        kept = run(session, 0, frames[:2])
        session.close()
        other = load()  # which may be given the memory that the first gave back
        run(other, 0, frames[4:6])
        assert np.array_equal(kept, expected(frames[:2]))
        other.close()
        assert np.array_equal(kept, expected(frames[:2]))

    def test_is_given_back(
        self,
        load: Callable[..., TensorRTSession],
        frames: Any,
        comes_back: Callable[..., None],
    ) -> None:
        comes_back(lambda: use_all(load(SLOTS), frames), first=3, rounds=100)

    def test_that_is_not_there_is_bad_input(self, gpu: cuda.Gpu) -> None:
        with pytest.raises(InputError, match="CUDA_ERROR_OUT_OF_MEMORY.*`batch.max`"):
            DeviceMemory(1 << 50)

    def test_goes_there_and_back(self, gpu: cuda.Gpu) -> None:
        buffer, stream = Buffer(gpu, (3, 2, 5), np.float32), Stream()
        buffer.array[:] = np.arange(30).reshape(3, 2, 5)
        buffer.upload(2, stream)
        stream.wait()
        buffer.array[:] = -1
        buffer.download(2, stream)
        stream.wait()
        assert buffer.array[:2].ravel().tolist() == list(range(20))
        assert (buffer.array[2] == -1).all()
        buffer.close()
        stream.close()


class TestDriver:
    def test_threads_wait_by_spinning(self, gpu: cuda.Gpu) -> None:
        assert gpu.waits == "spin"

    def test_another_thread_must_use_the_context_first(self, gpu: cuda.Gpu) -> None:
        said: list[str] = []

        def work() -> None:
            try:
                DeviceMemory(10)
            except JetrailError as error:
                said.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert said
        assert "CUDA_ERROR_INVALID_CONTEXT" in said[0]

    def test_a_capture_that_fails_leaves_the_stream_usable(self, gpu: cuda.Gpu) -> None:
        stream = Stream()

        def fails() -> None:
            raise JetrailError("as an engine that does not run")

        assert stream.capture(fails) is None
        assert stream.capture(stream.wait) is None
        kernel, memory = Kernel(), DeviceMemory(4096)
        graph = stream.capture(partial(kernel.launch, memory.address, memory.address, 0, stream))
        assert graph is None, "a launch of no threads is refused, in a capture too"
        launch = partial(kernel.launch, memory.address, memory.address + 1024, 8, stream)
        graph = stream.capture(launch)
        assert graph is not None
        graph.launch(stream)
        stream.wait()
        for one in (graph, memory, stream, kernel):
            one.close()

    def test_events_time_what_lies_between_them(
        self, load: Callable[..., TensorRTSession], frames: Any, gpu: cuda.Gpu
    ) -> None:
        session = load()
        run(session, 0, frames[:1])
        times = session.gpu_times_ms(1, 300)
        assert times.shape == (300,)
        assert (times > 0).all()
        assert np.array_equal(run(session, 0, frames[1:2]), expected(frames[1:2]))
        print(f"\na graph of one small kernel: median {np.median(times) * 1e3:.1f} us")
        session.close()
        gpu.use()
        stream = Stream()
        assert len(list(times_ms(stream, lambda: None, 50))) == 50
        stream.close()


class TestSensors:
    def test_cuda_and_nvml_speak_of_one_card(self) -> None:
        card, found = read_card(), read_cuda_device()
        assert found is not None
        print(f"\nCUDA: {found}\nNVML: {card}")
        if card is None:
            pytest.skip("NVML does not tell of this GPU, as on a Jetson: see docs/jetson.md")
        assert (found.compute_capability, found.cuda) == (card.compute_capability, card.cuda)
        assert found.integrated == (card.memory_mib is None)

    def test_a_card_at_work_says_its_clock_and_why_it_throttles(
        self, load: Callable[..., TensorRTSession], frames: Any
    ) -> None:
        sensor = open_card()
        if sensor is None:
            pytest.skip("NVML does not tell of this GPU, as on a Jetson: see docs/jetson.md")
        sensor.close()
        session = load()
        sampler = StateSampler(gpu=True)
        with sampler:
            for _ in range(20_000):
                run(session, 0, frames[:4])
        session.close()
        state = sampler.state(0.0)
        print(f"\n{state.model_dump_json(indent=2, exclude_defaults=True)}")
        assert state.gpu_clock_max_mhz is not None
        assert state.gpu_clock_min_mhz is not None
        assert 0 < state.gpu_clock_min_mhz <= state.gpu_clock_max_mhz
        assert all(reason.isidentifier() for reason in state.throttle_reasons)
