"""A map of an inventory file, whose values are asked for by their kind: of a slip it is said where
it stands. Passed over, it would be a cluster without labels, which gets nothing and shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.config.names import meant
from engines.errors import InputError

TRUE = frozenset(("true", "yes", "on", "y"))
FALSE = frozenset(("", "false", "no", "off", "n", "null", "~"))
"""Words that YAML 1.1 has for them, and nothing at all."""


@dataclass(frozen=True)
class Entry:
    """One map."""

    path: Path
    where: str
    """For messages, as `clusters, entry 2 (line 5)`."""
    content: Mapping[str, Any]

    def only(self, known: Iterable[str], *, free: str = "") -> None:
        """Raise InputError for a key that is none of `known`; what begins with `free` is people's
        own."""
        for key in self.content:
            if key not in known and not (free and key.startswith(free)):
                own = f" (or {free}… for what is yours)" if free else ""
                raise self.wrong(
                    f"the keys {', '.join(known)}{own}", f"the key {key!r}{meant(key, known)}"
                )

    def text(self, key: str) -> str:
        """A text; empty where there is none."""
        value = self.content.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        raise self.wrong(f"text, in quotes, under `{key}`", _named(value))

    def texts(self, key: str) -> dict[str, str]:
        """A map of texts, as labels are; empty where there is none."""
        found = self.map(key)
        for name, value in found.items():
            if not (value is None or isinstance(value, str)):
                raise self.wrong(f"text, in quotes, under `{key}.{name}`", _named(value))
        return {name: value or "" for name, value in found.items()}

    def map(self, key: str) -> dict[str, Any]:
        """A map; empty where there is none."""
        value = self.content.get(key)
        if value in (None, ""):
            return {}
        if not isinstance(value, dict):
            raise self.wrong(f"keys with values under `{key}`, as `name: value`,", _named(value))
        return value

    def inside(self, key: str) -> Entry:
        """The map under a key, as an entry of its own."""
        return Entry(self.path, f"{key} of {self.where}", self.map(key))

    def maps(self, key: str) -> list[dict[str, Any]]:
        """A list of maps; empty where there is none."""
        value = self.content.get(key)
        if value in (None, ""):
            return []
        if not isinstance(value, list):
            raise self.wrong(f"a list of maps under `{key}`", _named(value))
        for at, one in enumerate(value, start=1):
            if not isinstance(one, dict):
                raise self.wrong(f"a list of maps under `{key}`", f"{_named(one)} as entry {at}")
        return value

    def truth(self, key: str) -> bool:
        """Whether it says so; not where there is nothing."""
        value = self.content.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.lower() in TRUE | FALSE:
            return value.lower() in TRUE
        raise self.wrong(f"true or false under `{key}`", _named(value))

    def wrong(self, expected: str, got: str) -> InputError:
        """The sentence that says so."""
        place = f"{self.where} of " if self.where else ""
        return InputError(
            f"Expected {expected} in {place}{self.path}, got {got}. Fix the file and run again."
        )


def _named(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "keys with values"
    said = {None: "nothing", True: "true", False: "false"}
    return said[value] if value is None or isinstance(value, bool) else repr(value)
