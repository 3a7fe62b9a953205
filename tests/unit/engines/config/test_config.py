"""engines.config: what people write is read strictly, and refused with the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, StrictInt
from ruamel.yaml import YAML

from engines.config.model import load_model
from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace, find_workspace
from engines.config.yaml import load_yaml, parse_file
from engines.errors import InputError

ROOT = Path(__file__).parents[4]
REPOSITORY = Workspace(root=ROOT)

MODEL: dict[str, Any] = {
    "schema": 1,
    "name": "helmets",
    "version": "1.0",
    "task": "detect",
    "weights": {"path": "weights.pt", "sha256": "0" * 64},
    "imgsz": [384, 640],
    "classes": ["helmet"],
    "data": {name: f"data/{name}" for name in ("calibration", "tuning", "evaluation")},
}


def write_yaml(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        YAML().dump(content, file)


def target_row() -> dict[str, Any]:
    path = REPOSITORY.target("x86-openvino") / "params.yaml"
    row: dict[str, Any] = YAML(typ="safe").load(path.read_text())
    return row


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "models").mkdir()
    return Workspace(root=tmp_path)


def test_the_repository_s_own_files_are_sound() -> None:
    target = load_target(REPOSITORY, "x86-openvino")
    for row in target.engines.values():
        assert load_model(REPOSITORY, row.model).name == row.model


def test_a_good_model_is_read(workspace: Workspace) -> None:
    write_yaml(workspace.model("helmets") / "model.yaml", MODEL)
    model = load_model(workspace, "helmets")
    assert model.imgsz == (384, 640)
    assert model.classes == ("helmet",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "colour: There is no such key"),
        ({"versoin": "1.1"}, r"versoin: There is no such key \(did you mean version\?\)"),
        ({"classes": None}, "classes: "),
        ({"imgsz": [384, 650]}, r"multiples of 32 pixels, got \[384, 650\]; for 650 take 640"),
        ({"imgsz": [0, 640]}, "multiples of 32"),
        ({"imgsz": [99999, 640]}, "at most 8192 pixels.*the size of the training"),
        ({"imgsz": [640]}, "imgsz"),
        ({"imgsz": 640}, r"imgsz: Input should be a list, got 640"),
        ({"imgsz": [True, 640]}, r"imgsz\.0: Input should be a number, got true"),
        ({"classes": {"0": "helmet"}}, "classes: Input should be a list, got keys with values"),
        ({"classes": []}, "classes: List should have at least 1 item"),
        ({"classes": ["a", 1]}, r"classes\.1: Input should be text, in quotes, got 1"),
        ({"version": 1.1}, "version: Input should be text, in quotes, got 1.1"),
        ({"task": "segment"}, "task: Input should be 'detect', got 'segment'"),
        ({"schema": 2}, "schema: Input should be 1, got 2"),
        ({"version": "new"}, "version"),
        ({"weights": {"path": "weights.pt", "sha256": "abc"}}, "weights.sha256"),
        ({"weights": {"path": "../w.pt", "sha256": "0" * 64}}, "weights.path"),
        ({"classes": ["a", "b", "a"]}, "class 2 is 'a' again"),
        ({"name": "other"}, "expected `name: helmets` as its folder"),
    ],
)
def test_a_bad_model_is_refused_by_key(
    workspace: Workspace, change: dict[str, Any], said: str
) -> None:
    path = workspace.model("helmets") / "model.yaml"
    write_yaml(path, MODEL | change)
    with pytest.raises(InputError, match=said) as refused:
        load_model(workspace, "helmets")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("key", sorted(MODEL))
def test_every_key_of_a_model_is_needed(workspace: Workspace, key: str) -> None:
    write_yaml(
        workspace.model("helmets") / "model.yaml", {k: v for k, v in MODEL.items() if k != key}
    )
    with pytest.raises(InputError, match=f"{key}: Field required"):
        load_model(workspace, "helmets")


def test_an_unknown_model_names_the_known_ones(workspace: Workspace) -> None:
    write_yaml(workspace.model("helmets") / "model.yaml", MODEL)
    with pytest.raises(InputError, match="one of the models helmets, got 'vests'"):
        load_model(workspace, "vests")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("helmet", r"got 'helmet' \(did you mean helmets\?\)\. Bring"),
        ("models/helmets/", r"got 'models/helmets/' \(did you mean helmets\?\)"),
        ("helmets/", r"got 'helmets/' \(did you mean helmets\?\)"),
        ("helmets-fp16", r"\(did you mean helmets\?\)"),
        ("vests", r"got 'vests'\. Bring"),
        ("", r"got ''\. Bring"),
    ],
)
def test_a_slip_is_told_what_it_is_near(workspace: Workspace, given: str, says: str) -> None:
    write_yaml(workspace.model("helmets") / "model.yaml", MODEL)
    with pytest.raises(InputError, match=says):
        load_model(workspace, given)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("name", "Hel mets", "name: Should be small letters, digits and hyphens.*got 'Hel mets'"),
        ("name", "h" * 41, "name: Should be small letters, digits and hyphens.*40 at most"),
        ("version", "v1", "version: Should be a version as '1', '1.2' or '1.2.3'.*got 'v1'"),
        ("version", f"1.{'2' * 15}", "version: Should be .* of at most 14 digits"),
    ],
)
def test_what_a_name_and_a_version_are_is_said_in_words(
    workspace: Workspace, key: str, value: str, says: str
) -> None:
    write_yaml(workspace.model("helmets") / "model.yaml", {**MODEL, key: value})
    with pytest.raises(InputError, match=says):
        load_model(workspace, "helmets")


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="x86-openvino.*got 'jetson'.*add-target"):
        load_target(REPOSITORY, "jetson")


@pytest.mark.parametrize(
    ("text", "got"),
    [("", "got nothing"), ("- a\n", "got a list"), ("just words\n", "got 'just words'")],
)
def test_a_file_without_keys_is_refused_in_plain_words(
    workspace: Workspace, text: str, got: str
) -> None:
    path = workspace.model("helmets") / "model.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(InputError, match=f"the file: Input should be keys with values, {got}. Fix"):
        load_model(workspace, "helmets")


class Inner(BaseModel):
    c: float


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: StrictInt
    b: Inner


class Rows(BaseModel):
    b: list[Inner]


class Slipped(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image_size: StrictInt


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (Outer, "# ours\na: 1\nb:\n  c: x\n", r"b.c: Input .* number.*, got 'x' \(line 4\)\. Fix"),
        (Outer, "a: 1\nb: {c: 1}\nd: 2\n", r"d: There is no such key, got 2 \(line 3\)"),
        (Outer, "a: 1\nb:\n  e: 1\n", r"b.c: Field required \(line 2\)"),
        (Outer, "b: {c: 1}\n", r"a: Field required\. Fix"),
        (
            Slipped,
            "other: 1\n\nimagesize: 2\n",
            r"image_size: Field required, got the key 'imagesize' in its place \(and 1 more\) "
            r"\(line 3\)\. Fix",
        ),
        (Outer, "a: true\nb: {c: 1}\n", r"a: .*, got true \(line 1\)"),
        (Outer, "", r"the file: .*, got nothing\. Fix"),
        (Rows, "\ufeffz: 1\r\nb:\r\n- c: 2\r\n- c:\r\n", r"b.1.c: .*, got nothing \(line 4\)"),
        (Rows, "b: [{c: 1},\n  2]\n", r"b.1: .*, got 2 \(line 2\)"),
    ],
)
def test_the_line_is_said(tmp_path: Path, kind: type[BaseModel], text: str, said: str) -> None:
    path = tmp_path / "row.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=f"^{path}: {said}"):
        parse_file(kind, path)


def test_what_is_no_yaml_is_refused(workspace: Workspace) -> None:
    path = workspace.model("helmets") / "model.yaml"
    path.parent.mkdir()
    path.write_text("name: [unclosed\n")
    with pytest.raises(InputError, match="is not YAML"):
        load_model(workspace, "helmets")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n- 2001-99-99\n", r"is not YAML: month must be.* \(line 3\)\. Fix"),
        ("a: !!bool x\n", r"is not YAML: 'x' \(line 1\)"),
        ("a: !!int ''\n", r"is not YAML: .* \(line 1\)"),
        ("a:\n  b: " + "9" * 5000, r"is not YAML: .* \(line 2\)"),
        ("a: " + "[" * 3000 + "]" * 3000, "is not YAML: maximum recursion depth"),
        ("b: [1\n", r"is not YAML: .*line 2"),
        ("a:\na: {}\n", r'line 1, column 1.* found duplicate key "a" line 2, .*\(line: 2\). Fix'),
    ],
)
def test_what_only_looks_like_yaml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "row.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_yaml(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_file_of_another_encoding_is_to_be_saved_as_utf_8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "row.yaml"
    path.write_text("names: [äpfel]\n", encoding=encoding)
    with pytest.raises(InputError, match=r"row\.yaml is not YAML: .*\. Save the file as UTF-8 and"):
        load_yaml(path)


def load_row(workspace: Workspace, row: dict[str, Any]) -> TargetConfig:
    write_yaml(workspace.target("x86-openvino") / "params.yaml", row)
    return load_target(workspace, "x86-openvino")


@pytest.mark.parametrize("budget", sorted(target_row()["budgets"]))
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "much", None])
def test_a_budget_must_be_a_sensible_number(
    workspace: Workspace, budget: str, value: object
) -> None:
    row = target_row()
    row["budgets"][budget] = value
    with pytest.raises(InputError, match=f"budgets.{budget}"):
        load_row(workspace, row)


@pytest.mark.parametrize("budget", sorted(target_row()["budgets"]))
def test_no_budget_may_be_missing(workspace: Workspace, budget: str) -> None:
    row = target_row()
    del row["budgets"][budget]
    with pytest.raises(InputError, match=f"budgets.{budget}: Field required"):
        load_row(workspace, row)


def test_an_engine_may_have_a_budget_of_its_own(workspace: Workspace) -> None:
    row = target_row()
    row["engines"]["meter-yolov8n-int8"]["budgets"] = {"map50_95_drop": 0.02}
    target = load_row(workspace, row)
    assert target.budgets_of("meter-yolov8n-int8").map50_95_drop == 0.02
    assert target.budgets_of("meter-yolov8n-fp16").map50_95_drop == target.budgets.map50_95_drop


def test_each_precision_may_have_its_own_limit_of_the_onnx_shift(workspace: Workspace) -> None:
    row = target_row()
    row["budgets"]["onnx_shift"] = {"fp32": 0.001, "fp16": 0.01, "int8": 0.04}
    row["engines"]["meter-yolov8n-fp32"]["budgets"] = {"onnx_shift": 0.5}
    target = load_row(workspace, row)
    shifts = {name: target.budgets_of(name).onnx_shift for name in target.engines}
    assert shifts == {
        **{"meter-yolov8n-fp32": 0.5, "meter-yolov8n-fp16": 0.01, "meter-yolov8n-int8": 0.04}
    }
    row["budgets"]["onnx_shift"] = 0.03
    assert load_row(workspace, row).budgets_of("meter-yolov8n-int8").onnx_shift == 0.03


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ({"fp32": 0.001, "fp16": 0.01}, r"onnx_shift\.int8: Field required \(line"),
        (
            {"fp32": 0.001, "fp61": 0.01, "int8": 0.04},
            r"onnx_shift\.fp16: Field required, got the key 'fp61' in its place \(line",
        ),
        (
            {"fp32": 0.001, "fp16": -1, "int8": 0.04},
            r"onnx_shift\.fp16: Input should be greater .* 0, got -1 \(line",
        ),
        ("1%", r"onnx_shift: Input should be a valid number, .* got '1%' \(line"),
        (-1, r"onnx_shift: Input should be greater .* 0, got -1 \(line"),
    ],
)
def test_what_is_wrong_with_an_onnx_shift_is_said_of_the_form_that_it_has(
    workspace: Workspace, shift: object, said: str
) -> None:
    row = target_row()
    row["budgets"]["onnx_shift"] = shift
    with pytest.raises(InputError, match=rf"budgets\.{said}"):
        load_row(workspace, row)


def test_an_engine_s_own_budget_is_checked_too(workspace: Workspace) -> None:
    row = target_row()
    row["engines"]["meter-yolov8n-int8"]["budgets"] = {"frame_p99_ms": -3}
    with pytest.raises(InputError, match="meter-yolov8n-int8.*frame_p99_ms"):
        load_row(workspace, row)


def test_an_unknown_precision_is_refused(workspace: Workspace) -> None:
    row = target_row()
    row["engines"]["meter-yolov8n-fp8"] = {"model": "meter-yolov8n", "precision": "fp8"}
    with pytest.raises(InputError, match="'fp32', 'fp16' or 'int8', got 'fp8'"):
        load_row(workspace, row)


def test_an_engine_is_named_by_what_it_is(workspace: Workspace) -> None:
    row = target_row()
    row["engines"]["fast"] = {"model": "meter-yolov8n", "precision": "fp16"}
    with pytest.raises(InputError, match="expected the key `meter-yolov8n-fp16`"):
        load_row(workspace, row)


def test_a_profile_must_be_ordered(workspace: Workspace) -> None:
    row = target_row()
    row["batch"] = {"min": 1, "opt": 8, "max": 4}
    with pytest.raises(InputError, match="min <= opt <= max, got 1, 8, 4"):
        load_row(workspace, row)


def test_an_unknown_engine_names_the_known_ones() -> None:
    target = load_target(REPOSITORY, "x86-openvino")
    with pytest.raises(InputError, match="meter-yolov8n-fp32.*got 'nothing'"):
        target.engine("nothing")


def test_the_workspace_is_found_from_within_a_target() -> None:
    assert find_workspace(REPOSITORY.target("x86-openvino")).root == ROOT


def test_no_workspace_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="inside a Jetrail repository"):
        find_workspace(tmp_path)


@given(st.text(max_size=60))
def test_no_text_as_model_yaml_ends_in_anything_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    workspace = Workspace(root=tmp_path_factory.mktemp("workspace"))
    path = workspace.model("helmets") / "model.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_model(workspace, "helmets")
