"""What becomes of a site's pod: probes, a second GPU, a budget.

In values, and in manifests that lie in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from release.rollout.lint.finding import Finding, Rule
from release.rollout.lint.subject import Subject
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.text import NotYaml, parse_document

PROBES = Rule(
    "probe-too-short",
    "error",
    "The startup probe ends before an engine is loaded.",
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


def check(subject: Subject) -> Iterator[Finding]:
    """What is wrong with pods."""
    for bundle in subject.tree.bundles:
        yield from _values(subject, bundle)
        for file, line, manifest in _manifests(bundle):
            for rule, text in _manifest(manifest):
                yield subject.at(rule, file, line, text)


def _values(subject: Subject, bundle: Bundle) -> Iterator[Finding]:
    values = (bundle.options.get("helm") or {}).get("values") or {}
    path: Place = ("helm", "values")
    start = _get(values, "healthcheck", "startupSeconds")
    if isinstance(start, (int, float)) and start < START_S:
        text = f"expected at least {START_S} s, got {start:g}"
        yield subject.found(PROBES, bundle, (*path, "healthcheck", "startupSeconds"), text)
    for keys, probe in _named(values, "startupProbe"):
        if text := _short(probe):
            yield subject.found(PROBES, bundle, (*path, *keys), text)
    limits = _get(values, "resources", "limits")
    strategy = values.get("strategy", "RollingUpdate")
    kind = strategy.get("type", "RollingUpdate") if isinstance(strategy, dict) else strategy
    if _has_gpu(limits) and kind == "RollingUpdate" and _surges(strategy):
        text = "two pods of one GPU each run at the same time during an update"
        yield subject.found(SURGE, bundle, (*path, "resources", "limits"), text)
    for name in ("podDisruptionBudget", "pdb"):
        budget = values.get(name)
        if isinstance(budget, dict) and budget.get("enabled", True) and _blocks(budget):
            yield subject.found(BUDGET, bundle, (*path, name), _ONE_REPLICA)


_ONE_REPLICA = "a site has one replica, which this keeps from being moved"


def _get(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _named(values: Any, name: str, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything called `name`, and where."""
    pairs: Any = ()
    if isinstance(values, dict):
        pairs = values.items()
    elif isinstance(values, list):
        pairs = enumerate(values)
    for key, value in pairs:
        if key == name:
            yield (*at, key), value
        else:
            yield from _named(value, name, (*at, key))


def _short(probe: Any) -> str:
    """Why a startup probe ends too early; empty where it does not."""
    if not isinstance(probe, dict):
        return ""
    numbers = [probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)]
    numbers.append(probe.get("initialDelaySeconds", 0))
    if not all(isinstance(one, (int, float)) for one in numbers):
        return ""
    seconds = numbers[0] * numbers[1] + numbers[2]
    return f"expected at least {START_S} s, got {seconds:g}" if seconds < START_S else ""


def _has_gpu(limits: Any) -> bool:
    return isinstance(limits, dict) and any(str(name).endswith("/gpu") for name in limits)


def _surges(strategy: Any) -> bool:
    """Whether an update starts a new pod first; 25 % of one replica is one."""
    return _get(strategy, "rollingUpdate", "maxSurge") not in (0, "0", "0%")


def _blocks(spec: Any) -> bool:
    """Whether a budget never lets the only replica go."""
    if "maxUnavailable" in spec:
        return spec["maxUnavailable"] in (0, "0", "0%")
    return spec.get("minAvailable", 1) not in (0, "0", "0%")


def _manifests(bundle: Bundle) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Manifests in the folder, outside of a chart's templates, with their lines."""
    for name in bundle.content.files:
        if not name.endswith((".yaml", ".yml")) or "/templates/" in f"/{name}":
            continue
        text = (bundle.folder / name).read_text(encoding="utf-8", errors="replace")
        try:
            nodes = [one for one in yaml.compose_all(text, Loader=yaml.SafeLoader) if one]
            # Read a second time: aliases that grow without end are refused there.
            rows = [
                parse_document(text[one.start_mark.index : one.end_mark.index]).value
                for one in nodes
            ]
        except (yaml.YAMLError, NotYaml, RecursionError):
            continue  # a cluster or Helm says it
        for node, row in zip(nodes, rows, strict=True):
            if isinstance(row, dict):
                yield bundle.folder / name, node.start_mark.line + 1, row


def _manifest(manifest: dict[str, Any]) -> Iterator[tuple[Rule, str]]:
    spec = manifest.get("spec")
    if manifest.get("kind") == "PodDisruptionBudget" and isinstance(spec, dict):
        if _blocks(spec):
            yield BUDGET, _ONE_REPLICA
        return
    for _, probe in _named(manifest, "startupProbe"):
        if text := _short(probe):
            yield PROBES, text
    strategy = _get(spec, "strategy")
    kind = _get(strategy, "type") or "RollingUpdate"
    gpu = any(_has_gpu(one) for _, one in _named(manifest, "limits"))
    started = manifest.get("kind") == "Deployment" and kind == "RollingUpdate"
    if started and gpu and _surges(strategy):
        yield SURGE, "two pods of one GPU each run at the same time during an update"
