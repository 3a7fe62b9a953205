"""How much a value from elsewhere would be where what it shares is written out."""

from __future__ import annotations

from typing import Any


def written_out(value: Any, most: int, known: dict[int, int] | None = None) -> int:
    """How many values a dictionary, list or tuple holds where each stands wherever it is
    shared; `most` + 1 for all that is more. A few bytes that name each other, as YAML's anchors and
    a pickle's memo do, hold more than any memory, and whoever writes, hashes or compares them goes
    through all of it. One that holds itself counts once. `known`: the counts by `id`, for several
    values that share parts and stay alive.
    """
    known = {} if known is None else known
    waiting = [(value, False)]  # no recursion, since it may be deep
    while waiting:
        one, counted = waiting.pop()
        if counted:
            inside = sum(known[id(part)] for part in _parts(one))
            known[id(one)] = min(1 + inside, most + 1)
        elif id(one) not in known:
            known[id(one)] = 0  # while its parts are counted
            parts = _parts(one)
            if len(parts) > most:
                known[id(one)] = most + 1
                continue
            waiting.append((one, True))
            waiting += [(part, False) for part in parts]
    return known[id(value)]


def _parts(value: Any) -> list[Any]:
    """Not keys, nor what is in a set: those are names and numbers."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
