"""sign --pushed: what a registry has of a candidate is taken as it was signed.

A job that pushed an image, and whose records never got to the branch, is run again in a new clone.
ECDSA draws a random number for each signature, so signed anew it would be another image, and the
tag is that of the first.
"""

from __future__ import annotations

from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from engines.files import temporary_folder, write_atomic
from engines.records.attestation import FILE
from release.image.credentials import find_credentials
from release.image.distribution import Client, parse_repository
from release.image.layout import Layout
from release.image.oci import Manifest, digest_of, parse
from release.image.skopeo import pull
from release.lock import exclusive
from release.records import attestation_path, candidates_of, read_publication
from release.rollout.fleet_yaml import repository_of
from release.say import Say


def take_signed(workspace: Workspace, target: str, say: Say) -> None:
    """Bring the statement of each candidate of `target` that this clone has none of, and whose
    image the registry of the first ring has. Nothing is believed: signing holds it against the keys
    and the engine, and signs anew what is not the same.

    Raises InputError without a registry, and ServiceError where it does not answer.
    """
    with exclusive(workspace):
        for release in candidates_of(workspace, target):
            path = attestation_path(workspace, release)
            if not path.is_file():
                _take(workspace, release, path, say)


def _take(workspace: Workspace, release: str, path: Path, say: Say) -> None:
    repository = parse_repository(repository_of(workspace, read_publication(workspace, release)))
    credentials = find_credentials(str(repository))
    document = Client(repository=repository, credentials=credentials, say=say).manifest(release)
    if document is None:
        return
    with temporary_folder() as folder:
        try:
            parse(Manifest, document, f"{repository}:{release}")
            layout, files = Layout(folder / "image"), folder / "models"
            files.mkdir()
            pull(repository, digest_of(document), layout.path, credentials, say)
            layout.files(layout.image(digest_of(document)), files)
            write_atomic(path, (files / FILE).read_bytes())
        except (WrongEngine, FileNotFoundError):
            return  # no image of ours: pushing says whose tag it is
    say(f"{release}: {repository} has it already; its statement stays where it says the same")
