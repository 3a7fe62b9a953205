"""What a bundle deploys: the files of its folder, and charts that are downloaded."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.files import raise_unless_gone
from release.rollout.reading.values import Options

OCI = "oci://"
IGNORE = ".fleetignore"


class BadLink(Exception):
    """A symbolic link that Fleet fails on."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the link {path.name!r} {why}")
        self.path = path


@dataclass(frozen=True)
class DeployedContent:
    """What is deployed, whatever the values are."""

    files: tuple[str, ...] = ()
    """Relative to the folder, sorted; with a chart that lies in it."""
    charts: tuple[str, ...] = ()
    """Charts that are downloaded: address and version."""
    manifest: str = ""
    """Hash of both."""


def content_of(
    folder: Path,
    *,
    values_files: Iterable[str],
    helms: Iterable[Options],
    repo_alone: bool,
    links_out: bool = False,
) -> DeployedContent:
    """The content of a folder whose `helm` options, the bundle's and its targets', are `helms`.

    fleet.yaml, values files, hidden files and what a .fleetignore names are not deployed
    (`loaddirectory.go`, `ignoreApplyConfigs`). `repo_alone`: whether this Fleet downloads a chart
    that has a `repo` and no `chart`; `links_out`: whether it follows a link out of the folder.
    Raises BadLink where it fails on one.
    """
    ignored = {"fleet.yaml"}
    for name in values_files:
        ignored |= {name, name.rsplit("/", 1)[-1]}
    remote = {
        " ".join(
            part for part in (helm.get("repo"), helm.get("chart"), helm.get("version")) if part
        )
        for helm in helms
        if downloaded(folder, helm) and (helm.get("chart") or repo_alone)
    }
    hashed = hashlib.sha256("\n".join(sorted(remote)).encode())
    files = sorted(_files(folder, ignored, links_out))
    for name in files:
        hashed.update(f"\0{name}\0".encode() + (folder / name).read_bytes())
    return DeployedContent(tuple(files), tuple(sorted(remote)), f"s-{hashed.hexdigest()}"[:63])


def _files(folder: Path, ignored: set[str], links_out: bool) -> Iterator[str]:
    patterns: dict[Path, list[str]] = {}
    for top, folders, names in os.walk(folder, onerror=raise_unless_gone):
        here = Path(top)
        patterns[here] = [*patterns.get(here.parent, ()), *_ignore_file(here / IGNORE)]
        links = [one for one in folders if (here / one).is_symlink()]
        folders[:] = [
            one
            for one in folders
            if one not in links and not _left_out(one, patterns[here], folder=True)
        ]
        for name in (*names, *links):
            path = here / name
            known = path.relative_to(folder).as_posix()
            if known in ignored or _left_out(name, patterns[here]):
                continue
            if path.is_symlink():
                _check_link(path, folder, links_out)
            yield known


def _left_out(name: str, patterns: Iterable[str], *, folder: bool = False) -> bool:
    """Whether a file or folder is hidden, or one that a .fleetignore names."""
    for one in patterns:
        if re.match(r".+/\*", one):
            if folder and name == one.removesuffix("/*"):
                return True
        elif fnmatch.fnmatchcase(name, one.replace("[^", "[!")):
            return True
    return name.startswith(".")


def _ignore_file(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [one.rstrip() for one in lines if one.strip() and not one.startswith("#")]


def _check_link(path: Path, folder: Path, links_out: bool) -> None:
    real = path.resolve()
    if not real.is_file():
        raise BadLink(path, "leads to a folder" if real.is_dir() else "leads nowhere")
    if not links_out and not real.is_relative_to(folder.resolve()):
        raise BadLink(path, "leads out of the folder")


def downloaded(folder: Path, helm: Options) -> bool:
    """Whether a chart is fetched from a registry or a Helm repository."""
    chart, repo = helm.get("chart") or "", helm.get("repo") or ""
    return bool(chart or repo) and (bool(repo) or not (folder / chart).exists())
