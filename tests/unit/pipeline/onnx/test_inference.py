"""Work on all processors."""

from __future__ import annotations

import threading

import pytest

from pipeline.onnx.inference import in_threads


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


def test_an_error_of_any_item_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda one: 1 // (5 - one), range(10)))
