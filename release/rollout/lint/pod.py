"""What becomes of a site's pod: probes, a second GPU, a budget.

In values, and in manifests that lie in the folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.text import NotYaml, parse_document
from release.rollout.reading.values import merge_maps

PROBES = Rule(
    "probe-too-short",
    "error",
    "A probe ends before an engine is loaded.",
    "The pod is started again and again, and never gets ready.",
    "Give `healthcheck.startupSeconds` at least 60, on a small Jetson 300.",
)
SURGE = Rule(
    "surge-without-gpu",
    "warning",
    "The new pod needs a second GPU beside the old one.",
    "RollingUpdate starts it first. Without time slicing in NVIDIA's device plugin it stays "
    "pending, and the release never gets ready.",
    "Share the GPU by time slicing and say so with a comment, or set `strategy: Recreate`.",
)
BUDGET = Rule(
    "disruption-budget",
    "error",
    "A PodDisruptionBudget over one replica blocks every drain of the node.",
    "Updates of the node wait for ever.",
    "Take it away, or let maxUnavailable be 1.",
)

RULES = (PROBES, SURGE, BUDGET)

START_S = 60
"""What a signature, loading an engine and a golden inference take on a slow device, at least."""

Place = tuple[str | int, ...]
_WORKLOADS = ("Deployment", "StatefulSet", "ReplicaSet")


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with pods."""
    for bundle in checkout.tree.bundles:
        yield from _values(checkout, bundle)
        found = list(_manifests(bundle))
        workloads = [one for _, _, one in found if one.get("kind") in _WORKLOADS]
        for file, line, manifest in found:
            for rule, text in _manifest(manifest, workloads):
                yield checkout.at(rule, file, line, text)


def _values(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """The bundle's values, and those of each target, as far as the target makes it so."""
    base = (bundle.options.get("helm") or {}).get("values") or {}
    known = list(_of_values(base))
    for keys, rule, text in known:
        yield checkout.found(rule, bundle, ("helm", "values", *keys), text)
    for target in bundle.targets:
        over = (target.options.get("helm") or {}).get("values")
        for keys, rule, text in _of_values(merge_maps(base, over)) if over else ():
            if (keys, rule, text) not in known:
                yield checkout.found(rule, bundle, (*target.place, "helm", "values", *keys), text)


def _of_values(values: dict[str, Any]) -> Iterator[tuple[Place, Rule, str]]:
    """What is wrong with the values of a chart, and where."""
    start = _get(values, "healthcheck", "startupSeconds")
    if isinstance(start, (int, float)) and start < START_S:
        yield ("healthcheck", "startupSeconds"), PROBES, _too_few(start)
    for keys, text in _probes(values):
        yield keys, PROBES, text
    limits = _get(values, "resources", "limits")
    strategy = values.get("strategy", "RollingUpdate")
    kind = strategy.get("type", "RollingUpdate") if isinstance(strategy, dict) else strategy
    if _has_gpu(limits) and kind == "RollingUpdate" and _surges(strategy):
        yield ("resources", "limits"), SURGE, _TWO_PODS
    replicas = next((values[one] for one in ("replicas", "replicaCount") if one in values), 1)
    for name in ("podDisruptionBudget", "pdb"):
        budget = values.get(name)
        if isinstance(budget, dict) and budget.get("enabled", True) and _blocks(budget, replicas):
            yield (name,), BUDGET, _KEPT


_KEPT = "it keeps the only replica from being moved"
_TWO_PODS = "two pods of one GPU each run at the same time during an update"


def _too_few(seconds: float) -> str:
    return f"expected at least {START_S} s, got {seconds:g}"


def _get(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _named(values: Any, name: str, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything called `name`, and where."""
    for key, value in _pairs(values):
        if key == name:
            yield (*at, key), value
        else:
            yield from _named(value, name, (*at, key))


def _pairs(values: Any) -> Any:
    if isinstance(values, dict):
        return values.items()
    return enumerate(values) if isinstance(values, list) else ()


def _probes(values: Any, at: Place = ()) -> Iterator[tuple[Place, str]]:
    """Each startup probe that ends too early; and each liveness probe, where nothing holds it back
    while the pod starts."""
    name = "startupProbe"
    if isinstance(values, dict) and not values.get(name):
        name = "livenessProbe"
    for key, value in _pairs(values):
        if key == name and (text := _short(value)):
            yield (*at, key), text
        yield from _probes(value, (*at, key))


def _short(probe: Any) -> str:
    """Why a probe ends too early; empty where it does not."""
    if not isinstance(probe, dict):
        return ""
    numbers = [probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)]
    numbers.append(probe.get("initialDelaySeconds", 0))
    if not all(isinstance(one, (int, float)) for one in numbers):
        return ""
    seconds = numbers[0] * numbers[1] + numbers[2]
    return _too_few(seconds) if seconds < START_S else ""


def _has_gpu(limits: Any) -> bool:
    """Whether a pod takes a GPU for itself; a shared one has another name, as `gpu.shared`."""
    return isinstance(limits, dict) and any(
        str(name).endswith("/gpu") or "/mig-" in str(name)
        for name, count in limits.items()
        if count not in (0, "0", None)
    )


def _surges(strategy: Any) -> bool:
    """Whether an update starts a new pod first; 25 % of one replica is one."""
    return _get(strategy, "rollingUpdate", "maxSurge") not in (0, "0", "0%")


def _blocks(spec: Any, replicas: Any = 1) -> bool:
    """Whether a budget never lets any of the replicas go."""
    if "maxUnavailable" in spec:
        return spec["maxUnavailable"] in (0, "0", "0%")
    count = replicas if isinstance(replicas, int) else 1
    least = spec.get("minAvailable", 1)
    if isinstance(least, str) and re.fullmatch(r"\d+%", least):
        least = math.ceil(int(least[:-1]) * count / 100)
    elif isinstance(least, str) and least.isdecimal():
        least = int(least)
    return isinstance(least, int) and least > 0 and least >= count


def _manifests(bundle: Bundle) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Manifests in the folder, with their lines; of a chart's templates what is written plainly."""
    for name in bundle.content.files:
        if not name.endswith((".yaml", ".yml")):
            continue
        text = (bundle.folder / name).read_text(encoding="utf-8", errors="replace")
        if "/templates/" in f"/{name}":
            text = _without_templates(text)
        for line, row in manifests_in(text):
            yield bundle.folder / name, line, row


def _without_templates(text: str) -> str:
    """A template with the same lines: an action by itself is an empty one, else a word."""
    text = re.sub(r"\{\{.*?\}\}", lambda one: "\n" * one[0].count("\n") or "{{}}", text, flags=re.S)
    text = re.sub(r"(?m)^[ \t]*(\{\{\}\}[ \t]*)+$", "", text)
    return text.replace("{{}}", "TEMPLATE")


def manifests_in(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The documents of a file that are maps, each with its line; none of one that is no YAML."""
    try:
        nodes = [one for one in yaml.compose_all(text, Loader=yaml.SafeLoader) if one]
        # Read a second time: aliases that grow without end are refused there.
        rows = [
            parse_document(text[one.start_mark.index : one.end_mark.index]).value for one in nodes
        ]
    except (yaml.YAMLError, NotYaml, RecursionError):
        return  # a cluster or Helm says it
    for node, row in zip(nodes, rows, strict=True):
        if isinstance(row, dict):
            yield node.start_mark.line + 1, row


def _manifest(
    manifest: dict[str, Any], workloads: Sequence[dict[str, Any]]
) -> Iterator[tuple[Rule, str]]:
    spec = manifest.get("spec")
    if manifest.get("kind") == "PodDisruptionBudget" and isinstance(spec, dict):
        if _blocks(spec, _replicas(spec, workloads)):
            yield BUDGET, _KEPT
        return
    for _, text in _probes(manifest):
        yield PROBES, text
    if manifest.get("kind") != "Deployment":
        return
    deadline = _get(spec, "progressDeadlineSeconds")
    if isinstance(deadline, (int, float)) and deadline < START_S:
        yield PROBES, f"`progressDeadlineSeconds`: {_too_few(deadline)}"
    strategy = _get(spec, "strategy")
    kind = _get(strategy, "type") or "RollingUpdate"
    gpu = any(_has_gpu(one) for _, one in _named(manifest, "limits"))
    if kind == "RollingUpdate" and gpu and _surges(strategy):
        yield SURGE, _TWO_PODS


def _replicas(budget: dict[str, Any], workloads: Sequence[dict[str, Any]]) -> Any:
    """How many pods a budget is over, by the workloads of its folder; 1 where none is known."""
    wanted = _get(budget, "selector", "matchLabels") or {}
    counts = []
    for one in workloads:
        labels = _get(one, "spec", "template", "metadata", "labels")
        if all(_get(labels, key) == value for key, value in wanted.items()):
            counts.append(_get(one, "spec", "replicas"))
    return max((one for one in counts if isinstance(one, int)), default=1)
