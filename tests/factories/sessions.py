"""A session as those who use it do: slots filled, started and read, from one thread or several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from engines.backends import Session

SLOTS = 4


def run(session: Session, slot: int, pictures: Any) -> Any:
    """The raw head output of the pictures, which the slot's next run writes over."""
    session.input(slot, len(pictures))[:] = pictures
    session.start(slot)
    return session.wait(slot)


def in_threads(work: Callable[[int], None]) -> list[BaseException]:
    """Do `work` for each of four slots, in threads of their own at the same time; what failed."""
    failed: list[BaseException] = []

    def one(slot: int) -> None:
        try:
            work(slot)
        except BaseException as error:  # noqa: BLE001  # whatever it is: a thread's own is not seen
            failed.append(error)

    threads = [threading.Thread(target=one, args=(slot,)) for slot in range(SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def close_in_a_thread(session: Session) -> None:
    """Close it in a thread that neither loaded nor ran it."""
    closer = threading.Thread(target=session.close)
    closer.start()
    closer.join()


def use_all(session: Session, pictures: Any) -> None:
    """All that a session of four slots takes memory for, then close it."""
    for slot in range(SLOTS):
        for batch in (1, 2, 4):
            run(session, slot, pictures[:batch])
    session.gpu_times_ms(1, 10)
    session.close()
