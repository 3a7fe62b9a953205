"""`pipeline add-target`: a new kind of device is a new folder of data."""

from __future__ import annotations

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.files import atomic_folder
from pipeline.intake.names import check_new_name
from pipeline.repository.fleet import fleet_folders
from pipeline.repository.lock import one_at_a_time
from pipeline.repository.yaml_edit import edited_yaml


def add_target(workspace: Workspace, name: str, source: str) -> None:
    """Copy the row of `source` to a new target, the on-device pipeline beside it, and lay out the
    folders of release/fleet for its models.

    Raises InputError when the name is not one, is taken, or `source` does not exist.
    """
    with one_at_a_time(workspace):
        _add_target(workspace, name, source)


def _add_target(workspace: Workspace, name: str, source: str) -> None:
    like = load_target(workspace, source)
    # Its own labels: jobs and tags of the two targets must not meet on one device or cluster.
    own = like.model_copy(update={"target": name, "fleet_label": name})
    models = sorted({engine.model for engine in own.engines.values()})
    check_new_name(name, workspace.target(name).exists(), "target")
    with fleet_folders(workspace, models, [own]), atomic_folder(workspace.target(name)) as folder:
        row = folder / "params.yaml"
        theirs = (workspace.target(source) / "params.yaml").read_bytes()
        named, copied = f"# Target {source}", f"# Target {name}, copied from {source}"
        row.write_bytes(theirs.replace(named.encode(), copied.encode(), 1))
        with edited_yaml(row) as content:
            content["target"] = own.target
            content["fleet_label"] = own.fleet_label
            # What another device measured is no measurement of this one.
            if content.get("budgets_from") == "measured":
                content["budgets_from"] = "derived"
            for engine in content["engines"].values():
                if engine.get("budgets_from") == "measured":
                    engine["budgets_from"] = "derived"
            if content["runner_tag"] is not None:
                content["runner_tag"] = name
        # A copy and not a link: DVC does not follow links in commits, so that `dvc metrics diff`,
        # `dvc plots diff` and `dvc params diff` would see no older state. A test keeps them equal.
        (folder / "dvc.yaml").write_bytes((workspace.targets / "device.dvc.yaml").read_bytes())
