"""The base of every JSON file between the steps, and the types that several of them share.

Files are written atomically; `schema` is the number of a file's format; units stand in the keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
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
                "Run that command first, or `dvc repro` for all of them."
            ) from error
        except ValidationError as error:
            refuse_conflict(content, str(path))
            raise InputError(
                f"{path} is not what `{cls.written_by}` writes: {explain(error)}. "
                "Make it again with that command, or with `dvc repro`."
            ) from error


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


def explain(error: ValidationError) -> str:
    """The first problem of a validation error as `key: what is wrong`, and how many more."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key}: {_said(first)}{_got(first)}{more}"


def _said(problem: Any) -> str:
    """Pydantic's sentence, but not with a class of ours in it."""
    if problem["type"] in ("model_type", "model_attributes_type"):
        found = problem["input"]
        kind = (
            "" if isinstance(found, str | int | float | None) else f", got a {type(found).__name__}"
        )
        return f"Input should be keys with values{kind}"
    return str(problem["msg"])


def _got(problem: Any) -> str:
    value = problem.get("input")
    if isinstance(value, str) and ("://" in value or "@" in value):
        return ""  # An address may have a password in it.
    if value is None or isinstance(value, bool):
        return f", got {_AS_WRITTEN[value]}"
    return f", got {value!r}" if isinstance(value, str | int | float) else ""
