"""pack: a release's files become an image in release/images/, without a daemon and without root.

The same files give the same image on any machine; a rerun writes nothing.
"""

from __future__ import annotations

from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, WrongEngine
from engines.files import listed, sha256_file
from engines.records.attestation import FILE, Statement, verify_envelope
from engines.records.manifest import Manifest
from engines.records.signed_folder import check_hashes
from release.contents import contents_of, why_kept
from release.image.base import open_base
from release.image.bases import base_name, load_bases
from release.image.compose import Composition, compose
from release.image.describe import annotations_of, created_of, platform_of
from release.image.layer import LayerFile, layer_chunks
from release.image.layout import Image, Layout
from release.image.oci import LAYER
from release.lock import exclusive
from release.packed import NEW_VERSION, Base, ImageRecord, Layer, image_path, read_image
from release.records import (
    attestation_path,
    candidates_of,
    read_publication,
    refuse_old_layout,
)
from release.rollout.release_yaml import read_values
from release.say import Say
from release.signing.keys import counting_here
from release.tags import Tag, parse_tag, release_of


def pack(
    workspace: Workspace, release: str | None, target: str | None, say: Say
) -> list[ImageRecord]:
    """Pack `release`, or the candidates of `target`, or those of every target that are here.

    What was pushed stays the image that it is. Raises InputError where something is missing,
    WrongEngine for files that are not those that were published, and Conflict where `release` was
    pushed and its target stands on another base by now.
    """
    refuse_old_layout(workspace)
    with exclusive(workspace):
        wanted = _wanted(workspace, release, target, say)
        layout = Layout(workspace.images)
        layout.prepare()
        return [_pack(workspace, layout, one, say, named=release is not None) for one in wanted]


def _wanted(workspace: Workspace, release: str | None, target: str | None, say: Say) -> list[str]:
    if release is not None:
        return [release_of(release, target)]
    candidates = candidates_of(workspace, target)
    if not candidates:
        say("nothing to pack, since no engine has the verdict PASS")
    if target is not None:
        return candidates
    here = [one for one in candidates if _is_here(workspace, one)]
    for one in candidates:
        if one not in here:
            say(f"{one}: left out, since its engine is not on this machine; pack it where it is")
    return here


def _is_here(workspace: Workspace, release: str) -> bool:
    publication = read_publication(workspace, release)
    folder = workspace.engine(publication.target, publication.engine)
    return folder.file(Manifest).is_file()


def _pack(
    workspace: Workspace, layout: Layout, release: str, say: Say, *, named: bool
) -> ImageRecord:
    known = read_image(workspace, release)
    if known and (why := why_kept(workspace, release)):
        moved = _on_another_base(workspace, known)
        if moved and named and known.repositories:
            raise Conflict(f"Expected {release} to be as it was pushed, but {moved} {NEW_VERSION}")
        say(f"{release}@{known.digest} stays as it is packed, since {why}")
        if moved:
            say(f"{release}: {moved} {NEW_VERSION}")
        return known
    contents = contents_of(workspace, release)
    hashes = {name: sha256_file(path) for name, path in contents.files.items()}
    statement = _statement(workspace, release, hashes)
    paths = {**contents.files, FILE: attestation_path(workspace, release)}
    hashes[FILE] = sha256_file(paths[FILE])
    files = {name: LayerFile(path, hashes[name]) for name, path in paths.items()}
    manifest = contents.judged.manifest
    name = base_name(workspace, manifest.target)
    base = open_base(workspace, layout, name, say) if name else None
    parts = Composition(
        base=base,
        layer=layout.add_stream(lambda: layer_chunks(files), LAYER),
        platform=platform_of(manifest),
        annotations=annotations_of(manifest, release),
        created=created_of(statement.predicate.signed_at),
    )
    image = compose(layout, parts)
    hashes = {name: file.sha256 for name, file in files.items()}
    known = read_image(workspace, release)
    record = _record(
        release,
        layout.image_of(image),
        Base(name=name, digest=base.digest) if name and base else None,
        hashes,
        known.repositories if known else (),
    )
    layout.name(release, image)
    if record == known:
        say(f"{release}@{record.digest} is packed already")
    else:
        record.write(image_path(workspace, release))
        say(f"{release}@{record.digest} packed")
    _say_what_names_another(workspace, record, manifest, say)
    return record


def _say_what_names_another(
    workspace: Workspace, image: ImageRecord, manifest: Manifest, say: Say
) -> None:
    """Name each ring of the clone that has the release under the digest of an image that it was
    before, by another key or on another base: no registry will ever have that one."""
    rings = workspace.fleet / manifest.model / manifest.target
    for path in listed(rings, "*/release.yaml"):
        tag = _tag_in(path)
        if tag and tag.name == image.release and tag.digest not in (None, image.digest):
            say(
                f"{workspace.relative(path)} names the image that it was before; `release write` "
                "puts this one there, or promote again"
            )


def _tag_in(path: Path) -> Tag | None:
    try:
        values = read_values(path)
    except InputError:
        return None  # `release lint` says what is wrong in it; the image is made all the same.
    return parse_tag(values.image.tag) if values else None


def _on_another_base(workspace: Workspace, image: ImageRecord) -> str | None:
    """A sentence, where release/bases.yaml names another base than the one it was packed on."""
    name = base_name(workspace, read_publication(workspace, image.release).target)
    digest = load_bases(workspace).row(name).digest if name else None
    same = digest == image.base.digest if image.base else name is None
    if same:
        return None
    before = f"{image.base.name} {image.base.digest[:19]}…" if image.base else "no base"
    now = f"{name} {digest[:19]}…" if digest else name or "none"
    return f"it stands on {before}, and release/bases.yaml says {now} by now."


def _statement(workspace: Workspace, release: str, hashes: dict[str, str]) -> Statement:
    """What was signed of the release. Raises InputError where nothing is, and WrongEngine where it
    is of another release or of other files."""
    path = attestation_path(workspace, release)
    if not path.is_file():
        raise InputError(
            f"Expected {path}, which says who signed the release, but it is not there. Run "
            f"`release sign {release}` first."
        )
    keys = counting_here(workspace)
    statement = verify_envelope(path.read_bytes(), keys, where=str(path)).statement
    if statement.predicate.release != release:
        raise WrongEngine(
            f"Expected the statement on {release} in {path}, got that on "
            f"{statement.predicate.release}. Run `release sign {release}`."
        )
    check_hashes(statement, hashes, where=str(path.parent))
    return statement


def _record(
    release: str,
    image: Image,
    base: Base | None,
    files: dict[str, str],
    repositories: tuple[str, ...],
) -> ImageRecord:
    """What git keeps."""
    return ImageRecord(
        release=release,
        digest=image.digest,
        manifest_bytes=image.descriptor.size,
        platform=str(image.config.platform),
        base=base,
        layers=tuple(
            Layer(media_type=one.media_type, digest=one.digest, size=one.size)
            for one in image.manifest.layers
        ),
        files=files,
        repositories=repositories,
    )
