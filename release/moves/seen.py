"""What a report says of one ring: who runs its release and is ready, who does not, who is held."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from engines.config.yaml import parse_yaml
from engines.errors import InputError
from release.gitops.branch import Snapshot
from release.gitops.git import GitFailed, git
from release.moves.place import Place
from release.records import Publication
from release.reports.report import Deployment, Report
from release.rollout.reading.names import bundle_name
from release.rollout.release_yaml import parse_values
from release.sites.folder import parse_site
from release.tags import parse_tag

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One ring, by a report."""

    place: Place
    release: str
    """The release that the ring has by git, without digest."""
    at: datetime
    """When the report was made."""
    deployments: tuple[Deployment, ...]
    """Fleet's, of every cluster of the ring."""
    count: int
    """Clusters of the ring that the report knows: by Fleet's word, or by that of their pods alone,
    those that the branch has a site's folder of."""
    ready: tuple[str, ...]
    """Clusters that run the release and are ready."""
    failing: tuple[Deployment, ...]
    """Clusters that were given the release and are not ready, or run another one."""
    waiting: tuple[Deployment, ...]
    """Clusters that were given it and did not take it yet: they are offline, or fetch it."""
    held: tuple[Deployment, ...]
    """Clusters that Fleet did not give it yet."""
    differing: tuple[str, ...]
    """Sites whose pods tell another version than their cluster was given."""
    strangers: tuple[str, ...]
    """Where pods alone tell, sites of which no folder on the branch says the ring; empty for one
    whose pods do not say which site they are of."""
    paused: bool
    """The whole bundle is."""

    @property
    def words(self) -> str:
        """In one line."""
        if not self.count and self.strangers:
            whose = named(one or "a site without a name" for one in self.strangers)
            return (
                f"the report knows no cluster of it; it has pods of {whose}, of which no folder in "
                "release/fleet/sites on the branch says the ring (their label `site` names it)"
            )
        if not self.count:
            return "the report knows no cluster of it"
        parts = [f"{len(self.ready)} of {self.count} clusters ready with it"]
        others = (("not ready", self.failing), ("waiting", self.waiting), ("held", self.held))
        for what, found in others:
            if found:
                parts.append(f"{len(found)} {what} ({named(one.cluster for one in found)})")
        if self.differing:
            parts.append(f"another version at {named(self.differing)}")
        return ", ".join(parts)


def named(names: Iterable[str], most: int = 3) -> str:
    """The first names, and how many more."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def bundle_of(snapshot: Snapshot, place: Place) -> str:
    """The name of the bundle that Fleet makes of the ring's folder."""
    path = "release/fleet/gitrepo.yaml"
    content = snapshot.read(path)
    found = parse_yaml(content, path) if content else None
    meta = found.get("metadata") if isinstance(found, dict) else None
    name = meta.get("name") if isinstance(meta, dict) else None
    return bundle_name(str(name or "jetrail"), Path(snapshot.gitops.prefix + place.folder))


def see(snapshot: Snapshot, report: Report, place: Place, release: str) -> Seen:
    """What `report` says of `place`, which has `release` by git. A cluster counts as having it only
    where the commit that Fleet deployed there has this very release in the ring's folder."""
    bundle = bundle_of(snapshot, place)
    deployments = report.of(bundle)
    commits = {one.commit for one in deployments}
    runs = {commit: release_at(snapshot, commit, place) == release for commit in commits}
    mine = [one for one in deployments if runs[one.commit]]
    told = _told(snapshot, report, place)
    sites = {
        one.cluster: report.labels.get(one.cluster, {}).get("site", one.cluster) for one in mine
    }
    given = [one for one in mine if not one.held]
    differing = [
        sites[one.cluster]
        for one in given
        if told.get(sites[one.cluster], {release}).isdisjoint({"", release})
    ]
    failing = [one for one in given if not one.ready or sites[one.cluster] in differing]
    waiting = [one for one in given if one not in failing and not one.has_it]
    ready = [one.cluster for one in given if one not in failing and one not in waiting]
    count, strangers = len(deployments), []
    if not report.deployments:
        home = (place.target, place.ring)
        homes = {site: _home_of(snapshot, site) for site in sorted(told)}
        here = [site for site, its in homes.items() if its == home]
        strangers = [site for site, its in homes.items() if its is None]
        count, ready = len(here), [site for site in here if release in told[site]]
    return Seen(
        place=place,
        release=release,
        at=report.at,
        deployments=tuple(deployments),
        count=count,
        ready=tuple(ready),
        failing=tuple(failing),
        waiting=tuple(waiting),
        held=tuple(one for one in mine if one.held),
        differing=tuple(differing),
        strangers=tuple(strangers),
        paused=bundle in report.paused_bundles,
    )


def _told(snapshot: Snapshot, report: Report, place: Place) -> dict[str, set[str]]:
    """Which releases of the place's model the pods of each site tell; a site has pods of several
    models, and of an old and a new release while one replaces the other. One that the branch has no
    record of may be of any model."""
    models = {one: _model_of(snapshot, one) for one in {pod.release for pod in report.told}}
    found: dict[str, set[str]] = {}
    for pod in report.told:
        if models[pod.release] in (None, place.model):
            found.setdefault(pod.site, set()).add(pod.release)
    return found


def _model_of(snapshot: Snapshot, release: str) -> str | None:
    content = snapshot.read(f"release/records/{release}/publication.json")
    try:
        return Publication.model_validate_json(content).model if content else None
    except ValueError:
        return None


@lru_cache(maxsize=10_000)  # asked for each ring, and a site's file takes 8 ms
def _home_of(snapshot: Snapshot, site: str) -> tuple[str, str] | None:
    """Target and ring that the branch has the site in; what pods tell names none."""
    path = f"release/fleet/sites/{site}/configmap.yaml"
    content = snapshot.read(path)
    try:
        found = parse_site(content, path) if content else None
    except InputError:
        return None
    return (found.target, found.ring) if found else None


def release_at(snapshot: Snapshot, commit: str, place: Place) -> str | None:
    """The release that a ring had at a commit of the branch; None where the commit is not there,
    as in a report of another repository, or the ring had none."""
    prefix = snapshot.gitops.prefix
    try:
        if not _COMMIT.fullmatch(commit) or not snapshot.contains(commit):
            return None
        content = git(snapshot.gitops.folder, "cat-file", "blob", f"{commit}:{prefix}{place.path}")
        values = parse_values(content, place.path)
    except (GitFailed, InputError):
        return None
    return parse_tag(values.image.tag).name if values else None
