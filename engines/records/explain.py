"""What a validation error says, in words of the file that it is about: the key, what is wrong with
it, and which key was meant by one that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_AS_WRITTEN = {None: "nothing", True: "true", False: "false"}
"""In words of YAML and JSON, not of Python."""


def explain(
    error: ValidationError, *, shown: bool = True, of: type[BaseModel] | None = None
) -> str:
    """The first problem of a validation error as `key: what is wrong`, and how many more; `shown`:
    with the value, which may be a secret; `of`: what did not validate, to name the key that was
    meant by one that is not there."""
    problems = error.errors(include_url=False)
    first, slip = problems[0], _slip(problems)
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    left = len(problems) - (1 if slip is None else 2)
    more = f" (and {left} more)" if left else ""
    got = _got(first) * shown if slip is None else f", got the key {slip['loc'][-1]!r} in its place"
    hint = ""
    if of is not None and first["type"] == "extra_forbidden":
        meant = get_close_matches(str(first["loc"][-1]), _keys(of, first["loc"][:-1]), 1, 0.7)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
    return f"{key}: {_said(first)}{hint}{got}{more}"


def _keys(of: type[BaseModel], within: tuple[int | str, ...]) -> list[str]:
    """The keys that a part of `of` may have. What of `within` is no key of a part, as a number in a
    list or a name in a table, leads to no other part."""
    parts = [of]
    for key in within:
        fields = [
            field.annotation
            for part in parts
            for name, field in part.model_fields.items()
            if key == (field.alias or name)
        ]
        parts = [part for one in fields for part in _parts(one)] or parts
    return [field.alias or name for part in parts for name, field in part.model_fields.items()]


def _parts(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for one in get_args(annotation) for part in _parts(one)]


def place_of(error: ValidationError) -> tuple[int | str, ...]:
    """Under which keys what `explain` tells stands: a key that was mistyped, as it was typed."""
    problems = error.errors(include_url=False)
    return tuple((_slip(problems) or problems[0])["loc"])


def _slip(problems: Sequence[Any]) -> Any:
    """Where the first problem is a key that is not there: the problem of the key beside it that
    nobody knows and that is like it, for that is how it was typed."""
    *within, key = problems[0]["loc"] or ("",)
    if problems[0]["type"] != "missing":
        return None
    beside = {
        str(one["loc"][-1]): one
        for one in problems
        if one["type"] == "extra_forbidden" and [*one["loc"][:-1]] == within
    }
    like = get_close_matches(str(key), beside, n=1)
    return beside[like[0]] if like else None


def _said(problem: Any) -> str:
    """Pydantic's sentence in words of YAML and JSON, not of Python, and without a class of ours."""
    kind = problem["type"]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "Input should be keys with values"
    if kind == "extra_forbidden":
        return "There is no such key"
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "union_tag_invalid":
        words = problem["ctx"]
        expected, got = words["expected_tags"], words["tag"]
        return f"Key {words['discriminator']} should be one of {expected}, got {got!r}"
    if kind == "union_tag_not_found":
        return f"Key {problem['ctx']['discriminator']} is missing"
    if kind == "string_type" and isinstance(problem["input"], int | float):
        return "Input should be text, in quotes"
    return re.sub(r"^Tuple\b", "List", str(problem["msg"])).replace("a valid tuple", "a list")


def _got(problem: Any) -> str:
    value = problem.get("input")
    if isinstance(value, str) and ("://" in value or "@" in value):
        return ""  # An address may have a password in it.
    if value is None or isinstance(value, bool):
        return f", got {_AS_WRITTEN[value]}"
    if isinstance(value, dict | list):
        # Of a key that is missing it is all that stands beside it; a sentence of ours says it.
        said = ("missing", "value_error", "union_tag_invalid", "union_tag_not_found")
        if problem["type"] in said:
            return ""
        return ", got a list" if isinstance(value, list) else ", got keys with values"
    return f", got {value!r}" if isinstance(value, str | int | float) else ""
