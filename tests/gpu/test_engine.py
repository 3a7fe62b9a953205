"""Plans of a real TensorRT on a real GPU: numbers, frames in flight, refusals and memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories.sessions import SLOTS, close_in_a_thread, in_threads, run, use_all

from engines.backends.loading import load_engine
from engines.backends.tensorrt.session import TensorRTSession
from engines.errors import InputError, WrongEngine
from engines.packages import installed_version
from engines.records.manifest import Manifest

SOAK_SECONDS = 5.0
TOLERANCES = {
    # Box in pixels and score, at the 99th percentile over the anchors that ONNX Runtime is sure of
    # (score 0.25 or more). float32 runs in TF32, whose mantissa is float16's 10 bits: with float16
    # weights ONNX Runtime on a CPU moves the same anchors by 0.014 and 0.0012, and a GPU may also
    # sum in float16, so ten times that.
    "fp32": (0.2, 0.02),
    "fp16": (0.2, 0.02),
    # Compared with ONNX Runtime on the same Q/DQ. Quantizing moves 1.66 and 0.155; the same scales
    # with other roundings must move less than half of it.
    "int8": (0.8, 0.08),
}


def close_to(found: Any, expected: Any, box: float, score: float) -> None:
    """Where ONNX Runtime is sure, boxes and scores lie so close at the 99th percentile."""
    sure = expected[:, 4:].max(1) >= 0.25
    assert sure.any()
    boxes = np.abs(found[:, :4] - expected[:, :4]).max(1)[sure]
    scores = np.abs(found[:, 4:] - expected[:, 4:]).max(1)[sure]
    said = f"boxes {np.percentile(boxes, 99):.3f} px, scores {np.percentile(scores, 99):.4f}"
    print(f"99th percentiles: {said}")
    assert np.percentile(boxes, 99) <= box, said
    assert np.percentile(scores, 99) <= score, said


class TestNumbers:
    def test_of_the_sample_model(self, sample: Any, letterboxed: Any) -> None:
        session = sample.load()
        parts = (letterboxed[n : n + 4] for n in range(0, 16, 4))
        found = np.concatenate([run(session, 0, part).copy() for part in parts])
        session.close()
        precision = Manifest.read(sample.folder / "manifest.json").precision
        close_to(found, sample.reference(letterboxed), *TOLERANCES[precision])

    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_every_batch_in_any_order(self, tiny: Any, pictures: Any, in_flight: int) -> None:
        """A graph of one batch must not run with what another batch left behind."""
        session, expected = tiny.load(in_flight=in_flight), tiny.reference(pictures)
        for slot in range(in_flight):
            for batch in (1, 4, 2, 1, 3, 4, 1):
                found = run(session, slot, pictures[:batch])
                assert found.shape == (batch, 7, 96)
                close_to(found, expected[:batch], 0.1, 0.01)
        session.close()

    def test_slots_in_flight_do_not_disturb_each_other(self, tiny: Any, pictures: Any) -> None:
        session, expected = tiny.load(in_flight=4), tiny.reference(pictures)
        for _ in range(20):
            for slot in range(4):
                session.input(slot, 2)[:] = pictures[2 * slot : 2 * slot + 2]
                session.start(slot)
            for slot in reversed(range(4)):
                part = slice(2 * slot, 2 * slot + 2)
                close_to(session.wait(slot), expected[part], 0.1, 0.01)
        session.close()

    def test_the_same_frame_gives_the_same_bits(self, tiny: Any, pictures: Any) -> None:
        session = tiny.load(in_flight=2)
        first = run(session, 0, pictures[:1]).copy()
        for _ in range(50):
            assert np.array_equal(run(session, 0, pictures[:1]), first)
        session.close()

    def test_threads(self, tiny: Any, pictures: Any) -> None:
        """A slot each, in threads that did not load the engine; another one closes it."""
        session, expected = tiny.load(in_flight=SLOTS), tiny.reference(pictures)

        def work(slot: int) -> None:
            for turn in range(50):
                batch = 1 + (slot + turn) % 4
                close_to(run(session, slot, pictures[:batch]), expected[:batch], 0.1, 0.01)

        assert not in_threads(work)
        close_in_a_thread(session)


class TestDetector:
    @pytest.mark.parametrize("in_flight", [1, 4])
    def test_frames_to_boxes(self, sample: Any, frames: list[Any], in_flight: int) -> None:
        with sample.detector(in_flight=in_flight) as detector:
            whole = detector.detect(frames)
            streamed = list(detector.stream(frames))
        assert sum(map(len, whole)) >= len(frames)
        for one, other in zip(whole, streamed, strict=True):
            # Batches of four there, of one here: other kernels, other roundings.
            assert abs(len(one) - len(other)) <= 1

    def test_boxes_are_those_of_onnx_runtime(self, sample: Any, frames: list[Any]) -> None:
        from engines.detect.decode import decode
        from engines.detect.letterbox import letterbox

        with sample.detector() as detector:
            found = detector.detect(frames)
        lost = total = 0
        for frame, ours in zip(frames, found, strict=True):
            out = np.zeros((1, *sample.imgsz, 3), np.uint8)
            placement = letterbox(frame, sample.imgsz, out[0])
            raw = sample.reference(out)[0]
            theirs = decode(raw, placement, confidence=0.4, iou=0.7, max_detections=300)
            for box, name in zip(theirs.boxes, theirs.classes, strict=True):
                near = np.abs(ours.boxes - box).max(1, initial=0.0) < 5 if len(ours) else []
                total += 1
                lost += not any(ours.classes[near] == name) if len(ours) else 1
        assert total > len(frames)
        assert lost <= 0.02 * total

    def test_gpu_time_is_within_the_whole(self, sample: Any, frames: list[Any]) -> None:
        with sample.detector() as detector:
            detector.fill(frames[:1])
            walls = []
            for _ in range(200):
                started = time.perf_counter()
                detector.infer()
                walls.append(1e3 * (time.perf_counter() - started))
            times = detector.gpu_times_ms(200)
        assert times is not None
        assert times.shape == (200,)
        assert 0 < np.median(times) < np.median(walls)


class TestRefuses:
    @pytest.fixture
    def copy(self, tiny: Any, tmp_path: Path) -> Any:
        """A copy of the engine that a test may damage."""
        tiny.load().close()
        folder = Path(shutil.copytree(tiny.folder, tmp_path / "engine"))
        return type(tiny)(**{**vars(tiny), "folder": folder})

    def test_a_plan_that_is_cut_off_or_altered(self, copy: Any) -> None:
        whole = copy.plan.read_bytes()
        for share in (0.0, 0.5, 0.99):
            copy.plan.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(WrongEngine, match="engine_bytes: expected"):
                load_engine(copy.folder, copy.device)
        for place in (0, len(whole) // 2, len(whole) - 1):
            copy.plan.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(WrongEngine, match="engine_sha256: expected"):
                load_engine(copy.folder, copy.device)

    def test_a_plan_that_is_cut_off_past_the_manifest(self, copy: Any) -> None:
        """TensorRT itself refuses, in a sentence."""
        manifest = Manifest.read(copy.folder / "manifest.json")
        whole = copy.plan.read_bytes()
        for content in (b"", b"no plan" * 100, whole[: len(whole) // 2]):
            copy.plan.write_bytes(content)
            with pytest.raises(WrongEngine, match="Expected a plan that .* Build it here with"):
                TensorRTSession(copy.plan, manifest, in_flight=1)

    def test_a_plan_of_another_version(self, copy: Any) -> None:
        path = copy.folder / "manifest.json"
        manifest = Manifest.read(path)
        manifest.model_copy(update={"backend_version": "8.0.1"}).write(path)
        here = installed_version(copy.package)
        with pytest.raises(WrongEngine, match=f"built with .* 8.0.1, here is {here}"):
            load_engine(copy.folder, copy.device)

    def test_a_plan_of_another_gpu(self, copy: Any) -> None:
        path = copy.folder / "manifest.json"
        manifest = Manifest.read(path)
        other = manifest.device.model_copy(update={"compute_capability": "5.2"})
        manifest.model_copy(update={"device": other}).write(path)
        if (
            copy.package == "tensorrt_rtx"
        ):  # its plans are compiled for the GPU when they are loaded
            load_engine(copy.folder, copy.device)[1].close()
            return
        with pytest.raises(WrongEngine, match="compute_capability: expected 5.2"):
            load_engine(copy.folder, copy.device)

    @pytest.mark.parametrize("batch", [0, 5])
    def test_a_batch_outside_the_profile(self, tiny: Any, batch: int) -> None:
        session = tiny.load()
        with pytest.raises(InputError, match="batch from 1 to 4"):
            session.input(0, batch)
        session.close()


class TestMemory:
    def test_is_given_back(self, tiny: Any, pictures: Any, comes_back: Callable[..., None]) -> None:
        comes_back(lambda: use_all(tiny.load(in_flight=SLOTS), pictures), first=2, rounds=20)

    def test_a_result_that_was_kept_stays_readable(self, tiny: Any, pictures: Any) -> None:
        session = tiny.load()
        session.input(0, 1)[:] = pictures[:1]
        session.start(0)
        kept = session.wait(0)
        copied = kept.copy()
        session.close()
        assert np.array_equal(kept, copied)

    def test_does_not_grow_while_it_runs(
        self, sample: Any, frames: list[Any], free_mib: Callable[[], float]
    ) -> None:
        """A soak of a few seconds, with batches that change."""
        with sample.detector(in_flight=2) as detector:
            detector.detect(frames)
            expected = [len(one) for one in detector.detect(frames)]
            before, until = free_mib(), time.monotonic() + SOAK_SECONDS
            rounds = 0
            while time.monotonic() < until:
                assert [len(one) for one in detector.detect(frames)] == expected
                list(detector.stream(frames[:3]))
                detector.detect(frames[:3])
                rounds += 1
            assert rounds > 3
            assert free_mib() > before - 16
