"""What belongs to single sites: cameras, thresholds, and no passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from engines.config.site import USERS, Site, credentials_in
from engines.config.yaml import at_its_line, parse_bytes
from engines.errors import InputError
from engines.files import listed
from release.rollout.lint.checkout import Checkout, wanted_labels
from release.rollout.lint.finding import Finding, Rule
from release.rollout.lint.pod import manifests_in
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.text import NotYaml, parse_document
from release.rollout.targets.options import namespace_of

PASSWORD = Rule(
    "password-in-git",
    "error",
    "A password is in git.",
    "Git keeps it for ever, and every cluster of the bundle gets it.",
    "Put it into a Secret on the site's cluster, name the Secret, and change the password.",
)
OTHER_SITE = Rule(
    "site-selects-another",
    "error",
    "A site's folder selects another site than its name says.",
    "The site gets another one's cameras.",
    "Let the selector be `site: <name of the folder>`.",
)
NO_SITE = Rule(
    "site-without-config",
    "error",
    "A site's folder has no ConfigMap that can be read.",
    "Its pod has no cameras.",
    "`release add-site` writes one; see `release sites`.",
)

OTHER_RING = Rule(
    "site-in-another-ring",
    "warning",
    "A site's file and its cluster's label name different rings.",
    "The label decides; who reads the file expects the site elsewhere.",
    "Correct the one that is wrong.",
)
OTHER_NAMESPACE = Rule(
    "site-in-another-namespace",
    "error",
    "A site's ConfigMap is in another namespace than its pods.",
    "They start without it: no cameras, and nobody is told.",
    "Let `metadata.namespace` be the namespace of the ring's fleet.yaml.",
)

RULES = (PASSWORD, OTHER_SITE, NO_SITE, OTHER_RING, OTHER_NAMESPACE)

SITES = ("release", "fleet", "sites")
_ADDRESS = re.compile(r"\b(?:rtsps?|https?|rtmps?|oci|file)://[^\s'\"]+", re.IGNORECASE)


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with sites, and with addresses anywhere in a folder."""
    for bundle in checkout.tree.bundles:
        yield from _passwords(checkout, bundle)
        parts = Path(bundle.place).parts
        if parts[:3] == SITES and len(parts) == 4:
            yield from _site(checkout, bundle, parts[3])


def _passwords(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    for path in listed(bundle.folder, "**/*.y*ml"):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for line, row in manifests_in(text):
            if row.get("kind") == "Secret" and (row.get("data") or row.get("stringData")):
                yield checkout.at(PASSWORD, path, line, "a Secret with what it keeps in it")
        for match in _ADDRESS.finditer(text):
            kind = _credentials(match[0])
            if kind is not None:
                line = text[: match.start()].count("\n") + 1
                where = match[0].split("://")[0]
                yield checkout.at(PASSWORD, path, line, f"a {where} address with a {kind} in it")


def _credentials(address: str) -> str | None:
    """Names of users by themselves are no secret."""
    try:
        kind = credentials_in(address)
    except ValueError:
        return None
    return None if kind in USERS else kind


def _site(checkout: Checkout, bundle: Bundle, name: str) -> Iterator[Finding]:
    got = wanted_labels(bundle).get("site")
    if got != name:
        text = f"expected `site: {name}`, got {got or 'no such label'}"
        yield checkout.found(OTHER_SITE, bundle, ("overrideTargets", 0, "clusterSelector"), text)
    file = bundle.folder / "configmap.yaml"
    if not file.is_file():
        yield checkout.found(NO_SITE, bundle, (), "expected configmap.yaml, but it is not there")
        return
    try:
        document = parse_document(file.read_text(encoding="utf-8", errors="replace"))
        value = document.value
        data = value.get("data") if isinstance(value, dict) else None
        config = data.get("site.yaml") if isinstance(data, dict) else None
        if not isinstance(config, str):
            yield checkout.at(NO_SITE, file, 1, "expected `data` with `site.yaml`, got none")
            return
        line = document.line("data", "site.yaml")
        site = parse_bytes(Site, at_its_line(config, line), "site.yaml")
    except NotYaml as error:
        yield checkout.at(NO_SITE, file, error.line, f"it is no YAML: {error}")
        return
    except InputError as error:
        yield checkout.at(
            NO_SITE, file, 1, str(error).removesuffix(". Fix the file and run again.")
        )
        return
    yield from _site_and_cluster(checkout, file, name, site)
    meta = value.get("metadata")
    own = meta.get("namespace") if isinstance(meta, dict) else None
    # `namespace` holds for objects that name another one, too.
    here = bundle.options.get("namespace") or own or namespace_of(bundle.options)
    yield from _site_and_pods(checkout, file, str(here), site)


def _site_and_pods(checkout: Checkout, file: Path, here: str, site: Site) -> Iterator[Finding]:
    """Whether the ConfigMap is where the pods of the site's ring look for it."""
    for bundle in checkout.tree.bundles:
        ring = checkout.ring(bundle)
        there = namespace_of(bundle.options)
        if ring and (ring.target, ring.ring) == (site.target, site.ring) and there != here:
            text = f"expected {there}, as {bundle.place} has it, got {here}"
            yield checkout.at(OTHER_NAMESPACE, file, 1, text)


def _site_and_cluster(checkout: Checkout, file: Path, name: str, site: Site) -> Iterator[Finding]:
    """Whether site.yaml is of this folder, and says of the cluster what its labels say."""
    if site.site != name:
        yield checkout.at(OTHER_SITE, file, 1, f"expected `site: {name}`, got {site.site}")
    if checkout.given is None:
        return
    for cluster in checkout.given.labelled([("site", name)]):
        got = cluster.labels.get("ring", "no ring")
        if got != site.ring:
            text = f"site.yaml says ring {site.ring}, the label of {cluster.name} {got}"
            yield checkout.at(OTHER_RING, file, 1, text)
