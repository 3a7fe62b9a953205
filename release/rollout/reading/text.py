"""YAML as Fleet reads it, with the line of every key.

Fleet decodes with goyaml v2, a port of libyaml: YAML 1.1, so `yes` and `y` are true and 010 is 8;
of equal keys the last one wins, only the first document counts, and `<<` takes effect where it
stands. None of this is an error there, so none of it is one here; what lint has a word for is kept
in `Document`.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Values after aliases are written out; Fleet refuses such documents too."""

Path = tuple[str | int, ...]


class NotYaml(Exception):
    """The text does not parse; `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


@dataclass
class ParsedFile:
    """A parsed file."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Path of a key or list entry to its line, from 1."""
    duplicates: list[tuple[Path, int]] = field(default_factory=list)
    """Keys that are there again, at the line of the later one, which wins."""
    octal: list[tuple[str, int, int]] = field(default_factory=list)
    """Numbers that people read otherwise, as 010: what is written, the number and the line."""
    aliases: int = 0
    documents: int = 0
    """How many there are; Fleet reads the first."""

    def line(self, *path: str | int) -> int:
        """The line of `path`, or of the nearest that is written above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass
class _Node:
    line: int
    kind: str
    """scalar, map or list."""
    value: Any = None
    plain: bool = False
    children: list[_Node] = field(default_factory=list)
    """Of a map: key, value, key, value …"""
    size: int = 1
    depth: int = 1
    open: bool = False


def parse_document(text: str) -> ParsedFile:
    """The first document of `text`. Raises NotYaml."""
    document = ParsedFile()
    try:
        node = _compose(text, document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        marks = re.search(r"^<{7} ", text, re.MULTILINE)
        if marks:
            line = text[: marks.start()].count("\n") + 1
            words = "it holds both sides of a merge that git could not finish, from `<<<<<<<` on"
            raise NotYaml(words, line) from error
        raise NotYaml(str(reason).strip(), mark.line + 1 if mark else 1) from error
    if node is not None:
        document.value = _build(node, (), document)
    return document


def _events(text: str) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return iter(yaml.parse(text, Loader=loader))


def _compose(text: str, document: ParsedFile) -> _Node | None:
    """The tree of the first document; later ones are only counted, as far as they parse."""
    first: _Node | None = None
    stack: list[_Node] = []
    anchors: dict[str, _Node] = {}
    try:
        for event in _events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                document.documents += 1
            node = None if document.documents > 1 else _node_of(event, stack, anchors, document)
            if node is not None and not stack:
                first = node
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)) and node:
                stack.append(node)
    except yaml.YAMLError:
        if document.documents <= 1:
            raise
    return first


def _node_of(
    event: Any, stack: list[_Node], anchors: dict[str, _Node], document: ParsedFile
) -> _Node | None:
    """The node that begins with `event`, put into the node on top of the stack."""
    line = event.start_mark.line + 1
    if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
        _close(stack)
        return None
    if isinstance(event, yaml.AliasEvent):
        document.aliases += 1
        node = anchors.get(event.anchor)
        if node is None or node.open:
            raise NotYaml(f"the anchor {event.anchor!r} is not known here or holds itself", line)
    elif isinstance(event, yaml.ScalarEvent):
        node = _Node(line, "scalar", *_scalar(event, line))
        if node.plain and _OCTAL.fullmatch(event.value) and int(event.value) != node.value:
            document.octal.append((event.value, node.value, line))
    elif isinstance(event, yaml.MappingStartEvent):
        node = _Node(line, "map", open=True)
    elif isinstance(event, yaml.SequenceStartEvent):
        node = _Node(line, "list", open=True)
    else:
        return None
    if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
        anchors[event.anchor] = node
    if stack:
        stack[-1].children.append(node)
    return node


def _close(stack: list[_Node]) -> None:
    node = stack.pop()
    node.open = False
    node.size += sum(child.size for child in node.children)
    node.depth += max((child.depth for child in node.children), default=0)
    if node.size > MAX_VALUES or node.depth > MAX_DEPTH:
        raise NotYaml(
            f"more than {MAX_VALUES} values after aliases, or {MAX_DEPTH} levels", node.line
        )


def _build(node: _Node, path: Path, document: ParsedFile) -> Any:
    """Plain values of a tree: str, int, float, bool, None, dict with str keys, list."""
    document.lines.setdefault(path, node.line)
    if node.kind == "scalar":
        return node.value
    if node.kind == "list":
        return [_build(child, (*path, at), document) for at, child in enumerate(node.children)]
    found: dict[str, Any] = {}
    written: set[str] = set()
    for key, value in zip(node.children[::2], node.children[1::2], strict=True):
        if key.kind == "scalar" and key.plain and key.value == "<<":
            found.update(_merged(value, path, document))
            continue
        name = _key(key)
        here = (*path, name)
        if name in written:
            document.duplicates.append((here, key.line))
            _forget(document, here)
        written.add(name)
        document.lines[here] = key.line
        found[name] = _build(value, here, document)
    return found


def _forget(document: ParsedFile, path: Path) -> None:
    """What an earlier key of the same name had below it does not count."""
    for known in [one for one in document.lines if one[: len(path)] == path]:
        del document.lines[known]


def _merged(node: _Node, path: Path, document: ParsedFile) -> dict[str, Any]:
    """What `<<` brings: a map, or of a list of maps the earlier ones first."""
    if node.kind == "map":
        return dict(_build(node, path, document))
    if node.kind == "list" and all(child.kind == "map" for child in node.children):
        found: dict[str, Any] = {}
        for child in reversed(node.children):
            found.update(_build(child, path, document))
        return found
    raise NotYaml("`<<` wants a map or a list of maps", node.line)


def _key(node: _Node) -> str:
    """A key as JSON has it: `yes` becomes "true" and 010 becomes "8"."""
    value = node.value
    if node.kind != "scalar" or value is None:
        raise NotYaml("a key must be a word, a number or a truth value", node.line)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


# What goyaml takes a plain word for (resolve.go).
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), True),
    **dict.fromkeys(("on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NO_JSON = {"." + word for word in ("nan", "NaN", "NAN", "inf", "Inf", "INF")}
_NO_JSON |= {sign + word for sign in "+-" for word in (".inf", ".Inf", ".INF")}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def _scalar(event: Any, line: int) -> tuple[Any, bool]:
    """Value of a scalar, and whether it is plain."""
    text, tag = event.value, (event.tag or "").removeprefix("tag:yaml.org,2002:")
    plain = event.style is None or event.style == ""
    if tag == "str" or tag.startswith("!") or (not tag and not plain):
        return text, plain and not tag
    if tag == "binary":
        return _binary(text, line), plain
    value = resolve(text, line)
    if tag == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return value, plain


def _binary(text: str, line: int) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError as error:
        raise NotYaml("!!binary that is no base64", line) from error


def resolve(text: str, line: int = 1) -> Any:
    """What a plain word is: a truth value, nothing, a number or text. Raises NotYaml for a number
    that JSON has no word for."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _NO_JSON:
        raise NotYaml(f"{text} is no number that JSON can hold", line)
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    if _INTEGER.fullmatch(digits):
        return _integer(digits)
    if not _FLOAT.fullmatch(digits):
        return text
    number = float(digits)
    return number if math.isfinite(number) else text  # too large for Go, so no number


def _integer(digits: str) -> int | float:
    """A number in Go's spellings; beyond 64 bits it is a float there."""
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-").lower()
    if len(body) > 1 and body[0] == "0" and body[1] in "01234567":
        value = sign * int(body, 8)
    else:
        value = sign * int(body, 0)
    return value if -(2**63) <= value < 2**64 else float(value)
