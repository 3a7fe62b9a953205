"""What a bundle deploys: the files of its folder, and charts that are downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from release.rollout.reading.values import Options

OCI = "oci://"


@dataclass(frozen=True)
class Content:
    """What is deployed, whatever the values are."""

    files: tuple[str, ...] = ()
    """Relative to the folder, sorted; with a chart that lies in it."""
    charts: tuple[str, ...] = ()
    """Charts that are downloaded: address and version."""
    manifest: str = ""
    """Hash of both."""


def content_of(
    folder: Path, *, values_files: Iterable[str], helms: Iterable[Options], repo_alone: bool
) -> Content:
    """The content of a folder whose `helm` options, the bundle's and its targets', are `helms`.

    fleet.yaml, values files and hidden files are not deployed (`ignoreApplyConfigs`). `repo_alone`:
    whether this Fleet downloads a chart that has a `repo` and no `chart`.
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
    files = list(_files(folder, ignored))
    for name in files:
        hashed.update(f"\0{name}\0".encode() + (folder / name).read_bytes())
    return Content(tuple(files), tuple(sorted(remote)), f"s-{hashed.hexdigest()}"[:63])


def _files(folder: Path, ignored: set[str]) -> Iterable[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        inside = path.resolve().is_relative_to(folder.resolve())
        shipped = inside and not hidden and not {path.name, name} & ignored
        if shipped and path.is_file():
            yield name


def downloaded(folder: Path, helm: Options) -> bool:
    """Whether a chart is fetched from a registry or a Helm repository."""
    chart, repo = helm.get("chart") or "", helm.get("repo") or ""
    return bool(chart or repo) and (bool(repo) or not (folder / chart).exists())
