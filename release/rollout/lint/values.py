"""Values: what reaches the chart, and whether it takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule, Severity
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.values import merge_maps
from release.rollout.targets.cluster_values import filled_in

SECRET_BYTES = 1 << 20
"""What Kubernetes takes in one Secret."""
NEAR = 0.8

FILES_IGNORED = Rule(
    "values-files-ignored",
    "error",
    "The values files are not read.",
    "Without `chart` (or from 0.16 on `repo`) Fleet passes over `helm.valuesFiles` of the bundle.",
    "Name the chart under `helm.chart`; for one in the folder itself, `chart: .`.",
)
NOT_NAMED = Rule(
    "release-not-named",
    "error",
    "fleet.yaml does not name release.yaml.",
    "No tag that a command writes ever reaches the clusters of this folder.",
    "Add `release.yaml` to `helm.valuesFiles`, as the last one.",
)
OVERRIDDEN = Rule(
    "release-overridden",
    "error",
    "Something else than release.yaml says which release runs.",
    "A later values file or a target wins, so that a promotion or a rollback does nothing there.",
    "Take `image.tag` and `model` away there.",
)
SECRET = Rule(
    "values-too-large",
    "error",
    "All values of the bundle do not fit into one Secret.",
    "Fleet keeps the values of the bundle and of all targets in one Secret of at most 1 MiB.",
    "Let sites have folders of their own: `release add-site`.",
)
SCHEMA = Rule(
    "values-refused",
    "error",
    "The chart refuses the values.",
    "Helm compares them with the chart's schema on the cluster, and deploys nothing.",
    "Correct the value that the sentence names.",
)
SHADOWED = Rule(
    "values-not-merged",
    "warning",
    "A target's list takes the place of the bundle's.",
    "Maps are merged, lists are replaced as a whole: entries of the bundle's list are lost there.",
    "Repeat what is wanted of the bundle's list.",
)
OTHER_CHART = Rule(
    "chart-of-another-version",
    "note",
    "The chart of this clone has another version.",
    "Nobody knows here what the chart of that version refuses, so values are not looked at.",
    "Name the version of release/charts, once `release push` brought it to the registry.",
)

RULES = (FILES_IGNORED, NOT_NAMED, OVERRIDDEN, SECRET, SCHEMA, SHADOWED, OTHER_CHART)

RELEASE = "release.yaml"
OURS = (("image", "tag"), ("model", "path"), ("model", "version"))

Place = tuple[str | int, ...]


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with values."""
    for bundle in checkout.tree.bundles:
        yield from _files(checkout, bundle)
        yield from _targets(checkout, bundle)
        yield from _size(checkout, bundle)
        yield from _schema(checkout, bundle)


def _files(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    helm = bundle.decoded.value.get("helm") or {}
    names = helm.get("valuesFiles") or []
    path: Place = ("helm", "valuesFiles")
    reads = helm.get("chart") or (helm.get("repo") and checkout.version.at_least(0, 16))
    if names and not reads:
        yield checkout.found(FILES_IGNORED, bundle, path, f"{', '.join(names)}: no chart is named")
    if checkout.ring(bundle) is None:
        return
    if RELEASE not in names:
        text = f"expected {RELEASE} in `helm.valuesFiles`, got {', '.join(names) or 'none'}"
        yield checkout.found(NOT_NAMED, bundle, path, text)
        return
    for name in names[names.index(RELEASE) + 1 :]:
        yield checkout.found(OVERRIDDEN, bundle, path, f"{name} comes behind {RELEASE}")


def _targets(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    base = (bundle.options.get("helm") or {}).get("values") or {}
    for target in bundle.targets:
        values = (target.options.get("helm") or {}).get("values") or {}
        path = (*target.place, "helm", "values")
        for keys in OURS if checkout.ring(bundle) else ():
            if _has(values, keys):
                text = f"{target.criteria.name} says `{'.'.join(keys)}` itself"
                yield checkout.found(OVERRIDDEN, bundle, (*path, *keys), text)
        for lost in _lost_lists(base, values):
            text = f"{target.criteria.name} replaces the list `{'.'.join(lost)}` as a whole"
            yield checkout.found(SHADOWED, bundle, (*path, *lost), text)


def _has(values: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _lost_lists(base: Any, over: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Lists of `base`, not empty, of which `over` leaves an entry out."""
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            yield from _lost_lists(below, value, (*at, key))
        elif isinstance(below, list) and isinstance(value, list):
            yield from [(*at, key)] if any(one not in value for one in below) else ()


def _size(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """The Secret that Fleet keeps values in: one key for the bundle and one for each target."""
    rows = [bundle.options, *(one.options for one in bundle.targets)]
    texts = [
        json.dumps(values, separators=(",", ":"), ensure_ascii=False)
        for one in rows
        if (values := (one.get("helm") or {}).get("values"))
    ]
    size = sum(len(text.encode()) for text in texts)
    if size >= SECRET_BYTES * NEAR:
        text = f"expected at most {SECRET_BYTES:,} bytes of values, got {size:,}"
        severity: Severity = "error" if size >= SECRET_BYTES else "warning"
        yield checkout.found(SECRET, bundle, ("helm",), text, severity)


def _schema(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """Values of the bundle, and of each target, against the schema of the chart of this repository,
    where it has the version that fleet.yaml names."""
    helm = bundle.options.get("helm") or {}
    chart = _chart(checkout.workspace.root, str(helm.get("chart", "")))
    if chart is None:
        return
    version, defaults, schema = chart
    if str(helm.get("version", "")) != version:
        text = f"expected {version}, got {helm.get('version') or 'none'}"
        yield checkout.found(OTHER_CHART, bundle, ("helm", "version"), text)
        return
    rows: list[tuple[Place, dict[str, Any]]] = [(("helm", "values"), {})]
    rows += [
        ((*one.place, "helm", "values"), values)
        for one in bundle.targets
        if (values := (one.options.get("helm") or {}).get("values"))
    ]
    for path, over in rows:
        values = merge_maps(merge_maps(defaults, helm.get("values") or {}), over)
        for keys, reason in _refused(values, schema):
            if path == ("helm", "values") or _has(over, keys):
                yield checkout.found(SCHEMA, bundle, (*path, *keys), reason)


def _refused(values: Any, schema: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    from jsonschema import Draft202012Validator

    for error in sorted(Draft202012Validator(schema).iter_errors(values), key=str):
        keys = tuple(map(str, error.absolute_path))
        if keys == ("image", "tag"):
            continue  # rules of tags have better words
        if filled_in(error.instance):
            continue
        yield keys, f"`{'.'.join(keys) or 'values'}`: {error.message[:200]}"


def _chart(root: Path, address: str) -> tuple[str, Any, Any] | None:
    """Version, values and schema of the chart in release/charts that the address ends with."""
    folder = root / "release" / "charts" / address.rsplit("/", 1)[-1]
    if not address.startswith("oci://") or not (folder / "values.schema.json").is_file():
        return None
    return _read_chart(folder)


@lru_cache(maxsize=8)
def _read_chart(folder: Path) -> tuple[str, Any, Any]:
    import yaml

    meta = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((folder / "values.schema.json").read_text(encoding="utf-8"))
    return str(meta.get("version")), values or {}, schema
