"""bundle: all that a site without a network runs, in one file, and whether it is still that."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import atomic_path
from engines.records.attestation import verify_envelope
from engines.records.trusted_key import TrustedKey, load_public_key
from release.airgap.archive import SIGNATURE, SUMS, check_sums, sums_of, write_archive
from release.airgap.content import files_of
from release.airgap.gather import Deployed, deployed_at
from release.lock import exclusive
from release.packed import read_image
from release.records import read_quarantine
from release.say import Say
from release.signing.keys import counting_here
from release.signing.signer import open_key


def bundle(workspace: Workspace, site: str, out: Path | None, key: str | None, say: Say) -> Path:
    """Write `jetrail-<site>.tar`, or `out`: what Fleet would bring to the site.

    By the files of this clone, signed with `key` as `release sign` takes one. Raises InputError
    where the site has no release or its image is not in release/images, and WrongEngine for an
    image that is not the one that the tag names.
    """
    found, deployed = deployed_at(workspace, site)
    path = out or Path(f"jetrail-{site}.tar")
    signer = open_key(workspace, key)
    with exclusive(workspace), atomic_path(path.resolve()) as temporary:
        # Beside it, so that it goes with it, also after a kill: an image may have gigabytes.
        scratch = temporary.parent / "images"
        scratch.mkdir()
        files = files_of(workspace, site, deployed, scratch, say)
        sums = sums_of(files)
        signed = {**files, SUMS: sums, SIGNATURE: signer.sign(sums)}
        write_archive(temporary, f"jetrail-{site}", signed)
    if signer.trying:
        say(f"Signed with {signer.record.name}, a key of this clone for trying: no site trusts it")
    for one in deployed:
        say(f"{found.site}: {one.tag}")
        for doubt in _doubts(workspace, one):
            say(f"{one.tag.name}: {doubt}")
    say(f"{path}: written, signed by {signer.record.name}")
    say(f"At the site: tar -xf {shlex.quote(path.name)} && sh jetrail-{site}/install.sh")
    return path


def _doubts(workspace: Workspace, one: Deployed) -> Iterator[str]:
    """What whoever carries it to a site without a network should know before."""
    quarantine = read_quarantine(workspace, one.tag.name)
    if quarantine is not None:
        yield (
            f"quarantined by {quarantine.by} ({quarantine.why}), and here because its ring has it "
            "still; roll that back and pack again, unless the site shall have it all the same"
        )
    image = read_image(workspace, one.tag.name)
    if image is not None and image.base is None and not one.runtime:
        yield (
            "it stands on no base, and `runtime.image` in the values is empty, so no pod of it "
            "starts at the site; name the runtime's image by digest there, or pack on a base"
        )


def verify(workspace: Workspace, path: Path) -> TrustedKey:
    """Check a bundle: every file, the signature over all of them, and the statement of each
    release. Gives the key. Raises InputError where the file is not there, and WrongEngine."""
    if not path.is_file():
        raise InputError(f"Expected a bundle in {path}, but there is no such file.")
    sums, signature, files = check_sums(path)
    keys = counting_here(workspace)
    key = next((one for one in keys if _signed(one, sums, signature)), None)
    if key is None:
        raise WrongEngine(
            f"No key in {workspace.relative(workspace.trusted_keys)} signed {path}. Add its record "
            "there if you trust it, or make the bundle again."
        )
    now = datetime.now(timezone.utc)
    for name, content in files.items():
        if name.endswith("/attestation.json"):
            verify_envelope(content, keys, now, where=name)
    return key


def _signed(key: TrustedKey, data: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        load_public_key(key).verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
