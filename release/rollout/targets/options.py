"""The options of one cluster: a bundle's own, merged with those of its targets.

Maps deeply, lists as a whole, later wins; and a dozen exceptions (`options/calculate.go`). What a
target gives of the other keys is decoded and thrown away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from release.rollout.reading.values import Options, merge_maps
from release.rollout.reading.version import FleetVersion

FLAGS = ("force", "atomic", "takeOwnership", "disablePreProcess", "waitForJobs", "disableDNS")
"""Of `helm`: true where the bundle or the target says so; a target cannot switch one off."""


def merge(base: Options, target: Options, version: FleetVersion) -> Options:
    """The options of a bundle with a target's laid over them."""
    merged = dict(base)
    for name in ("defaultNamespace", "namespace", "serviceAccount", "correctDrift"):
        if target.get(name):
            merged[name] = target[name]
    if target.get("helm") is not None:
        merged["helm"] = _helm(base.get("helm") or {}, target["helm"], version)
    if target.get("kustomize"):
        merged["kustomize"] = {**(base.get("kustomize") or {}), **_given(target["kustomize"])}
    if target.get("diff"):
        merged["diff"] = {"comparePatches": [*_patches(base), *_patches(target)]}
    if target.get("yaml"):
        merged["yaml"] = {"overlays": [*_overlays(base), *_overlays(target)]}
    if (target.get("forceSyncGeneration") or 0) > 0:
        merged["forceSyncGeneration"] = target["forceSyncGeneration"]
    if target.get("keepResources"):
        merged["keepResources"] = True
    if target.get("downstreamResources") and version.at_least(0, 16):
        merged["downstreamResources"] = _by_key(
            base.get("downstreamResources") or [],
            target["downstreamResources"],
            lambda one: f"{one.get('kind', '').lower()}|{one.get('name', '')}",
        )
    return merged


def namespace_of(options: Options) -> str:
    """Where on a cluster the objects of a bundle are, unless they name another place."""
    return str(options.get("namespace") or options.get("defaultNamespace") or "default")


def _helm(base: Options, target: Options, version: FleetVersion) -> Options:
    helm = dict(base)
    timeout = target.get("timeoutSeconds") or 0
    if timeout:
        helm["timeoutSeconds"] = max(timeout, 0)
    for name in ("values", "templateValues"):
        over = target.get(name)
        if over is not None:
            below = helm.get(name) or {}
            helm[name] = merge_maps(below, over) if name == "values" else {**below, **over}
    if target.get("valuesFrom"):
        below = base.get("valuesFrom") or []
        over = target["valuesFrom"]
        helm["valuesFrom"] = (
            _by_key(below, over, _values_from) if version.at_least(0, 16) else [*below, *over]
        )
    for name in ("repo", "chart", "version", "releaseName"):
        if target.get(name):
            helm[name] = target[name]
    for name in FLAGS:
        if target.get(name):
            helm[name] = True
    return helm


def _given(entry: Options) -> Options:
    return {key: value for key, value in entry.items() if value}


def _overlays(options: Options) -> list[str]:
    return (options.get("yaml") or {}).get("overlays") or []


def _patches(options: Options) -> list[Options]:
    return (options.get("diff") or {}).get("comparePatches") or []


def _by_key(
    base: list[Options], over: list[Options], key: Callable[[Options], str]
) -> list[Options]:
    """Entries of the same key are replaced, others put behind; without a key always behind."""
    merged, places = list(base), {key(one): at for at, one in enumerate(base) if key(one)}
    seen: set[str] = set()
    for one in over:
        name = key(one)
        if name and name in seen:
            continue
        seen.add(name)
        if name and name in places:
            merged[places[name]] = one
        else:
            merged.append(one)
    return merged


def _values_from(entry: Options) -> str:
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if entry.get(kind) is not None:
            ref = entry[kind]
            return "|".join([kind, *(ref.get(name, "") for name in ("namespace", "name", "key"))])
    return ""


def deployment_id(manifest: str, options: Options, version: FleetVersion) -> str:
    """The hash of all that a cluster is told: it is told anew where this is another one.

    Equal content has an equal id, whenever it was written. The ids here differ exactly where
    Fleet's do, but are not the same texts: Fleet hashes the downloaded chart, too.
    """
    told = {key: value for key, value in options.items() if key not in _not_told(version)}
    text = json.dumps(_canonical(told), sort_keys=True, ensure_ascii=False)
    return f"{manifest}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _not_told(version: FleetVersion) -> tuple[str, ...]:
    """How drift is watched and corrected is no new deployment."""
    return ("diff",) * version.at_least(0, 15) + ("correctDrift",) * version.at_least(0, 16)


def _canonical(options: Options) -> Options:
    """Without what Go leaves out of JSON; values of the chart stay as they are."""
    kept: Options = {}
    for key, value in options.items():
        if key == "values":
            kept[key] = numbers(value)
        elif isinstance(value, dict):
            kept[key] = _canonical(value)
        elif value not in (None, False, 0, "", []):
            kept[key] = value
    return kept


def numbers(value: Any) -> Any:
    """With 1.0 as 1, since JSON knows one kind of number."""
    if isinstance(value, dict):
        return {key: numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
