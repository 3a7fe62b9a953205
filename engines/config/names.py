"""The grammar of the names and versions that people give, which become tags, labels and folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
"""Names of models and targets: they become image tags, Kubernetes labels, folder names, and keys of
DVC's params, where a dot would part them."""

VERSION_PATTERN = r"^[0-9]{1,14}(\.[0-9]{1,14}){0,2}$"
"""Of a model: one to three numbers, each long enough for a date with its time. With the longest of
names, too, a release's tag is within the 128 characters that registries take."""

LONGEST_NAME = 40


def _in_words(pattern: str, words: str, longest: int) -> BeforeValidator:
    """Says in words what pydantic would say as the pattern."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and (len(value) > longest or not re.fullmatch(pattern, value)):
            raise PydanticCustomError("grammar", f"Should be {words}")
        return value

    return BeforeValidator(check)


Name = Annotated[
    str,
    Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME),
    _in_words(
        NAME_PATTERN,
        f"small letters, digits and hyphens between them, {LONGEST_NAME} at most, as dock-7",
        LONGEST_NAME,
    ),
]
Version = Annotated[
    str,
    Field(pattern=VERSION_PATTERN),
    _in_words(VERSION_PATTERN, "a version as '1', '1.2' or '1.2.3', of at most 14 digits each", 44),
]


def meant(given: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, where `given` is a slip, or the path of a folder, of one of `known`, or
    longer by a precision; empty where it is like none."""
    found = get_close_matches(PurePath(given).name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {found[0]}?)" if found else ""


def shown(name: str, most: int = 40) -> str:
    """A class's name, which may be anything, for people: one line of at most `most` characters
    without control characters."""
    text = " ".join("".join(one if one.isprintable() else " " for one in name).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
