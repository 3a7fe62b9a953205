"""publish --pushed: publishing goes on from the records that Fleet's branch has.

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
from release.records import candidates_path, signed_path
from release.say import Say
from release.tags import parse_tag


def take_records(workspace: Workspace, target: str, say: Say) -> None:
    """Bring the records of `target` from a repository of Fleet's own; in any other git does.

    Raises Conflict where they are of a newer commit than this clone's, and ServiceError where the
    branch cannot be fetched.
    """
    with exclusive(workspace):
        snapshot = open_gitops(workspace).fetch()
        if snapshot.left_at() is not None:
            return
        refuse_older(snapshot, target)
        both = [candidates_path(workspace, target), signed_path(workspace, target)]
        ours = {str(workspace.relative(path)) for path in both}
        found = {
            path: file.blob
            for path, file in snapshot.below("release/records").items()
            if path in ours or _target_of(path.split("/")[2]) == target
        }
        contents = snapshot.blobs(found.values())
        for path, blob in found.items():
            write_atomic(workspace.root / path, contents[blob])
    if found:
        say(f"{target}: goes on from the records on {snapshot.gitops.shown}")


def _target_of(folder: str) -> str | None:
    """The target of a release's folder; None where it is none."""
    try:
        return parse_tag(folder).target
    except InputError:
        return None
