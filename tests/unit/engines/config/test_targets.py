"""Every row under engines/targets is sound."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from engines.backends import open_backend, options_type
from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.machine.jetson_facts import FAMILIES
from engines.packages import PACKAGES, packages_of
from engines.records.fingerprint import Fingerprint
from tests.unit.engines.config.test_config import REPOSITORY

TARGETS = sorted(path.parent.name for path in REPOSITORY.targets.glob("*/params.yaml"))
DEVICES = (
    *("jetson-orin-nx", "jetson-agx-orin", "jetson-orin-nano", "jetson-thor"),
    *("dgpu-x86", "rtx-x86"),
)
KUBERNETES_LABEL = re.compile(r"[a-z0-9A-Z]([\w.-]{0,61}[a-z0-9A-Z])?")
ARTICLE_MS = {"fp32": 22.0, "fp16": 12.0, "int8": 8.0}
"""The article's table of YOLOv8n on an Orin NX."""


def row(name: str) -> TargetConfig:
    return load_target(REPOSITORY, name)


def test_a_row_names_its_engines_file_as_its_package_does(tmp_path: Path) -> None:
    content = (REPOSITORY.target("x86-openvino") / "params.yaml").read_text()
    workspace = Workspace(root=tmp_path)
    workspace.target("x86-openvino").mkdir(parents=True)
    path = workspace.target("x86-openvino") / "params.yaml"
    path.write_text(content.replace("engine_file: engine.blob", "engine_file: engine.plan"))
    with pytest.raises(InputError, match=r"expected `engine_file: engine\.blob`"):
        load_target(workspace, "x86-openvino")


@pytest.mark.parametrize("name", list(PACKAGES))
def test_a_package_has_the_backend_and_the_options_that_its_row_says(name: str) -> None:
    row = PACKAGES[name]
    assert hasattr(open_backend(name), "build")
    assert name in get_args(options_type(row.backend).model_fields["package"].annotation)


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_is_read_and_its_backend_and_device_are_known(name: str) -> None:
    target = row(name)
    assert target.package in packages_of(target.backend)
    assert target.device.keys() | target.build_device.keys() <= Fingerprint.model_fields.keys()
    assert KUBERNETES_LABEL.fullmatch(target.fleet_label)
    assert {one.precision for one in target.engines.values()} == {"fp32", "fp16", "int8"}
    assert all(target.budgets_of(engine) for engine in target.engines)


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_is_told_from_the_others(name: str) -> None:
    target = row(name)
    assert target.backend == "tensorrt"
    assert target.engine_file == "engine.plan"
    assert target.fleet_label == name
    assert [other for other in TARGETS if row(other).device == target.device] == (
        # They differ in the package that must be installed.
        ["dgpu-x86", "rtx-x86"] if name in ("dgpu-x86", "rtx-x86") else [name]
    )


def test_every_jetson_family_has_its_row() -> None:
    families = [row(name).device["family"] for name in DEVICES if name.startswith("jetson-")]
    # JetPack 5, the last for Xavier, has Python 3.8: Jetrail is told such a device and refuses it.
    assert sorted(families) == sorted(one for one in FAMILIES if "xavier" not in one)


def test_labels_and_tags_of_runners_are_each_of_one_target() -> None:
    rows = [row(name) for name in TARGETS]
    tags = Counter(one.runner_tag for one in rows if one.runner_tag)
    assert max(tags.values()) == max(Counter(one.fleet_label for one in rows).values()) == 1


def test_rtx_alone_is_built_anywhere() -> None:
    anywhere = {name for name in TARGETS if row(name).build_device != row(name).device}
    assert anywhere == {"rtx-x86"}
    assert row("rtx-x86").build_device == {"architecture": "x86_64"}


def test_orin_nx_has_the_budgets_of_the_article() -> None:
    target = row("jetson-orin-nx")
    for engine, content in target.engines.items():
        budgets = target.budgets_of(engine)
        assert budgets.frame_p50_ms == ARTICLE_MS[content.precision]
        assert budgets.frame_p99_ms == 30
        assert budgets.map50_95_drop == 0.01


# --- dvc.yaml ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_another_length_of_the_soak_is_judged_again(name: str) -> None:
    stages = load_yaml(REPOSITORY.target(name) / "dvc.yaml")["stages"]
    assert "benchmark" in stages["gate"]["do"]["params"]
