"""A release never goes out on other numbers than its own engine's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.measured import load_measured

TARGET = "x86-openvino"
ENGINE = "meter-fp16"


def test_all_agree(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    sha256 = add_engine("fp16", p50_ms=12.0)
    measured = load_measured(workspace, TARGET, ENGINE)
    assert measured.tag.name == f"v1.0-x86-openvino-fp16-{sha256[:12]}"
    assert measured.frame.p50_ms == 12.0


@pytest.mark.parametrize("file", ["benchmark", "evaluation", "verdict"])
@pytest.mark.parametrize(
    ("key", "value"), [("engine_sha256", "b" * 64), ("target", "other"), ("engine", "meter-fp32")]
)
def test_stale_measurement(
    workspace: Workspace, add_engine: Callable[..., str], file: str, key: str, value: str
) -> None:
    add_engine("fp16")
    _change(workspace, file, {key: value})
    with pytest.raises(InputError, match="is stale"):
        load_measured(workspace, TARGET, ENGINE)


@pytest.mark.parametrize("file", ["manifest", "benchmark", "evaluation", "verdict"])
def test_missing_file(workspace: Workspace, add_engine: Callable[..., str], file: str) -> None:
    add_engine("fp16")
    (workspace.engine(TARGET, ENGINE) / f"{file}.json").unlink()
    with pytest.raises(InputError, match=f"{file}.json.*is not there"):
        load_measured(workspace, TARGET, ENGINE)


@pytest.mark.parametrize("content", [b"engine of another", None])
def test_another_engine_file(
    workspace: Workspace, add_engine: Callable[..., str], content: bytes | None
) -> None:
    add_engine("fp16")
    path = workspace.engine(TARGET, ENGINE) / "engine.blob"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="with sha256"):
        load_measured(workspace, TARGET, ENGINE)


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_not_passed(workspace: Workspace, add_engine: Callable[..., str], verdict: str) -> None:
    add_engine("fp16", verdict=verdict)
    with pytest.raises(InputError, match=f"says {verdict}"):
        load_measured(workspace, TARGET, ENGINE)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("frame_p99_ms: 30", "frame_p99_ms: 25", r"frame_p99_ms 30\.0 then and 25\.0 now"),
        ("frame_p99_ms: 30", "frame_p99_ms: 35", r"frame_p99_ms 30\.0 then and 35\.0 now"),
        (
            "precision: fp16}",
            "precision: fp16, budgets: {engine_size_mib: 1}}",
            r"engine_size_mib 64\.0 then and 1\.0 now",
        ),
    ],
)
def test_judged_by_other_budgets(
    workspace: Workspace, add_engine: Callable[..., str], old: str, new: str, match: str
) -> None:
    add_engine("fp16")
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace(old, new))
    with pytest.raises(
        InputError, match=f"other budgets.*{match}.*gate {ENGINE} --target {TARGET}"
    ):
        load_measured(workspace, TARGET, ENGINE)


def test_budget_without_a_check(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    _change(workspace, "verdict", {"checks": _checks(workspace)[1:]})
    with pytest.raises(InputError, match=r"frame_p99_ms no limit then and 30\.0 now"):
        load_measured(workspace, TARGET, ENGINE)


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_pass_with_a_check_that_did_not(
    workspace: Workspace, add_engine: Callable[..., str], verdict: str
) -> None:
    add_engine("fp16")
    first, *others = _checks(workspace)
    _change(workspace, "verdict", {"checks": [first | {"verdict": verdict}, *others]})
    with pytest.raises(InputError, match="says PASS, but.*came frame_p99_ms"):
        load_measured(workspace, TARGET, ENGINE)


def test_pass_before_an_invalid_measurement(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    add_engine("fp16")
    validity = {"valid": False, "reasons": ["The machine was busy."], "attempts": 3}
    _change(workspace, "benchmark", {"validity": validity})
    with pytest.raises(InputError, match="measured again since, is INVALID: The machine was busy"):
        load_measured(workspace, TARGET, ENGINE)


def test_pass_without_checks(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    _change(workspace, "verdict", {"checks": []})
    with pytest.raises(InputError, match="says PASS, but.*came no check at all"):
        load_measured(workspace, TARGET, ENGINE)


def test_engine_taken_out_of_the_target(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    add_engine("fp16")
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace("  meter-fp16: {", "  # meter-fp16: {"))
    with pytest.raises(InputError, match="came 'meter-fp16'"):
        load_measured(workspace, TARGET, ENGINE)


def test_manifest_of_another_engine(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    for file in ("manifest", "benchmark", "evaluation", "verdict"):
        _change(workspace, file, {"target": "other"})
    with pytest.raises(InputError, match="came that of meter-fp16 on other"):
        load_measured(workspace, TARGET, ENGINE)


def test_no_figure_at_batch_1(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    _change(workspace, "benchmark", {"frame": {}})
    with pytest.raises(InputError, match="batch 1"):
        load_measured(workspace, TARGET, ENGINE)


def _checks(workspace: Workspace) -> list[dict[str, Any]]:
    path = workspace.engine(TARGET, ENGINE) / "verdict.json"
    return list(json.loads(path.read_text())["checks"])


def _change(workspace: Workspace, file: str, values: dict[str, Any]) -> None:
    path = workspace.engine(TARGET, ENGINE) / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
