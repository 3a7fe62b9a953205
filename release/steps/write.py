"""write: the tags of a target's candidates go to its canary entry in fleet.yaml."""

from __future__ import annotations

from collections.abc import Callable

from engines.config.target import load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import write_atomic
from release.lock import exclusive
from release.measured import load_measured
from release.records import ChosenCandidate, Published, ReleaseRecord, published_path, record_path
from release.rollout.fleet import Place, read_fleet, set_tag
from release.tags import parse_tag

RING = "canary"

Say = Callable[[str], None]


def write(workspace: Workspace, target: str, say: Say) -> dict[str, str]:
    """Write the tag of each model's candidate on `target`, and give them by model name.

    The file is written once, or not at all when it says so already. Raises InputError for a
    candidate that is not the engine that is there now, did not pass, or has no record.
    """
    label = _label(workspace, target)
    published = Published.read(published_path(workspace, target))
    tags = {
        model: _tag(workspace, target, model, chosen)
        for model, chosen in published.candidates.items()
    }
    if not tags:
        say(f"{target}: no engine passed, so fleet.yaml stays as it is")
        return {}
    with exclusive(workspace):
        before = read_fleet(workspace.fleet_file)
        after = before
        for model, tag in tags.items():
            written = set_tag(after, Place(device=label, ring=RING, model=model), tag)
            how = "is there already" if written == after else "written"
            say(f"{model} on {target}, ring {RING}: {tag} {how}")
            after = written
        if after != before:
            write_atomic(workspace.fleet_file, after)
    return tags


def _label(workspace: Workspace, target: str) -> str:
    """The label of the target's clusters, which must be of no other target: the two would overwrite
    each other's tags, and devices run engines that are not theirs."""
    label = load_target(workspace, target).fleet_label
    others = [
        row.target
        for row in readable_targets(workspace)
        if row.fleet_label == label and row.target != target
    ]
    if others:
        raise InputError(
            f"Expected a fleet_label of target {target} that no other target has, came {label!r}, "
            f"which is that of {', '.join(others)} too. Give each its own in its params.yaml, and "
            "its clusters the label `device` with that value."
        )
    return label


def _tag(workspace: Workspace, target: str, model: str, chosen: ChosenCandidate) -> str:
    """The tag to write, with the image's digest once there is one."""
    record = ReleaseRecord.read(record_path(workspace, chosen.release))
    measured = load_measured(workspace, target, chosen.engine)
    ours = (measured.tag.name, measured.manifest.model, measured.manifest.engine_sha256)
    if ours != (record.release, model, record.engine_sha256) or ours[0] != chosen.release:
        raise InputError(
            f"Expected {chosen.release}, the candidate of {model} on {target}, to be the engine in "
            f"{measured.folder}, but that one is {measured.tag.name}: it was built again since. "
            f"Run `release publish --target {target}` first."
        )
    release = record.release
    return str(parse_tag(f"{release}@{record.digest}" if record.digest else release))
