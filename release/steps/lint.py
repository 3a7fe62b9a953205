"""lint: what Fleet accepts and then does wrong, and what a cluster would refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.image.chart import name_and_version, other_files
from release.image.credentials import find_credentials
from release.image.distribution import Client, parse_repository
from release.rollout.clusters.inventory import read_inventory
from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding
from release.rollout.lint.formats import FORMATS, explain
from release.rollout.lint.rules import RULES, run
from release.rollout.lint.tags import InRegistry
from release.rollout.reading.tree import read_tree
from release.rollout.reading.version import parse_version


@dataclass(frozen=True, kw_only=True)
class Linted:
    """What was found, and how to say it."""

    findings: tuple[Finding, ...]
    text: str

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings; warnings and notes are none."""
        return any(one.severity == "error" for one in self.findings)


def lint(
    workspace: Workspace,
    *,
    clusters: Path | None = None,
    fleet_version: str | None = None,
    form: str = "text",
    in_registry: InRegistry | None = None,
) -> Linted:
    """Look at all of release/fleet, and against an inventory where one is given.

    Raises InputError for a format, a version or an inventory that is none.
    """
    if form not in FORMATS:
        raise InputError(f"Expected one of {', '.join(FORMATS)} after --format, got {form!r}.")
    version = parse_version(fleet_version)
    tree = read_tree(workspace.root, version)
    given = read_inventory(clusters, tree.gitrepo.namespace) if clusters else None
    checkout = Checkout(workspace, tree, version, given)
    findings = run(checkout, in_registry)
    return Linted(findings=tuple(findings), text=FORMATS[form](findings, RULES.values()))


def asks_registry(workspace: Workspace, say: Callable[[str], None]) -> InRegistry:
    """Asks the registry of a repository, once, whether it has a digest or the version of a chart;
    of the clone's own chart, whether that is what it has."""

    @cache
    def ask(repository: str, reference: str) -> str:
        place = parse_repository(repository)
        client = Client(repository=place, credentials=find_credentials(repository), say=say)
        manifest = client.manifest(reference)
        if manifest is None:
            return "not found"
        chart = workspace.root / "release" / "charts" / repository.rpartition("/")[2]
        if not (chart / "Chart.yaml").is_file():
            return ""
        if name_and_version(chart)[1].replace("+", "_") != reference:
            return ""
        other = other_files(chart, client, manifest)
        return f"{other[0]} of {workspace.relative(chart)} is another one there" if other else ""

    return ask


def explained(code: str) -> str:
    """A rule in full. Raises InputError for a code that is none."""
    rule = RULES.get(code)
    if rule is None:
        near = [one for one in RULES if code.split("-")[0] in one][:5]
        raise InputError(
            f"Expected the code of a rule, got {code!r}. "
            + (f"Similar ones: {', '.join(near)}." if near else "docs/rollout.md has all of them.")
        )
    return explain(rule)
