"""YAML whose words are all texts, so that 0010 is no number, read in one pass: an inventory of
100,000 clusters takes a second and little more memory than it holds, and eight with PyYAML's own
loader, which makes a tree first."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.composer import ComposerError

_KEY, _ENTRY, _MERGE = object(), object(), object()
"""What comes next: the key of a map, the entry of a list, or what `<<` brings; else it is a map's
value."""


def parse_words(text: str, lines: dict[int, int] | None = None) -> Any:
    """The one document of `text`; None for none. `lines` gets the line of each map, by its `id`.

    A key that is there twice is no YAML here: one of the two would be passed over in silence.
    Raises yaml.YAMLError.
    """
    reader = _Reader({} if lines is None else lines)
    for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
        reader.take(event)
    return reader.root


class _Reader:
    """Puts each value into the map or list that is open."""

    def __init__(self, lines: dict[int, int]) -> None:
        self.root: Any = None
        self._lines = lines
        self._merged: dict[int, list[Any]] = {}
        self._open: list[tuple[Any, Any]] = []
        self._anchors: dict[str, Any] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """One event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._put(_MERGE if event.value == "<<" and event.implicit[0] else event.value, event)
        elif isinstance(event, yaml.MappingStartEvent):
            found: dict[str, Any] = {}
            self._lines[id(found)] = event.start_mark.line + 1
            self._begin(found, _KEY, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin([], _ENTRY, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _wrong(f"found undefined alias {event.anchor!r}", event)
            self._put(self._anchors[event.anchor], event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _wrong("expected one document, found another", event)

    def _begin(self, value: Any, first: Any, event: yaml.Event) -> None:
        self._put(value, event)
        self._open.append((value, first))

    def _end(self, event: yaml.Event) -> None:
        ended, _ = self._open.pop()
        for brought in self._merged.pop(id(ended), ()):
            for one in brought if isinstance(brought, list) else [brought]:
                if not isinstance(one, dict):
                    raise _wrong("expected a map, or a list of maps, behind `<<`", event)
                ended.update({key: value for key, value in one.items() if key not in ended})

    def _put(self, value: Any, event: yaml.Event) -> None:
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self.root = value
            return
        inside, key = self._open[-1]
        if key is _ENTRY:
            inside.append("<<" if value is _MERGE else value)
        elif key is _MERGE:
            self._merged.setdefault(id(inside), []).append(value)
            self._open[-1] = inside, _KEY
        elif key is not _KEY:
            inside[key] = "<<" if value is _MERGE else value
            self._open[-1] = inside, _KEY
        elif isinstance(value, str) and value in inside:
            raise _wrong(f"found the key {value!r} a second time", event)
        elif isinstance(value, str) or value is _MERGE:
            self._open[-1] = inside, value
        else:
            raise _wrong("expected a word as a key", event)


def _wrong(what: str, event: yaml.Event) -> ComposerError:
    return ComposerError(None, None, what, event.start_mark)
