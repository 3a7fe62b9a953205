"""pipeline update-model, remove-model and list: nothing by hand, and nothing dangles.

The checkpoint's facts are a stand-in here; tests/integration runs real checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from engines import files
from engines.config.model import load_model
from engines.config.target import load_target
from engines.config.workspace import Workspace, find_workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.files import sha256_file
from pipeline.cli import commands
from pipeline.repository.entries import entries
from pipeline.repository.fleet import fleet_folders
from pipeline.repository.lock import one_at_a_time
from pipeline.steps import update_model as update
from pipeline.steps.add_target import add_target
from pipeline.steps.list_models import list_models
from pipeline.steps.remove_model import remove_model
from pipeline.steps.update_model import Change, update_model
from pipeline.terminal.models import print_models, print_updated
from tests.unit.pipeline.intake.test_dataset import put_image

ROOT = Path(__file__).parents[4]
TARGETS = ("x86-openvino", "jetson-thor")
PRECISIONS = ("fp32", "fp16", "int8")
BOX = "0 0.5 0.5 0.2 0.2\n"
OLD, NEW = b"old weights", b"new weights"
MODEL = """\
# ours
schema: 1
name: helmets
version: '1.9'   # the one of May
task: detect
weights: {{path: weights.pt, sha256: {sha256}}}
imgsz: [384, 640]
classes: [helmet, vest]
data: {{calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with the sample's entries in two targets, and no other model."""
    workspace = Workspace(root=tmp_path / "their repository")
    for target in TARGETS:
        workspace.target(target).mkdir(parents=True)
        row = ROOT / "engines/targets" / target / "params.yaml"
        (workspace.target(target) / "params.yaml").write_bytes(row.read_bytes())
    workspace.models.mkdir()
    (workspace.root / "dvc.yaml").write_text("stages: {}\n")
    (workspace.root / "params.yaml").write_bytes(b"# ours\r\nmodels:\r\n- meter-yolov8n  # it\r\n")
    (workspace.root / "release" / "templates").mkdir(parents=True)
    for file in ("rings.yaml", "templates/fleet.yaml", "templates/release.yaml"):
        (workspace.root / "release" / file).write_bytes((ROOT / "release" / file).read_bytes())
    return workspace


@pytest.fixture
def helmets(workspace: Workspace) -> Workspace:
    """The same with a model of two classes, its engines built and one a candidate."""
    folder = workspace.model("helmets")
    folder.mkdir()
    (folder / "weights.pt").write_bytes(OLD)
    (folder / "model.yaml").write_text(MODEL.format(sha256=hashlib.sha256(OLD).hexdigest()))
    lay_out(workspace, "helmets")
    return workspace


def lay_out(workspace: Workspace, model: str) -> None:
    """All that other commands leave of a model outside its folder."""
    targets = [load_target(workspace, one) for one in TARGETS]
    with entries(workspace, model, TARGETS), fleet_folders(workspace, [model], targets):
        pass
    lock(workspace.root / "dvc.lock", [f"export@{model}", f"quantize@{model}"])
    for target in TARGETS:
        engines = [f"{model}-{precision}" for precision in PRECISIONS]
        stages = [f"{step}@{engine}" for step in ("build", "gate") for engine in engines]
        lock(workspace.target(target) / "dvc.lock", stages)
        for engine in engines:
            place = workspace.engine(target, engine)
            for file in (place.path / "engine.blob", place.summary, place.latency_table):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("x")
        candidates = workspace.records / "candidates" / f"{target}.json"
        candidates.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(candidates.read_text()) if candidates.is_file() else CANDIDATES
        before["candidates"][model] = {"release": "v1", "engine": f"{model}-fp16", "reason": "ü"}
        before["skipped"][f"{model}-int8"] = "FAIL"
        candidates.write_text(json.dumps(before, indent=2, ensure_ascii=False) + "\n")


CANDIDATES: dict[str, Any] = {"schema": 1, "target": "t", "candidates": {}, "skipped": {}}


def lock(path: Path, stages: list[str]) -> None:
    """As DVC writes it: lists flush left."""
    head = "" if path.is_file() else "schema: '2.0'\nstages:\n"
    rows = "".join(
        f"  {one}:\n    cmd: c\n    deps:\n    - path: d\n      md5: 1e{index}\n      size: 5\n"
        for index, one in enumerate(stages)
    )
    with path.open("a") as file:
        file.write(head + rows)


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands in for a checkpoint, with its facts."""
    path = tmp_path / "best.pt"
    path.write_bytes(NEW)

    def facts(path: Path) -> SimpleNamespace:
        return SimpleNamespace(
            strides=(8, 16, 32),
            classes=("helmet", "vest"),
            sha256=sha256_file(path),
            imgsz=(640, 640),
            single_cls=False,
            left_out=(),
        )

    monkeypatch.setattr(update, "inspect_checkpoint", facts)
    return path


def snapshot(workspace: Workspace) -> dict[str, bytes | None]:
    found = (path for path in workspace.root.rglob("*") if not path.name.endswith(".lock"))
    locks = workspace.root.rglob("dvc.lock")
    return {
        str(path.relative_to(workspace.root)): path.read_bytes() if path.is_file() else None
        for path in (*found, *locks)
    }


# --- entries -----------------------------------------------------------------------------------


def test_both_sides_of_a_merge_are_right_together(workspace: Workspace, tmp_path: Path) -> None:
    """Two people bring a model each: in each file it is enough to keep what git shows of both."""
    files = [workspace.root / "params.yaml", workspace.target(TARGETS[0]) / "params.yaml"]
    before = [file.read_bytes() for file in files]
    sides: list[list[bytes]] = []
    for model in ("pumps", "valves"):
        with entries(workspace, model, TARGETS[:1]):
            pass
        sides.append([file.read_bytes() for file in files])
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)
    for file, base, ours, theirs in zip(files, before, *sides, strict=True):
        versions = [tmp_path / name for name in ("ours", "base", "theirs")]
        for path, content in zip(versions, (ours, base, theirs), strict=True):
            path.write_bytes(content)
        merge = ["git", "merge-file", "-p", *map(str, versions)]
        merged = subprocess.run(merge, capture_output=True, check=False).stdout
        lines = merged.splitlines(keepends=True)
        kept = [one for one in lines if one[:7] not in (b"<<<<<<<", b"=======", b">>>>>>>")]
        assert len(kept) == len(lines) - 3
        file.write_bytes(b"".join(kept))
    assert load_yaml(files[0])["models"] == ["meter-yolov8n", "pumps", "valves"]
    engines = load_target(workspace, TARGETS[0]).engines
    for model in ("pumps", "valves"):
        assert [engines[f"{model}-{one}"].precision for one in PRECISIONS] == [*PRECISIONS]


LISTS = {"params.yaml", "dvc.lock", *(f"{target}.json" for target in TARGETS)}
"""What is written anew, a few lines each."""

# --- remove-model ------------------------------------------------------------------------------


def test_a_removed_model_leaves_no_trace(workspace: Workspace) -> None:
    lay_out(workspace, "meter-yolov8n")
    before = snapshot(workspace)
    test_model = workspace.model("helmets")
    test_model.mkdir()
    lay_out(workspace, "helmets")
    assert snapshot(workspace) != before
    remove_model(workspace, "helmets", force=False)
    assert snapshot(workspace) == before


def test_who_has_a_removed_model_is_said(
    helmets: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpacked archive has no git, which was said to keep the only copy."""
    monkeypatch.chdir(helmets.root)
    without = CliRunner().invoke(commands, ["remove-model", "meter-yolov8n"])
    for words in ("init --quiet", "add models"):
        subprocess.run(["git", *words.split()], cwd=helmets.root, check=True)
    added = CliRunner().invoke(commands, ["remove-model", "helmets"])
    assert "Git shows nothing of it here: unless a commit has it, only what" in without.stdout
    assert "Git and DVC's cache keep what they had of it." in added.stdout


def test_the_last_model_leaves_files_that_are_read(helmets: Workspace) -> None:
    remove_model(helmets, "helmets", force=False)
    remove_model(helmets, "meter-yolov8n", force=False)
    assert (helmets.root / "params.yaml").read_bytes() == b"# ours\r\nmodels: []\r\n"
    assert all(load_target(helmets, target).engines == {} for target in TARGETS)
    assert not list(helmets.root.rglob("dvc.lock"))
    assert list_models(helmets) == []
    helmets.models.rmdir()  # as in a fresh clone: git keeps no empty folder
    assert find_workspace(helmets.targets) == helmets


def test_a_model_that_a_ring_runs_is_kept(helmets: Workspace) -> None:
    release = helmets.ring("helmets", "jetson-thor", "pilot") / "release.yaml"
    release.write_text("image: {tag: v1.0-jetson-thor-fp16-0123456789ab}\n")
    before = snapshot(helmets)
    with pytest.raises(InputError, match=r"jetson-thor/pilot: its clusters would lose it.*--force"):
        remove_model(helmets, "helmets", force=False)
    assert snapshot(helmets) == before
    remove_model(helmets, "helmets", force=True)
    assert not (helmets.fleet / "helmets").exists()


@pytest.mark.parametrize("name", ["nothing", "..", "../engines", "", ".", "helmets/"])
def test_an_unknown_model_is_refused(helmets: Workspace, name: str) -> None:
    before = snapshot(helmets)
    with pytest.raises(InputError, match="Expected one of the models helmets"):
        remove_model(helmets, name, force=True)
    assert snapshot(helmets) == before


def test_a_row_that_cannot_be_edited_stops_it_before_anything(helmets: Workspace) -> None:
    row = helmets.target("x86-openvino") / "params.yaml"
    row.write_text(row.read_text() + "x: [\n")
    before = snapshot(helmets)
    with pytest.raises(InputError, match=r"x86-openvino/params\.yaml is not YAML"):
        remove_model(helmets, "helmets", force=False)
    assert snapshot(helmets) == before


MARKS = "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: 2\n>>>>>>> theirs\n"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("dvc.lock", MARKS, "both sides of a merge"),
        ("engines/targets/x86-openvino/dvc.lock", MARKS, "both sides of a merge"),
        ("engines/targets/x86-openvino/dvc.lock", "a: [\n", "is not YAML"),
        ("release/records/candidates/x86-openvino.json", MARKS, "both sides of a merge"),
        ("release/records/candidates/x86-openvino.json", "[]\n", "git checkout -- {path}`"),
    ],
)
def test_what_commands_keep_and_cannot_be_read_stops_it_before_anything(
    helmets: Workspace, file: str, text: str, said: str
) -> None:
    path = helmets.root / file
    path.write_text(text)
    before = snapshot(helmets)
    with pytest.raises(InputError, match=re.escape(said.format(path=shlex.quote(str(path))))):
        remove_model(helmets, "helmets", force=False)
    assert snapshot(helmets) == before


def test_killed_at_any_step_a_rerun_completes(
    helmets: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    while killed(monkeypatch, 1, lambda: remove_model(helmets, "helmets", force=False)):
        runs += 1  # each gets one change further
        assert runs < 100
    assert runs > 20
    assert "helmets" not in [one.name for one in list_models(helmets)]
    assert not [path for path in snapshot(helmets) if "helmets" in path]
    assert not [one for one in snapshot(helmets).values() if one and b"helmets" in one]


def test_killed_while_it_deletes_nothing_lies_hidden(
    helmets: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hidden folder as large as a data set stayed, until something was written beside it."""
    data = helmets.model("helmets") / "data" / "evaluation"
    data.mkdir(parents=True)
    for number in range(3):
        (data / f"{number}.jpg").write_text("x")
    # As kill -9 leaves them: nothing is tidied up by a process that is gone.
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    lists = set()
    while killed(monkeypatch, 1, lambda: remove_model(helmets, "helmets", force=False)):
        hidden = [path for path in helmets.root.rglob(".jetrail-*/**/*") if path.is_file()]
        assert {path.name for path in hidden} <= LISTS
        lists.update(problem for one in list_models(helmets) for problem in one.problems)
    assert not helmets.model("helmets").exists()
    assert any("Remove them with `pipeline remove-model helmets`" in one for one in lists)


def killed(monkeypatch: pytest.MonkeyPatch, allowed: int, command: Callable[[], None]) -> bool:
    """Run a command that is killed before the change after `allowed` ones; whether it was."""
    left = [allowed]
    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "unlink"):
            patch.setattr(Path, name, _counted(getattr(Path, name), left))
        patch.setattr(files, "_exchange", _counted(files._exchange, left))
        try:
            command()
        except KeyboardInterrupt:
            return True
        return False


def _counted(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def change(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.exists():
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        return real(path, *args, **kwargs)

    return change


# --- update-model ------------------------------------------------------------------------------


def test_new_weights_under_the_next_version(helmets: Workspace, checkpoint: Path) -> None:
    path = helmets.model("helmets") / "model.yaml"
    before = path.read_text()
    update_model(helmets, "helmets", Change(checkpoint))
    old, new = (hashlib.sha256(one).hexdigest() for one in (OLD, NEW))
    assert path.read_text() == before.replace("'1.9'", "'1.10'").replace(old, new)
    assert (helmets.model("helmets") / "weights.pt").read_bytes() == NEW
    model = load_model(helmets, "helmets")
    assert (model.version, model.weights.sha256) == ("1.10", new)


def test_what_is_next_after_new_weights(
    helmets: Workspace, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_updated("helmets", *update_model(helmets, "helmets", Change(checkpoint)))
    said = capsys.readouterr().out
    assert "trained at 640 x 640 pixels and will run at 384 x 640" in said
    assert "\nNext: dvc repro, then dvc metrics diff\n" in said


def test_the_same_weights_again_change_nothing(
    helmets: Workspace, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best.pt of the training before, where the newest wrote another folder: that is said, and
    not that `dvc repro` comes next."""
    update_model(helmets, "helmets", Change(checkpoint, version="2.0"))
    before = snapshot(helmets)
    print_updated("helmets", *update_model(helmets, "helmets", Change(checkpoint)))
    assert snapshot(helmets) == before
    said = capsys.readouterr().out
    assert "so nothing has changed" in said
    assert "Next" not in said


@pytest.mark.parametrize("version", ["1.10", "1.9.1", "2", "10.0.0"])
def test_a_version_above_the_present_one(
    helmets: Workspace, checkpoint: Path, version: str
) -> None:
    update_model(helmets, "helmets", Change(checkpoint, version=version))
    assert load_model(helmets, "helmets").version == version


def test_a_mistyped_version_is_put_right(helmets: Workspace, checkpoint: Path) -> None:
    update_model(helmets, "helmets", Change(checkpoint, version="20"))
    update_model(helmets, "helmets", Change(checkpoint, version="2.0"))
    assert load_model(helmets, "helmets").version == "2.0"


@pytest.mark.parametrize(
    ("name", "weights", "version", "said"),
    [
        ("helmets", "best.pt", "1.9", "a --version above 1.9.*got 1.9. Take 1.10"),
        ("helmets", "best.pt", "1.9.0", "a --version above 1.9.*got 1.9.0"),
        ("helmets", "best.pt", "1.09", "a --version above 1.9.*got 1.09"),
        ("helmets", "best.pt", "1.8.9", "a --version above 1.9.*got 1.8.9"),
        ("helmets", "best.pt", "0.10", "a --version above 1.9.*got 0.10"),
        ("helmets", "best.pt", "new", "--version as"),
        ("helmets", "best.pt", f"1.{'2' * 15}", "in numbers of at most 14 digits"),
        ("helmets", "nowhere.pt", None, "nowhere.pt, but no file is there"),
        ("vests", "best.pt", None, "one of the models helmets, got 'vests'"),
    ],
)
def test_bad_words_change_nothing(
    helmets: Workspace, tmp_path: Path, name: str, weights: str, version: str | None, said: str
) -> None:
    before = snapshot(helmets)
    with pytest.raises(InputError, match=said):
        update_model(helmets, name, Change(tmp_path / weights, version=version))
    assert snapshot(helmets) == before


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"classes": ("vest", "helmet")}, "class 0 is 'vest' against 'helmet'.*add-model"),
        ({"classes": ("helmet",)}, "1 names against 2"),
        ({"strides": (8, 16, 256)}, "multiples of 256 pixels"),
        ({"sha256": "0" * 64}, "it was changed meanwhile"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(
    helmets: Workspace,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, object],
    said: str,
) -> None:
    whole = vars(update.inspect_checkpoint(checkpoint)) | facts
    monkeypatch.setattr(update, "inspect_checkpoint", lambda _: SimpleNamespace(**whole))
    before = snapshot(helmets)
    with pytest.raises(InputError, match=said):
        update_model(helmets, "helmets", Change(checkpoint))
    assert snapshot(helmets) == before


def test_an_update_killed_at_any_step_is_completed(
    helmets: Workspace, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for allowed in (0, 1):
        assert killed(
            monkeypatch, allowed, lambda: update_model(helmets, "helmets", Change(checkpoint))
        )
    update_model(helmets, "helmets", Change(checkpoint))
    model = load_model(helmets, "helmets")
    assert (model.version, model.weights.sha256) == ("1.10", sha256_file(checkpoint))


@pytest.mark.parametrize("there", [True, False])
def test_weights_that_dvc_does_not_take_change_nothing(
    helmets: Workspace, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Another of its commands has its lock, or its files hold marks of a merge."""
    refused = InputError("Unable to acquire lock")

    def add(_: Path, paths: list[Path]) -> None:
        assert paths[0].read_bytes() == NEW
        raise refused

    monkeypatch.setattr(update, "dvc_add", add)
    weights = helmets.model("helmets") / "weights.pt"
    weights.with_name("weights.pt.dvc").write_text("outs: []\n")
    if not there:
        weights.unlink()  # a clone that never pulled
    before = snapshot(helmets)
    with pytest.raises(InputError, match="acquire lock"):
        update_model(helmets, "helmets", Change(checkpoint))
    assert snapshot(helmets) == before


def test_new_weights_leave_to_dvc_the_data_that_stay(
    helmets: Workspace, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone whose data were older than its data.dvc, or never pulled, those took the place of
    a colleague's, or were missed."""
    for name in ("weights.pt", "data"):
        (helmets.model("helmets") / f"{name}.dvc").write_text("outs: []\n")
    added: list[str] = []
    monkeypatch.setattr(update, "dvc_add", lambda _, paths: added.extend(one.name for one in paths))
    update_model(helmets, "helmets", Change(checkpoint))
    assert added == ["weights.pt"]


def test_ctrl_c_while_dvc_adds_waits_until_the_new_weights_are_kept(
    helmets: Workspace,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[bytes] = []

    def add(_: Path, paths: list[Path]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # another thread may take it, and hand it on
        kept.append(paths[0].read_bytes())

    monkeypatch.setattr(update, "dvc_add", add)
    (helmets.model("helmets") / "weights.pt.dvc").write_text("outs: []\n")
    with pytest.raises(KeyboardInterrupt):
        update_model(helmets, "helmets", Change(checkpoint))
    assert kept == [NEW]
    assert "too late to end this command: the model is updated" in capsys.readouterr().err
    assert load_model(helmets, "helmets").weights.sha256 == sha256_file(checkpoint)


# --- update-model: data ------------------------------------------------------------------------


@pytest.fixture
def data(helmets: Workspace, tmp_path: Path) -> Path:
    """A data.yaml of the model's classes; the model has three sets and a file of people's."""
    for name in ("calibration", "tuning", "evaluation"):
        put_image(helmets.model("helmets") / "data" / name, f"old-{name}.png", 1, BOX)
    (helmets.model("helmets") / "data" / "where from.txt").write_text("camera 7")
    (helmets.model("helmets") / "data" / "videos").symlink_to("/nowhere/videos")
    for place in ("train/a", "train/b", "val/c"):
        put_image(tmp_path / "new", f"{place}.png", ord(place[-1]), BOX)
    path = tmp_path / "new" / "data.yaml"
    path.write_text("names: [helmet, vest]\ntrain: images/train\nval: images/val\n")
    return path


def pictures(workspace: Workspace) -> set[str]:
    folder = workspace.model("helmets") / "data"
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*.png")}


@pytest.mark.parametrize("weights", [True, False])
def test_new_data_under_the_next_version(
    helmets: Workspace,
    checkpoint: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    weights: bool,
) -> None:
    before = load_model(helmets, "helmets").weights.sha256
    new = Change(checkpoint if weights else None, data)
    print_updated("helmets", *update_model(helmets, "helmets", new))
    model = load_model(helmets, "helmets")
    assert model.version == "1.10"
    assert (model.weights.sha256 == before) == (not weights)
    assert sha256_file(helmets.model("helmets") / "weights.pt") == model.weights.sha256
    assert "evaluation/images/c.png" in pictures(helmets)
    assert len(pictures(helmets)) == 3
    assert (helmets.model("helmets") / "data" / "where from.txt").read_text() == "camera 7"
    assert (helmets.model("helmets") / "data" / "videos").readlink() == Path("/nowhere/videos")
    said = capsys.readouterr().out
    assert re.search(r"evaluation +│ val ", said)
    assert "cannot be compared with that of before" in said
    assert "Its data sets stay" not in said
    print_updated("helmets", *update_model(helmets, "helmets", new))
    assert "the accuracies can be compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "single_class", "weights", "said"),
    [
        ("[vest, helmet]", False, None, "class 0 is 'vest' against 'helmet'.*of the training\\.$"),
        ("[Helm, vest]", False, None, r'into it: `names: \["helmet", "vest"\]`\.$'),
        ("[helmet, vest]", True, None, "to know one class for --single-class"),
        (
            "[helmet, vest]",
            False,
            "gone",
            "but it is not there. Bring it back with `git checkout --",
        ),
        (
            "[helmet, vest]",
            False,
            "another",
            "but it is another. Bring it back with `git checkout --",
        ),
    ],
)
def test_data_that_do_not_fit_change_nothing(
    helmets: Workspace, data: Path, names: str, single_class: bool, weights: str | None, said: str
) -> None:
    data.write_text(f"names: {names}\ntrain: images/train\nval: images/val\n")
    kept = helmets.model("helmets") / "weights.pt"
    if weights == "gone":
        kept.unlink()
    elif weights == "another":
        kept.write_bytes(NEW)
    before = snapshot(helmets)
    with pytest.raises(InputError, match=said):
        update_model(helmets, "helmets", Change(data=data, single_class=single_class))
    assert snapshot(helmets) == before


def test_neither_weights_nor_data(helmets: Workspace) -> None:
    before = snapshot(helmets)
    said = (
        r"new data or both, got neither. Give --weights best.pt.*edit `version` in models/helmets/"
    )
    with pytest.raises(InputError, match=said):
        update_model(helmets, "helmets", Change(version="2.0"))
    assert snapshot(helmets) == before


def test_weights_and_a_target_at_once(
    helmets: Workspace, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(helmets.root)
    words = ["update-model", "helmets", "--weights", str(checkpoint), "--target"]
    before = snapshot(helmets)
    assert CliRunner().invoke(commands, [*words, "nowhere"]).exit_code == 2
    assert snapshot(helmets) == before
    result = CliRunner().invoke(commands, [*words, "jetson-thor"])
    assert "models/helmets has engines for jetson-thor. Next" in result.output
    assert load_model(helmets, "helmets").version == "1.10"


def test_single_class_is_of_data(helmets: Workspace, checkpoint: Path) -> None:
    before = snapshot(helmets)
    with pytest.raises(InputError, match="Expected --data beside --single-class"):
        update_model(helmets, "helmets", Change(checkpoint, single_class=True))
    assert snapshot(helmets) == before


def test_data_whose_other_files_are_not_here_change_nothing(
    helmets: Workspace, checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone that was never pulled: DVC keeps what could not come along."""
    folder = helmets.model("helmets") / "data"
    folder.with_name("data.dvc").touch()
    there = {one.name for one in folder.iterdir()}
    monkeypatch.setattr(update, "kept_in", lambda *_: {*there, "calibration", "notes"})
    before = snapshot(helmets)
    with pytest.raises(InputError, match="notes is not there. Bring it with `pipeline pull`"):
        update_model(helmets, "helmets", Change(checkpoint, data))
    assert snapshot(helmets) == before


def test_data_that_dvc_does_not_take_change_nothing(
    helmets: Workspace, checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have written one of its files by then."""
    for name in ("weights.pt", "data"):
        (helmets.model("helmets") / f"{name}.dvc").write_text("outs: []\n")
    before = snapshot(helmets)

    def add(_: Path, paths: list[Path]) -> None:
        assert [one.name for one in paths] == ["weights.pt", "data"]
        assert "evaluation/images/c.png" in pictures(helmets)
        for one in paths:
            (one.parent / f"{one.name}.dvc").write_text("half")
        raise InputError("Unable to acquire lock")

    monkeypatch.setattr(update, "dvc_add", add)
    with pytest.raises(InputError, match="acquire lock"):
        update_model(helmets, "helmets", Change(checkpoint, data))
    assert snapshot(helmets) == before


def test_new_data_killed_at_any_step_are_completed(
    helmets: Workspace, checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, steps = Change(checkpoint, data), 0
    while killed(monkeypatch, steps, lambda: update_model(helmets, "helmets", new)):
        assert load_model(helmets, "helmets").version == "1.9"
        steps += 1
    assert steps == 4
    assert load_model(helmets, "helmets").version == "1.10"
    assert len(pictures(helmets)) == 3


# --- list --------------------------------------------------------------------------------------


def test_the_list_says_what_a_killed_update_left(helmets: Workspace, checkpoint: Path) -> None:
    def said() -> str:
        (one,) = [one for one in list_models(helmets) if one.name == "helmets"]
        return " ".join(one.problems)

    weights = helmets.model("helmets") / "weights.pt"
    of_dvc = weights.with_name("weights.pt.dvc")
    of_dvc.write_text(f"outs:\n- md5: {md5(OLD)}\n  hash: md5\n  path: weights.pt\n")
    assert said() == ""
    weights.write_bytes(NEW)
    assert "weights.pt is not the file that model.yaml names" in said()
    assert "`pipeline update-model helmets --weights FILE`" in said()
    assert "(`dvc checkout --force models/helmets/weights.pt.dvc`)" in said()
    of_dvc.rename(of_dvc.with_suffix(".aside"))  # as of a model that git keeps
    assert "(`git checkout -- models/helmets/weights.pt`)" in said()
    of_dvc.with_suffix(".aside").rename(of_dvc)
    model = helmets.model("helmets") / "model.yaml"
    model.write_text(MODEL.format(sha256=sha256_file(checkpoint)))
    assert "DVC keeps other weights than models/helmets/weights.pt. Run `dvc add" in said()
    for written in ("", "outs: []\n", "outs: [3]\n", f"outs:\n- md5: {md5(OLD)}\n"):
        of_dvc.write_text(written)  # of an older DVC, or of none
        assert said() == ""
    weights.unlink()  # in a clone before `pipeline pull`
    assert said() == ""


def test_the_list_says_where_its_commands_are_run(
    helmets: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (helmets.root / "dvc.yaml").touch()
    (helmets.model("helmets") / "weights.pt").write_bytes(NEW)
    there = f"The commands are to be run in {helmets.root.resolve()}.\n"
    for place, times in ((helmets.root, 0), (helmets.models, 1)):
        monkeypatch.chdir(place)
        result = CliRunner().invoke(commands, ["list"])
        assert "`git checkout -- models/helmets/weights.pt`" in result.stdout
        assert result.stdout.count(there) == times


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_the_list_says_what_there_is(helmets: Workspace) -> None:
    release = helmets.ring("helmets", "jetson-thor", "pilot") / "release.yaml"
    release.write_text("image: {tag: v1.0-jetson-thor-fp16-0123456789ab}\n")
    text = StringIO()
    print_models(list_models(helmets), Console(file=text, width=80))
    assert text.getvalue().splitlines() == [
        "helmets  version 1.9, 384 x 640, 2 class(es)",
        "  jetson-thor   fp32 -  fp16 -  int8 -",
        "  x86-openvino  fp32 -  fp16 -  int8 -",
        "  runs in  jetson-thor/pilot",
        "meter-yolov8n",
        "  jetson-thor   fp32 -  fp16 -  int8 -",
        "  x86-openvino  fp32 -  fp16 -  int8 -",
        "  models/meter-yolov8n has no model.yaml, but params.yaml and "
        "engines/targets/jetson-thor/params.yaml and engines/targets/x86-openvino/params.yaml name "
        "it, so `dvc repro` fails. Take it out of everything with `pipeline remove-model "
        "meter-yolov8n`, or bring it back with `git checkout -- models/meter-yolov8n` and "
        "`pipeline pull`.",
    ]


def test_a_model_that_params_does_not_name(helmets: Workspace) -> None:
    params = helmets.root / "params.yaml"
    params.write_text("models: []\n")
    found = {one.name: one.problems for one in list_models(helmets)}
    assert "`models:` of params.yaml does not name it" in found["helmets"][0]


def test_what_git_leaves_of_a_model_that_it_took_back(helmets: Workspace) -> None:
    (helmets.model("valves") / "data").mkdir(parents=True)
    (helmets.model("valves") / "weights.pt").write_bytes(OLD)
    helmets.model("empty").mkdir()
    helmets.model("predictions").mkdir()
    (helmets.model("predictions") / "photo.jpg.png").write_bytes(b"drawn by `predict` there")
    text = StringIO()
    print_models(list_models(helmets), Console(file=text, width=80))
    *_, name, problem = text.getvalue().splitlines()
    assert name == "valves"
    assert "predictions" not in text.getvalue()
    with pytest.raises(InputError, match="got 'predictions'"):
        remove_model(helmets, "predictions", force=True)
    assert "Remove them with `pipeline remove-model valves`" in problem
    remove_model(helmets, "valves", force=False)
    assert "valves" not in {one.name for one in list_models(helmets)}


# --- several at once ---------------------------------------------------------------------------


def test_commands_that_change_models_wait_for_each_other(helmets: Workspace) -> None:
    (helmets.targets / "device.dvc.yaml").write_text("stages: {}\n")
    removed = Thread(target=remove_model, args=(helmets, "helmets"), kwargs={"force": False})
    added = Thread(target=add_target, args=(helmets, "line-4", TARGETS[0]))
    with one_at_a_time(helmets):
        for other in (removed, added):
            other.start()
            other.join(0.5)
            assert other.is_alive()
        assert helmets.model("helmets").is_dir()
        assert not helmets.target("line-4").exists()
    for other in (removed, added):
        other.join(60)
    assert not helmets.model("helmets").exists()
    assert helmets.target("line-4").exists()


def test_the_rows_are_yaml_that_others_read(helmets: Workspace) -> None:
    content = load_yaml(helmets.root / "params.yaml")
    assert content == {"models": ["meter-yolov8n", "helmets"]}
