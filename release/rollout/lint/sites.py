"""What belongs to single sites: cameras, thresholds, and no passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from release.rollout.lint.finding import Finding, Rule
from release.rollout.lint.subject import Subject, wanted_labels
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.text import NotYaml, parse_document

PASSWORD = Rule(
    "password-in-git",
    "error",
    "An address has a password in it.",
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

RULES = (PASSWORD, OTHER_SITE, NO_SITE)

SITES = ("release", "fleet", "sites")
_CREDENTIALS = re.compile(r"\b(?:rtsps?|https?|rtmps?)://[^\s/@:'\"]*:[^\s/@'\"]+@")


def check(subject: Subject) -> Iterator[Finding]:
    """What is wrong with sites, and with addresses anywhere in a folder."""
    for bundle in subject.tree.bundles:
        yield from _passwords(subject, bundle)
        parts = Path(bundle.place).parts
        if parts[:3] == SITES and len(parts) == 4:
            yield from _site(subject, bundle, parts[3])


def _passwords(subject: Subject, bundle: Bundle) -> Iterator[Finding]:
    for path in sorted(bundle.folder.glob("*.y*ml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        for match in _CREDENTIALS.finditer(text):
            line = text[: match.start()].count("\n") + 1
            where = match[0].split("://")[0]
            yield subject.at(PASSWORD, path, line, f"a {where} address with user and password")


def _site(subject: Subject, bundle: Bundle, name: str) -> Iterator[Finding]:
    got = wanted_labels(bundle).get("site")
    if got != name:
        text = f"expected `site: {name}`, got {got or 'no such label'}"
        yield subject.found(OTHER_SITE, bundle, ("overrideTargets", 0, "clusterSelector"), text)
    file = bundle.folder / "configmap.yaml"
    if not file.is_file():
        yield subject.found(NO_SITE, bundle, (), "expected configmap.yaml, but it is not there")
        return
    try:
        value = parse_document(file.read_text(encoding="utf-8", errors="replace")).value
        data = value.get("data") if isinstance(value, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("site.yaml"), str):
            yield subject.at(NO_SITE, file, 1, "expected `data` with `site.yaml`, got none")
        else:
            parse_document(data["site.yaml"])
    except NotYaml as error:
        yield subject.at(NO_SITE, file, error.line, f"it is no YAML: {error}")
