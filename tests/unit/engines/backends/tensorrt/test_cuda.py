"""The driver's adapter on a stand-in: no real device confirmed what the stand-in does."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engines.backends.tensorrt.cuda import driver as cuda
from engines.backends.tensorrt.cuda.driver import Gpu
from engines.backends.tensorrt.cuda.memory import Buffer, DeviceMemory
from engines.backends.tensorrt.cuda.stream import Graph, Stream, times_ms
from engines.errors import InputError, JetrailError, WrongEngine


@pytest.fixture(scope="module")
def fake(standin: Callable[[str], ModuleType]) -> Any:
    return standin("cuda_driver")


@pytest.fixture
def driver(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in = fake.Driver()
    monkeypatch.setattr(cuda, "driver", lambda: stand_in)
    return stand_in


@pytest.fixture
def gpu(driver: Any) -> Gpu:
    return Gpu()


class TestTheStandInIsLikeTheBindings:
    """The bindings are installed here and cannot be called: they tell their signatures."""

    def test_functions_take_as_many_arguments(self, fake: Any) -> None:
        bindings = pytest.importorskip("cuda.bindings.driver")
        names = [name for name in vars(fake.Driver) if name.startswith("cu")]
        assert len(names) > 20
        for name in names:
            theirs = re.match(rf"{name}\((.*?)\)\n", getattr(bindings, name).__doc__)
            assert theirs, name
            expected = [part for part in theirs[1].split(",") if part.strip()]
            ours = inspect.signature(getattr(fake.Driver, name).__wrapped__).parameters
            assert len(ours) - 1 == len(expected), f"{name}: {theirs[0]}"

    @pytest.mark.parametrize("kind", ["CUresult", "CUstream_flags", "CUstreamCaptureMode"])
    def test_constants_have_the_same_values(self, fake: Any, kind: str) -> None:
        bindings = pytest.importorskip("cuda.bindings.driver")
        for member in getattr(fake, kind):
            assert int(getattr(getattr(bindings, kind), member.name)) == member.value


class TestGpu:
    def test_none_in_sight(self) -> None:
        """The real bindings, in a process that sees no GPU even where there is one."""
        code = "from engines.backends.tensorrt.cuda.driver import Gpu; Gpu()"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stderr.strip().splitlines()[-1]
        assert re.search(r"WrongEngine: Expected an NVIDIA GPU .* but: .*`pipeline doctor`", said)

    def test_a_driver_without_a_gpu(self, driver: Any) -> None:
        driver.fail("cuInit", "CUDA_ERROR_NO_DEVICE")
        with pytest.raises(WrongEngine, match="but: cuInit says CUDA_ERROR_NO_DEVICE. An engine"):
            Gpu()
        assert not driver.leaks()

    @pytest.mark.parametrize("error", [RuntimeError("no libcuda"), ImportError("no bindings")])
    def test_no_driver(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def missing() -> None:
            raise error

        monkeypatch.setattr(cuda, "driver", missing)
        with pytest.raises(WrongEngine, match=f"but: {error}. An engine is run"):
            Gpu()

    @pytest.mark.parametrize("version", [12_020, 12_090])
    def test_a_driver_too_old_for_the_bindings(
        self, driver: Any, monkeypatch: pytest.MonkeyPatch, version: int
    ) -> None:
        """Those of CUDA 13 come where PyTorch for CUDA is; one function of ours is missing then."""
        driver.version = version
        monkeypatch.setattr(cuda, "installed_version", lambda name: "13.5.0")
        says = (
            r"CUDA 13, and this one takes 12\.[29] at most\. Run `pip install 'cuda-bindings<13'`"
        )
        with pytest.raises(InputError, match=says):
            Gpu()
        assert not driver.leaks()
        monkeypatch.setattr(cuda, "installed_version", lambda name: "12.9.10")
        Gpu().close()

    def test_is_released_once(self, driver: Any, gpu: Gpu) -> None:
        other = Gpu()
        gpu.close()
        gpu.close()
        assert driver.leaks() == {"contexts": 1}
        other.close()
        assert not driver.leaks()

    def test_waits_by_spinning_in_every_power_mode(self, driver: Any) -> None:
        """On a Jetson CUDA's own choice follows the power profile."""
        driver.context_flags = 0x10  # of somebody else, and not about waiting
        gpu = Gpu()
        assert driver.context_flags == 0x11
        assert gpu.waits == "spin"
        gpu.close()

    @pytest.mark.parametrize(
        ("flags", "waits"), [(0, "auto"), (1, "spin"), (2, "yield"), (4, "block"), (0x1C, "block")]
    )
    def test_says_how_the_context_waits_that_was_there_before(
        self, driver: Any, flags: int, waits: str
    ) -> None:
        driver.cuDevicePrimaryCtxRetain(0)
        driver.context_flags = flags
        gpu = Gpu()
        assert (gpu.waits, driver.context_flags) == (waits, flags)
        gpu.close()
        driver.cuDevicePrimaryCtxRelease(0)

    def test_another_thread_must_use_it_first(self, gpu: Gpu) -> None:
        said: list[object] = []

        def work(*, use: bool) -> None:
            try:
                if use:
                    gpu.use()
                DeviceMemory(10).close()
                said.append("done")
            except JetrailError as error:
                said.append(str(error))

        for use in (False, True):
            thread = threading.Thread(target=work, kwargs={"use": use})
            thread.start()
            thread.join()
        assert "CUDA_ERROR_INVALID_CONTEXT" in str(said[0])
        assert said[1] == "done"


class TestErrors:
    def test_memory_is_used_up(self, driver: Any, gpu: Gpu) -> None:
        driver.memory_bytes = 1000
        with pytest.raises(InputError, match="cuMemAlloc says CUDA_ERROR_OUT_OF_.*`batch.max`"):
            DeviceMemory(1001)

    def test_anything_else(self, driver: Any, gpu: Gpu) -> None:
        driver.fail("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")
        with pytest.raises(JetrailError, match="GPU to do cuStreamSynchronize.*ILLEGAL_ADDRESS"):
            Stream().wait()

    def test_a_fork(self, driver: Any, gpu: Gpu) -> None:
        driver.fail("cuStreamCreate", "CUDA_ERROR_NOT_INITIALIZED")
        with pytest.raises(JetrailError, match="CUDA does not work in a fork .* `spawn`"):
            Stream()

    @pytest.mark.parametrize("error", [RuntimeError("function cuX is not found"), ValueError("9")])
    def test_a_driver_that_is_older_or_newer_than_the_bindings(
        self, driver: Any, gpu: Gpu, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(flags: int) -> None:
            raise error

        monkeypatch.setattr(driver, "cuStreamCreate", broken, raising=False)
        with pytest.raises(JetrailError, match=f"cuStreamCreate, but the driver says {error}"):
            Stream()


class TestBuffer:
    def test_there_and_back(self, gpu: Gpu) -> None:
        buffer, stream = Buffer(gpu, (3, 2, 5), np.float32), Stream()
        assert buffer.array.shape == (3, 2, 5)
        assert not buffer.array.any()
        buffer.array[:] = np.arange(30).reshape(3, 2, 5)
        buffer.upload(2, stream)
        stream.wait()
        buffer.array[:] = -1
        buffer.download(2, stream)
        assert (buffer.array == -1).all()
        stream.wait()
        assert buffer.array[:2].ravel().tolist() == list(range(20))
        assert (buffer.array[2] == -1).all()

    def test_closing_frees_both(self, driver: Any, gpu: Gpu) -> None:
        buffer = Buffer(gpu, (2, 8), np.uint8)
        assert driver.leaks() == {"device": 1, "host": 1, "contexts": 2}
        buffer.close()
        assert driver.leaks() == {"contexts": 1}

    def test_an_array_that_was_kept_stays_readable(self, driver: Any, gpu: Gpu) -> None:
        buffer = Buffer(gpu, (2, 8), np.float32)
        buffer.array[:] = 7
        kept = buffer.array[1:, 2:]
        buffer.close()
        gpu.close()
        assert driver.leaks() == {"host": 1, "contexts": 1}
        assert (kept == 7).all()
        del kept
        assert not driver.leaks()

    @pytest.mark.parametrize("function", ["cuMemAlloc", "cuMemHostAlloc"])
    def test_half_of_it_is_not_kept(self, driver: Any, gpu: Gpu, function: str) -> None:
        driver.fail(function, "CUDA_ERROR_OUT_OF_MEMORY")
        with pytest.raises(InputError):
            Buffer(gpu, (2, 8), np.uint8)
        assert driver.leaks() == {"contexts": 1}


class TestCapture:
    @pytest.fixture
    def buffer(self, gpu: Gpu) -> Buffer:
        return Buffer(gpu, (1, 4), np.uint8)

    def test_a_graph_does_it_again(self, driver: Any, buffer: Buffer) -> None:
        stream = Stream()
        graph = stream.capture(lambda: buffer.upload(1, stream))
        assert graph is not None
        stream.wait()
        for value in (5, 6):
            buffer.array[:] = value
            graph.launch(stream)
            stream.wait()
            assert (driver.at(buffer.address, 4) == value).all()
        graph.close()
        stream.close()
        buffer.close()
        assert driver.leaks() == {"contexts": 1}

    def test_waiting_in_it(self, driver: Any, buffer: Buffer) -> None:
        stream = Stream()
        assert stream.capture(stream.wait) is None
        self._is_usable(driver, buffer, stream)

    def test_what_cuda_does_not_take_though_nobody_said_so(
        self, driver: Any, buffer: Buffer
    ) -> None:
        stream = Stream()
        assert stream.capture(lambda: driver.invalidate(stream.handle)) is None
        self._is_usable(driver, buffer, stream)

    def test_a_failure_of_the_work(self, driver: Any, buffer: Buffer) -> None:
        def work() -> None:
            buffer.upload(1, stream)
            raise JetrailError("no")

        stream = Stream()
        assert stream.capture(work) is None
        self._is_usable(driver, buffer, stream)

    def test_an_error_that_is_not_ours_is_raised(self, driver: Any, buffer: Buffer) -> None:
        stream = Stream()
        with pytest.raises(ZeroDivisionError):
            stream.capture(lambda: 1 // 0)
        buffer.upload(1, stream)
        stream.wait()

    def test_a_graph_that_cannot_be_made(self, driver: Any, buffer: Buffer) -> None:
        stream = Stream()
        driver.fail("cuGraphInstantiate", "CUDA_ERROR_OUT_OF_MEMORY")
        with pytest.raises(InputError, match="cuGraphInstantiate"):
            stream.capture(lambda: buffer.upload(1, stream))
        self._is_usable(driver, buffer, stream)

    def _is_usable(self, driver: Any, buffer: Buffer, stream: Stream) -> None:
        """Nothing of the capture was done or kept, and the stream works on."""
        assert (driver.at(buffer.address, 4) == 0xA5).all()
        assert not driver.leaks().get("graphs")
        assert not driver.leaks().get("executables")
        buffer.upload(1, stream)
        stream.wait()
        assert (driver.at(buffer.address, 4) == 0).all()

    def test_another_thread_may_allocate_meanwhile(
        self, driver: Any, gpu: Gpu, buffer: Buffer
    ) -> None:
        def elsewhere() -> None:
            gpu.use()
            DeviceMemory(10).close()

        def work() -> None:
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            buffer.upload(1, stream)

        stream = Stream()
        assert isinstance(stream.capture(work), Graph)


class TestTimes:
    @pytest.mark.parametrize("rounds", [0, 1, 8, 30])
    def test_of_the_work_alone(self, driver: Any, gpu: Gpu, rounds: int) -> None:
        stream, costs = Stream(), iter(range(100))

        def work() -> None:
            driver.submit(stream.handle, lambda: None, float(next(costs)))

        assert list(times_ms(stream, work, rounds)) == list(map(float, range(rounds)))
        assert not driver.leaks().get("events")

    def test_work_queues_up(self, driver: Any, gpu: Gpu) -> None:
        """The GPU must not wait for Python between two rounds."""
        stream, lengths = Stream(), []

        def work() -> None:
            lengths.append(len(driver.streams[int(stream.handle)].queue))
            driver.submit(stream.handle, lambda: None, 1.0)

        list(times_ms(stream, work, 40))
        assert min(lengths[8:]) >= 3 * 7

    def test_events_go_when_the_work_fails(self, driver: Any, gpu: Gpu) -> None:
        with pytest.raises(ZeroDivisionError):
            list(times_ms(Stream(), lambda: 1 // 0, 3))
        assert not driver.leaks().get("events")


@pytest.mark.parametrize(
    ("before", "after"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")]
)
def test_cards_are_numbered_as_nvml_does(
    driver: Any, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    """Unless somebody chose an order."""
    environment = {"CUDA_DEVICE_ORDER": before} if before else {}
    monkeypatch.setattr(os, "environ", environment)
    Gpu().close()
    assert environment == {"CUDA_DEVICE_ORDER": after}


def test_what_runs_on_a_gpu_runs_on_the_stand_in() -> None:
    """tests/gpu/test_driver.py is seldom run: so what it asks of us does not rot meanwhile."""
    root = Path(__file__).parents[5]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "tests.standins.kernel", "tests/gpu/test_driver.py", "-k", "not Sensors"),
        ],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^14 passed, 2 deselected", done.stdout, re.MULTILINE), done.stdout
