"""The commit of a move, made and pushed until it is there or somebody else moved the ring."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from dataclasses import replace

from engines.errors import Conflict, ServiceError
from release.gitops.branch import UNMOVED, GitOps, Snapshot
from release.gitops.git import GitFailed, git, without_credentials
from release.gitops.gitlab import check_access, open_merge_request
from release.gitops.history import latest_change, tip
from release.moves.move import Move
from release.say import Say

_PROPOSED = "jetrail/"
"""How the branches of merge requests begin."""
STUCK = 10
"""Refusals in a row after which the branch, which nobody moved meanwhile, will not take it."""
PAUSE_S = 0.05
"""The longest first pause; it doubles up to 32-fold. By chance, so that two do not meet again."""


def carry_out(snapshot: Snapshot, move: Move, say: Say) -> Snapshot:
    """Make the commit of `move` on the branch; gives the branch with it.

    Whoever pushed in between is not undone: the branch is fetched, what the move rests on is looked
    at again, and the commit is made anew on top. Raises Conflict where that is no longer as it was,
    and ServiceError where the branch cannot be pushed.
    """
    refused = 0
    while True:
        commit = snapshot.build(move.files, move.message)
        refusal = snapshot.gitops.push(commit)
        if refusal is None:
            return Snapshot(gitops=snapshot.gitops, commit=commit)
        latest = snapshot.gitops.fetch()
        refused = refused + 1 if latest.commit == snapshot.commit else 0
        if refused > STUCK:
            what = refusal.in_the_way_there or "See what the server of the repository says"
            raise ServiceError(
                f"Expected {snapshot.gitops.shown} to take the commit, but it was refused "
                f"{refused} times although nobody else pushed. {UNMOVED} {what}, then "
                "run the same command again."
            )
        check_still(latest, move)
        if not refused:
            say("Somebody else pushed; trying again on top of it")
        snapshot = latest
        time.sleep(random.uniform(0, PAUSE_S * 2 ** min(refused + 1, 5)))


def propose(snapshot: Snapshot, move: Move) -> str:
    """Ask for the move by a merge request in GitLab, from a branch of its own; gives its address.
    One that is open already stays. Raises InputError without a token, Conflict where the branch is
    there with something else, and ServiceError."""
    gitops = snapshot.gitops
    check_access(gitops)
    branch = _PROPOSED + re.sub(r"[^A-Za-z0-9._-]+", "-", move.subject).strip("-.").lower()[:200]
    if gitops.push(snapshot.build(move.files, move.message), branch) is not None:
        _check_proposed(snapshot, move, replace(gitops, branch=branch).fetch())
    return open_merge_request(gitops, branch, move.message)


def proposed(gitops: GitOps, release: str) -> tuple[str, ...]:
    """The branches of merge requests that were asked for and have the release in their subject, but
    for its quarantine's own. GitLab removes one that is merged. Raises ServiceError."""
    try:
        told = git(gitops.folder, "ls-remote", gitops.url, f"refs/heads/{_PROPOSED}*")
    except GitFailed as error:
        raise ServiceError(
            f"Expected {gitops.shown} to say which merge requests are open, but git says: "
            f"{error.sentence}. {UNMOVED} Run the same command again."
        ) from error
    names = [line.partition("\trefs/heads/")[2] for line in told.decode().splitlines()]
    mine = [one for one in names if one.endswith(release.lower()) and "quarantine" not in one]
    return tuple(sorted(mine))


def _check_proposed(snapshot: Snapshot, move: Move, there: Snapshot) -> None:
    """Raise Conflict unless the branch of an earlier run with this subject is the same move: the
    release may have been packed again since, as another image, more be overridden by now, or what
    it changes have changed on the branch, so that it cannot be merged."""
    same = all(_same(path, there.read(path), content) for path, content in move.files.items())
    left = snapshot.left_at(there.commit)
    late = left is None or any(left.file(path) != snapshot.file(path) for path in move.files)
    if not same or late or not _answered_for(move.trailers) <= _answered_for(tip(there).trailers):
        raise Conflict(
            f"Expected {there.gitops.shown} to be this very move, but it is there from an earlier "
            "request and has another image or state, goes on from what is not there any more, "
            "overrides less, or gives another reason. "
            f"{UNMOVED} Close that request, `git push {without_credentials(there.gitops.url)} "
            f"--delete {there.gitops.branch}`, and run the command again."
        )


def _answered_for(trailers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """What somebody takes upon themselves: the rules that they go past, and why."""
    found = {(name, value) for name, value in trailers if name in ("Override", "Why")}
    return found if any(name == "Override" for name, _ in found) else set()


def _same(path: str, found: bytes | None, content: bytes | None) -> bool:
    """A quarantine of another moment, for another reason, stops the release as well."""
    if path.endswith("/quarantine.json"):
        return (found is None) == (content is None)
    return found == content


def check_still(latest: Snapshot, move: Move, before: str = "") -> None:
    """Raise Conflict unless all that `move` rests on is as it was; `before` says what to do before
    the command is run again."""
    for path, blob in move.rests_on.items():
        file = latest.file(path)
        if (file.blob if file else None) == blob:
            continue
        change = latest_change(latest, path)
        who = f"{change.commit.who} changed it in {change.commit.name[:12]}" if change else (
            "somebody changed it"
        )  # fmt: skip
        what = f" ({change.commit.subject})" if change else ""
        raise Conflict(
            f"Expected {path} as it was when this command looked, but meanwhile {who}{what}. "
            f"{UNMOVED} {before}Look at `release status`, and run the command again if you still "
            "want it."
        )
