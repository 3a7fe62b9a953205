"""A release that does harm is quarantined and its ring rolled back; and people are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, ServiceError
from release.gitops.branch import GitOps, Snapshot
from release.gitops.gitlab import open_issue
from release.moves.perform import perform, perform_in_ring
from release.moves.planned import Planned
from release.moves.quarantine import PlannedQuarantine, plan_quarantine
from release.moves.rollback import NothingBefore, plan_rollback
from release.moves.watching import Message, Trouble, Undone
from release.say import Say


@dataclass(frozen=True, kw_only=True)
class Telling:
    """Who is told of a rollback besides the terminal."""

    webhook: str | None = None
    """An address that takes JSON with `text`, as those of chats do."""
    issue: bool = False
    """An issue in the project of the GitOps repository."""


def undo(workspace: Workspace, trouble: Trouble, now: datetime, say: Say) -> Undone:
    """Quarantine the release and roll the ring back; gives what was done.

    The quarantine comes first: from then on nobody promotes the release, and a rollback passes over
    it. A command that is killed in between does the rest when it runs again. Raises InputError, and
    ServiceError where the branch does not answer.
    """
    why, place = f"watch: {trouble.why}", trouble.place

    def banning(snapshot: Snapshot, view: Path) -> PlannedQuarantine:
        return plan_quarantine(snapshot, workspace, trouble.release, why, now, view)

    def stepping(snapshot: Snapshot, view: Path) -> Planned:
        return plan_rollback(snapshot, workspace, place, None, why, view, only_from=trouble.release)

    banned = perform(workspace, banning, dry_run=False, show=_quiet, say=say)
    quarantined = banned.move is not None
    done = [f"Quarantined {trouble.release}."] if quarantined else []
    others = [one.place for one in banned.runs_in if one.place != place]
    if done and others:
        names = ", ".join(f"{one.ring} of {one.model} on {one.target}" for one in others)
        done.append(f"It runs in {names} too.")
    for text in done:
        say(text)  # now: what comes may fail, and that is done
    try:
        back = perform_in_ring(workspace, stepping, dry_run=False, show=_quiet, say=say)
        done.append(
            f"Rolled {place.ring} of {place.model} on {place.target} back to "
            f"{back.will_run.image.tag}."
        )
        say(done[-1])
    except Conflict as error:
        say(str(error))
    except NothingBefore as error:
        done.append(f"It could not be rolled back. {error}")
        say(done[-1])
        return Undone(done=" ".join(done), quarantined=quarantined, stuck=True)
    return Undone(done=" ".join(done), quarantined=quarantined, stuck=False)


def tell(gitops: GitOps, message: Message, telling: Telling) -> tuple[Message, list[str]]:
    """Tell those of `telling` who have not heard it; gives who has by now, and why others not."""
    untold, chat, issue = [], message.chat_told, message.issue_told
    title, why, done = message.title, message.why, message.done
    if telling.webhook and not chat:
        failed = _post(telling.webhook, {"text": f"{title}. {why}. {done}".rstrip()})
        untold, chat = failed, not failed
    if telling.issue and not issue:
        try:
            open_issue(gitops, title, f"{why}.\n\n{done}".rstrip())
            issue = True
        except (InputError, ServiceError) as error:
            untold.append(str(error))
    return message.model_copy(update={"chat_told": chat, "issue_told": issue}), untold


def _post(address: str, content: dict[str, str]) -> list[str]:
    import requests

    try:
        requests.post(address, json=content, timeout=15).raise_for_status()
    except requests.RequestException as error:
        # An address of this kind is a secret itself.
        return [f"the webhook did not take it ({type(error).__name__}). See that it runs."]
    return []


def _quiet(_: object) -> None:
    """What is done is said when it is done."""
