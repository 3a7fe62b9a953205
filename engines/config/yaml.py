"""Reading a YAML file that people write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from engines.config.names import meant
from engines.errors import InputError
from engines.files import listed
from engines.records.explain import explain, place_of
from engines.records.record import refuse_conflict

NOT_YAML = (YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What ruamel and PyYAML raise of a text: not only errors of their own, where a date has 99 months,
a tag does not fit its value, or lists lie in each other a thousand times."""

_LIBRARY_S_ADVICE = re.compile(
    r' in "<(?:unicode|byte) string>",| with value "[^"]*" \(original value: "[^"]*"\)'
    r"| To suppress this check.*"
)
"""Of ruamel's messages: names of no file, and advice to programmers."""

Config = TypeVar("Config", bound=BaseModel)


def parse_file(kind: type[Config], path: Path) -> Config:
    """The file as a `kind`. Raises InputError that names the file and the key."""
    return parse_bytes(kind, path.read_bytes(), str(path))


def parse_bytes(kind: type[Config], content: bytes, name: str) -> Config:
    """As `parse_file`, of what a file called `name` holds, for example at an earlier commit."""
    try:
        return kind.model_validate(parse_yaml(content, name))
    except ValidationError as error:
        where = explain_in(error, content, of=kind)
        raise InputError(f"{name}: {where}. Fix the file and run again.") from error


def at_its_line(text: str, line: int) -> bytes:
    """A text that stands as a block in another file, below the key in `line` of that, so that lines
    of what is wrong in it are that file's."""
    return ("\n" * line + text).encode()


def remedy(content: bytes) -> str:
    """What to do with bytes that are not YAML: Windows' editors write UTF-16."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    return f"{'Save the file as UTF-8' if chr(0) in text else 'Fix the file'} and run again"


def explain_in(
    error: ValidationError, content: bytes, within: tuple[str, ...] = (), *, of: type[BaseModel]
) -> str:
    """As `explain`, with the line of a YAML file's `content` that is meant; `within` says under
    which keys of it what did not validate stands."""
    keys = (*within, *place_of(error))
    line = line_of(content, keys)
    return ".".join((*within, explain(error, of=of))) + (f" (line {line})" if line else "")


def line_of(content: bytes, keys: Sequence[int | str]) -> int | None:
    """Where the last of `keys` that the file has stands; None for the whole file."""
    node, line = YAML(pure=True).compose(StringIO(content.decode("utf-8-sig"))), None
    for key in keys:
        parts = node.value if node is not None and node.id in ("mapping", "sequence") else ()
        if parts and node.id == "sequence":
            found = [(one, one) for index, one in enumerate(parts) if index == key]
        else:
            found = [pair for pair in parts if pair[0].value == str(key)]
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def load_yaml(path: Path) -> Any:
    """The content of a YAML file as plain values. Raises InputError when it does not parse."""
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(content: bytes, name: str) -> Any:
    """As `load_yaml`, of what a file called `name` holds."""
    try:
        return _safe(content.decode())
    except NOT_YAML as error:
        refuse_conflict(content, name)
        where = _LIBRARY_S_ADVICE.sub("", re.sub(r"\s+", " ", str(error)))[:300]
        if not isinstance(error, YAMLError | UnicodeDecodeError | RecursionError):
            where += _line_of_what_is_no_value(content.decode())
        raise InputError(f"{name} is not YAML: {where}. {remedy(content)}.") from error


def _safe(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _line_of_what_is_no_value(text: str) -> str:
    """` (line 12)`, where what looks like a date or a number is none."""
    nodes = [YAML(pure=True).compose(StringIO(text))]
    while nodes:
        node = nodes.pop(0)
        if node.id == "scalar":
            try:
                _safe(text[node.start_mark.index : node.end_mark.index])
            except NOT_YAML:
                return f" (line {node.start_mark.line + 1})"
        elif node.id == "mapping":
            nodes += [one for pair in node.value for one in pair]
        else:
            nodes += node.value
    return ""


def load_named(
    kind: type[Config], folder: Path, name: str, *, file: str, key: str, bring: str
) -> Config:
    """`folder`/`name`/`file` as a `kind` whose `key` says that name.

    Raises InputError where there is no such file, which names those that there are and how to
    `bring` one, where the two names differ, and as `parse_file`.
    """
    path = folder / name / file
    if "/" in name or not path.is_file():  # `shapes/`, as a shell completes it, is no other name
        raise InputError(f"{not_among(folder, name, file=file)} {bring}")
    found = parse_file(kind, path)
    if (called := getattr(found, key)) != name:
        raise InputError(
            f"{path}: expected `{key}: {name}` as its folder is called, got {called!r}. Make the "
            "two the same."
        )
    return found


def not_among(folder: Path, name: str, *, file: str) -> str:
    """The sentence for a name that none of the folders below `folder` has which hold `file`."""
    known = [path.parent.name for path in listed(folder, f"*/{file}")]
    return (
        f"Expected one of the {folder.name} {', '.join(known) or '(none yet)'}, got "
        f"{name!r}{meant(name, known)}."
    )
