"""The base of every JSON file between the steps, and the types that several of them share.

Files are written atomically; `schema` is the number of a file's format; units stand in the keys.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from engines.errors import InputError
from engines.files import write_atomic

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "fp16", "int8"]
HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]
VerdictName = Literal["PASS", "FAIL", "INVALID"]


class Part(BaseModel):
    """A frozen piece of a record."""

    # No NaN and no infinity: the step that measures one must fail, not the one that reads it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, data: Any) -> Any:
        """pydantic takes true for 1: with such a threshold nothing would ever be an alert."""
        if isinstance(data, dict):
            wrong = [
                InitErrorDetails(type=_NO_NUMBER, loc=place, input=value)
                for key in data
                if key in _of_numbers(cls)
                for place, value in _places(key, data[key])
                if isinstance(value, bool)
            ]
            if wrong:
                raise ValidationError.from_exception_data(cls.__name__, wrong)
        return data


_NO_NUMBER = PydanticCustomError("no_number", "Input should be a number")


@cache
def _of_numbers(of: type[BaseModel]) -> frozenset[str]:
    """The keys that take numbers, and neither true nor false."""
    kinds = {
        field.alias or name: _kinds(field.annotation) for name, field in of.model_fields.items()
    }
    return frozenset(
        key for key, one in kinds.items() if one & {int, float} and not one & {bool, Any}
    )


def _kinds(annotation: Any) -> set[Any]:
    """A type, or all that an annotation is made of."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))


def _places(key: str, value: Any) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """Where a value stands, and each that it holds."""
    yield (key,), value
    if isinstance(value, dict | list | tuple):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        yield from (((key, at), one) for at, one in inside)


class Record(Part):
    """A whole JSON file; `schema` is the number of its format."""

    schema_: int = Field(default=1, alias="schema", ge=1, le=1)

    file: ClassVar[str]
    """Its name in its folder. A record that is one of many of its kind in a folder has none."""
    written_by: ClassVar[str]
    """The command that makes the file, for the message when it is missing."""

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, atomically."""
        write_atomic(path, self.model_dump_json(indent=2, by_alias=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check the record. Raises InputError with the path and the offending key."""
        try:
            content = path.read_bytes()
            return cls.model_validate_json(content)
        except FileNotFoundError as error:
            raise InputError(
                f"Expected {path}, which `{cls.written_by}` writes, but it is not there. "
                f"Run that command first, or `{_repro(path)}` for all of them."
            ) from error
        except ValidationError as error:
            refuse_conflict(content, str(path))
            raise InputError(
                f"{path} is not what `{cls.written_by}` writes: {explain(error)}. {_again(path)}"
            ) from error


def _again(path: Path) -> str:
    """What to do about a file that cannot be read."""
    if _KEPT.search(path.as_posix()):
        # No command makes it again as it was: a key would be another one, and a record is written
        # once.
        where = shlex.quote(str(path))
        return f"Fix the file, or bring it back with `git checkout -- {where}`, and run again."
    return f"Make it again with that command, or with `{_repro(path)}`."


_KEPT = re.compile(r"(^|/)release/(trust|records)/")
_OF_A_TARGET = re.compile(r"(engines/targets/[^/]+)/out/")


def _repro(path: Path) -> str:
    """The command of DVC that makes the file, in the root: a bare one is about the target of
    params.yaml only, and exports models, which a device takes from elsewhere."""
    found = _OF_A_TARGET.search(path.as_posix())
    return f"dvc repro {found[1]}/dvc.yaml" if found else "dvc repro"


class EngineRecord(Record):
    """A record of one engine, which it names."""

    engine: str
    target: str
    engine_sha256: Sha256


def refuse_conflict(content: bytes, name: str) -> None:
    """Raise InputError where git left its marks in the file `name`, since two changes of it met."""
    if re.search(rb"^<{7} ", content, re.MULTILINE):
        raise InputError(
            f"{name} holds both sides of a merge that git could not finish (from `<<<<<<<` to "
            "`>>>>>>>`). Keep what is right, `git add` the file, and run again."
        )


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
