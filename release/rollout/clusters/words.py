"""YAML whose words are all texts, so that 0010 is no number, read in one pass: an inventory of
100,000 clusters takes a second and little more memory than it holds, and eight with PyYAML's own
loader, which makes a tree first."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.composer import ComposerError

_KEY, _ENTRY = object(), object()
"""What comes next: the key of a map, or the entry of a list; else it is a map's value."""


def parse_words(text: str) -> Any:
    """The one document of `text`; None for none. Raises yaml.YAMLError."""
    reader = _Reader()
    for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
        reader.take(event)
    return reader.root


class _Reader:
    """Puts each value into the map or list that is open."""

    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[tuple[Any, Any]] = []
        self._anchors: dict[str, Any] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """One event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._put(event.value, event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin({}, _KEY, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin([], _ENTRY, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
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

    def _put(self, value: Any, event: yaml.Event) -> None:
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self.root = value
            return
        inside, key = self._open[-1]
        if key is _ENTRY:
            inside.append(value)
        elif key is not _KEY:
            inside[key] = value
            self._open[-1] = inside, _KEY
        elif isinstance(value, str):
            self._open[-1] = inside, value
        else:
            raise _wrong("expected a word as a key", event)


def _wrong(what: str, event: yaml.Event) -> ComposerError:
    return ComposerError(None, None, what, event.start_mark)
