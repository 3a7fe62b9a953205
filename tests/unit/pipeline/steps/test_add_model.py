"""pipeline add-model and add-target: everything is checked, then it is all there or nothing is.

The checkpoint's facts are a stand-in here; tests/integration runs real checkpoints.
"""

from __future__ import annotations

import hashlib
import subprocess
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from engines.config.model import load_model
from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from pipeline.cli import commands
from pipeline.intake.data_yaml import read_data_yaml
from pipeline.intake.dataset import load_sets
from pipeline.intake.labels import label_path
from pipeline.intake.names import check_new_name
from pipeline.intake.split import split
from pipeline.steps import add_model as step
from pipeline.steps.add_model import NewModel, add_model, parse_imgsz
from pipeline.steps.add_target import add_target
from pipeline.steps.list_models import list_models

ROOT = Path(__file__).parents[4]
CLASSES = ("helmet", "no: helmet")
RINGS = ("canary", "pilot", "production")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with the target x86-openvino and no model."""
    workspace = Workspace(root=tmp_path / "repository")
    target = workspace.target("x86-openvino")
    target.mkdir(parents=True)
    workspace.models.mkdir()
    row = ROOT / "engines/targets/x86-openvino/params.yaml"
    (target / "params.yaml").write_bytes(row.read_bytes())
    (workspace.root / "dvc.yaml").write_text("stages: {}\n")
    (workspace.root / "params.yaml").write_text("# ours\nmodels:\n  - meter-yolov8n\n")
    (workspace.root / "release" / "templates").mkdir(parents=True)
    for file in ("rings.yaml", "templates/fleet.yaml", "templates/release.yaml"):
        (workspace.root / "release" / file).write_bytes((ROOT / "release" / file).read_bytes())
    return workspace


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data.yaml with 30 pictures to train on and 10 to validate on."""
    folder = tmp_path / "data set"
    for name, count in (("train", 30), ("val", 10)):
        put_pictures(folder / "images" / name, count, seed=len(name))
    path = folder / "data.yaml"
    path.write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: [helmet, 'no: helmet']\n"
    )
    return path


def put_pictures(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        image = folder / f"{index}.png"
        cv2.imwrite(str(image), generator.integers(0, 255, (16, 16, 3), np.uint8))
        label = label_path(image)
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("1 0.5 0.5 0.25 0.25\n")


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands in for a checkpoint, with its facts."""
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    facts = SimpleNamespace(
        strides=(8, 16, 32),
        single_cls=False,
        classes=CLASSES,
        imgsz=(640, 640),
        left_out=(),
        sha256=hashlib.sha256(b"weights").hexdigest(),
    )
    monkeypatch.setattr(step, "inspect_checkpoint", lambda _: facts)
    return path


def new(tmp_path: Path, data_yaml: Path, /, **changes: object) -> NewModel:
    whole: dict[str, object] = {
        "name": "helmets",
        "weights": tmp_path / "best.pt",
        "data": data_yaml,
        "imgsz": (384, 640),
        "targets": ("x86-openvino",),
        "version": "1.0",
        "track": "git",
    }
    return NewModel(**(whole | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ["\x7f", "\x85", "\x9f", "\u2028 ", "\u2029 ", "\ufffe", "\uffff"])
def test_class_names_are_read_as_they_were_written(
    tmp_path: Path, workspace: Workspace, data: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """What YAML takes for line breaks, or refuses, in names of a checkpoint."""
    classes = (f"a{odd}b", *CLASSES[1:])
    whole = vars(step.inspect_checkpoint(tmp_path / "best.pt")) | {"classes": classes}
    monkeypatch.setattr(step, "inspect_checkpoint", lambda _: SimpleNamespace(**whole))
    monkeypatch.setattr("pipeline.intake.brought.check_data_names", lambda *_, **__: None)
    add_model(workspace, new(tmp_path, data))
    assert load_model(workspace, "helmets").classes == classes


def test_a_model_is_ready_for_the_pipeline(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    add_model(workspace, new(tmp_path, data))
    model = load_model(workspace, "helmets")
    assert (model.imgsz, model.classes) == ((384, 640), CLASSES)
    assert (workspace.model("helmets") / "weights.pt").read_bytes() == b"weights"
    sets = load_sets(workspace.model("helmets"), model)
    assert {purpose: len(samples) for purpose, samples in sets.items()} == {
        "calibration": 15,
        "tuning": 15,
        "evaluation": 10,
    }
    labels = sets["evaluation"][0].read_labels(classes=2)
    assert (labels.classes.tolist(), labels.boxes.tolist()) == ([1], [[0.5, 0.5, 0.25, 0.25]])
    engines = load_target(workspace, "x86-openvino").engines
    assert {key for key, row in engines.items() if row.model == "helmets"} == {
        "helmets-fp32",
        "helmets-fp16",
        "helmets-int8",
    }
    folders = {path.parent.relative_to(workspace.fleet) for path in fleet_files(workspace)}
    assert folders == {Path("helmets", "x86-openvino", ring) for ring in RINGS}
    params = (workspace.root / "params.yaml").read_text()
    assert params == "# ours\nmodels:\n  - meter-yolov8n\n  - helmets\n"


def test_the_command_ends_with_a_table_of_the_sets(
    tmp_path: Path, workspace: Workspace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    (data.parent / "labels/val/0.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n")
    words = ["add-model", "helmets", "--weights", str(tmp_path / "best.pt"), "--data", str(data)]
    words += ["--imgsz", "384,640", "--track", "git", "--target", "x86-openvino"]
    result = CliRunner().invoke(commands, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "│ calibration │ train │       15 │      15 │" in result.stdout
    assert "│ evaluation  │ val   │       10 │      10 │          0 │          1 │" in result.stdout
    assert "Only 10 evaluation pictures" in result.stdout
    assert result.stdout.endswith("Next: dvc repro\n")


def test_people_s_comments_in_the_row_stay(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    row = workspace.target("x86-openvino") / "params.yaml"
    before = row.read_text()
    add_model(workspace, new(tmp_path, data))
    assert row.read_text().startswith(before)


def test_the_size_that_it_was_trained_at_is_told(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    assert add_model(workspace, new(tmp_path, data)).trained_at == (640, 640)


def test_the_split_is_the_same_every_time(data: Path) -> None:
    one, other = split(read_data_yaml(data)).sets, split(read_data_yaml(data)).sets
    assert one == other


def test_without_train_val_is_dealt_out(tmp_path: Path) -> None:
    put_pictures(tmp_path / "images" / "val", 25, seed=0)
    path = tmp_path / "data.yaml"
    path.write_text("val: images/val\nnames: {0: helmet, 1: 'no: helmet'}\n")
    sets = split(read_data_yaml(path)).sets
    assert {purpose: len(samples) for purpose, samples in sets.items()} == {
        "calibration": 5,
        "tuning": 5,
        "evaluation": 15,
    }


def test_with_test_val_is_for_tuning(tmp_path: Path, data: Path) -> None:
    put_pictures(data.parent / "images" / "test", 7, seed=9)
    data.write_text(data.read_text() + "test: images/test\n")
    sets = split(read_data_yaml(data)).sets
    assert {purpose: len(samples) for purpose, samples in sets.items()} == {
        "calibration": 30,
        "tuning": 10,
        "evaluation": 7,
    }


def test_pictures_of_the_evaluation_never_calibrate(data: Path) -> None:
    copy = data.parent / "images" / "train" / "copy.png"
    copy.write_bytes((data.parent / "images" / "val" / "0.png").read_bytes())
    sets = split(read_data_yaml(data)).sets
    others = [*sets["calibration"], *sets["tuning"]]
    assert len(others) == 30
    assert copy not in [sample.image for sample in others]


def test_roboflow_s_paths_and_lists_of_files_are_understood(data: Path) -> None:
    (data.parent / "val.txt").write_text("images/val/0.png\nimages/val/1.png\n")
    data.write_text("train: ../images/train\nval: val.txt\nnames: [helmet, 'no: helmet']\n")
    splits = read_data_yaml(data).splits
    assert {name: len(samples) for name, samples in splits.items()} == {
        "train": 30,
        "val": 2,
        "test": 0,
    }
    assert splits["val"][0].label == data.parent / "labels" / "val" / "0.txt"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Helmets!"}, "model name of at most 40 lower-case"),
        ({"name": "../up"}, "model name"),
        ({"version": "new"}, "--version as"),
        ({"track": "svn"}, "--track git or --track dvc"),
        ({"targets": ("jetson",)}, "one of the targets x86-openvino"),
        ({"data": Path("nowhere.yaml")}, "data.yaml at nowhere.yaml"),
        ({"weights": Path("nowhere.pt")}, "--weights nowhere.pt, but no file is there"),
        ({"weights": Path()}, r"--weights \., but that is a folder. Training"),
        *(
            ({"name": name}, "name that YAML reads as text")
            for name in ("123", "1e3", "0x10", "010", "2020-01-01", "null", "yes", "on", "true")
        ),
    ],
)
def test_bad_words_are_refused_and_nothing_is_left(
    tmp_path: Path,
    workspace: Workspace,
    data: Path,
    changes: dict[str, object],
    said: str,
    recwarn: pytest.WarningsRecorder,
) -> None:
    before = snapshot(workspace)
    with pytest.raises(InputError, match=said):
        add_model(workspace, new(tmp_path, data, **changes))
    assert snapshot(workspace) == before
    assert not recwarn.list  # a terminal would show them before the sentence


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda data: data.write_text("names: [a]\n"), "keys `val` and `names`"),
        (lambda data: data.write_text("- a\n"), "keys `val` and `names`"),
        (lambda data: data.write_text("val: nowhere\nnames: [a]\n"), "nowhere is not there"),
        (lambda data: data.write_text("val: images/val\nnames: {1: a}\n"), "from 0 upward"),
        (
            lambda data: data.write_text("val: images/val\nnames: [helmet]\n"),
            "1 names against 2",
        ),
        (
            lambda data: data.write_text("val: images/val\nnames: [vest, 'no: helmet']\n"),
            "class 0 is 'vest' against 'helmet'",
        ),
        (
            lambda data: (data.parent / "labels/val/3.txt").write_text("7 0.5 0.5 0.1 0.1\n"),
            "3.txt, line 1: expected a class from 0 to 1",
        ),
        (
            lambda data: (data.parent / "images/val/3.png").write_bytes(b"damaged"),
            r"image that OpenCV can read.*3\.png",
        ),
        (
            lambda data: [one.write_text("") for one in (data.parent / "labels/val").iterdir()],
            "labelled objects in the evaluation set",
        ),
    ],
)
def test_bad_data_is_refused_and_nothing_is_left(
    tmp_path: Path, workspace: Workspace, data: Path, break_it: object, said: str
) -> None:
    break_it(data)  # type: ignore[operator]
    before = snapshot(workspace)
    with pytest.raises(InputError, match=said):
        add_model(workspace, new(tmp_path, data))
    assert snapshot(workspace) == before


def test_interrupted_before_the_folder_has_its_name(
    tmp_path: Path, workspace: Workspace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that people keep name the model by then."""
    before, rename = snapshot(workspace), Path.rename

    def interrupted(self: Path, to: Path) -> Path:
        if to == workspace.model("helmets"):
            assert "helmets" in (workspace.root / "params.yaml").read_text()
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_model(workspace, new(tmp_path, data))
    assert snapshot(workspace) == before


@pytest.fixture
def dvc(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Stands in for `dvc add`, and is interrupted when it has taken so many files."""
    allowed = [2]

    def add(_: Path, paths: Sequence[Path]) -> None:
        (paths[0].parent / ".gitignore").write_text("/weights.pt\n/data\n")
        for path in paths[: allowed[0]]:
            path.with_name(f"{path.name}.dvc").write_text("outs: []\n")
        if allowed[0] < len(paths):
            raise KeyboardInterrupt

    monkeypatch.setattr(step, "dvc_add", add)
    subprocess.run(["git", "init", "--quiet", str(workspace.root)], check=True)

    def stop(after: int) -> None:
        allowed[0] = after

    return stop


@pytest.mark.parametrize("after", [0, 1])
def test_interrupted_while_dvc_adds_nothing_is_left(
    tmp_path: Path, workspace: Workspace, data: Path, dvc: Callable[[int], None], after: int
) -> None:
    before = snapshot(workspace)
    dvc(after)
    with pytest.raises(KeyboardInterrupt):
        add_model(workspace, new(tmp_path, data, track="dvc"))
    assert snapshot(workspace) == before


@pytest.mark.parametrize("after", [0, 1])
def test_killed_while_dvc_adds_it_is_listed_and_the_next_one_completes(
    tmp_path: Path,
    workspace: Workspace,
    data: Path,
    dvc: Callable[[int], None],
    after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = new(tmp_path, data, track="dvc")
    killed_after(monkeypatch, workspace, wanted, dvc, after)
    (listed,) = [one for one in list_models(workspace) if one.name == "helmets"]
    assert "Neither git nor DVC keeps models/helmets/" in listed.problems[0]
    assert "the same `pipeline add-model` again" in listed.problems[0]
    (workspace.model("helmets") / "weights.pt").unlink()  # DVC had moved it just then
    dvc(2)
    add_model(workspace, wanted)
    whole = snapshot(workspace)
    assert "Neither git" not in str([one.problems for one in list_models(workspace)])
    with pytest.raises(InputError, match="helmets is there already"):
        add_model(workspace, wanted)
    assert snapshot(workspace) == whole


def test_what_a_kill_left_is_not_replaced_where_somebody_worked_on_it(
    tmp_path: Path,
    workspace: Workspace,
    data: Path,
    dvc: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = new(tmp_path, data, track="dvc")
    killed_after(monkeypatch, workspace, wanted, dvc, 0)
    dvc(2)
    label = next((workspace.model("helmets") / "data/tuning/labels").iterdir())
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    before = snapshot(workspace)
    with pytest.raises(InputError, match=f"{label.name} is not what this command would write"):
        add_model(workspace, wanted)
    assert snapshot(workspace) == before
    subprocess.run(["git", "add", "models"], cwd=workspace.root, check=True)
    with pytest.raises(InputError, match="Take another name, or .*`pipeline update-model h"):
        add_model(workspace, wanted)


def killed_after(
    monkeypatch: pytest.MonkeyPatch,
    workspace: Workspace,
    wanted: NewModel,
    dvc: Callable[[int], None],
    after: int,
) -> None:
    """As kill -9 leaves it: nothing is put in order."""
    dvc(after)
    with monkeypatch.context() as patch:
        patch.setattr(step, "entries", without_an_end(step.entries))
        patch.setattr(step, "fleet_folders", without_an_end(step.fleet_folders))
        patch.setattr(step, "_removed_on_failure", lambda _: nullcontext())
        with pytest.raises(KeyboardInterrupt):
            add_model(workspace, wanted)


def without_an_end(kept: Callable[..., Any]) -> Callable[..., Any]:
    def begun(*args: Any) -> Any:
        with kept(*args):
            pass
        return nullcontext()

    return begun


def snapshot(workspace: Workspace) -> dict[Path, bytes | None]:
    found = (path for path in workspace.root.rglob("*") if ".git" not in path.parts)
    return {path: path.read_bytes() if path.is_file() else None for path in found}


def fleet_files(workspace: Workspace) -> list[Path]:
    return sorted(workspace.fleet.rglob("fleet.yaml"))


def test_a_name_is_not_taken_twice(tmp_path: Path, workspace: Workspace, data: Path) -> None:
    add_model(workspace, new(tmp_path, data))
    with pytest.raises(InputError, match="helmets is there already"):
        add_model(workspace, new(tmp_path, data))


def test_a_name_that_is_a_number_is_refused_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="name that YAML reads as text, got '1e3'"):
            check_new_name("1e3", False, "model")


def test_the_folder_of_sites_is_no_model_s(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    with pytest.raises(InputError, match="release/fleet/sites holds the folders of sites"):
        add_model(workspace, replace(new(tmp_path, data), name="sites"))


@pytest.mark.parametrize(
    ("text", "imgsz"),
    [("640", (640, 640)), ("384,640", (384, 640)), ("384, 640", (384, 640)), (" 32 ", (32, 32))],
)
def test_imgsz_is_a_side_or_height_and_width(text: str, imgsz: tuple[int, int]) -> None:
    assert parse_imgsz(text) == imgsz


@pytest.mark.parametrize("text", ["", "x", "640x640", "640,", "-32", "1,2,3", "650", "0", "64,70"])
def test_any_other_imgsz_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--imgsz"):
        parse_imgsz(text)


def test_an_imgsz_of_another_unit_is_told_the_most() -> None:
    """It was told to be written as `640`, as it was."""
    with pytest.raises(InputError, match="--imgsz: expected height and width of at most"):
        parse_imgsz("100000")


def test_a_model_goes_to_the_chosen_targets_alone(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    for target in ("jetson-orin-nx", "jetson-thor"):
        workspace.target(target).mkdir()
        row = ROOT / "engines/targets" / target / "params.yaml"
        (workspace.target(target) / "params.yaml").write_bytes(row.read_bytes())
    others = (workspace.target("jetson-thor") / "params.yaml").read_bytes()
    add_model(workspace, new(tmp_path, data, targets=("x86-openvino", "jetson-orin-nx")))
    changed = load_target(workspace, "jetson-orin-nx")
    helmets = {f"helmets-{precision}" for precision in ("fp32", "fp16", "int8")}
    assert helmets <= changed.engines.keys()
    # Limits for a network of one size are no other's: the new engines have the target's own.
    assert not any(changed.engines[engine].budgets for engine in helmets)
    assert changed.budgets_of("meter-yolov8n-int8").frame_p50_ms == 8
    assert (workspace.target("jetson-thor") / "params.yaml").read_bytes() == others
    targets = {path.parts[-3] for path in fleet_files(workspace)}
    assert targets == {"x86-openvino", "jetson-orin-nx"}


def test_a_model_goes_to_more_targets_later(
    tmp_path: Path, workspace: Workspace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(workspace, new(tmp_path, data))
    other = workspace.target("jetson-orin-nx")
    other.mkdir()
    row = (ROOT / "engines/targets/jetson-orin-nx/params.yaml").read_bytes()
    (other / "params.yaml").write_bytes(row)
    model = (workspace.model("helmets") / "model.yaml").read_bytes()
    monkeypatch.chdir(workspace.root)
    words = ["update-model", "helmets", "--target", "jetson-orin-nx"]
    for _ in range(2):
        result = CliRunner().invoke(commands, words)
        assert (result.exit_code, result.output) == (
            0,
            "models/helmets has engines for jetson-orin-nx. Next, on its device: dvc repro "
            "engines/targets/jetson-orin-nx/dvc.yaml\n",
        )
        engines = load_target(workspace, "jetson-orin-nx").engines
        precisions = [one.precision for one in engines.values() if one.model == "helmets"]
        assert precisions == ["fp32", "fp16", "int8"]
    assert {path.parts[-3] for path in fleet_files(workspace)} == {"x86-openvino", other.name}
    assert (workspace.model("helmets") / "model.yaml").read_bytes() == model
    for wrong in (["nobody", "-t", other.name], ["helmets", "-t", "nowhere"]):
        assert CliRunner().invoke(commands, ["update-model", *wrong]).exit_code == 2


# --- add-target --------------------------------------------------------------------------------


def test_every_target_runs_the_one_pipeline() -> None:
    (one,) = {path.read_bytes() for path in (ROOT / "engines/targets").glob("*/dvc.yaml")}
    assert one == (ROOT / "engines/targets/device.dvc.yaml").read_bytes()


def test_a_target_is_a_row_and_a_copy_of_the_pipeline(workspace: Workspace) -> None:
    (workspace.targets / "device.dvc.yaml").write_text("stages: {}\n")
    add_target(workspace, "line-4", "x86-openvino")
    assert load_target(workspace, "line-4").target == "line-4"
    stages = workspace.target("line-4") / "dvc.yaml"
    assert not stages.is_symlink()
    assert stages.read_text() == "stages: {}\n"
    source = workspace.target("x86-openvino") / "params.yaml"
    copy = workspace.target("line-4") / "params.yaml"
    own = source.read_text().replace("\ntarget: x86-openvino", "\ntarget: line-4")
    own = own.replace("fleet_label: x86-openvino", "fleet_label: line-4")
    # The first comment says what the row is about.
    first = "# Target line-4, copied from x86-openvino: x86 machines"
    assert copy.read_text() == own.replace("# Target x86-openvino: x86 machines", first)
    assert copy.read_text().startswith(first)
    files = fleet_files(workspace)
    folders = {path.parent.relative_to(workspace.fleet) for path in files}
    assert folders == {Path("meter-yolov8n", "line-4", ring) for ring in RINGS}
    assert all("device: line-4" in path.read_text() for path in files)


def test_a_target_that_cannot_be_made_leaves_nothing(workspace: Workspace) -> None:
    """Without device.dvc.yaml, which is copied last."""
    before = snapshot(workspace)
    with pytest.raises(FileNotFoundError):
        add_target(workspace, "line-4", "x86-openvino")
    assert snapshot(workspace) == before


def test_a_target_of_a_device_with_runners_has_a_tag_of_its_own(workspace: Workspace) -> None:
    (workspace.targets / "device.dvc.yaml").write_text("stages: {}\n")
    row = workspace.target("x86-openvino") / "params.yaml"
    row.write_text(row.read_text().replace("runner_tag: null", "runner_tag: x86-openvino"))
    add_target(workspace, "line-4", "x86-openvino")
    target = load_target(workspace, "line-4")
    assert (target.runner_tag, target.fleet_label) == ("line-4", "line-4")


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("line-4", "nothing", "one of the targets x86-openvino"),
        ("Line 4", "x86-openvino", "target name"),
        ("x86-openvino", "x86-openvino", "is there already"),
    ],
)
def test_a_bad_target_is_refused(workspace: Workspace, name: str, source: str, said: str) -> None:
    before = snapshot(workspace)
    with pytest.raises(InputError, match=said):
        add_target(workspace, name, source)
    assert snapshot(workspace) == before


def test_edits_keep_yaml_valid(tmp_path: Path, workspace: Workspace, data: Path) -> None:
    add_model(workspace, new(tmp_path, data))
    row = YAML(typ="safe").load((workspace.target("x86-openvino") / "params.yaml").read_text())
    assert row["engines"]["helmets-int8"] == {"model": "helmets", "precision": "int8"}


# --- what a later step would refuse ------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"strides": (8, 16, 32, 64), "imgsz": None}, None),
        ({"strides": (8, 16, 32, 256)}, "multiples of 256 pixels, the largest stride"),
        ({"single_cls": True, "classes": ("item",)}, "trained with single_cls"),
        ({"sha256": "0" * 64}, "it was changed meanwhile"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path,
    workspace: Workspace,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, object],
    said: str | None,
) -> None:
    whole = vars(step.inspect_checkpoint(tmp_path / "best.pt")) | facts
    monkeypatch.setattr(step, "inspect_checkpoint", lambda _: SimpleNamespace(**whole))
    before = snapshot(workspace)
    if said is None:
        add_model(workspace, new(tmp_path, data))
        return
    with pytest.raises(InputError, match=said):
        add_model(workspace, new(tmp_path, data))
    assert snapshot(workspace) == before


def test_line_ends_and_comments_of_params_stay(
    tmp_path: Path, workspace: Workspace, data: Path
) -> None:
    params = workspace.root / "params.yaml"
    params.write_bytes(b"# ours\r\nmodels:\r\n  - meter-yolov8n  # the sample\r\n")
    add_model(workspace, new(tmp_path, data))
    before = b"# ours\r\nmodels:\r\n  - meter-yolov8n  # the sample\r\n"
    assert params.read_bytes() == before + b"  - helmets\r\n"


def test_single_class_maps_every_label(
    tmp_path: Path, workspace: Workspace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = vars(step.inspect_checkpoint(tmp_path / "best.pt"))
    one = SimpleNamespace(**(facts | {"single_cls": True, "classes": ("item",)}))
    monkeypatch.setattr(step, "inspect_checkpoint", lambda _: one)
    add_model(workspace, new(tmp_path, data, single_class=True))
    model = load_model(workspace, "helmets")
    assert model.classes == ("item",)
    (evaluation, *_) = load_sets(workspace.model("helmets"), model)["evaluation"]
    assert evaluation.read_labels(1).classes.tolist() == [0]


def test_single_class_wants_one_class(tmp_path: Path, workspace: Workspace, data: Path) -> None:
    before = snapshot(workspace)
    with pytest.raises(InputError, match="know one class for --single-class, got 2"):
        add_model(workspace, new(tmp_path, data, single_class=True))
    assert snapshot(workspace) == before
