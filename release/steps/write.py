"""write: each model's candidate goes to the release.yaml of the first ring, from records alone.

The tag has the digest of the release's image once it is packed.
"""

from __future__ import annotations

from pathlib import Path

from engines.config.rings import load_rings
from engines.config.target import label_of, readable_targets
from engines.config.workspace import Workspace
from engines.errors import GateFailed, InputError, WrongEngine
from release.lock import exclusive
from release.packed import image_path, read_image
from release.records import (
    Candidates,
    Publication,
    candidates_path,
    chosen_targets,
    read_publication,
    read_quarantine,
    refuse_old_layout,
)
from release.rollout.release_yaml import (
    ReleaseValues,
    check_folder,
    models_of,
    read_values,
    release_file,
    values_of,
    write_values,
)
from release.say import Say
from release.signing.keys import counting_here
from release.smoke.record import read_smoke, why_failed
from release.smoke.wanted import say_smoked, signed_predicate


def write(workspace: Workspace, target: str | None, say: Say) -> dict[Path, str]:
    """Write the candidates of `target`, or of every target there is a record of, to the first ring.

    Gives each release.yaml with its tag. All is checked first, so that either every file can be
    written or none is. A quarantined candidate is left out. Raises InputError where
    nothing was published or a file is missing, WrongEngine for a record that does not add up, and
    GateFailed for an image that failed in a container.
    """
    refuse_old_layout(workspace)
    ring = load_rings(workspace).names[0]
    with exclusive(workspace):
        planned: dict[Path, ReleaseValues] = {}
        for name in chosen_targets(workspace, target):
            publications = _candidates(workspace, name)
            for one in publications:
                banned = read_quarantine(workspace, one.release)
                if banned is not None:
                    say(
                        f"{one.release}: quarantined by {banned.by} ({banned.why}), so {ring} of "
                        f"{one.model} on {name} stays as it is; where its engines are, `release "
                        f"publish --target {name}` takes the next best that passes"
                    )
                    continue
                path = release_file(workspace, one.model, name, ring)
                digest = _digest(workspace, one, say)
                _check_smoked(workspace, one, digest, say)
                planned[path] = values_of(one, digest)
            for model in sorted(
                {*models_of(workspace, name)} - {one.model for one in publications}
            ):
                runs = read_values(release_file(workspace, model, name, ring))
                stays = f"; {ring} stays with {runs.image.tag}" if runs else ""
                say(f"{model} on {name}: no engine passed, so no release.yaml changes{stays}")
        for path in planned:
            check_folder(path)
        for path, values in planned.items():
            how = "written" if write_values(path, values) else "is there already"
            say(f"{workspace.relative(path)}: {values.image.tag} {how}")
    return {path: values.image.tag for path, values in planned.items()}


def _candidates(workspace: Workspace, target: str) -> list[Publication]:
    """The record of each model's candidate. Raises InputError where one is not this target's, or
    its clusters are another target's too: the two would give devices engines not made for them."""
    chosen = Candidates.read(candidates_path(workspace, target)).candidates
    publications = []
    for model, candidate in sorted(chosen.items()):
        publication = read_publication(workspace, candidate.release)
        if (publication.model, publication.target) != (model, target):
            raise InputError(
                f"Expected the candidate of {model} on {target}, got {candidate.release}, which is "
                f"of {publication.model} on {publication.target}. Run `release publish --target "
                f"{target}` where its engines are."
            )
        _check_label(workspace, publication)
        publications.append(publication)
    return publications


def _digest(workspace: Workspace, publication: Publication, say: Say) -> str | None:
    """Of the release's image. Raises WrongEngine where the image is of another engine."""
    image = read_image(workspace, publication.release)
    if image is None:
        say(f"{publication.release}: not packed, so its tag has no digest; see `release pack`")
        return None
    packed = image.files.get(publication.engine_file, "none")
    if packed != publication.engine_sha256:
        path = workspace.relative(image_path(workspace, publication.release))
        raise WrongEngine(
            f"Expected the engine {publication.engine_sha256[:12]} in the image that {path} names, "
            f"got {packed[:12]}. Bring the file back with `git checkout -- {path}`, or remove it "
            f"and run `release pack {publication.release}` where the engine is."
        )
    return image.digest


def _check_smoked(
    workspace: Workspace, publication: Publication, digest: str | None, say: Say
) -> None:
    """Say whether the image ran in a container. Raises GateFailed where it failed there."""
    if digest is None:
        return
    smoke = read_smoke(workspace, publication.release, digest)
    if smoke is not None and smoke.verdict == "FAIL":
        raise GateFailed(why_failed(smoke))
    keys = counting_here(workspace)
    try:
        predicate = signed_predicate(workspace, publication.release, keys)
    except WrongEngine as error:
        # A release manager's clone lacks a key for trying. Pods and the rule `signature` refuse
        # what nobody signed; writing the canary's file rests on records.
        say(f"{publication.release}: whether it can be smoked here is not known. {error}")
        return
    if predicate is not None:
        say(say_smoked(workspace, predicate, digest))


def _check_label(workspace: Workspace, publication: Publication) -> None:
    # The record is of the day it was published: the row may have another by now.
    label = label_of(workspace, publication.target) or publication.fleet_label
    others = [
        row.target
        for row in readable_targets(workspace)
        if row.fleet_label == label and row.target != publication.target
    ]
    if others:
        raise InputError(
            f"Expected a fleet_label of target {publication.target} that no other target has, got "
            f"{label!r}, which is that of {', '.join(others)} too. Give each its "
            "own in its params.yaml, and its clusters the label `device` with that value."
        )
