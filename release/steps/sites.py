"""sites: what is wrong in the sites' folders, and many new ones from a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.config.names import meant
from engines.config.rings import load_rings
from engines.config.site import Site
from engines.config.target import load_target, target_names
from engines.config.workspace import Workspace
from engines.errors import InputError
from release.lock import exclusive
from release.say import Say
from release.sites.folder import read_site, site_folder, site_names, texts, write_sites
from release.sites.inventory import read_table


@dataclass(frozen=True, kw_only=True)
class Sites:
    """All sites of the clone."""

    sites: tuple[Site, ...]
    problems: tuple[str, ...]
    """A sentence for each folder that is wrong."""


def sites(workspace: Workspace) -> Sites:
    """Every site that has a folder, checked one by one: a broken one hides no other."""
    found, problems = [], []
    rings = load_rings(workspace).names
    targets = target_names(workspace)
    for name in site_names(workspace):
        try:
            site = read_site(workspace, name)
        except InputError as error:
            problems.append(str(error))
            continue
        found.append(site)
        if site.target not in targets:
            problems.append(
                f"Expected one of the targets {', '.join(targets)} in "
                f"{workspace.relative(site_folder(workspace, name))}, got {site.target!r}"
                f"{meant(site.target, targets)}. Fix it."
            )
        if site.ring not in rings:
            problems.append(
                f"Expected one of the rings {', '.join(rings)} in "
                f"{workspace.relative(site_folder(workspace, name))}, got {site.ring!r}. Fix it."
            )
    return Sites(sites=tuple(found), problems=tuple(problems))


def import_sites(workspace: Workspace, table: Path, say: Say) -> int:
    """Lay out every site of a table that has no folder yet; gives how many. One that people changed
    since is left as it is. Raises InputError before anything is written."""
    wanted = read_table(table)
    rings = load_rings(workspace)
    for target in sorted({one.target for one in wanted}):
        load_target(workspace, target)
    for ring in sorted({one.ring for one in wanted}):
        rings.ring(ring)
    with exclusive(workspace):
        new = [one for one in wanted if not site_folder(workspace, one.site).exists()]
        added = {one.site for one in new}
        for site in wanted:
            if site.site not in added and _differs(workspace, site):
                folder = workspace.relative(site_folder(workspace, site.site))
                say(f"{folder}: left as it is; the table says something else")
        write_sites(workspace, new)
    say(f"{len(new)} of {len(wanted)} sites are new")
    return len(new)


def _differs(workspace: Workspace, site: Site) -> bool:
    folder = site_folder(workspace, site.site)
    return any(
        not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
        for name, text in texts(site).items()
    )
