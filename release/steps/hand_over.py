"""write --push: what a target's publishing made goes to the branch that Fleet reads.

One commit for each ring that gets another release, with the records that are new: what people would
commit by hand, made so that nobody else's move is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import write_atomic
from release.gitops.branch import Snapshot
from release.moves.aliases import follow
from release.moves.handing_over import HandedOver, plan_handing_over
from release.moves.perform import perform
from release.moves.place import Place, places_of
from release.moves.signed import check_signature
from release.packed import read_image
from release.records import chosen_targets, read_publication
from release.rollout.release_yaml import NOTHING, dump
from release.say import Say
from release.tags import parse_tag


def hand_over(
    workspace: Workspace,
    target: str | None,
    written: Mapping[Path, str],
    *,
    request: bool = False,
    say: Say,
) -> None:
    """Bring the records of `target`, or of every target there is a record of, and the release.yaml
    files that were `written`, each with its tag, to the branch; with `request` by a merge request.

    Raises InputError where the branch lacks a ring's folder, ServiceError where it cannot be
    fetched or pushed, and Conflict where somebody else changed one of the files since this clone
    left it.
    """
    places = places_of((workspace.relative(path) for path in written), "release.yaml")
    for name in chosen_targets(workspace, target):
        of_target: list[Place | None] = [one for one in places if one.target == name]
        of_target = of_target or [None]
        for place in of_target:
            last = place is of_target[-1]
            tag = written[workspace.root / place.path] if place else None
            _hand_over(workspace, name, place, tag, last=last, request=request, say=say)


def _hand_over(
    workspace: Workspace,
    target: str,
    place: Place | None,
    tag: str | None,
    *,
    last: bool,
    request: bool,
    say: Say,
) -> None:
    def planner(snapshot: Snapshot, _: Path) -> HandedOver:
        return plan_handing_over(snapshot, workspace, target, place, alone=last)

    show = partial(_show, workspace, target, place, tag, last, say)
    done = perform(workspace, planner, dry_run=False, request=request, show=show, say=say)
    if done.left and place is not None:
        # Or the next `git commit --all` would bring there what stays away.
        write_atomic(workspace.root / place.path, done.there or dump(NOTHING))
    if done.place is not None and not request:
        follow(workspace, done.place, done.will_run, say)


def _show(
    workspace: Workspace,
    target: str,
    asked: Place | None,
    wrote: str | None,
    last: bool,
    say: Say,
    planned: HandedOver,
) -> None:
    has = planned.runs.image.tag if planned.runs else "nothing"
    stays = planned.place is None or planned.will_run == planned.runs
    if planned.left:
        say(planned.left)
    elif asked and stays and has != wrote:
        # Or the move of another ring brought the clone to the branch, and its file to what it has.
        say(
            f"{asked.ring} of {asked.model} on {asked.target} has {has} since this clone left the "
            "branch, so it stays as it is"
        )
    if planned.gone and last:
        say(
            f"{target}: somebody took the records of {', '.join(planned.gone)} off the branch, as "
            "`git revert` of a release does. Where they are wanted, run `release publish --target "
            f"{target}` where the engines are, then `release write --push`"
        )
    elif planned.move is None and last:
        say(f"{target}: the branch has all of it")
    if planned.place is None or planned.will_run in (None, planned.runs):
        return
    place, tag = planned.place, planned.will_run.image.tag
    had = f", which had {planned.runs.image.tag}" if planned.runs else ""
    say(f"{place.ring} of {place.model} on {place.target}{had}: {tag}")
    for why in _kept_from_running(workspace, parse_tag(tag).name):
        say(f"No site will run it yet, and what the ring runs goes on: {why}")


def _kept_from_running(workspace: Workspace, release: str) -> Iterator[str]:
    image = read_image(workspace, release)
    if image is None or not image.repositories:
        yield f"no registry is known to have its image; `release push {release}`"
    try:
        now = datetime.now(timezone.utc)
        check_signature(workspace, read_publication(workspace, release), now)
    except (InputError, WrongEngine) as error:
        yield str(error)
