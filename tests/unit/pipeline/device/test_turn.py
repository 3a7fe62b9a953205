"""The second command waits for the first, says for whom, and need not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engines.errors import Conflict
from engines.process.lock import device_lock
from pipeline.device.turn import turn
from pipeline.progress import note


@contextmanager
def held() -> Iterator[threading.Event]:
    """The device, by somebody who lets go of it when told to."""
    has_it, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with device_lock("pipeline build slow-fp16"):
            has_it.set()
            may_go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_it.wait(60)
    try:
        yield may_go
    finally:
        may_go.set()
        thread.join()


def test_it_waits_and_says_for_whom(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with held() as may_go:

        def told(sentence: str) -> None:
            note(sentence)
            may_go.set()

        monkeypatch.setattr("pipeline.device.turn.note", told)
        with turn("pipeline build meter-int8", wait=True):
            assert may_go.is_set()
    said = capfd.readouterr().err
    assert said.startswith("waiting for `pipeline build slow-fp16` (process")
    assert "--no-wait" in said
    assert said.count("\n") == 1


def test_waiting_has_an_end_and_is_exit_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.device.turn.WAIT_SECONDS", 0.3)
    with (
        held(),
        pytest.raises(Conflict, match=r"slow-fp16.* still holds it after 0\.3 s") as raised,
        turn("pipeline build meter-int8", wait=True),
    ):
        pass
    assert raised.value.exit_code == 7


def test_it_need_not(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        held(),
        pytest.raises(Conflict, match="slow-fp16"),
        turn("pipeline build meter-int8", wait=False),
    ):
        pass
    assert capfd.readouterr().err == ""
