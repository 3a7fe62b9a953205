"""Put one value into YAML text and touch nothing else.

ruamel.yaml's nodes carry the marks of where they begin and end in the text; the value is spliced in
between. What is missing on the way is written in the style of what surrounds it: block or flow, and
at the column of its neighbours.

The caller reads the result again and compares: with anchors, aliases and merge keys a place in the
text may belong to more than one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

Key = str | int

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._@:/-]*[A-Za-z0-9]")
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
"""Words that YAML 1.1 or 1.2 reads as something other than text."""


def put(text: str, path: Sequence[Key], value: Any) -> str:
    """`text` with `value` (text, or mappings and lists of it) at `path`.

    A part of `path` that is missing is made; an index one past the end of a list appends to it.
    """
    node = YAML(typ="safe", pure=True).compose(text)
    if node is None:
        return _insert_lines(text, len(text), _block(_nested(path, value), 0))
    for depth, key in enumerate(path):
        rest = _nested(path[depth + 1 :], value)
        child = _child(node, key)
        if child is None:
            return _add(text, node, key, rest)
        if _is_null(child):
            return _fill(text, node, key, child, rest)
        node = child
    return _replace(text, node, _quoted_like(node, str(value)))


def _nested(path: Sequence[Key], value: Any) -> Any:
    for key in reversed(path):
        value = [value] if isinstance(key, int) else {key: value}
    return value


def _child(node: Node, key: Key) -> Node | None:
    if isinstance(node, SequenceNode) and isinstance(key, int):
        return node.value[key] if key < len(node.value) else None
    if isinstance(node, MappingNode):
        return next((child for name, child in node.value if name.value == key), None)
    return None


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag) == "tag:yaml.org,2002:null"


def _add(text: str, node: Node, key: Key, value: Any) -> str:
    """Add an item to a list, or a key to a mapping, after those that are there."""
    addition = [value] if isinstance(key, int) else {key: value}
    if isinstance(node, CollectionNode) and node.flow_style:
        comma = ", " if node.value else ""
        at = _inner_end(node) if node.value else node.end_mark.index - 1
        return text[:at] + comma + _flow(addition)[1:-1] + text[at:]
    return _insert_lines(text, _block_end(text, node), _block(addition, _column(node)))


def _fill(text: str, parent: Node, key: Key, node: Node, value: Any) -> str:
    """Put a value where a key stands without one."""
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:
        # The mark of a value that is not there is at the next token, perhaps lines further down.
        name = next(name for name, child in parent.value if child is node and name.value == key)
        start = end = text.index(":", name.end_mark.index) + 1
    if isinstance(value, str) or getattr(parent, "flow_style", False):
        return _splice(text, start, end, _flow(value))
    text = text[:start] + text[end:]
    line_end = text.find("\n", start)
    at = len(text) if line_end < 0 else line_end + 1
    return _insert_lines(text, at, _block(value, _column(parent) + 2))


def _replace(text: str, node: Node, new: str) -> str:
    # A block scalar ends after its line break, which is to stay.
    end = len(text[: node.end_mark.index].rstrip())
    return _splice(text, node.start_mark.index, max(end, node.start_mark.index), new)


def _splice(text: str, start: int, end: int, new: str) -> str:
    space = "" if text[start - 1 : start].isspace() else " "
    return text[:start] + space + new + text[end:]


def _insert_lines(text: str, at: int, lines: Sequence[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    before = text[:at]
    if before and not before.endswith("\n"):
        before += newline
    return before + "".join(line + newline for line in lines) + text[at:]


def _column(node: Node) -> int:
    """Column of the keys of a block mapping, or of the dashes of a block list."""
    return int(node.start_mark.column)


def _inner_end(node: CollectionNode) -> int:
    last = node.value[-1]
    key, value = last if isinstance(node, MappingNode) else (last, last)
    return int(max(key.end_mark.index, value.end_mark.index))


def _block_end(text: str, node: Node) -> int:
    """Where a new line after the last one of a block collection goes.

    The collection's own mark is at the next token, behind blank lines and comments that most
    likely speak of what follows; comments further in than the collection belong to it.
    """
    floor = max(_leaf_ends(node, node.end_mark.index), default=0)
    at = int(node.end_mark.index)
    while at > floor:
        start = text.rfind("\n", 0, at - 1) + 1
        line = text[start:at]
        ours = len(line) - len(line.lstrip(" ")) > _column(node)
        if start < floor or (line.strip() and (ours or line.lstrip()[0] != "#")):
            break
        at = start
    return at


def _leaf_ends(node: Node, limit: int) -> list[int]:
    """Ends of the scalars and flow collections within a block collection."""
    if not isinstance(node, CollectionNode) or node.flow_style:
        empty = node.start_mark.index == node.end_mark.index
        return [] if empty or node.end_mark.index > limit else [node.end_mark.index]
    children = node.value
    if isinstance(node, MappingNode):
        children = [part for pair in node.value for part in pair]
    return [end for child in children for end in _leaf_ends(child, limit)]


# --- spelling ----------------------------------------------------------------------------------


def _block(value: Any, column: int) -> list[str]:
    """The lines of a value in block style, each beginning at `column` or further in."""
    pad = " " * column
    lines: list[str] = []
    if isinstance(value, list):
        for item in value:
            inner = _block(item, column + 2)
            lines += [f"{pad}- {inner[0].lstrip()}", *inner[1:]]
        return lines
    if not isinstance(value, dict):
        return [pad + _scalar(value)]
    for key, item in value.items():
        if isinstance(item, dict | list):
            lines += [f"{pad}{_scalar(key)}:", *_block(item, column + 2)]
        else:
            lines.append(f"{pad}{_scalar(key)}: {_scalar(item)}")
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    return _scalar(value)


def _scalar(text: str) -> str:
    """Plain where every reader of YAML takes it for text, else in double quotes."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text)


def _quoted_like(node: Node, text: str) -> str:
    style = getattr(node, "style", None)
    if style == '"':
        return json.dumps(text)
    return f"'{text}'" if style == "'" else _scalar(text)
