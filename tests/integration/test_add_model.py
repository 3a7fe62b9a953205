"""A checkpoint that nobody here made, through `pipeline add-model` and `dvc repro` to the end.

Nothing is edited by hand: the commands alone must be enough.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import pytest

from engines.config.model import load_model
from engines.config.target import load_target
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from pipeline.intake.dataset import load_sets
from release.records import Candidates, candidates_path
from release.rollout.release_yaml import read_values, release_file
from release.tags import parse_tag
from tests.integration.conftest import BIN, MODEL, ROOT, ROW, TARGET, Clone, only_fp16

pytestmark = pytest.mark.integration

NAME = "valves"
CLASSES = ("open", "closed", "it's: stuck")
IMGSZ = (64, 96)
PRECISIONS = ("fp32", "fp16", "int8")
PURPOSES = ("calibration", "tuning", "evaluation")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOv8n with three classes, saved by Ultralytics itself.

    Its scores are pushed to about a half, since nothing can be judged of a model that sees nothing.
    """
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    import torch

    torch.manual_seed(0)
    model: Any = import_module("ultralytics").YOLO("yolov8n.yaml")
    network: Any = import_module("ultralytics.nn.tasks").DetectionModel
    model.model = network("yolov8n.yaml", nc=len(CLASSES), verbose=False)
    model.model.names = dict(enumerate(CLASSES))
    for scores in model.model.model[-1].cv3:
        scores[-1].bias.data.zero_()
    path = tmp_path_factory.mktemp("theirs") / "best of all.pt"
    model.save(str(path))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """24 pictures as Ultralytics wants them, made from the sample's, with labels of our classes."""
    folder = tmp_path / "their data"
    pictures = sorted((ROOT / f"models/{MODEL}/data/evaluation/images").iterdir())
    labelled = [one for one in pictures if label_of(one).read_text().strip()][:24]
    for number, picture in enumerate(labelled):
        split = "val" if number % 3 == 0 else "train"
        image = folder / split / "images" / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.imread(str(picture))
        assert pixels is not None
        assert cv2.imwrite(str(image), pixels[:200])
        label = folder / split / "labels" / f"{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number % 3} 0.5 0.5 0.4 0.3\n0 0.2 0.2 0.1 0.1\n")
    names = "".join(f"  {index}: {json.dumps(name)}\n" for index, name in enumerate(CLASSES))
    path = folder / "data.yaml"
    path.write_text(f"train: train/images\nval: val/images\nnames:\n{names}")
    return path


def label_of(image: Path) -> Path:
    return image.parents[1] / "labels" / f"{image.stem}.txt"


@pytest.fixture
def empty(clone: Clone) -> Clone:
    """A clone without the sample model, so that only the new one takes time."""
    shutil.rmtree(clone.workspace.model(MODEL))
    with clone.edited("params.yaml") as params:
        params["models"] = []
    with clone.edited(ROW) as row:
        row["engines"] = {}
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message=Without a model")
    return clone


def add(clone: Clone, checkpoint: Path, data: Path, track: str) -> None:
    size = ",".join(map(str, IMGSZ))
    words = ("--weights", str(checkpoint), "--data", str(data), "--imgsz", size, "--track", track)
    said = clone.run("pipeline", "add-model", NAME, *words)
    assert "Next: dvc repro" in said


def test_with_dvc_to_the_end(empty: Clone, checkpoint: Path, data: Path) -> None:
    add(empty, checkpoint, data, "dvc")
    model = load_model(empty.workspace, NAME)
    assert (model.classes, model.imgsz) == (CLASSES, IMGSZ)
    sets = load_sets(empty.workspace.model(NAME), model)
    assert {name: len(samples) for name, samples in sets.items()} == {
        "calibration": 8,
        "tuning": 8,
        "evaluation": 8,
    }
    empty.run("git", "add", "--all")
    tracked = empty.run("git", "ls-files", f"models/{NAME}").split()
    names = {Path(file).name for file in tracked}
    assert names == {".gitignore", "data.dvc", "model.yaml", "weights.pt.dvc"}

    ran = empty.repro()
    assert {f"export@{NAME}", f"build@{NAME}-int8", f"gate@{NAME}-fp32", "write"} <= set(ran)
    for precision in PRECISIONS:
        folder = empty.workspace.engine(TARGET, f"{NAME}-{precision}").path
        manifest = Manifest.read(folder / "manifest.json")
        assert (manifest.classes, manifest.imgsz) == (CLASSES, IMGSZ)
        assert manifest.outputs[0].shape == (None, 4 + len(CLASSES), 8 * 12 + 4 * 6 + 2 * 3)
        verdict = Verdict.read(folder / "verdict.json")
        assert verdict.verdict == "PASS"
        # An untrained network has nothing to lose: its drop of nothing is no praise.
        assert any("the drop says nothing" in one for one in verdict.notes)
    chosen = Candidates.read(candidates_path(empty.workspace, TARGET)).candidates
    values = read_values(release_file(empty.workspace, NAME, TARGET, "canary"))
    assert values is not None
    assert parse_tag(values.image.tag).name == chosen[NAME].release
    assert empty.repro() == ["probe"]


def test_with_git(empty: Clone, checkpoint: Path, data: Path) -> None:
    add(empty, checkpoint, data, "git")
    empty.run("git", "add", "--all")
    tracked = empty.run("git", "ls-files", f"models/{NAME}").split()
    assert f"models/{NAME}/weights.pt" in tracked
    assert sum(file.endswith(".png") for file in tracked) == 24


def test_beside_the_sample_model(finished: Clone, checkpoint: Path, data: Path) -> None:
    """What is there already stays as it is, and is not run again."""
    add(finished, checkpoint, data, "git")
    engines = load_target(finished.workspace, TARGET).engines
    assert {row.model for row in engines.values()} == {MODEL, NAME}
    ours = f"engines/targets/{TARGET}/dvc.yaml:gate@{MODEL}-fp16"
    assert sorted(finished.repro(ours, f"export@{NAME}")) == [f"export@{NAME}", "probe"]


def test_another_target(finished: Clone) -> None:
    only_fp16(finished)
    finished.run("pipeline", "add-target", "line-4", "--from", TARGET)
    engine = f"{MODEL}-fp16"
    on_device = [f"{step}@{engine}" for step in ("build", "benchmark", "evaluate", "gate")]
    ran = finished.repro("engines/targets/line-4/dvc.yaml")
    assert sorted(ran) == sorted(["probe", *on_device, "report"])
    folder = finished.workspace.engine("line-4", engine).path
    assert Manifest.read(folder / "manifest.json").target == "line-4"
    assert "Engines of line-4" in finished.run("pipeline", "report", "--target", "line-4")
    finished.run("release", "publish", "--target", "line-4")
    assert f"release/fleet/{MODEL}/line-4/canary/" in finished.run("release", "write")
    folder = finished.workspace.ring(MODEL, "line-4", "canary")
    assert "device: line-4" in (folder / "fleet.yaml").read_text()
    assert read_values(folder / "release.yaml") is not None
    said = finished.run("release", "status")
    assert f"{MODEL} on line-4" in said
    assert f"{MODEL} on {TARGET}" in said
    assert "line-4" not in finished.run("dvc", "repro", "--dry")


def test_updated_then_removed(finished: Clone, checkpoint: Path, data: Path) -> None:
    """Nothing by hand, and afterwards git and DVC see the repository as it was."""
    before = finished.run("git", "status", "--porcelain")
    add(finished, checkpoint, data, "dvc")
    other = checkpoint.with_name("other.pt")
    other.write_bytes(checkpoint.read_bytes())
    finished.run("pipeline", "update-model", NAME, "--weights", str(other), "--data", str(data))
    export = f"engines/targets/{TARGET}/dvc.yaml:gate@{NAME}-fp16"
    ran = finished.repro(export)
    model_side = [f"{step}@{NAME}" for step in ("export", "verify", "quantize")]
    on_device = [f"{step}@{NAME}-fp16" for step in ("build", "benchmark", "evaluate", "gate")]
    assert sorted(ran) == sorted([*model_side, "probe", *on_device])
    folder = finished.workspace.engine(TARGET, f"{NAME}-fp16").path
    assert Manifest.read(folder / "manifest.json").model_version == "1.1"
    assert Verdict.read(folder / "verdict.json").verdict == "PASS"
    assert f"{NAME}  version 1.1" in finished.run("pipeline", "list")
    finished.run("pipeline", "remove-model", NAME)
    assert finished.run("git", "status", "--porcelain") == before
    assert finished.repro() == ["probe"]


# --- at once -------------------------------------------------------------------------------------


def at_once(clone: Clone, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """Run commands of `pipeline` at the same time; how each ended, and what it said of errors."""
    started = [
        subprocess.Popen(
            [str(BIN / "pipeline"), *words],
            cwd=clone.root,
            env=clone.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in commands
    ]
    said = [process.communicate()[1] for process in started]
    return list(zip((process.returncode for process in started), said, strict=True))


def words_of(name: str, checkpoint: Path, data: Path) -> tuple[str, ...]:
    files = ("--weights", str(checkpoint), "--data", str(data))
    return ("add-model", name, *files, "--imgsz", "64,96", "--track", "git")


def test_two_of_one_name_at_once(empty: Clone, checkpoint: Path, data: Path) -> None:
    words = words_of(NAME, checkpoint, data)
    (first, quiet), (second, said) = sorted(at_once(empty, words, words))
    assert (first, second) == (0, 2), quiet + said
    assert f"error: Expected a new model, but {NAME} is there already." in said
    check_models(empty, {NAME})


def test_models_added_and_removed_at_once(clone: Clone, checkpoint: Path, data: Path) -> None:
    added = [words_of(name, checkpoint, data) for name in ("pumps", "valves")]
    target = ("add-target", "line-4", "--from", TARGET)
    ended = at_once(clone, *added, ("remove-model", MODEL), target)
    assert [code for code, _ in ended] == [0, 0, 0, 0], ended
    check_models(clone, {"pumps", "valves"})
    assert not clone.workspace.model(MODEL).exists()


def check_models(clone: Clone, names: set[str]) -> None:
    """Just these models are there, whole, and named everywhere."""
    assert {path.parent.name for path in clone.workspace.models.glob("*/model.yaml")} == names
    with clone.edited("params.yaml") as params:
        assert set(params["models"]) == names
    for name in names:
        model = load_model(clone.workspace, name)
        assert {*load_sets(clone.workspace.model(name), model)} == {*PURPOSES}
        assert (clone.workspace.ring(name, TARGET, "canary") / "fleet.yaml").is_file()
    engines = {f"{name}-{precision}" for name in names for precision in PRECISIONS}
    assert load_target(clone.workspace, TARGET).engines.keys() == engines
