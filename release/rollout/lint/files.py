"""fleet.yaml and gitrepo.yaml themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from engines.config.rings import load_rings
from engines.files import listed
from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule
from release.rollout.reading.bundle import FILE_NAMES, Bundle
from release.rollout.reading.fields import STRUCTURES
from release.rollout.reading.gitrepo import folders

UNREADABLE = Rule(
    "file-unreadable",
    "error",
    "Fleet cannot read the file.",
    "One file that cannot be read keeps Fleet from changing any folder of the GitRepo.",
    "Fix what the sentence names.",
)
UNKNOWN = Rule(
    "key-unknown",
    "error",
    "Fleet knows no such key.",
    "The file is decoded non-strictly: the key vanishes without a word.",
    "Correct its spelling or take it away.",
)
DROPPED = Rule(
    "key-dropped",
    "error",
    "This version of Fleet drops the key.",
    "Keys of later versions vanish without a word, so that the rollout is another one.",
    "Take it away, or update Fleet first.",
)
VALUE = Rule(
    "value-unknown",
    "error",
    "Fleet knows no such value.",
    "It is taken for the usual one without a word.",
    "Spell it as Fleet does.",
)
OTHER_CASE = Rule(
    "key-case",
    "warning",
    "The key is in another case than Fleet's.",
    "It counts here, but not in Fleet's schema and editors, and of two spellings one wins.",
    "Spell it as Fleet does.",
)
TWICE = Rule(
    "key-twice",
    "error",
    "The key is there twice.",
    "The last one wins, with all that is below it; the first is lost without a word.",
    "Put both together.",
)
OCTAL = Rule(
    "number-octal",
    "warning",
    "A number that begins with 0 is read to the base of 8.",
    "Fleet reads YAML 1.1, in which 010 is 8.",
    "Leave the 0 out, or put quotes around what is no number.",
)
DOCUMENTS = Rule(
    "more-documents",
    "error",
    "The file has more than one document.",
    "Fleet reads the first one.",
    "Take `---` and what is behind it away, or make a folder of its own of it.",
)
IGNORED = Rule(
    "key-ignored-in-target",
    "warning",
    "The key does nothing in a target.",
    "Fleet merges a target's options over the bundle's by a list of keys; this one is not on it.",
    "Put it at the top of fleet.yaml, where it holds for all clusters.",
)
EVERYWHERE = Rule(
    "namespace-labels-everywhere",
    "warning",
    "Labels of a target's namespace go to every cluster of the bundle.",
    "Fleet adds namespaceLabels and namespaceAnnotations of all targets to all clusters.",
    "Put them at the top, where everybody sees that they are for all.",
)
SAME_NAME = Rule(
    "same-bundle-name",
    "error",
    "Two folders make bundles of the same name.",
    "One overwrites the other, and its clusters lose what they have.",
    "Give each its own `name`, or none.",
)
NOT_READ = Rule(
    "folder-not-read",
    "warning",
    "No path of gitrepo.yaml leads to the folder.",
    "Fleet never sees it.",
    "Add a path to gitrepo.yaml, or take the folder away.",
)
NOT_LOOKED = Rule(
    "bundles-not-looked-at",
    "warning",
    "gitrepo.yaml names its folders under `bundles`.",
    "Fleet passes over `paths` then; neither `release lint` nor `simulate` reads `bundles`.",
    "Name the folders under `paths`.",
)
LOOSE = Rule(
    "loose-files",
    "warning",
    "A path of gitrepo.yaml has YAML without a fleet.yaml.",
    "Fleet makes one more bundle of all that lies below it, for the GitRepo's own targets.",
    "Let the path lead to the folders that have a fleet.yaml.",
)
WITHIN = Rule(
    "folder-within-folder",
    "warning",
    "A folder with a fleet.yaml lies in the folder of another bundle.",
    "Fleet makes a bundle of its own of it, for the clusters that it selects, and ships its files "
    "in the outer one too, so that each of its changes rolls out both.",
    "Put it beside the other folder, or write `NAME/*` into a .fleetignore there.",
)
PAUSED = Rule(
    "paused",
    "warning",
    "The bundle is paused.",
    "No cluster is told anything, a rollback included.",
    "Take `paused` away when it has done its work.",
)

OTHER_BRANCH = Rule(
    "branch-not-read",
    "warning",
    "gitrepo.yaml names another branch than release/rings.yaml, or a revision.",
    "Every move is a commit on the branch of rings.yaml, and no cluster gets one that Fleet does "
    "not read.",
    "Name the same branch in both, no `revision`, and apply gitrepo.yaml again.",
)

MODES = ("FirstMatch", "AllMatches")

RULES = (
    *(UNREADABLE, UNKNOWN, DROPPED, VALUE, OTHER_CASE, TWICE, OCTAL, DOCUMENTS, IGNORED),
    *(EVERYWHERE, SAME_NAME, NOT_READ, NOT_LOOKED, LOOSE, WITHIN, PAUSED, OTHER_BRANCH),
)


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with files as such."""
    for one in checkout.tree.unreadable:
        yield checkout.at(UNREADABLE, one.file, one.line, f"Fleet fails on it: {one}")
    for bundle in checkout.tree.bundles:
        yield from _keys(checkout, bundle)
        yield from _ignored(checkout, bundle)
        if not bundle.file.is_file():
            text = f"{bundle.place} has no fleet.yaml, but YAML files below it"
            file, line = checkout.tree.gitrepo.file, checkout.tree.gitrepo.document.line("spec")
            yield checkout.at(LOOSE, file, line, text)
        if bundle.decoded.value.get("paused"):
            yield checkout.found(PAUSED, bundle, ("paused",), "`paused: true` holds every cluster")
    yield from _gitrepo(checkout)
    yield from _same_names(checkout)
    yield from _within(checkout)


def _keys(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    mode = bundle.decoded.value.get("targetCustomizationMode")
    if mode not in (None, "", *MODES):
        text = f"expected {' or '.join(MODES)}, got {mode!r}, which is FirstMatch"
        yield checkout.found(VALUE, bundle, ("targetCustomizationMode",), text)
    for path in bundle.decoded.unknown:
        if len(path) == 1 and str(path[0]).startswith("x-"):
            continue  # where people keep what anchors name
        yield checkout.found(UNKNOWN, bundle, path, f"no Fleet knows `{_dotted(path)}`")
    for path, since in bundle.decoded.too_new:
        text = f"`{_dotted(path)}` is known from Fleet {'.'.join(map(str, since))} on, not in "
        yield checkout.found(DROPPED, bundle, path, f"{text}{checkout.version}")
    for path in bundle.decoded.other_case:
        yield checkout.found(OTHER_CASE, bundle, path, f"`{_dotted(path)}` is in another case")
    for path, line in bundle.document.duplicates:
        text = f"`{_dotted(path)}` is there again, and this one wins"
        yield checkout.at(TWICE, bundle.file, line, text)
    for written, number, line in bundle.document.octal:
        yield checkout.at(OCTAL, bundle.file, line, f"{written} is {number} to Fleet")
    if bundle.document.documents > 1:
        text = f"expected one document, got {bundle.document.documents}"
        yield checkout.at(DOCUMENTS, bundle.file, 1, text)


def _ignored(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    for part in ("targets", "targetCustomizations"):
        for at, entry in enumerate(bundle.decoded.value.get(part) or ()):
            for name, key in STRUCTURES["Target"].items():
                if name in entry and key.ignored_in_target and not name.startswith("namespace"):
                    yield _ignored_at(checkout, bundle, (part, at, name))
            for name in ("namespaceLabels", "namespaceAnnotations"):
                if entry.get(name):
                    text = f"`{name}` of entry {at + 1} is applied to all clusters"
                    yield checkout.found(EVERYWHERE, bundle, (part, at, name), text)
            for name, key in STRUCTURES["Helm"].items():
                if name in (entry.get("helm") or {}) and key.ignored_in_target:
                    yield _ignored_at(checkout, bundle, (part, at, "helm", name))


def _ignored_at(checkout: Checkout, bundle: Bundle, path: tuple[str | int, ...]) -> Finding:
    return checkout.found(IGNORED, bundle, path, f"`{path[-1]}` does nothing in a target")


def _gitrepo(checkout: Checkout) -> Iterator[Finding]:
    gitrepo = checkout.tree.gitrepo
    spec = gitrepo.document.value.get("spec") if gitrepo.document.value else None
    if isinstance(spec, dict) and spec.get("bundles"):
        line = gitrepo.document.line("spec", "bundles")
        if checkout.version.at_least(0, 13):
            text = "the folders under `bundles` are what Fleet reads, and not looked at here"
            yield checkout.at(NOT_LOOKED, gitrepo.file, line, text)
        else:
            text = f"`bundles` is known from Fleet 0.13 on, not in {checkout.version}"
            yield checkout.at(DROPPED, gitrepo.file, line, text)
    if gitrepo.paused:
        line = gitrepo.document.line("spec", "paused")
        yield checkout.at(PAUSED, gitrepo.file, line, "`paused: true` holds every bundle")
    if isinstance(spec, dict):
        yield from _branch(checkout, spec)
    known = set(folders(gitrepo, checkout.tree.root))
    fleet = checkout.workspace.fleet
    for name in FILE_NAMES:
        for file in listed(fleet, f"**/{name}"):
            if file.parent not in known:
                yield checkout.at(NOT_READ, file, 1, "no path of gitrepo.yaml leads here")


def _branch(checkout: Checkout, spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether Fleet reads the branch that moves go to."""
    if not checkout.workspace.rings_file.is_file():
        return  # a repository of Fleet's own
    wanted = load_rings(checkout.workspace).gitops.branch
    key = "revision" if spec.get("revision") else "branch"
    got = str(spec.get(key) or "")
    # A branch may be the revision too; without either the file does not say what Fleet reads.
    if got not in ("", wanted):
        document = checkout.tree.gitrepo.document
        text = f"moves go to the branch {wanted}, but Fleet reads the {key} {got}"
        yield checkout.at(
            OTHER_BRANCH, checkout.tree.gitrepo.file, document.line("spec", key), text
        )


def _same_names(checkout: Checkout) -> Iterator[Finding]:
    rows = defaultdict(list)
    for bundle in checkout.tree.bundles:
        rows[bundle.name].append(bundle)
    for name, bundles in rows.items():
        for later in bundles[1:]:
            text = f"{bundles[0].place} makes a bundle {name!r} too"
            yield checkout.found(SAME_NAME, later, ("name",), text)


def _within(checkout: Checkout) -> Iterator[Finding]:
    """Folders whose files the bundle of a folder above ships too, since `loaddirectory.go` leaves
    out its own fleet.yaml only; an error where both are for the same cluster."""
    by_folder = {one.folder: one for one in checkout.tree.bundles if one.file.is_file()}
    for inner in by_folder.values():
        outer = next((by_folder[one] for one in inner.folder.parents if one in by_folder), None)
        start = f"{inner.folder.relative_to(outer.folder).as_posix()}/" if outer else ""
        if outer is None or not any(one.startswith(start) for one in outer.content.files):
            continue
        names = {one.name for one in checkout.selected[outer.place]}
        both = any(one.name in names for one in checkout.selected[inner.place])
        text = f"the bundle of {outer.place} ships what lies here too"
        more = ", to the same clusters" if both else ""
        severity = "error" if both else WITHIN.severity
        yield checkout.at(WITHIN, inner.file, 1, f"{text}{more}", severity)


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))
