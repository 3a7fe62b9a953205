"""Edits of YAML files that people keep, as edits of the text: whatever is not the edit stays byte
for byte, be it comments, line ends, quotes, or lists written flush left.

`keys` says where in the file, from the top. An edit that changes nothing gives the text back. What
was edited is read again: where it does not say what was meant (anchors, or several entries in a
line), ValueError is raised and nothing is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from engines.config.yaml import NOT_YAML
from engines.errors import InputError
from engines.files import write_kept

Edit = Callable[[str], str]
Keys = tuple[str, ...]

_STEP = 2
"""Columns of indentation where the file shows none."""


def edited(path: Path, *edits: Edit) -> bytes:
    """The content of a file after edits of this module; nothing is written.

    Raises InputError where the file cannot be read or edited.
    """
    try:
        before = path.read_bytes().decode("utf-8")
        mark = "\ufeff" if before.startswith("\ufeff") else ""
        text = before.removeprefix(mark)
        for edit in edits:
            text = edit(text)
    except NOT_YAML as error:
        where = " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected to be able to edit {path}, but could not: {where}. Fix the file and run the "
            "same command again."
        ) from error
    return (mark + text).encode()


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files that people keep, those that differ; call it when all of them could be edited."""
    for path, content in contents.items():
        if path.read_bytes() != content:
            write_kept(path, content)


def with_item(keys: Keys, value: str) -> Edit:
    """An edit that appends `value` to a list, unless it is in there."""

    def change(content: Any) -> None:
        _at(content, keys).append(value)

    def edit(text: str) -> str:
        _, node = _find(text, keys)
        if value in [item.value for item in node.value]:
            return text
        if node.flow_style or not node.value:
            return _checked(text, _into_flow(text, node, value), change)
        line = f"{' ' * node.start_mark.column}- {value}"
        return _checked(text, _after(text, _end(node), line), change)

    return edit


def without_item(keys: Keys, value: str) -> Edit:
    """An edit that takes `value` out of a list, if it is in there; a comment beside it goes too."""

    def change(content: Any) -> None:
        _at(content, keys).remove(value)

    def edit(text: str) -> str:
        key, node = _find(text, keys)
        spans = [(item.start_mark.index, _end(item)) for item in node.value]
        places = [index for index, item in enumerate(node.value) if item.value == value]
        if not places:
            return text
        return _checked(text, _cut(text, key, node, spans, places[0], "[]"), change)

    return edit


def with_entry(keys: Keys, name: str, values: Mapping[str, str]) -> Edit:
    """An edit that appends the entry `name` to a mapping, unless it is in there."""

    def change(content: Any) -> None:
        if _at(content, keys) is None:
            _at(content, keys[:-1])[keys[-1]] = {}
        _at(content, keys)[name] = dict(values)

    def edit(text: str) -> str:
        key, node = _find(text, keys)
        empty = node.id == "scalar" or not node.value
        if not empty and name in [one.value for one, _ in node.value]:
            return text
        if not empty and node.flow_style:
            inner = ", ".join(f"{one}: {value}" for one, value in values.items())
            return _checked(text, _into_flow(text, node, f"{name}: {{{inner}}}"), change)
        column, step = _columns(key, node, empty=empty)
        lines = [f"{' ' * column}{name}:"]
        lines += [f"{' ' * (column + step)}{one}: {value}" for one, value in values.items()]
        if empty:  # the `{}` goes, what stands after it in the line stays
            place = text.index(":", key.end_mark.index) + 1
            end = node.end_mark.index if node.end_mark.index > node.start_mark.index else place
            return _checked(text, _after(text[:place] + text[end:], place, *lines), change)
        return _checked(text, _after(text, _end(node), *lines), change)

    return edit


def without_entry(keys: Keys, name: str) -> Edit:
    """An edit that takes the entry `name` out of a mapping, if it is in there."""

    def change(content: Any) -> None:
        del _at(content, keys)[name]

    def edit(text: str) -> str:
        key, node = _find(text, keys)
        if node.id != "mapping":
            return text
        spans = [(one.start_mark.index, _end(value)) for one, value in node.value]
        places = [index for index, (one, _) in enumerate(node.value) if one.value == name]
        if not places:
            return text
        return _checked(text, _cut(text, key, node, spans, places[0], "{}"), change)

    return edit


def with_text(keys: Keys, value: str) -> Edit:
    """An edit that puts the text `value` in the place of another, in the quotes that are there."""

    def change(content: Any) -> None:
        _at(content, keys[:-1])[keys[-1]] = value

    def edit(text: str) -> str:
        _, node = _find(text, keys)
        if node.value == value and node.tag.endswith(":str"):
            return text
        start, end = node.start_mark.index, node.end_mark.index
        plain = isinstance(_load(value), str) and text[start] not in "\"'"
        written = value if plain else json.dumps(value, ensure_ascii=False)
        if text[start] == "'":
            written = "'" + value.replace("'", "''") + "'"
        return _checked(text, text[:start] + written + text[end:], change)

    return edit


# --- finding -------------------------------------------------------------------------------------


def _find(text: str, keys: Keys) -> tuple[Any, Any]:
    """The nodes of the last key and of its value."""
    node = YAML(pure=True).compose(StringIO(text, newline=""))
    key = None
    for name in keys:
        pairs = node.value if node is not None and node.id == "mapping" else []
        found = next(((one, value) for one, value in pairs if one.value == name), None)
        if found is None:
            raise ValueError(f"expected the key `{'.'.join(keys)}`, which is not there")
        key, node = found
    return key, node


def _end(node: Any) -> int:
    """Where the text of a node ends; to the parser a block ends only where the next one begins."""
    if node.id == "scalar" or node.flow_style or not node.value:
        return int(node.end_mark.index)
    return _end(_last(node))


def _last(node: Any) -> Any:
    return node.value[-1][1] if node.id == "mapping" else node.value[-1]


def _columns(key: Any, node: Any, *, empty: bool) -> tuple[int, int]:
    """The column of a mapping's keys, and how much deeper their own keys stand."""
    if empty:
        return key.start_mark.column + _STEP, _STEP
    column = node.start_mark.column
    inner = [value for _, value in node.value if value.id == "mapping" and not value.flow_style]
    return column, inner[-1].start_mark.column - column if inner else _STEP


# --- writing -------------------------------------------------------------------------------------


def _after(text: str, place: int, *lines: str) -> str:
    """The text with lines after the one that `place` is in."""
    newline = "\r\n" if "\r\n" in text else "\n"
    found = text.find("\n", place)
    block = newline.join(lines)
    if found < 0:
        return text + newline + block + newline
    return text[: found + 1] + block + newline + text[found + 1 :]


def _into_flow(text: str, node: Any, value: str) -> str:
    """The text with one more part before the closing bracket."""
    if node.value:
        place = _end(_last(node))
        return f"{text[:place]}, {value}{text[place:]}"
    start, end = node.start_mark.index, node.end_mark.index
    return f"{text[:start]}[{value}]{text[end:]}"


def _cut(
    text: str, key: Any, node: Any, spans: Sequence[tuple[int, int]], index: int, nothing: str
) -> str:
    """The text without one of the parts of a node; `nothing` stands for none."""
    start, end = spans[index]
    if node.flow_style:
        if len(spans) == 1:
            return text[:start] + text[end:]
        if index:
            return text[: spans[index - 1][1]] + text[end:]
        return text[:start] + text[spans[1][0] :]
    begin = text.rfind("\n", 0, start) + 1
    found = text.find("\n", end)
    rest = text[found + 1 :] if found >= 0 else ""
    if len(spans) > 1:
        return text[:begin] + rest
    colon = text.index(":", key.end_mark.index) + 1
    return f"{text[:colon]} {nothing}{text[colon:begin]}{rest}"


def _checked(before: str, after: str, change: Callable[[Any], None]) -> str:
    wanted, got = _load(before), None
    change(wanted)
    with suppress(*NOT_YAML):
        got = _load(after)
    if got != wanted:
        raise ValueError("it is written in a way that this command cannot follow")
    return after


def _load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(StringIO(re.sub(r"\r\n?", "\n", text)))


def _at(content: Any, keys: Keys) -> Any:
    for key in keys:
        content = content[key]
    return content
