"""Work on all processors."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engines.detect.letterbox import place
from pipeline.intake.labels import Labels
from pipeline.onnx.inference import FOR_MAP, decode_raw, for_map, in_threads


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_in_order_and_the_first_in_this_thread(count: int) -> None:
    """What it imports is imported by nobody else at the same time."""
    names = []

    def work(item: int) -> int:
        names.append((item, threading.current_thread() is threading.main_thread()))
        return item * 2

    assert list(in_threads(work, range(count))) == [2 * one for one in range(count)]
    assert sorted(names) == [(one, one == 0) for one in range(count)]
    assert names[:1] == [(0, True)][:count]


def test_no_more_threads_than_a_container_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota is not in the processors that there are: 64 threads on two of 64 are held back."""
    monkeypatch.setattr("pipeline.onnx.inference.usable_processors", lambda: 1)
    here, *others = in_threads(lambda _: threading.get_ident(), range(40))
    assert here == threading.get_ident()
    assert len(set(others)) == 1


def test_an_error_of_any_item_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda one: 1 // (5 - one), range(10)))


def labels(objects: int) -> Labels:
    return Labels(classes=np.zeros(objects, np.int64), boxes=np.full((objects, 4), 0.1))


@pytest.mark.parametrize(("objects", "counted"), [(299, 300), (300, 300), (324, 324)])
def test_as_many_detections_count_as_a_picture_has_objects(objects: int, counted: int) -> None:
    """Of 400 that are found, side by side in rows of 20."""
    across, down = np.divmod(np.arange(400), 20)
    sides = np.full(400, 12)
    raw = np.stack([across * 16 + 8, down * 16 + 8, sides, sides, np.full(400, 0.9)])
    thresholds = for_map({"a": labels(3), "b": labels(objects)})
    found = decode_raw(raw.astype(np.float32), place((320, 320), (320, 320)), thresholds)
    assert len(found) == counted
    assert for_map({}) == FOR_MAP
