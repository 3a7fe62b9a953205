"""Loading, refusing and freeing plans on stand-ins for the GPU and TensorRT: no real device
confirmed what those do. tests/gpu loads real plans.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories.sessions import run

from engines.backends.loading import load_engine
from engines.backends.tensorrt.session import TensorRTSession
from engines.errors import InputError, JetrailError, WrongEngine
from engines.machine.cuda import CudaDevice
from engines.machine.fingerprint import read_fingerprint
from tests.unit.engines.conftest import only_10, same


class TestClosing:
    def test_may_be_done_twice_and_ends_all_use(self, machine: Any, pictures: Any) -> None:
        session = machine.load(in_flight=2)
        run(session, 1, pictures[:1])
        session.close()
        session.close()
        calls: list[Callable[[], object]] = [
            lambda: session.input(0, 1),
            lambda: session.start(0),
            lambda: session.wait(0),
            lambda: session.gpu_times_ms(1, 1),
        ]
        for call in calls:
            with pytest.raises(JetrailError, match="but it was closed. Load it again"):
                call()

    def test_while_in_flight(self, machine: Any, pictures: Any) -> None:
        session = machine.load(in_flight=2)
        for slot in range(2):
            session.input(slot, 1)[:] = pictures[:1]
            session.start(slot)
        session.close()

    def test_a_result_that_was_kept_stays_readable(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        session = machine.load()
        kept = run(session, 0, pictures[:2])
        session.close()
        same(kept, expected(pictures[:2]))
        assert machine.driver.leaks() == {"host": 1, "contexts": 1}

    def test_all_is_freed_though_something_fails(self, machine: Any, pictures: Any) -> None:
        session = machine.load(in_flight=2)
        run(session, 0, pictures[:1])
        machine.driver.fail("cuStreamDestroy", "CUDA_ERROR_INVALID_VALUE")
        with pytest.raises(JetrailError, match="cuStreamDestroy"):
            session.close()
        assert machine.driver.leaks() == {"streams": 2}
        machine.driver.streams.clear()


class TestRefuses:
    @pytest.mark.parametrize("batch", [0, 5])
    def test_a_batch_outside_the_profile(self, machine: Any, batch: int) -> None:
        session = machine.load()
        with pytest.raises(InputError, match=f"batch from 1 to 4, got {batch}"):
            session.input(0, batch)
        session.close()

    def test_to_start_what_was_not_filled(self, machine: Any) -> None:
        session = machine.load()
        with pytest.raises(InputError, match="got 0"):
            session.start(0)
        session.close()

    def test_no_gpu(self, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        machine.build()
        machine.driver.fail("cuInit", "CUDA_ERROR_NO_DEVICE")
        with pytest.raises(WrongEngine, match="Expected an NVIDIA GPU .* CUDA_ERROR_NO_DEVICE"):
            load_engine(machine.folder, read_fingerprint())

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"version": "10.2.0"}, "not compatible with this version"),
            ({"sm": "8.9"}, "plan for SM 8.9"),
            ({"host_code": True}, "host code, which is not allowed"),
        ],
    )
    def test_a_plan_that_tensorrt_refuses(
        self, machine: Any, facts: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(WrongEngine, match=f"says: .*{reason}.*Build it here with `pipeline b"):
            machine.load(**facts)

    @pytest.mark.parametrize("machine", [("tensorrt_rtx", "1.7.1")], indirect=True, ids=["rtx"])
    @pytest.mark.parametrize(
        ("here", "built_for", "circles"),
        [("9.0", (), False), ("7.5", (), False), ("8.9", (), True), ("7.5", ("7.5",), True)],
    )
    def test_rtx_on_a_gpu_that_its_plan_is_not_for(
        self,
        machine: Any,
        monkeypatch: pytest.MonkeyPatch,
        here: str,
        built_for: tuple[str, ...],
        circles: bool,
    ) -> None:
        """The same row would build the same plan, so building it again is no advice."""
        gpu = CudaDevice(compute_capability=here, integrated=False, multiprocessors=46, cuda="13.0")
        monkeypatch.setattr("engines.backends.tensorrt.engine.read_cuda_device", lambda: gpu)
        how = machine.plan.model_copy(update={"compute_capabilities": built_for})
        with pytest.raises(WrongEngine) as raised:
            machine.load(how=how, sm="5.2")
        said = str(raised.value)
        assert ("That helps only if the plan is for this GPU" in said) != circles
        if not circles:
            assert f"built for SM 8.6, 8.9, 12.0, and this GPU has SM {here}" in said
            assert "TensorRT-RTX builds for SM 7.5, 8.0, 8.6, 8.9, 12.0, 12.1:" in said
            assert "a target with the package tensorrt, as dgpu-x86." in said

    def test_a_plan_that_is_cut_off_or_altered(self, machine: Any) -> None:
        """Past the manifest, which has its sha256: TensorRT refuses it too."""
        manifest = machine.build()
        path = machine.folder / "engine.plan"
        whole = path.read_bytes()
        for broken in (whole[:-100], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
            path.write_bytes(broken)
            with pytest.raises(WrongEngine, match="Expected a plan that .* Serialization"):
                TensorRTSession(path, manifest, in_flight=2)

    def test_a_plan_with_other_tensors_than_its_manifest(self, machine: Any) -> None:
        manifest = machine.build()
        output = manifest.outputs[0].model_copy(update={"shape": (None, 6, 96)})
        other = manifest.model_copy(update={"outputs": (output,)})
        with pytest.raises(WrongEngine, match=r"Expected a plan with the tensors .*\(6, 96\)"):
            TensorRTSession(machine.folder / "engine.plan", other, in_flight=1)

    def test_a_plan_without_the_profile_that_its_manifest_has(self, machine: Any) -> None:
        with pytest.raises(WrongEngine, match=r"a profile for batch 1 .* has 1\. Build it here"):
            machine.load(single=False)

    @only_10
    def test_no_package(self, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = machine.build()
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(WrongEngine, match="package tensorrt to be importable"):
            TensorRTSession(machine.folder / "engine.plan", manifest, in_flight=1)

    @pytest.mark.parametrize(
        "machine", [("tensorrt", "8.6.2")], indirect=True, ids=["tensorrt-8.6"]
    )
    def test_a_profile_that_cannot_be_shared(self, machine: Any, pictures: Any) -> None:
        session = machine.load(in_flight=2, sharing=False)
        run(session, 0, pictures[:1])
        with pytest.raises(
            JetrailError, match="its profile for one .*Profile 0 has been.*Build it"
        ):
            run(session, 1, pictures[:1])
        session.close()

    def test_a_run_that_fails(self, machine: Any, pictures: Any) -> None:
        session = machine.load()
        session.input(0, 1)[:] = pictures[:1]
        machine.driver.fail("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")
        with pytest.raises(JetrailError, match="ILLEGAL_ADDRESS"):
            session.start(0)
        machine.driver.heal()
        session.close()


class TestOutOfMemory:
    def test_at_any_point_of_the_loading(self, machine: Any, pictures: Any) -> None:
        """Whatever fits: nothing of it stays, and the sentence says what to do."""
        session = machine.load(in_flight=3)
        needed = machine.driver.used_bytes()
        session.close()
        refused = 0
        for machine.driver.memory_bytes in range(1, needed, needed // 40):
            try:
                machine.load(in_flight=3)
            except InputError as error:
                text, refused = str(error), refused + 1
            assert "OUT_OF_MEMORY" in text
            assert "`batch.max`" in text
            if machine.driver.leaks():
                gc.collect()
            assert not machine.driver.leaks()
        assert refused == len(range(1, needed, needed // 40))
        machine.driver.memory_bytes = needed
        machine.load(in_flight=3).close()

    def test_of_the_processor(self, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = machine.build()

        def too_large(path: Path) -> bytes:
            raise MemoryError

        monkeypatch.setattr(Path, "read_bytes", too_large)
        with pytest.raises(InputError, match="ran out: Python got no more of it.*`batch.max`"):
            TensorRTSession(machine.folder / "engine.plan", manifest, in_flight=1)

    def test_at_the_first_use_of_a_batch(self, machine: Any, expected: Any, pictures: Any) -> None:
        session = machine.load()
        same(run(session, 0, pictures[:1]), expected(pictures[:1]))
        machine.driver.memory_bytes = machine.driver.used_bytes()
        with pytest.raises(InputError, match="ran out: .*OutOfMemory.*`batch.max`"):
            run(session, 0, pictures[:2])
        same(run(session, 0, pictures[:1]), expected(pictures[:1]))
        machine.driver.memory_bytes += 1000
        same(run(session, 0, pictures[:2]), expected(pictures[:2]))
        session.close()


def test_engines_of_one_process_share_its_logger(machine: Any, pictures: Any) -> None:
    """It outlives the engine that came first, and each engine hears why it failed."""
    first = machine.load()
    second = machine.load()
    first.close()
    gc.collect()
    others = machine.engines
    third = machine.load()
    for session in (second, third):
        run(session, 0, pictures[:1])
    (engine,) = machine.engines - others
    for context in engine.users:
        context.device_memory = 0
    with pytest.raises(JetrailError, match="to run, .* says: shape or device memory is not set"):
        third.gpu_times_ms(1, 1)
    second.close()
    third.close()


@only_10
def test_what_the_manifest_says_of_the_plan_reaches_the_runtime(machine: Any) -> None:
    how = machine.plan.model_copy(update={"version_compatible": True, "dla_core": 1})
    session = machine.load(how=how, host_code=True)
    (engine,) = machine.engines
    assert engine.runtime.DLA_core == 1
    del engine
    session.close()


def test_the_stand_in_has_no_names_that_tensorrt_does_not_have(standin: Any) -> None:
    """TensorRT-RTX is installed here; its runtime cannot load a plan, but tells its names."""
    real: Any = pytest.importorskip("tensorrt_rtx")
    fake = standin("tensorrt")
    old = {"device_memory_size", "create_execution_context_without_device_memory"}
    own = {"driver", "version", "engine_type", "driver_refused", "context_type", "caches"}
    own |= {"always_has_profile", "profile"}
    pairs = (
        (fake.Runtime(fake.ILogger()), real.Runtime),
        (fake.RtxEngine, real.ICudaEngine),
        (fake.RtxContext, real.IExecutionContext),
        (fake.RuntimeConfig(), real.IRuntimeConfig),
    )
    for ours, theirs in pairs:
        names = {name for name in dir(ours) if not name.startswith("_")} - old - own
        assert names - {"strategy", "cache"} <= set(dir(theirs))
    for name in ("TensorIOMode", "DataType", "CudaGraphStrategy", "ComputeCapability"):
        assert set(getattr(fake, name).__members__) <= set(getattr(real, name).__members__)
