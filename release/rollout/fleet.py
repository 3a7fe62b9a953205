"""fleet.yaml: set one tag, and leave every other byte as it was.

ruamel.yaml reads the file and says where each value stands; the change itself is made in the text.
Dumping the tree again would keep comments and order too, but not indentation, line breaks and
spaces as their author chose them. What came out is read once more and compared with what was meant,
so an anchor or a merge key that would carry the tag elsewhere is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from engines.errors import InputError
from release.rollout.yaml_text import put

ENTRIES = "targetCustomizations"
SELECTOR = "clusterSelector"
RINGS = ("canary", "pilot", "production")
_NARROWER = frozenset({"clusterName", "clusterGroup", "clusterGroupSelector"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whose tag it is: a model's, on the clusters of a device in a ring."""

    device: str
    ring: str
    model: str

    @property
    def labels(self) -> dict[str, str]:
        return {"device": self.device, "ring": self.ring}

    @property
    def entry_name(self) -> str:
        """Name of a new entry."""
        return f"{self.device}-{self.ring}"


def set_tag(text: str, place: Place, tag: str) -> str:
    """`text` of a fleet.yaml with the tag of `place` set to `tag`.

    The entry is the one whose clusterSelector.matchLabels are exactly device and ring; the tag is
    its `helm.values.images.<model>.tag`. An entry that is missing is added after the others.
    Raises InputError for text that is not a fleet.yaml, for two entries with the same labels, and
    where the tag cannot be set without changing something else.
    """
    before = _load(text)
    entries = _entries(before)
    index = _find(entries, place)
    path = _path(place)
    after = deepcopy(before)
    if index is None:
        after[ENTRIES] = [*entries, _new_entry(path, place, tag)]
        written = put(text, (ENTRIES, len(entries)), after[ENTRIES][-1])
    else:
        _set_value(after[ENTRIES][index], path, place, tag)
        written = text if after == before else put(text, (ENTRIES, index, *path), tag)
    if _load_or_none(written) != after:
        raise InputError(
            f"Cannot set the tag of {place.model} in the entry {place.entry_name} of fleet.yaml "
            "without changing anything else: an anchor, an alias or a merge key stands in the way. "
            "Write the values of that entry out in full and run the command again."
        )
    return written


def tag_of(text: str, place: Place) -> str | None:
    """The tag of `place` in the text of a fleet.yaml, if there is one. Raises InputError for text
    that is not a fleet.yaml."""
    entries = _entries(_load(text))
    index = _find(entries, place)
    here: Any = entries[index] if index is not None else {}
    for key in _path(place):
        here = here.get(key) if isinstance(here, dict) else None
    return str(here) if here else None


def read_fleet(path: Path) -> str:
    """The text of a fleet.yaml, with its own line ends. Raises InputError when there is none."""
    try:
        # Bytes and not text, since reading text would turn Windows line ends into others.
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"Expected {path}, what every site runs, but it is not there. Bring it back with "
            f"`git checkout -- {path}`."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: {error}. Save it as UTF-8 and run again."
        ) from error


def _path(place: Place) -> tuple[str, ...]:
    return ("helm", "values", "images", place.model, "tag")


def _load(text: str) -> dict[str, Any]:
    try:
        content = _unshared(YAML(typ="safe", pure=True).load(text))
    except YAMLError as error:
        where = re.sub(r"\s+", " ", str(error))[:300]
        raise InputError(f"fleet.yaml is not YAML: {where}. Mend it and run again.") from error
    if isinstance(content, dict) and "apiVersion" in content:
        content = f"a Kubernetes object of kind {content.get('kind')}"
    return {} if content is None else _mapping(content, "a mapping with the keys of a fleet.yaml")


def _unshared(value: Any) -> Any:
    """A copy in which what an anchor and its aliases stood for is no longer one object."""
    if isinstance(value, dict):
        return {key: _unshared(one) for key, one in value.items()}
    return [_unshared(one) for one in value] if isinstance(value, list) else value


def _load_or_none(text: str) -> dict[str, Any] | None:
    try:
        return _load(text)
    except InputError:
        return None


def _mapping(value: Any, expected: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            f"Expected {expected} in fleet.yaml, came {str(value)[:80]!r}. "
            "Mend it (https://fleet.rancher.io/ref-fleet-yaml) and run again."
        )
    return value


def _entries(content: dict[str, Any]) -> list[dict[str, Any]]:
    entries = content.get(ENTRIES) or []
    expected = f"a list of mappings under `{ENTRIES}:`"
    if not isinstance(entries, list):
        _mapping(entries if not isinstance(entries, dict) else "a mapping", expected)
    return [_mapping(entry, expected) for entry in entries]


def _find(entries: Sequence[dict[str, Any]], place: Place) -> int | None:
    """Index of the entry for all clusters of device and ring; entries of single sites select by
    more than these two labels and are left alone."""
    found = [
        index
        for index, entry in enumerate(entries)
        if entry.get(SELECTOR) == {"matchLabels": place.labels} and not entry.keys() & _NARROWER
    ]
    if len(found) > 1:
        raise InputError(
            f"Expected one entry of {ENTRIES} in fleet.yaml for device {place.device} and ring "
            f"{place.ring}, came {len(found)}: numbers {', '.join(str(one + 1) for one in found)}. "
            "Take all but one out."
        )
    if not found and any(entry.get("name") == place.entry_name for entry in entries):
        raise InputError(
            f"Expected the entry {place.entry_name} in fleet.yaml to select exactly the labels "
            f"device: {place.device} and ring: {place.ring}, but it selects otherwise. Mend its "
            f"{SELECTOR} or give it another name."
        )
    return found[0] if found else None


def _new_entry(path: Sequence[str], place: Place, tag: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": place.entry_name, SELECTOR: {"matchLabels": place.labels}}
    _set_value(entry, path, place, tag)
    return entry


def _set_value(entry: dict[str, Any], path: Sequence[str], place: Place, tag: str) -> None:
    """Set the tag in the entry. Raises InputError where something other than a mapping stands."""
    here = entry
    for key in path[:-1]:
        if here.get(key) is None:
            here[key] = {}
        here = _mapping(here[key], f"a mapping at `{key}:` of the entry {place.entry_name}")
    if isinstance(here.get(path[-1]), dict | list):
        raise InputError(
            f"Expected a tag at `{'.'.join(path)}` of the entry {place.entry_name} in fleet.yaml, "
            f"came {here[path[-1]]!r}. Mend it and run again."
        )
    here[path[-1]] = tag
