"""The GitLab jobs of devices: each as its target's row says, none for whom no runner is there."""

from __future__ import annotations

import itertools
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from engines.config.target import TargetConfig, load_target, target_names
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from pipeline.steps.add_target import add_target
from pipeline.steps.ci import TEMPLATE, ci
from tests.unit.engines.config.test_config import REPOSITORY

BUILDS = ("dvc repro", "make demo")


@pytest.fixture
def own(tmp_path: Path) -> Workspace:
    """The project's own targets, to add others beside."""
    folders = shutil.ignore_patterns("out", "dvc.lock")
    shutil.copytree(REPOSITORY.targets, tmp_path / "engines" / "targets", ignore=folders)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY.root / name, tmp_path / name)
    shutil.copytree(REPOSITORY.root / "release" / "fleet", tmp_path / "release" / "fleet")
    shutil.copy(REPOSITORY.root / "release" / "rings.yaml", tmp_path / "release")
    shutil.copytree(REPOSITORY.root / "release" / "templates", tmp_path / "release" / "templates")
    return Workspace(root=tmp_path)


def jobs(
    workspace: Workspace, *targets: str, extending: str = ".device"
) -> dict[str, dict[str, Any]]:
    """Target to its job on the device, or to that which releases, with what it extends, as GitLab
    merges them."""
    content = YAML(typ="safe").load(ci(workspace, targets))
    base = content[extending]
    found = {}
    for job in content.values():
        if job.get("extends") == extending:
            variables = base["variables"] | job["variables"]
            found[variables["TARGET"]] = {**base, **job, "variables": variables}
    return found


def row(name: str) -> TargetConfig:
    return load_target(REPOSITORY, name)


def test_each_target_with_runners_has_a_job_on_runners_of_its_tag() -> None:
    found = jobs(REPOSITORY)
    tags = {name: row(name).runner_tag for name in target_names(REPOSITORY)}
    assert {name: job["tags"] for name, job in found.items()} == {
        name: [tag] for name, tag in tags.items() if tag
    }


def test_one_job_at_a_time_runs_on_a_machine() -> None:
    groups = {name: job["resource_group"] for name, job in jobs(REPOSITORY).items()}
    assert len(groups) > 2
    for name, other in itertools.combinations(groups, 2):
        one_machine_may_be_both = row(name).device == row(other).device
        assert (groups[name] == groups[other]) == one_machine_may_be_both


def test_a_new_target_has_its_job_and_shares_the_machine_of_the_one_it_came_from(
    own: Workspace,
) -> None:
    add_target(own, "line-4", "rtx-x86")
    job = jobs(own, "line-4")["line-4"]
    assert job["tags"] == ["line-4"]
    assert job["variables"]["EXTRAS"] == "device,rtx"
    assert job["resource_group"] == jobs(own, "rtx-x86")["rtx-x86"]["resource_group"]


def test_a_row_s_own_tag_counts(own: Workspace) -> None:
    params = own.target("jetson-thor") / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("runner_tag: jetson-thor", "runner_tag: 'hall 7, thor: a'"))
    assert jobs(own, "jetson-thor")["jetson-thor"]["tags"] == ["hall 7, thor: a"]


def test_a_target_that_names_no_tag_may_run_anywhere_and_only_where_it_is_asked_for() -> None:
    assert "tags" not in jobs(REPOSITORY, "x86-openvino")["x86-openvino"]
    assert "x86-openvino" not in jobs(REPOSITORY)


@pytest.mark.parametrize("name", ["default", "image", "pages", "workflow"])
def test_no_job_has_a_name_that_gitlab_keeps_for_itself(own: Workspace, name: str) -> None:
    add_target(own, name, "jetson-thor")
    content = YAML(typ="safe").load(ci(own, [name]))
    assert [*content] == [".device", ".release", f"device {name}", f"release {name}"]


def test_a_target_that_is_not_there_is_told_and_so_is_that_none_has_a_runner(
    own: Workspace,
) -> None:
    with pytest.raises(InputError, match=r"got 'jetson-orin' \(did you mean"):
        ci(own, ["jetson-orin"])
    for name in target_names(own):
        if name != "x86-openvino":
            shutil.rmtree(own.target(name))
    with pytest.raises(InputError, match="Expected a target with `runner_tag`"):
        ci(own, [])


def test_what_passed_on_a_device_is_released_by_a_job_that_any_runner_may_do() -> None:
    devices, releases = jobs(REPOSITORY), jobs(REPOSITORY, extending=".release")
    assert releases.keys() == devices.keys()
    for target, job in releases.items():
        assert job["needs"] == [
            f"device {target}",
            {"pipeline": "$MODELS_PIPELINE", "job": "models"},
        ]
        assert "tags" not in job
        # Its engines are a device's artifacts, with the dvc.lock that says what they were made of.
        kept = [path.replace("$TARGET", target) for path in devices[target]["artifacts"]["paths"]]
        assert f"engines/targets/{target}/out/" in kept
        assert f"engines/targets/{target}/dvc.lock" in kept
        assert job["resource_group"] == "release"


def test_a_release_wants_a_store_a_key_and_the_branch() -> None:
    """Without them there is no job, so that a fork or a merge request has no red one."""
    (rule,) = load_yaml(REPOSITORY.targets / TEMPLATE)[".release"]["rules"]
    for name in ("MLFLOW_TRACKING_URI", "JETRAIL_SIGNING_KEY"):
        assert f"${name} && " in rule["if"]
    assert rule["if"].endswith("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH")


# --- .gitlab-ci.yml, which starts them ---------------------------------------------------------


def gitlab() -> dict[str, Any]:
    content: dict[str, Any] = load_yaml(REPOSITORY.root / ".gitlab-ci.yml")
    return content


def test_gitlab_starts_the_jobs_of_the_runners_that_it_was_told_of() -> None:
    content = gitlab()
    starts, models = content["devices"], content["models"]
    assert starts["rules"] == [{"if": "$DEVICE_RUNNERS"}]
    assert "variables" not in content  # which a child pipeline would inherit
    [file] = starts["trigger"]["include"]
    # Without runners it does nothing: where no target names any, `pipeline ci` ends with 2.
    writes = f"pipeline ci $DEVICE_RUNNERS > {file['artifact']}"
    assert models["script"][-1] == f'test -z "$DEVICE_RUNNERS" || {writes}'
    assert file["artifact"] in models["artifacts"]["paths"]


def test_a_device_takes_the_models_of_the_pipeline_that_started_it() -> None:
    device = load_yaml(REPOSITORY.targets / TEMPLATE)[".device"]
    variables = gitlab()["devices"]["variables"]
    assert device["needs"] == [{"pipeline": "$MODELS_PIPELINE", "job": "models"}]
    assert variables == {"MODELS_PIPELINE": "$CI_PIPELINE_ID"}


def test_every_job_that_builds_takes_the_models_over_before() -> None:
    all_jobs = {**gitlab(), **load_yaml(REPOSITORY.targets / TEMPLATE)}
    for name in (".device", "rtx-x86-build", "x86-openvino"):
        script = all_jobs[name]["script"]
        built = next(i for i, line in enumerate(script) if line.startswith(BUILDS))
        assert "dvc commit export verify quantize" in script[:built]
        assert name == ".device" or "models" in all_jobs[name]["needs"]


def test_the_job_of_a_device_ends_with_the_commands_own_exit_codes() -> None:
    """`dvc repro` ends with 255, whatever stopped it."""
    script = load_yaml(REPOSITORY.targets / TEMPLATE)[".device"]["script"]
    repro = next(i for i, line in enumerate(script) if line.startswith("dvc repro"))
    assert 'pipeline probe --target "$TARGET"' in script[:repro]
    assert script[-1] == 'pipeline report --target "$TARGET"'
    assert all(shlex.split(line) for line in script)
