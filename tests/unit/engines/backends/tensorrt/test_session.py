"""Running plans on stand-ins for the GPU and TensorRT: no real device confirmed what those do.

ONNX Runtime computes, on the very file that TensorRT is given. tests/gpu runs real plans.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories.sessions import SLOTS, close_in_a_thread, in_threads, run

from engines.detect.detector import Detector
from engines.errors import InputError, JetrailError
from engines.machine.fingerprint import read_fingerprint
from engines.records.thresholds import Thresholds
from tests.unit.engines.conftest import only_10, same

THRESHOLDS = Thresholds(confidence=0.3, iou=0.7, max_detections=50)


class TestNumbers:
    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_every_batch_in_any_order(
        self, machine: Any, expected: Any, pictures: Any, in_flight: int
    ) -> None:
        session = machine.load(in_flight)
        assert session.slots == in_flight
        for slot in range(in_flight):
            for batch in (1, 4, 2, 1, 3, 4, 1):
                part = np.roll(pictures, slot + batch, axis=0)[:batch]
                found = run(session, slot, part)
                assert found.shape == (batch, 7, 96)
                same(found, expected(part))
        session.close()

    def test_batch_1_has_a_profile_of_its_own(self, machine: Any, pictures: Any) -> None:
        session = machine.load()
        for batch in (1, 2, 4, 1):
            run(session, 0, pictures[:batch])
        profiles = {batch: machine.context(batch).profile for batch in (1, 2, 4)}
        assert profiles == {1: 1, 2: 0, 4: 0}
        session.close()

    def test_a_plan_without_it(self, machine: Any, pictures: Any, expected: Any) -> None:
        how = machine.plan.model_copy(update={"single": None})
        session = machine.load(how=how, single=False)
        same(run(session, 0, pictures[:1]), expected(pictures[:1]))
        assert machine.context(1).profile == 0
        session.close()

    def test_slots_in_flight_do_not_disturb_each_other(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        session = machine.load(in_flight=4)
        for _ in range(2):
            for slot in range(4):
                session.input(slot, 2)[:] = pictures[2 * slot : 2 * slot + 2]
                session.start(slot)
            for slot in reversed(range(4)):
                same(session.wait(slot), expected(pictures[2 * slot : 2 * slot + 2]))
        session.close()

    def test_detections_are_those_of_openvino(
        self, machine: Any, built_engine: Path, pictures: Any
    ) -> None:
        device, frames = read_fingerprint(), [*pictures, pictures[0][:40, :50]]
        machine.build()
        with (
            Detector.open(built_engine, device, thresholds=THRESHOLDS) as theirs,
            Detector.open(machine.folder, device, in_flight=3, thresholds=THRESHOLDS) as ours,
        ):
            wanted = theirs.detect(frames)
            assert sum(map(len, wanted)) > len(frames)
            for found in (ours.detect(frames), list(ours.stream(frames))):
                assert len(found) == len(wanted)
                for one, other in zip(found, wanted, strict=True):
                    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
                    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)
                    assert one.classes.tolist() == other.classes.tolist()

    def test_another_thread_than_the_one_that_loaded(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        """Each slot in a thread of its own; one that closes is another still."""
        session, found = machine.load(in_flight=SLOTS), {}

        def work(slot: int) -> None:
            for turn in range(6):
                part = np.roll(pictures, slot + turn, axis=0)[: 1 + turn % 3]
                found[slot, turn] = (run(session, slot, part).copy(), part)

        assert not in_threads(work)
        for one, part in found.values():
            same(one, expected(part))
        close_in_a_thread(session)


class TestFrames:
    def test_a_thread_waits_by_spinning(self, machine: Any) -> None:
        session = machine.load()
        assert (session.waits, machine.driver.context_flags) == ("spin", 1)
        session.close()

    def test_nothing_is_allocated_per_frame(self, machine: Any, pictures: Any) -> None:
        session = machine.load()
        first = run(session, 0, pictures[:2])
        buffer = session.input(0, 2)
        before, used = machine.driver.calls.copy(), machine.driver.used_bytes()
        for _ in range(10):
            assert np.shares_memory(first, run(session, 0, pictures[:2]))
        assert np.shares_memory(buffer, session.input(0, 4))
        assert machine.driver.used_bytes() == used
        launched = {"cuCtxSetCurrent": 20, "cuStreamSynchronize": 10}
        if machine.package == "tensorrt_rtx":  # which launches graphs inside
            launched |= {"cuMemcpyHtoDAsync": 10, "cuMemcpyDtoHAsync": 10}
        else:
            launched |= {"cuGraphLaunch": 10}
        assert machine.driver.calls - before == launched
        session.close()

    def test_a_frame_goes_up_once_as_bytes(
        self, machine: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session, sizes = machine.load(), []
        upload = machine.driver.cuMemcpyHtoDAsync
        monkeypatch.setattr(
            machine.driver,
            "cuMemcpyHtoDAsync",
            lambda *arguments: (sizes.append(arguments[2]), upload(*arguments))[1],
            raising=False,
        )
        run(session, 0, pictures[:3])
        assert set(sizes) == {3 * 64 * 96 * 3}
        session.close()

    def test_the_next_batch_may_be_filled_while_one_runs(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        session = machine.load(in_flight=2)
        run(session, 0, pictures[:1])
        session.input(0, 1)[:] = pictures[:1]
        session.start(0)
        session.input(0, 3)
        same(session.wait(0), expected(pictures[:1]))
        session.close()

    @only_10
    def test_a_plan_that_cannot_be_captured_runs_call_by_call(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        session = machine.load(capturable=False)
        for batch in (1, 4, 1, 2):
            same(run(session, 0, pictures[:batch]), expected(pictures[:batch]))
        assert not machine.driver.executables
        # What TensorRT said of the capture is no reason of a later failure.
        machine.context(1).shape = None
        session.input(0, 1)
        with pytest.raises(JetrailError, match="Expected the plan to run, .* says: shape or dev"):
            session.start(0)
        session.close()

    @only_10
    def test_a_context_that_runs_another_batch_is_another(
        self, machine: Any, expected: Any, pictures: Any
    ) -> None:
        """Scratch memory is shared in a slot: two more contexts take 2 * 128 bytes."""
        session = machine.load()
        run(session, 0, pictures[:1])
        used = machine.driver.used_bytes()
        for batch in (3, 4, 1, 3):
            same(run(session, 0, pictures[:batch]), expected(pictures[:batch]))
        assert machine.driver.used_bytes() == used + 2 * 128
        session.close()

    def test_rtx_compiles_kernels_once_for_all(
        self, machine: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if machine.package != "tensorrt_rtx":
            return
        session = machine.load(in_flight=2)
        for slot, batch in ((0, 1), (0, 2), (1, 1)):
            run(session, slot, pictures[:batch])
        (engine,) = machine.engines
        assert len(engine.users) == 3
        assert len(engine.caches) == 1
        for context in engine.users:
            kernels = context.settings.dynamic_shapes_kernel_specialization_strategy
            assert kernels.name == "EAGER"
        session.close()


class TestGpuTimes:
    def test_leave_transfers_out(self, machine: Any, expected: Any, pictures: Any) -> None:
        session = machine.load()
        run(session, 0, pictures[:1])
        for _ in range(2):
            times = session.gpu_times_ms(1, 30)
            assert times.shape == (30,)
            assert times.tolist() == [5.0] * 30
            same(run(session, 0, pictures[1:3]), expected(pictures[1:3]))
        made = len(machine.driver.executables)
        session.gpu_times_ms(1, 3)
        assert len(machine.driver.executables) == made
        session.close()

    def test_through_the_detector(self, machine: Any, pictures: Any) -> None:
        machine.build()
        with Detector.open(machine.folder, read_fingerprint(), thresholds=THRESHOLDS) as detector:
            detector.fill(pictures[:1])
            times = detector.gpu_times_ms(5)
        assert times is not None
        assert times.tolist() == [5.0] * 5

    def test_of_a_batch_outside_the_profile(self, machine: Any) -> None:
        session = machine.load()
        with pytest.raises(InputError, match="batch from 1 to 4, got 5"):
            session.gpu_times_ms(5, 3)
        session.close()
