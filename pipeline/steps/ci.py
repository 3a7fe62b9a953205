"""`pipeline ci`: the GitLab jobs of the targets that have runners, each from its target's row.

They are a pipeline of their own, which `.gitlab-ci.yml` starts as a child
(https://docs.gitlab.com/ci/pipelines/downstream_pipelines/#dynamic-child-pipelines), so that a new
target needs no edit there. Since a child pipeline of no job is an error, it is never one.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from engines.config.target import TargetConfig, load_target, readable_targets, target_names
from engines.config.workspace import Workspace
from engines.errors import InputError

TEMPLATE = "device.gitlab-ci.yml"


def ci(workspace: Workspace, targets: Sequence[str]) -> str:
    """A pipeline of GitLab, as YAML, with a job on the device of each of `targets` and one that
    releases what passed there; without any, for all whose row names runners (`runner_tag`).

    Raises InputError where there is no such target, or none with a runner.
    """
    rows = [load_target(workspace, name) for name in targets or target_names(workspace)]
    chosen = [row for row in rows if targets or row.runner_tag]
    if not chosen:
        raise InputError(
            f"Expected a target with `runner_tag` under {workspace.targets}, but none has one. "
            "Write the tag of its GitLab runners into the params.yaml of a target, or name targets "
            "whose jobs any runner may do."
        )
    jobs = {_device(row): _measured(workspace, row) for row in chosen}
    jobs |= {f"release {row.target}": _released(row) for row in chosen}
    text = StringIO()
    YAML().dump(jobs, text)
    return f"{(workspace.targets / TEMPLATE).read_text()}\n{text.getvalue()}"


def _device(row: TargetConfig) -> str:
    return f"device {row.target}"


def _measured(workspace: Workspace, row: TargetConfig) -> dict[str, Any]:
    return {
        "extends": ".device",
        **({"tags": [row.runner_tag]} if row.runner_tag else {}),
        # Two measurements at once would spoil each other; the second would end with exit 7.
        "resource_group": _machine(workspace, row),
        "variables": {
            "TARGET": row.target,
            "EXTRAS": ",".join(("device", *row.package.extras)),
        },
    }


def _released(row: TargetConfig) -> dict[str, Any]:
    return {
        "extends": ".release",
        "needs": [_device(row), {"pipeline": "$MODELS_PIPELINE", "job": "models"}],
        "variables": {"TARGET": row.target},
    }


def _machine(workspace: Workspace, row: TargetConfig) -> str:
    """One name for all targets that ask for the same device, since one machine may be the runner of
    them all."""
    return min(one.target for one in readable_targets(workspace) if one.device == row.device)
