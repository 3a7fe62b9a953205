"""publish --pushed, status --pushed: go on from the records that Fleet's branch has.

In a repository of Fleet's own they never come to the one that engines are built in. Without them
the candidate is chosen as if there were none, and what is measured again becomes another image.
"""

from __future__ import annotations

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import write_atomic
from release.gitops.branch import open_gitops
from release.lock import exclusive
from release.moves.handing_over import refuse_older
from release.say import Say
from release.tags import parse_tag


def take_records(workspace: Workspace, target: str | None, say: Say) -> None:
    """Bring the records of `target`, or of all, from a repository of Fleet's own; in any other git
    does.

    Raises Conflict where those of `target` are of a newer commit than this clone's, and
    ServiceError where the branch cannot be fetched.
    """
    with exclusive(workspace):
        snapshot = open_gitops(workspace).fetch()
        if snapshot.left_at() is not None:
            return
        if target is not None:
            refuse_older(snapshot, target)
        found = {
            path: file.blob
            for path, file in snapshot.below("release/records").items()
            if target in (None, _target_of(path))
        }
        contents = snapshot.blobs(found.values())
        for path, blob in found.items():
            write_atomic(workspace.root / path, contents[blob])
    if found:
        say(f"{target or 'All targets'}: the records are those on {snapshot.gitops.shown}")


def _target_of(path: str) -> str | None:
    """The target of a record, by its release's folder or its name; None where it is of none."""
    folder, _, name = path.removeprefix("release/records/").partition("/")
    if folder in ("candidates", "signed"):
        return name.removesuffix(".json")
    try:
        return parse_tag(folder).target
    except InputError:
        return None
