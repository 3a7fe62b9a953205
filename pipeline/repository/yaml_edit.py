"""Edits of YAML files that people keep: comments, order and quotes stay."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from engines.files import write_kept


@contextmanager
def edited_yaml(path: Path) -> Iterator[Any]:
    """Yield the file's content as ruamel's round-trip types; write it when the block ends well.

    A file that comes out as it was is left alone.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), _null)
    raw = path.read_bytes().decode("utf-8")
    ends = "\r\n" if "\r\n" in raw else "\n"
    before = raw.replace("\r\n", "\n")
    offset = _dash_offset(YAML(pure=True).compose(before))
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    content = yaml.load(before)
    yield content
    text = io.StringIO()
    yaml.dump(content, text)
    if text.getvalue() != before:
        write_kept(path, text.getvalue().replace("\n", ends).encode("utf-8"))


def _dash_offset(node: Any) -> int:
    """How far the dashes of the first list below a key stand to the right of it; 2 without one."""
    todo = [node]
    while todo:
        found = todo.pop()
        if found is None or found.id != "mapping" or found.flow_style:
            continue
        for _, value in found.value:
            if value.id == "sequence" and not value.flow_style:
                return max(int(value.start_mark.column - found.start_mark.column), 0)
        todo += [value for _, value in found.value]
    return 2


def put(mapping: CommentedMap, key: str, value: object, comment: str = "") -> None:
    """Set a key of a mapping that `edited_yaml` gave, with a comment beside it.

    What people wrote stays: lines below the key, and a comment of theirs beside it, which then
    stands after ours and a semicolon. One that begins as ours does (up to its first space) is an
    earlier one of ours, and is replaced.
    """
    below = "" if key in mapping or not mapping else _cut_below(mapping)
    mapping[key] = value
    holder, last = _last(mapping, key)
    beside, kept = _comment(holder, last)
    ours = comment.partition(" ")[0]
    theirs = beside.partition("; ")[2] if ours and beside.startswith(ours) else beside
    _write_comment(holder, last, "; ".join(filter(None, (comment, theirs))), kept + below)


def _last(mapping: CommentedMap, key: Any) -> tuple[CommentedMap, Any]:
    """Where, to ruamel, the lines after a key hang: at the last scalar below it."""
    value = mapping[key]
    if isinstance(value, CommentedMap) and value:
        return _last(value, list(value)[-1])
    return mapping, key


def _cut_below(mapping: CommentedMap) -> str:
    """Take the lines off that follow the mapping's last key: a new key goes before them."""
    holder, key = _last(mapping, list(mapping)[-1])
    beside, below = _comment(holder, key)
    _write_comment(holder, key, beside, "")
    return below


def _comment(mapping: CommentedMap, key: Any) -> tuple[str, str]:
    """What stands beside a key, without its mark, and the lines after it."""
    found = mapping.ca.items.get(key)
    text = found[2].value if found and found[2] else ""
    beside, newline, below = text.partition("\n")
    return beside.strip().removeprefix("#").strip(), below if newline else ""


def _write_comment(mapping: CommentedMap, key: Any, beside: str, below: str) -> None:
    found = mapping.ca.items.setdefault(key, [None, None, None, None])
    text = f" # {beside}\n{below}" if beside else f"\n{below}" if below else ""
    found[2] = CommentToken(text, CommentMark(0)) if text else None


def _null(representer: Any, value: None) -> Any:
    """`null` in words, as people wrote it; ruamel's round trip would leave nothing there."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
