"""The base of every JSON file between the steps, and the types that several of them share.

Files are written atomically; `schema` is the number of a file's format; units stand in the keys.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
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
from engines.records.explain import explain

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
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
    """The keys that take numbers, and neither true nor false; a field is read by its alias and by
    its name."""
    kinds = {name: _kinds(field.annotation) for name, field in of.model_fields.items()}
    return frozenset(
        key
        for name, one in kinds.items()
        if one & {int, float} and not one & {bool, Any}
        for key in (name, of.model_fields[name].alias or name)
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
            found = cls.model_validate_json(content)
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
        if twice := _twice(content):
            raise InputError(
                f"{path} has the key {twice!r} twice, and one of them would count for nothing. "
                f"{_again(path)}"
            )
        return found


def _twice(content: bytes) -> str | None:
    """A key that an object of the JSON has again: somebody added a line above the one that was
    there, and the last one counts."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    json.loads(content, object_pairs_hook=look)
    return found[0] if found else None


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
