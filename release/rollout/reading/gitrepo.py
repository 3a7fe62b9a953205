"""gitrepo.yaml: which folders Fleet makes bundles of, and what it tells all of them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.files import raise_unless_gone
from release.rollout.clusters.inventory import NAMESPACE
from release.rollout.reading.bundle import (
    DEFAULT_TARGETS,
    FILE_NAMES,
    BundleSource,
    Unreadable,
    read_text,
)
from release.rollout.reading.text import NotYaml, ParsedFile, parse_document
from release.rollout.reading.version import FleetVersion

PATHS = ("release/fleet/*/*/*",)
"""Where there is no gitrepo.yaml."""

OPTIONS = ("serviceAccount", "keepResources", "deleteNamespace", "forceSyncGeneration")
"""Of a GitRepo's `spec`: they take the place of what each fleet.yaml says."""


@dataclass(frozen=True)
class GitRepo:
    """The GitRepo object, as far as a rollout depends on it."""

    file: Path
    document: ParsedFile = field(default_factory=ParsedFile)
    name: str = "jetrail"
    namespace: str = NAMESPACE
    paths: tuple[str, ...] = PATHS
    targets: tuple[dict[str, Any], ...] = ()
    paused: bool = False
    target_namespace: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What it says of every deployment: OPTIONS."""

    def source(self, root: Path, version: FleetVersion) -> BundleSource:
        """What each folder is read with."""
        return BundleSource(
            root=root,
            version=version,
            targets=self.targets or DEFAULT_TARGETS,
            paused=self.paused,
            namespace=self.target_namespace,
            repo_name=self.name,
            options=self.options,
        )


def read_gitrepo(file: Path) -> GitRepo:
    """The GitRepo of a file, or the usual one where there is none. Raises Unreadable."""
    if not file.is_file():
        return GitRepo(file)
    try:
        document = parse_document(read_text(file))
    except NotYaml as error:
        raise Unreadable(str(error), file, error.line) from error
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "GitRepo":
        raise Unreadable("no object of the kind GitRepo", file)
    meta, spec = _map(value.get("metadata")), _map(value.get("spec"))
    return GitRepo(
        file=file,
        document=document,
        name=str(meta.get("name") or "jetrail"),
        namespace=str(meta.get("namespace") or NAMESPACE),
        paths=tuple(map(str, _list(spec.get("paths")))) or (".",),
        targets=tuple(one for one in _list(spec.get("targets")) if isinstance(one, dict)),
        paused=spec.get("paused") is True,
        target_namespace=str(spec.get("targetNamespace") or ""),
        options={name: spec[name] for name in OPTIONS if spec.get(name)},
    )


def folders(gitrepo: GitRepo, root: Path) -> list[Path]:
    """The folders that become bundles: each of `paths` and below it, where a fleet.yaml lies, and a
    path itself where YAML lies in it without one."""
    found: dict[Path, None] = {}
    for pattern in gitrepo.paths:
        for top in _glob(pattern, root):
            found.update(dict.fromkeys(_below(top)))
    return list(found)


def _glob(pattern: str, root: Path) -> Iterator[Path]:
    """Folders that a path names; a leading `/` is the root, and nothing leads out of it. As in Go,
    `*` takes names that begin with a dot, and `**` is no more than `*`."""
    inside, found = root.resolve(), [root]
    for part in os.path.normpath(pattern.lstrip("/") or ".").split("/"):
        if part not in (".", ".."):
            found = [one for path in found for one in _children(path, part)]
        elif part == "..":
            found = [path.parent for path in found]
    yield from (path for path in found if path.resolve().is_relative_to(inside))


def _children(folder: Path, part: str) -> list[Path]:
    if not any(mark in part for mark in "*?["):
        return [folder / part] if (folder / part).is_dir() else []
    names = fnmatch.filter(sorted(path.name for path in folder.iterdir() if path.is_dir()), part)
    return [folder / name for name in names]


def _below(top: Path) -> Iterator[Path]:
    if _has_fleet(top) or _loose(top):
        yield top
    for folder, names, _ in os.walk(top, onerror=raise_unless_gone):
        names[:] = sorted(name for name in names if name != ".git")
        path = Path(folder)
        if path != top and _has_fleet(path):
            yield path


def _has_fleet(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILE_NAMES)


def _loose(folder: Path) -> bool:
    """Whether YAML lies in a folder that no fleet.yaml covers."""
    if _has_fleet(folder):
        return False
    return any(
        _loose(one) if one.is_dir() else one.suffix in (".yaml", ".yml") for one in folder.iterdir()
    )


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
