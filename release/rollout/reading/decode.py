"""fleet.yaml decoded as Fleet does: known keys stay, unknown ones vanish, a wrong type fails it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from release.rollout.reading import fields as kinds
from release.rollout.reading.fields import CRITERIA, STRUCTURES, Key
from release.rollout.reading.text import Path
from release.rollout.reading.values import merge_maps
from release.rollout.reading.version import FleetVersion

COERCED = ("targetCustomizations", "overrideTargets", "imageScans")
"""Top keys below which a number where text belongs is made text. Below the others it is an error:
sigs.k8s.io/yaml looks for the field in the wrong place where Go structures are embedded. (`name`,
`labels` and `annotations` are read a second time, as those of an object: an error, too.)"""


@dataclass
class Decoded:
    """What is left of a file, and what was not."""

    value: dict[str, Any] = field(default_factory=dict)
    unknown: list[Path] = field(default_factory=list)
    """Keys that no Fleet knows."""
    too_new: list[tuple[Path, tuple[int, ...]]] = field(default_factory=list)
    """Keys that this Fleet drops, and since which one they are known."""
    other_case: list[Path] = field(default_factory=list)
    wrong: list[tuple[Path, str]] = field(default_factory=list)
    """Values of a wrong type, each of which fails the file, and what belongs there."""


def decode(value: Any, version: FleetVersion) -> Decoded:
    """A document of fleet.yaml for one Fleet; None is an empty one."""
    found = Decoded()
    if value is not None:
        found.value = _structure("FleetYaml", value, (), version, found) or {}
        _check_dropped(value, version, found)
    return found


def _check_dropped(value: Any, version: FleetVersion, found: Decoded) -> None:
    """Keys of an object of Kubernetes and of a finished bundle: dropped, but of a wrong type they
    fail the file (`read.go:readMetadata`)."""
    folded = {key.casefold(): key for key in kinds.DROPPED}
    for spelt in value if isinstance(value, dict) else ():
        known = folded.get(spelt.casefold())
        if known is not None:
            _field(kinds.DROPPED[known], value[spelt], (spelt,), version, found)


def _structure(
    name: str, value: Any, path: Path, version: FleetVersion, found: Decoded
) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        found.wrong.append((path, "a map"))
        return None
    keys = STRUCTURES[name]
    folded = {key.casefold(): key for key in keys}  # as Go, which takes ſ for s
    result: dict[str, Any] = {}
    # Go decodes JSON whose keys json.Marshal has sorted, so the later spelling wins.
    for spelt in sorted(value):
        known = spelt if spelt in keys else folded.get(spelt.casefold())
        here = (*path, spelt)
        if known is None:
            found.unknown.append(here)
            continue
        if known != spelt:
            found.other_case.append(here)
        key = keys[known]
        if key.since and not version.at_least(*key.since):
            found.too_new.append((here, key.since))
            continue
        decoded = _field(key, value[spelt], here, version, found)
        if isinstance(decoded, dict) and key.kind != kinds.VALUES:
            decoded = merge_maps(result.get(known) or {}, decoded)  # into what is there, as Go
        if decoded is not None:
            result[known] = decoded
    return result


def _field(key: Key, value: Any, path: Path, version: FleetVersion, found: Decoded) -> Any:
    if value is None:
        return None
    if not key.many:
        return _one(key.kind, value, path, version, found)
    if not isinstance(value, list):
        found.wrong.append((path, "a list"))
        return None
    entries = [_one(key.kind, one, (*path, at), version, found) for at, one in enumerate(value)]
    return [{} if entry is None else entry for entry in entries]


def _one(kind: str, value: Any, path: Path, version: FleetVersion, found: Decoded) -> Any:
    if kind in STRUCTURES:
        return _structure(kind, value, path, version, found)
    if kind == kinds.ANY:
        return value
    if kind in (kinds.TEXTS, kinds.WORDS):
        return _texts(kind, value, path, found)
    good = _scalar(kind, value, path)
    if good is None:
        found.wrong.append((path, f"a {kind}"))
    return good


def _texts(kind: str, value: Any, path: Path, found: Decoded) -> Any:
    """A list or a map of texts."""
    if not isinstance(value, list if kind == kinds.TEXTS else dict):
        found.wrong.append((path, f"a {kind}"))
        return None
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    good = {}
    for at, one in pairs:
        good[at] = "" if one is None else _scalar(kinds.TEXT, one, (*path, at))
        if good[at] is None:
            found.wrong.append(((*path, at), "a text, in quotes"))
    return list(good.values()) if isinstance(value, list) else good


def _scalar(kind: str, value: Any, path: Path) -> Any:
    """The value as `kind`, or None where it is none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and float(value).is_integer()
    if kind == kinds.TEXT:
        if not isinstance(value, (str, dict, list)) and _is_coerced(path):
            return _as_text(value)
        return value if isinstance(value, str) else None
    if kind == kinds.TRUTH:
        return value if isinstance(value, bool) else None
    if kind == kinds.VALUES:
        return value if isinstance(value, dict) else None
    if kind == kinds.AMOUNT and isinstance(value, str):
        return value
    limit = 2**31 if kind == kinds.AMOUNT else 2**63
    return int(value) if whole and -limit <= value < limit else None


def _is_coerced(path: Path) -> bool:
    """Whether a number at `path` is made text where text belongs."""
    if path[0] == "targetCustomizations":
        return len(path) > 2 and path[2] in CRITERIA
    return path[0] in COERCED


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
