"""watch: a ring whose release does harm is rolled back, and the release quarantined."""

from __future__ import annotations

import itertools
import time
from collections.abc import Container, Sequence
from datetime import datetime, timezone
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError, ServiceError
from release.gitops.branch import GitOps, open_gitops
from release.moves.place import rings_of
from release.moves.rollback import NothingBefore
from release.moves.undo import Telling, tell, undo
from release.moves.watching import Memory, Trouble, look, memory_file, still_true
from release.reports.load import load_reports
from release.say import Say


def watch(
    workspace: Workspace, sources: Sequence[str], telling: Telling, *, dry_run: bool, say: Say
) -> tuple[Trouble, ...]:
    """One look: compare the reports with git, and undo what does harm. Gives what was found.

    A ring is judged by its `watch` in rings.yaml. Raises InputError for a report that is none or
    in which Fleet says nothing, ServiceError where the branch, a report's address or whoever is
    told does not answer, Conflict where somebody else moves the same ring, and NothingBefore, once
    all is done and told, where a ring has nothing to go back to.
    """
    report = load_reports(sources)
    if report is None:
        raise InputError("Expected --report FILE or URL, got none: what sites say has to be known.")
    if not report.deployments and (report.told or not report.labels):
        got = "only that of pods" if report.told else "no word at all"
        raise InputError(
            f"Expected Fleet's word in a report, got {got} ({report.name}): a pod that never gets "
            "ready tells nothing. Add --report with what `kubectl get bundles,"
            "bundledeployments,clusters.fleet.cattle.io -A -o json` or `fleet monitor` prints."
        )
    now = datetime.now(timezone.utc)
    gitops = open_gitops(workspace)
    snapshot = gitops.fetch()
    path = memory_file(workspace)
    memory = still_true(snapshot, Memory.read(path) if path.is_file() else Memory())
    before = memory.model_copy(deep=True)
    found = look(snapshot, rings_of(snapshot, workspace), report, memory, now)
    for text in found.left_alone:
        say(text)
    for one in found.seen:
        place = one.place
        say(f"{place.model} on {place.target}: {place.ring}, {one.words}")
    if dry_run:
        for trouble in found.troubles:
            say(f"Would quarantine {trouble.release} and roll back: {trouble.why}")
        return found.troubles
    kept = found.memory
    for trouble in found.troubles:
        # Before anything is done, and written again after it: a command that is killed in between
        # tells people when it runs again.
        kept.untold.setdefault(trouble.key, trouble.message)
    kept.write(path)
    failed: dict[str, JetrailError] = {}
    stuck: list[Trouble] = []
    for trouble in found.troubles:
        try:
            undone = undo(workspace, trouble, now, say)
        except JetrailError as error:
            # No reason to leave another ring as it is. The next look does the rest.
            failed[trouble.key] = error
            continue
        said = undone.stuck and not undone.quarantined and trouble.key in before.stuck
        if undone.done and not said:
            kept.untold[trouble.key] = trouble.after(undone)
        elif trouble.key not in before.untold:
            del kept.untold[trouble.key]
        if undone.stuck:
            stuck.append(trouble)
            if trouble.key not in kept.stuck:
                kept.stuck.append(trouble.key)
        kept.write(path)
    errors = list(failed.values())
    for other in errors[1:]:
        say(f"error: {other}")
    _tell(gitops, kept, path, telling, but=failed)
    if errors:
        raise errors[0]
    if stuck:
        names = ", ".join(f"{one.place.folder} ({one.release})" for one in stuck)
        raise NothingBefore(
            f"Expected what does harm to be out of every ring, but {names} had nothing to go back "
            "to and runs it still. Do what is said of it above."
        )
    return found.troubles


def _tell(gitops: GitOps, kept: Memory, path: Path, telling: Telling, but: Container[str]) -> None:
    """Whoever could not be told stays in the memory, for the next look, and so does what is not
    done yet."""
    failed: list[str] = []
    for key, message in list(kept.untold.items()):
        if key in but:
            continue
        kept.untold[key], untold = tell(gitops, message, telling)
        if not untold:
            del kept.untold[key]
        failed += untold
        kept.write(path)
    if failed:
        raise ServiceError(
            f"What is said above was done, but nobody else was told: {failed[0]} The next look "
            "tries again."
        )


def watch_on(
    workspace: Workspace,
    sources: Sequence[str],
    telling: Telling,
    *,
    seconds: float,
    say: Say,
) -> None:
    """Look again and again. What fails at one look is said, and is no reason to stop.

    Raises InputError where the first look does: of what was typed wrong, nothing comes later.
    """
    for number in itertools.count():
        try:
            watch(workspace, sources, telling, dry_run=False, say=say)
        except NothingBefore as error:  # the ring's trouble, and of nothing that was typed
            say(f"error: {error}")
        except JetrailError as error:
            if not number and isinstance(error, InputError):
                raise
            say(f"error: {error}")
        time.sleep(seconds)
