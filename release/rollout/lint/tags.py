"""release.yaml: the tag that each ring runs, against the records of releases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.errors import JetrailError
from release.attested import (
    labelled_otherwise,
    measured_on,
    trusted_statement,
    why_not_trusted,
)
from release.packed import read_image
from release.records import publication_path, read_publication, read_quarantine
from release.rollout.lint.checkout import Checkout, RingFolder
from release.rollout.lint.finding import Finding, Rule
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.text import NotYaml, parse_document
from release.rollout.release_yaml import NOTHING, dump, values_of
from release.rollout.targets.cluster_values import filled_in
from release.tags import Tag, parse_tag

MALFORMED = Rule(
    "tag-malformed",
    "error",
    "release.yaml has no tag of the known form.",
    "No command can say which release it is.",
    "Bring it back with `git checkout`, or run `release write`.",
)
EDITED = Rule(
    "release-edited",
    "error",
    "release.yaml is not as a command writes it.",
    "It is the machine's file: the next move overwrites it, and what runs is not what was judged.",
    "Bring it back with `git checkout`; what people set belongs into fleet.yaml.",
)
OTHER_DEVICE = Rule(
    "tag-of-another-device",
    "error",
    "The tag is of another device or model than the folder.",
    "An engine runs on the kind of device that it was built on, and nowhere else.",
    "Write the folder's own release: `release write` or `release promote`.",
)
NO_DIGEST = Rule(
    "tag-without-digest",
    "warning",
    "The tag has no digest.",
    "Somebody may push another image under the same tag, and the chart refuses it.",
    "Pack the release: `release pack TAG`, then `release write`.",
)
OTHER_DIGEST = Rule(
    "tag-of-another-image",
    "error",
    "The digest is not that of the packed image.",
    "Sites pull another image than the one that was signed.",
    "Run `release write`, or promote again.",
)
NO_RECORD = Rule(
    "tag-unknown",
    "error",
    "No record says that the release was published.",
    "Nobody can say what was measured, nor for which model.",
    "Commit release/records/, or write a release that was published.",
)
QUARANTINED = Rule(
    "tag-quarantined",
    "error",
    "The release is in quarantine.",
    "Somebody saw that it is bad.",
    "Roll the ring back: `release rollback MODEL --target T --ring R`. One that had no other "
    "release before gets one by `release write --push`, where it is the first ring, else by "
    "`release promote`.",
)
NOT_TRUSTED = Rule(
    "tag-not-trusted",
    "warning",
    "No key in release/trust/keys signed the release.",
    "Pods that are given those keys refuse it when they start again, a rollback to it included.",
    "Bring the ring what one of those keys signed, before sites get the keys without the one that "
    "signed this; `git log -- release/trust/keys` shows who took its record away.",
)
ELSEWHERE = Rule(
    "tag-measured-elsewhere",
    "error",
    "A cluster is labelled with another JetPack, backend or architecture.",
    "An engine is of what it was built and measured on: on another JetPack its pod does not start.",
    "Bring the ring a release that was measured on what its clusters have by now, or correct the "
    "cluster's label.",
)
NOT_PUSHED = Rule(
    "tag-not-pushed",
    "warning",
    "The record of the image does not name the registry that clusters pull from.",
    "Sites cannot pull what is in no registry, unless they get it by USB stick.",
    "Push it: `release push TAG`. A mirror, which has it by itself, is allowed by a comment.",
)
NOT_THERE = Rule(
    "tag-not-in-registry",
    "error",
    "The registry does not have the image under this digest.",
    "Pods stay in ImagePullBackOff.",
    "Push it: `release push TAG`.",
)
NO_CHART = Rule(
    "chart-not-in-registry",
    "error",
    "The registry has no chart in this version, or another one than this clone.",
    "Without it Fleet changes no folder of the GitRepo, a rollback included; of another one "
    "clusters run what is there, since a version never changes.",
    "Push it: `release push TAG` takes the chart along, where helm is installed. For an edited one "
    "first raise `version` in its Chart.yaml and in fleet.yaml.",
)
NO_RUNTIME = Rule(
    "image-without-runtime",
    "warning",
    "The image holds an engine only, and the values name nothing that runs it.",
    "It was packed on no base, to be mounted into `runtime.image`; by itself no pod starts.",
    "Name the runtime's image by digest under `runtime.image`, or pack on a base.",
)

RULES = (
    *(MALFORMED, EDITED, OTHER_DEVICE, NO_DIGEST, OTHER_DIGEST, NO_RECORD, QUARANTINED),
    *(NOT_TRUSTED, ELSEWHERE, NOT_PUSHED, NOT_THERE, NO_CHART, NO_RUNTIME),
)

InRegistry = Callable[[str, str], str]
"""Repository and digest, or a chart's version, to why it is not there; empty where it is."""


def check(checkout: Checkout, in_registry: InRegistry | None = None) -> Iterator[Finding]:
    """What is wrong with tags; the registry is asked only where `in_registry` is given."""
    for bundle in checkout.tree.bundles:
        ring, file = checkout.ring(bundle), bundle.folder / "release.yaml"
        if ring is None or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if text == dump(NOTHING):
            continue  # before its first release
        yield from _ring(checkout, bundle, text, ring, in_registry)


def _ring(
    checkout: Checkout,
    bundle: Bundle,
    text: str,
    ring: RingFolder,
    in_registry: InRegistry | None,
) -> Iterator[Finding]:
    file = bundle.folder / "release.yaml"
    try:
        found = parse_document(text)
        tag = parse_tag(str(found.value["image"]["tag"]))
    except (NotYaml, JetrailError, KeyError, TypeError) as error:
        line = error.line if isinstance(error, NotYaml) else 1
        yield checkout.at(MALFORMED, file, line, str(error).split(". ")[0][:300])
        return
    line = found.line("image", "tag")
    if tag.target != ring.target:
        words = f"expected a tag of {ring.target}, got {tag.name}"
        yield checkout.at(OTHER_DEVICE, file, line, words)
    if tag.digest is None:
        yield checkout.at(NO_DIGEST, file, line, f"expected {tag.name}@sha256:…, got no digest")
    yield from _records(checkout, file, line, text, tag, ring)
    yield from _clusters(checkout, bundle, line, tag)
    yield from _image(checkout, bundle, line, tag, in_registry)
    if in_registry is not None:
        yield from _chart(checkout, bundle, in_registry)


def _records(
    checkout: Checkout, file: Path, line: int, text: str, tag: Tag, ring: RingFolder
) -> Iterator[Finding]:
    workspace = checkout.workspace
    try:
        quarantine = read_quarantine(workspace, tag.name)
        if quarantine is not None:
            words = f"{tag.name}: {quarantine.why} ({quarantine.by})"
            yield checkout.at(QUARANTINED, file, line, words)
        if not publication_path(workspace, tag.name).is_file():
            yield checkout.at(NO_RECORD, file, line, f"no publication.json of {tag.name}")
            return
        publication = read_publication(workspace, tag.name)
    except JetrailError as error:
        yield checkout.at(NO_RECORD, file, line, str(error).split(". ")[0])
        return
    if publication.model != ring.model:
        words = f"expected a release of {ring.model}, got one of {publication.model}"
        yield checkout.at(OTHER_DEVICE, file, line, words)
    if text != dump(values_of(publication, tag.digest)):
        yield checkout.at(EDITED, file, 1, f"a command writes another file for {tag.name}")
    if why := why_not_trusted(checkout.workspace, tag.name):
        yield checkout.at(NOT_TRUSTED, file, line, why)


def _clusters(checkout: Checkout, bundle: Bundle, line: int, tag: Tag) -> Iterator[Finding]:
    """Clusters of an inventory that are not what the release was measured on, as after an update of
    their system. What nobody trusted signed tells nothing."""
    if checkout.given is None:
        return
    try:
        statement = trusted_statement(checkout.workspace, tag.name)
    except JetrailError:
        return
    measured = measured_on(statement) if statement else {}
    wrong = [
        f"{cluster.name} has {one}"
        for cluster in checkout.selected[bundle.place]
        for one in (labelled_otherwise(cluster.labels, measured) if measured else ())
    ]
    if wrong:
        on = ", ".join(f"{key} {value}" for key, value in measured.items() if value)
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        words = f"{tag.name} was measured on {on}, but {', '.join(wrong[:3])}{more}"
        yield checkout.at(ELSEWHERE, bundle.folder / "release.yaml", line, words)


def _image(
    checkout: Checkout, bundle: Bundle, line: int, tag: Tag, in_registry: InRegistry | None
) -> Iterator[Finding]:
    file = bundle.folder / "release.yaml"
    try:
        image = read_image(checkout.workspace, tag.name)
    except JetrailError as error:
        yield checkout.at(OTHER_DIGEST, file, line, str(error).split(". ")[0])
        return
    if image is not None and tag.digest not in (None, image.digest):
        words = f"expected {image.digest} of image.json, got {tag.digest}"
        yield checkout.at(OTHER_DIGEST, file, line, words)
    repository = _named(bundle.options, "image", "repository")
    if image is not None and not image.repositories:
        yield checkout.at(NOT_PUSHED, file, line, f"image.json of {tag.name} names no registry")
    elif image is not None and not _has(image.repositories, repository):
        words = f"it was pushed to {', '.join(image.repositories)}, but clusters pull {repository}"
        yield checkout.found(NOT_PUSHED, bundle, ("helm", "values", "image", "repository"), words)
    rows = (bundle.options, *(one.options for one in bundle.targets))
    if (
        image is not None
        and image.base is None
        and not any(_named(one, "runtime", "image") for one in rows)
    ):
        words = f"{tag.name} stands on no base, and `runtime.image` is empty"
        yield checkout.at(NO_RUNTIME, file, line, words)
    if in_registry is not None and tag.digest is not None and repository:
        why = in_registry(repository, tag.digest)
        if why:
            yield checkout.at(NOT_THERE, file, line, f"{repository}@{tag.digest}: {why}")


def _has(pushed: Collection[str], repository: str) -> bool:
    """Whether an image was pushed to a repository; one that Fleet fills in is not known here."""
    return repository in ("", *pushed) or filled_in(repository)


def _chart(checkout: Checkout, bundle: Bundle, in_registry: InRegistry) -> Iterator[Finding]:
    helm = bundle.options.get("helm") or {}
    address, version = str(helm.get("chart") or ""), str(helm.get("version") or "")
    if not (address.startswith("oci://") and version):
        return  # other rules have words for it
    # A tag has no `+`, for which helm writes this.
    why = in_registry(address.removeprefix("oci://"), version.replace("+", "_"))
    if why:
        yield checkout.found(NO_CHART, bundle, ("helm", "version"), f"{address} {version}: {why}")


def _named(options: Mapping[str, Any], *keys: str) -> str:
    """The text that the values have under `keys`; empty where there is none."""
    found: Any = (options.get("helm") or {}).get("values")
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""
