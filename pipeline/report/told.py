"""Reasons as people are told them: what is wrong with each engine, and every remedy once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def apart(reason: str) -> tuple[str, str]:
    """The first sentence of a reason, which says what is wrong, and the others, which say what to
    do."""
    what, _, remedy = reason.partition(". ")
    return f"{what.removesuffix('.')}.", remedy


def remedies(reasons: Iterable[str]) -> list[str]:
    """What to do, each once; one that another goes on from is in that."""
    said = [apart(reason)[1] for reason in reasons]
    return [one for one in dict.fromkeys(said) if one and not _in_another(one, said)]


def sentences(reasons: Sequence[str]) -> list[str]:
    """The reasons of one engine, each remedy behind the last that has it."""
    left, told = remedies(reasons), list[str]()
    for reason in reversed(reasons):
        what, remedy = apart(reason)
        if remedy in left:
            left.remove(remedy)
            told.append(f"{what} {remedy}")
        else:
            told.append(what)
    return told[::-1]


def _in_another(remedy: str, said: Iterable[str]) -> bool:
    return any(longer != remedy and longer.startswith(remedy[:-1]) for longer in said)
