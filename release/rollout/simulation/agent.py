"""What a cluster does when it is told to change (`internal/cmd/agent/deployer`).

Fleet up to 0.14 knows Helm 3's texts of a failed wait, notes them and stays; from 0.15 on it embeds
Helm 4, whose texts it does not know, and tries again for ever. The times are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from release.rollout.reading.version import FleetVersion

DEPLOY_S = 5
"""From being told to what Helm has installed."""
READY_S = 60
"""From being told to a pod that has loaded its engine."""


@dataclass(frozen=True)
class AgentReport:
    """What the agent says of a deployment, so many seconds after it was told."""

    after_s: int
    deployed: bool
    """Whether `appliedDeploymentID` becomes the new one."""
    ready: bool


@dataclass(frozen=True)
class Course:
    """All that comes of telling a cluster."""

    reports: tuple[AgentReport, ...]
    state: str
    """`ready`, `broken` (deployed and never ready), `retried` (for ever) or `silent`."""


def course(
    options: dict[str, Any], *, bad: bool, offline: bool, first: bool, version: FleetVersion
) -> Course:
    """What comes of deploying `options`; `first` where the cluster had nothing of the bundle."""
    if offline:
        return Course((), "silent")
    helm = options.get("helm") or {}
    atomic, timeout = bool(helm.get("atomic")), helm.get("timeoutSeconds") or 0
    at_once = atomic and timeout <= 0 and not version.helm4  # fleet#928
    if not bad and not at_once:
        return _good(waits=atomic or timeout > 0)
    if not atomic and timeout <= 0:
        return Course((AgentReport(DEPLOY_S, True, False),), "broken")
    # What a failed first installation with atomic says is in no version's list.
    if version.helm4 or (atomic and first):
        return Course((), "retried")
    return Course((AgentReport(DEPLOY_S + max(timeout, 0), True, False),), "broken")


def _good(*, waits: bool) -> Course:
    """A pod that gets ready; where Helm waits for it, there is one report instead of two."""
    reports = (AgentReport(READY_S, True, True),)
    return Course(reports if waits else (AgentReport(DEPLOY_S, True, False), *reports), "ready")
