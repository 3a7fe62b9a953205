"""What lies in a bundle: images, manifests, chart, values, records, keys, and the script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError, WrongEngine
from release.airgap.archive import Source, write_image
from release.airgap.gather import Deployed, chart_archive, helm_manifest, values_file
from release.image.layout import Image, Layout
from release.say import Say
from release.signing.keys import trusted_keys
from release.sites.folder import site_folder

RECORDS = ("publication.json", "attestation.json", "image.json")


def files_of(
    workspace: Workspace, site: str, deployed: Sequence[Deployed], scratch: Path, say: Say
) -> dict[str, Source]:
    """All files of a bundle but SHA256SUMS and its signature, by name; image archives are written
    into `scratch`.

    Raises InputError where an image is not in release/images, a ring pins another chart or has its
    pods in another namespace than the site's ConfigMap, and WrongEngine for an image that is not
    what the tag names.
    """
    folder = workspace.root / "release" / "charts" / "inference"
    chart_name, chart = chart_archive(folder, deployed)
    own = site_folder(workspace, site) / "configmap.yaml"
    _check_namespace(own, deployed)
    layout = Layout(workspace.images)
    runtimes = {one.runtime: _runtime(layout, one.runtime) for one in deployed if one.runtime}
    missing = sorted(name for name, image in runtimes.items() if image is None)
    files: dict[str, Source] = {
        "install.sh": (workspace.root / "release" / "templates" / "install.sh").read_bytes(),
        "FACTS": _facts(site, deployed, missing),
        f"chart/{chart_name}": chart,
        "manifests/jetrail-site.yaml": own.read_bytes(),
    }
    for key in trusted_keys(workspace):
        files[f"keys/{key.name}.pem"] = key.public_key.encode()
    for one in deployed:
        files |= _image(layout, _released(layout, one), one.repository, one.tag.name, scratch)
        files[f"manifests/{one.name}.yaml"] = helm_manifest(one, chart)
        files[f"values/{one.name}.yaml"] = values_file(one)
        files |= dict(_records(workspace, one.tag.name))
    for reference, image in sorted(runtimes.items()):
        repository, _, digest = reference.partition("@")
        if image is not None:
            # K3s gives an imported image its digest as a second name, and wants a first with a tag.
            files |= _image(layout, image, repository, f"runtime-{_short(digest)}", scratch)
    for reference in missing:
        say(f"{reference}: not in release/images, so the site must have it already")
    return files


def _check_namespace(config: Path, deployed: Sequence[Deployed]) -> None:
    here = load_yaml(config)["metadata"].get("namespace") or "default"
    for one in deployed:
        if one.namespace != here:
            raise InputError(
                f"Expected {config} in the namespace {one.namespace}, where the pods of "
                f"{one.tag.name} look for it, got {here}: they would start without cameras. Let "
                "`metadata.namespace` be the namespace of the ring's fleet.yaml."
            )


def _released(layout: Layout, one: Deployed) -> Image:
    image = layout.image(one.tag.name)
    if image.digest != one.tag.digest:
        raise WrongEngine(
            f"Expected the image {one.tag.digest} of {one.tag.name} in release/images, got "
            f"{image.digest}. Pack it again, or `git pull`."
        )
    return image


def _runtime(layout: Layout, reference: str) -> Image | None:
    """The image below an engine that is mounted into it; None where `release base build` did not
    make it in this clone."""
    try:
        return layout.image(reference.partition("@")[2])
    except InputError:
        return None


def _image(
    layout: Layout, image: Image, repository: str, tag: str, scratch: Path
) -> dict[str, Source]:
    """One image's archive, by its name in the bundle. The digest is in that name: K3s imports a
    file with a new name at once, and one that it knows only when its size changed."""
    archive = scratch / f"jetrail-{tag}-{_short(image.digest)}.tar"
    write_image(archive, layout, image, repository, tag)
    return {f"images/{archive.name}": archive}


def _records(workspace: Workspace, release: str) -> Iterator[tuple[str, Source]]:
    for name in RECORDS:
        record = workspace.records / release / name
        if record.is_file():
            yield f"records/{release}/{name}", record.read_bytes()


def _facts(site: str, deployed: Sequence[Deployed], missing: Sequence[str]) -> bytes:
    """What the script must know."""
    facts = {
        "SITE": site,
        "RELEASES": " ".join(one.tag.name for one in deployed),
        "RUNTIME": " ".join(missing),
        "VOLUMES": "yes" if any(one.runtime for one in deployed) else "no",
    }
    return "".join(f"{key}={value}\n" for key, value in facts.items()).encode()


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
