"""A folder as the bundle that Fleet makes of it (`bundlereader/read.go`, `resources.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from release.rollout.clusters.criteria import Criteria, criteria_of
from release.rollout.clusters.labels import BadSelector
from release.rollout.reading.content import BadLink, DeployedContent, content_of
from release.rollout.reading.decode import Decoded, decode
from release.rollout.reading.fields import OPTIONS
from release.rollout.reading.names import bundle_name
from release.rollout.reading.text import NotYaml, ParsedFile, parse_document
from release.rollout.reading.values import Options, merge_maps
from release.rollout.reading.version import FleetVersion

FILE_NAMES = ("fleet.yaml", "fleet.yml")
"""The second one where the first is not there."""

STATES = ("Ready", "NotReady", "WaitApplied", "ErrApplied", "OutOfSync", "Pending", "Modified")

DEFAULT_TARGETS: tuple[dict[str, Any], ...] = ({"name": "default", "clusterGroup": "default"},)
"""Where nobody names one."""

Place = tuple[str | int, ...]
Entries = list[tuple[Place, dict[str, Any]]]
"""Targets as decoded, each with its place in fleet.yaml."""

MAX_BYTES = 4 << 20
"""Of a file that is read; a whole bundle must fit into 1 MiB compressed."""


class Unreadable(Exception):
    """Fleet fails on this folder, and then changes nothing of the whole GitRepo."""

    def __init__(self, reason: str, file: Path, line: int = 1) -> None:
        super().__init__(reason)
        self.file = file
        self.line = line


@dataclass(frozen=True)
class Target:
    """A target or customization: which clusters, and what is different there."""

    criteria: Criteria
    options: Options
    do_not_deploy: bool = False
    customization: bool = False
    """Whether it only changes values, and does not choose clusters."""
    place: tuple[str | int, ...] = ()
    """Where in fleet.yaml; empty for one of the GitRepo."""


@dataclass(frozen=True)
class Bundle:
    """What Fleet makes of a folder."""

    name: str
    folder: Path
    place: str
    """The folder, from the repository's root."""
    file: Path
    """fleet.yaml, whether it is there or not."""
    document: ParsedFile
    decoded: Decoded
    options: Options
    targets: tuple[Target, ...]
    restrictions: tuple[Criteria, ...]
    rollout: dict[str, Any]
    all_matches: bool = False
    paused: bool = False
    content: DeployedContent = field(default_factory=DeployedContent)

    @property
    def empty(self) -> bool:
        """Whether nothing is deployed: Fleet then makes no bundle, and removes an earlier one."""
        return not self.content.files and not self.content.charts


@dataclass(frozen=True, kw_only=True)
class BundleSource:
    """What the GitRepo says to every bundle."""

    root: Path
    """The repository: nothing outside is read."""
    version: FleetVersion
    targets: tuple[dict[str, Any], ...] = DEFAULT_TARGETS
    """Those of gitrepo.yaml; Fleet's own default where it has none."""
    paused: bool = False
    namespace: str = ""
    """`targetNamespace`, which every target gets."""
    repo_name: str = "jetrail"
    options: Mapping[str, Any] = field(default_factory=dict)
    """What gitrepo.yaml says of every deployment; it takes the place of a fleet.yaml's own."""


@dataclass
class _Files:
    """The files of a folder, each read once."""

    source: BundleSource
    folder: Path
    texts: dict[Path, str] = field(default_factory=dict)

    def text(self, name: str, line: int) -> str:
        """A values file. Raises Unreadable."""
        path = self.folder / name
        inside = path.resolve().is_relative_to(self.source.root.resolve())
        if not inside or not path.is_file():
            why = "is not there" if inside else "lies outside the repository"
            raise Unreadable(f"the values file {name!r} {why}", fleet_file(self.folder), line)
        return read_text(path)


def fleet_file(folder: Path) -> Path:
    """The fleet.yaml of a folder, or the fleet.yml that stands in for it."""
    first, second = (folder / name for name in FILE_NAMES)
    return second if second.is_file() and not first.is_file() else first


def read_text(path: Path) -> str:
    """A file of a bundle as text. Raises Unreadable."""
    data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    if data is None:
        raise Unreadable(f"more than {MAX_BYTES >> 20} MiB", path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable("bytes that are no UTF-8", path, line) from error


def read_bundle(folder: Path, source: BundleSource) -> Bundle:
    """The bundle of a folder. Raises Unreadable where Fleet would fail on it."""
    file = fleet_file(folder)
    document = _document(file)
    decoded = decode(document.value, source.version)
    for path, wanted in decoded.wrong:
        where = ".".join(map(str, path)) or "the file"
        raise Unreadable(f"{where} is not {wanted}", file, document.line(*path))
    value = decoded.value
    _check(value, document, file, source.version)
    options, entries = _options(value, folder, document, source)
    targets, restrictions = _targets(value, entries, document, source, file)
    content = _content(folder, value, [options, *(entry for _, entry in entries)], source)
    return Bundle(
        name=value.get("name") or bundle_name(source.repo_name, folder.relative_to(source.root)),
        folder=folder,
        place=folder.relative_to(source.root).as_posix(),
        file=file,
        document=document,
        decoded=decoded,
        options=options,
        targets=targets,
        restrictions=restrictions,
        rollout=value.get("rolloutStrategy") or {},
        all_matches=value.get("targetCustomizationMode") == "AllMatches",
        paused=bool(value.get("paused")) or source.paused,
        content=content,
    )


def _content(
    folder: Path, value: dict[str, Any], options: list[Options], source: BundleSource
) -> DeployedContent:
    try:
        return content_of(
            folder,
            values_files=[
                name
                for one in _all(value)
                for name in (one.get("helm") or {}).get("valuesFiles") or ()
            ],
            helms=[one.get("helm") or {} for one in options],
            repo_alone=source.version.at_least(0, 16),
            links_out=not source.version.at_least(0, 16),
        )
    except BadLink as error:
        raise Unreadable(str(error), error.path) from error


def _document(file: Path) -> ParsedFile:
    if not file.is_file():
        return ParsedFile()
    try:
        return parse_document(read_text(file))
    except NotYaml as error:
        raise Unreadable(str(error), file, error.line) from error


def _check(value: dict[str, Any], document: ParsedFile, file: Path, version: FleetVersion) -> None:
    """What Fleet checks of the decoded file, and paths that no system has."""
    for one in _all(value):
        helm = one.get("helm") or {}
        for name in (helm.get("chart") or "", *(helm.get("valuesFiles") or ())):
            if "\0" in name:
                raise Unreadable("a path with a zero byte in it", file, document.line("helm"))
    if value.get("imageScans") and version.at_least(0, 15):
        line = document.line("imageScans")
        raise Unreadable("imageScans are switched off since Fleet 0.15", file, line)
    if not version.at_least(0, 15):
        return
    for at, one in enumerate(value.get("dependsOn") or ()):
        line = document.line("dependsOn", at)
        if not one.get("name") and one.get("selector") is None:
            raise Unreadable("dependsOn wants a `name` or a `selector`", file, line)
        for state in one.get("acceptedStates") or ():
            if state not in STATES:
                raise Unreadable(f"{state!r} is no state of a bundle", file, line)


def _options(
    value: dict[str, Any], folder: Path, document: ParsedFile, source: BundleSource
) -> tuple[Options, Entries]:
    """The bundle's own options, and its targets with their values files read in."""
    files = _Files(source, folder)
    base = dict(value.get("helm") or {})
    places: Entries = [
        ((key, at), dict(one))
        for key in ("targets", "targetCustomizations")
        for at, one in enumerate(value.get(key) or ())
    ]
    for at, (_, entry) in enumerate(places):
        entry["name"] = entry.get("name") or f"target{at:03d}"
        if entry.get("helm") is not None and value.get("helm") is not None:
            helm = dict(entry["helm"])
            for name in ("repo", "chart", "version"):
                helm[name] = helm.get(name) or base.get(name, "")
            entry["helm"] = helm
    if base.get("chart") or (base.get("repo") and source.version.at_least(0, 16)):
        base = _with_files(base, files, document, ("helm",))
    for place, entry in places:
        if entry.get("helm") is not None:
            entry["helm"] = _with_files(entry["helm"], files, document, (*place, "helm"))
    options = {key: one for key, one in value.items() if key in OPTIONS} | dict(source.options)
    if "forceSyncGeneration" not in source.options:
        options.pop("forceSyncGeneration", None)  # Fleet puts the GitRepo's there, or 0
    if source.namespace:
        for one in (options, *(entry for _, entry in places)):
            one["namespace"] = source.namespace
    if value.get("helm") is not None:
        options["helm"] = base
    return _without_files(options, places)


def _with_files(
    helm: Options, files: _Files, document: ParsedFile, place: tuple[str | int, ...]
) -> Options:
    """`helm` with its valuesFiles merged over its values."""
    values = helm.get("values") or {}
    for at, name in enumerate(helm.get("valuesFiles") or ()):
        line = document.line(*place, "valuesFiles", at)
        path = files.folder / name
        try:
            found = parse_document(files.text(name, line)).value
        except NotYaml as error:
            raise Unreadable(str(error), path, error.line) from error
        if not isinstance(found, dict) and found is not None:
            raise Unreadable("a values file wants a map", path)
        values = merge_maps(values, found or {})
    return {**helm, "values": values} if values else helm


def _without_files(options: Options, places: Entries) -> tuple[Options, Entries]:
    """Once there are values, Fleet keeps them apart and forgets where they were read."""
    helms = [one for one in (options, *(entry for _, entry in places)) if one.get("helm")]
    if any(one["helm"].get("values") for one in helms):
        for one in helms:
            one["helm"] = {key: val for key, val in one["helm"].items() if key != "valuesFiles"}
    return options, places


def _all(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The decoded file and each of its targets."""
    return [value, *(value.get("targets") or ()), *(value.get("targetCustomizations") or ())]


def _targets(
    value: dict[str, Any],
    entries: Entries,
    document: ParsedFile,
    source: BundleSource,
    file: Path,
) -> tuple[tuple[Target, ...], tuple[Criteria, ...]]:
    """All targets in Fleet's order, and the restrictions: `overrideTargets` or the GitRepo's."""
    override = value.get("overrideTargets")
    outer = [
        (("overrideTargets", at) if override is not None else (), one)
        for at, one in enumerate(source.targets if override is None else override)
    ]
    rows = [*entries, *outer]
    limits = [one for _, one in outer]
    restrictions = [*(value.get("targetRestrictions") or ()), *limits]
    if not rows:
        rows = [((), DEFAULT_TARGETS[0])]
    choosing = len(rows) - len(restrictions) if restrictions else 0
    try:
        return (
            tuple(
                Target(
                    criteria=criteria_of(one),
                    options={key: value for key, value in one.items() if key in OPTIONS},
                    do_not_deploy=bool(one.get("doNotDeploy")),
                    customization=at < choosing,
                    place=place,
                )
                for at, (place, one) in enumerate(rows)
            ),
            tuple(criteria_of(one) for one in restrictions),
        )
    except BadSelector as error:
        place = next((place for place, one in rows if _is_bad(one)), ())
        raise Unreadable(str(error), file, document.line(*place)) from error


def _is_bad(entry: dict[str, Any]) -> bool:
    try:
        criteria_of(entry)
    except BadSelector:
        return True
    return False
