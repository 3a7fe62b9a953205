"""Bad input through the real commands: a sentence, the right exit code, nothing written.

One row a line of the list in issue 2. What the sentences say in full is tested in tests/unit.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import pipeline.cli
import release.cli
from tests.integration.conftest import CANARY, MODEL, ROW, TARGET, Clone, check_refused, files

pytestmark = pytest.mark.integration

APPS = {"pipeline": pipeline.cli.commands, "release": release.cli.commands}
ENGINE = f"{MODEL}-fp16"
MODEL_YAML = f"models/{MODEL}/model.yaml"
WEIGHTS = f"models/{MODEL}/weights.pt"
DATA = f"models/{MODEL}/data"
OUT = f"engines/targets/{TARGET}/out/{ENGINE}"
EXPORT = ("pipeline", "export", MODEL)
VERIFY = ("pipeline", "verify", MODEL)
QUANTIZE = ("pipeline", "quantize", MODEL)
BUILD = ("pipeline", "build", ENGINE)
EVALUATE = ("pipeline", "evaluate", ENGINE)
BENCHMARK = ("pipeline", "benchmark", ENGINE)
GATE = ("pipeline", "gate", ENGINE)
PUBLISH = ("release", "publish", "--target", TARGET)

Spoil = Callable[[Clone], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is spoiled, the command that meets it, and a part of what it says."""

    spoil: Spoil
    words: tuple[str, ...]
    said: str
    code: int = 2


# --- ways to spoil a repository ----------------------------------------------------------------


def nothing(clone: Clone) -> None:
    """Leave it as it is: the command itself is wrong."""


def gone(file: str) -> Spoil:
    return lambda clone: (clone.root / file).unlink()


def cut(file: str, keep: float = 0.5) -> Spoil:
    def spoil(clone: Clone) -> None:
        path = clone.root / file
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return spoil


def other_byte(file: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        data = bytearray((clone.root / file).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (clone.root / file).write_bytes(data)

    return spoil


def yaml_set(file: str, *keys: str, value: Any) -> Spoil:
    def spoil(clone: Clone) -> None:
        with clone.edited(file) as content:
            for key in keys[:-1]:
                content = content[key]
            content[keys[-1]] = value

    return spoil


def yaml_without(file: str, *keys: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        with clone.edited(file) as content:
            for key in keys[:-1]:
                content = content[key]
            del content[keys[-1]]

    return spoil


def json_set(file: str, *keys: str | int, value: Any) -> Spoil:
    def spoil(clone: Clone) -> None:
        content = here = json.loads((clone.root / file).read_text())
        for key in keys[:-1]:
            here = here[key]
        here[keys[-1]] = value
        (clone.root / file).write_text(json.dumps(content))

    return spoil


def weights(content: Callable[[Clone], bytes]) -> Spoil:
    """Other weights whose sha256 model.yaml knows: what is in them must be found out."""

    def spoil(clone: Clone) -> None:
        data = content(clone)
        (clone.root / WEIGHTS).write_bytes(data)
        with clone.edited(MODEL_YAML) as model:
            model["weights"]["sha256"] = hashlib.sha256(data).hexdigest()

    return spoil


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


def malicious(clone: Clone) -> bytes:
    """The sample's checkpoint with another pickle in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(clone.root / WEIGHTS) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            evil = name.endswith("/data.pkl")
            marker = clone.root / "the-pickle-ran"
            new.writestr(name, pickle.dumps({"model": Evil(marker)}, 2) if evil else old.read(name))
    return made.getvalue()


def of_task(task: str) -> Callable[[Clone], bytes]:
    """A checkpoint of an untrained network for another task, as Ultralytics saves it."""

    def make(clone: Clone) -> bytes:
        import torch
        from ultralytics.nn import tasks

        kinds = {
            "seg": tasks.SegmentationModel,
            "pose": tasks.PoseModel,
            "cls": tasks.ClassificationModel,
        }
        network = kinds[task](f"yolov8n-{task}.yaml", verbose=False)
        made = io.BytesIO()
        torch.save({"model": network.half(), "ema": None, "train_args": {}}, made)
        return made.getvalue()

    return make


def empty_set(purpose: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        for image in (clone.root / DATA / purpose / "images").iterdir():
            image.unlink()

    return spoil


def first(clone: Clone, purpose: str, kind: str) -> Path:
    return min((clone.root / DATA / purpose / kind).iterdir())


def unreadable(purpose: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        first(clone, purpose, "images").write_bytes(b"\xff\xd8 no JPEG")

    return spoil


def turned(purpose: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        path = first(clone, purpose, "images")
        cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_180))

    return spoil


def mislabelled(purpose: str, line: str) -> Spoil:
    def spoil(clone: Clone) -> None:
        first(clone, purpose, "labels").write_text(line)

    return spoil


def overlapping(clone: Clone) -> None:
    source = first(clone, "evaluation", "images")
    shutil.copyfile(source, clone.root / DATA / "calibration" / "images" / "another-name.jpg")


def external_data(clone: Clone) -> None:
    """Let the first tensor of the fp32 file take its values from outside the file's folder."""
    import onnx

    path = clone.workspace.model_out(MODEL) / "model.fp32.onnx"
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    size = np.prod(tensor.dims) * 4
    (clone.root / "secret").write_bytes(bytes(int(size)))
    onnx.external_data_helper.set_external_data(tensor, location="../../../secret")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())


def foreign_engine(clone: Clone) -> None:
    """The engine of another precision under this one's manifest."""
    other = clone.out / f"{MODEL}-int8" / "engine.blob"
    shutil.copyfile(other, clone.root / OUT / "engine.blob")


def damaged_release(clone: Clone) -> None:
    (clone.root / CANARY).write_text("a: [b\n")


def older_records(clone: Clone) -> None:
    (clone.root / "release" / "published").mkdir()


def unknown_precision(clone: Clone) -> None:
    with clone.edited(ROW) as row:
        row["engines"][f"{MODEL}-int4"] = {"model": MODEL, "precision": "int4"}


# --- the list ----------------------------------------------------------------------------------

CASES = {
    "weights missing": Case(spoil=gone(WEIGHTS), words=EXPORT, said="no such file"),
    "weights truncated": Case(
        spoil=weights(lambda clone: (clone.root / WEIGHTS).read_bytes()[:100_000]),
        words=EXPORT,
        said="truncated or damaged",
    ),
    "weights not a pickle": Case(
        spoil=weights(lambda _: b"These are not weights."), words=EXPORT, said="a file that starts"
    ),
    "malicious pickle": Case(spoil=weights(malicious), words=EXPORT, said="exec"),
    "malicious pickle in verify": Case(spoil=weights(malicious), words=VERIFY, said="made from"),
    "segment checkpoint": Case(
        spoil=weights(of_task("seg")), words=EXPORT, said="got one for segment"
    ),
    "pose checkpoint": Case(spoil=weights(of_task("pose")), words=EXPORT, said="one for pose"),
    "classify checkpoint": Case(
        spoil=weights(of_task("cls")), words=EXPORT, said="got one for classify"
    ),
    "sha256 mismatch": Case(spoil=other_byte(WEIGHTS), words=EXPORT, said="with sha256"),
    "unknown key": Case(
        spoil=yaml_set(MODEL_YAML, "colour", value="red"),
        words=EXPORT,
        said="colour: There is no such key",
    ),
    "missing key": Case(
        spoil=yaml_without(MODEL_YAML, "imgsz"), words=VERIFY, said="imgsz: Field required"
    ),
    "imgsz": Case(
        spoil=yaml_set(MODEL_YAML, "imgsz", value=[150, 160]), words=EXPORT, said="multiples of 32"
    ),
    "no calibration images": Case(
        spoil=empty_set("calibration"), words=QUANTIZE, said="never replaced by random data"
    ),
    "no evaluation images to measure": Case(
        spoil=empty_set("evaluation"), words=BENCHMARK, said="evaluation set, got none"
    ),
    "unreadable image in quantize": Case(
        spoil=unreadable("calibration"), words=QUANTIZE, said="an image that OpenCV can read"
    ),
    "unreadable image in evaluate": Case(
        # Known by content before it is decoded; verify then says that it is damaged.
        spoil=unreadable("evaluation"),
        words=EVALUATE,
        said=f"Run `pipeline verify {MODEL}` again",
    ),
    "image that was turned after verify": Case(
        spoil=turned("evaluation"), words=EVALUATE, said=f"Run `pipeline verify {MODEL}` again"
    ),
    "label that was changed after verify": Case(
        spoil=mislabelled("evaluation", "1 0.5 0.5 0.1 0.1\n"),
        words=EVALUATE,
        said="pictures of it differ now: 1 with other labels",
    ),
    "set that was changed after quantize": Case(
        spoil=turned("calibration"), words=EVALUATE, said=f"Run `pipeline quantize {MODEL}` again"
    ),
    "unreadable image in benchmark": Case(
        spoil=unreadable("evaluation"), words=BENCHMARK, said="an image that OpenCV can read"
    ),
    "label of an unknown class": Case(
        spoil=mislabelled("evaluation", "10 0.5 0.5 0.1 0.1\n"),
        words=VERIFY,
        said="expected a class from 0 to 9",
    ),
    "label outside the image": Case(
        spoil=mislabelled("tuning", "1 0.5 1.5 0.1 0.1\n"), words=QUANTIZE, said="from 0 to 1"
    ),
    "label that is no numbers": Case(
        spoil=mislabelled("evaluation", "digit at the left\n"), words=EVALUATE, said="five numbers"
    ),
    "calibration overlaps evaluation": Case(spoil=overlapping, words=QUANTIZE, said="disjoint"),
    "external data elsewhere": Case(
        spoil=external_data, words=VERIFY, said="outside the file's folder"
    ),
    "external data elsewhere in build": Case(
        spoil=external_data,
        words=("pipeline", "build", f"{MODEL}-fp32"),
        said="some from another file (external data)",
    ),
    "unknown precision": Case(spoil=unknown_precision, words=BUILD, said="'fp32', 'fp16' or"),
    "unknown backend": Case(
        spoil=yaml_set(ROW, "backend", value="tvm"), words=BUILD, said="got 'tvm'"
    ),
    "unknown target": Case(
        spoil=nothing, words=(*BUILD, "--target", "toaster"), said="got 'toaster'"
    ),
    "unknown target of a release": Case(
        spoil=nothing, words=("release", "publish", "--target", "toaster"), said="got 'toaster'"
    ),
    "unknown model": Case(
        spoil=nothing, words=("pipeline", "export", "toaster"), said="got 'toaster'"
    ),
    "unknown engine": Case(
        spoil=nothing, words=("pipeline", "gate", "toaster-fp16"), said="got 'toaster-fp16'"
    ),
    "negative budget": Case(
        spoil=yaml_set(ROW, "budgets", "frame_p50_ms", value=-1), words=GATE, said="frame_p50_ms"
    ),
    "missing budget": Case(
        spoil=yaml_without(ROW, "budgets", "memory_peak_mib"),
        words=GATE,
        said="memory_peak_mib: Field required",
    ),
    "negative quantize budget": Case(
        spoil=yaml_set("params.yaml", "quantize", "max_map50_95_drop", value=-0.5),
        words=QUANTIZE,
        said="quantize.max_map50_95_drop",
    ),
    "damaged record": Case(
        spoil=cut(f"{OUT}/benchmark.json"), words=GATE, said="is not what `pipeline benchmark`"
    ),
    "measurement of another engine": Case(
        spoil=json_set(f"{OUT}/evaluation.json", "engine_sha256", value="0" * 64),
        words=GATE,
        said="but it is of 000000000000",
    ),
    "publish an altered engine": Case(
        spoil=other_byte(f"{OUT}/engine.blob"),
        words=PUBLISH,
        said="engine.blob was changed after the engine was judged",
        code=5,
    ),
    "publish a verdict that was edited": Case(
        spoil=json_set(f"{OUT}/verdict.json", "checks", 0, "measured", value=0.5),
        words=PUBLISH,
        said="checks.frame_p99_ms.measured: expected ",
        code=5,
    ),
    "report on figures that were edited": Case(
        spoil=json_set(f"{OUT}/benchmark.json", "frame", "1", "p99_ms", value=0.5),
        words=("pipeline", "report", "--target", TARGET),
        said="benchmark.json was changed after the engine was judged",
        code=5,
    ),
    "damaged release.yaml": Case(
        spoil=damaged_release, words=("release", "status"), said="but that of canary of"
    ),
    "records of an older version": Case(
        spoil=older_records, words=("release", "write"), said="rm -r release/published"
    ),
    # --- another device or engine ---
    "truncated engine": Case(
        spoil=cut(f"{OUT}/engine.blob"), words=EVALUATE, said="engine_bytes: expected", code=5
    ),
    "altered engine": Case(
        spoil=other_byte(f"{OUT}/engine.blob"), words=EVALUATE, said="engine_sha256", code=5
    ),
    "altered engine in benchmark": Case(
        spoil=other_byte(f"{OUT}/engine.blob"), words=BENCHMARK, said="engine_sha256", code=5
    ),
    "foreign engine": Case(spoil=foreign_engine, words=EVALUATE, said="engine_bytes", code=5),
    "engine of another device": Case(
        spoil=json_set(f"{OUT}/manifest.json", "device", "name", value="Another CPU"),
        words=EVALUATE,
        said="device name: expected 'Another CPU'",
        code=5,
    ),
    "engine of another version": Case(
        spoil=json_set(f"{OUT}/manifest.json", "backend_version", value="1.0"),
        words=EVALUATE,
        said="backend_version: it was built with openvino 1.0",
        code=5,
    ),
    "another device": Case(
        spoil=yaml_set(ROW, "device", "architecture", value="aarch64"),
        words=("pipeline", "probe"),
        said="which is not architecture: aarch64",
        code=5,
    ),
    "another device than probed": Case(
        spoil=json_set(f"engines/targets/{TARGET}/out/device.json", "cores", value=99),
        words=BUILD,
        said="cores: expected 99",
        code=5,
    ),
}


@pytest.fixture(scope="session")
def sound(first_run: tuple[Clone, str], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The finished clone without what these commands have no use for."""
    root = tmp_path_factory.mktemp("sound") / "clone"
    unused = shutil.ignore_patterns(".git", "cache", "mlartifacts", "*.py")
    shutil.copytree(first_run[0].root, root, symlinks=True, ignore=unused)
    return Clone(root=root)


@pytest.fixture
def spoiled(sound: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A copy that a test may spoil, as the current folder."""
    root = shutil.copytree(sound.root, tmp_path / "clone", symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Clone(root=root)


def run(words: tuple[str, ...]) -> Result:
    return CliRunner().invoke(APPS[words[0]], list(words[1:]))


@pytest.mark.parametrize("name", CASES)
def test_refused(spoiled: Clone, name: str) -> None:
    case = CASES[name]
    case.spoil(spoiled)
    check_refused(spoiled, lambda: run(case.words), case.code, case.said)


def test_the_sound_repository_is_not_refused(spoiled: Clone) -> None:
    """That it is the spoiling which makes the others fail."""
    for words in (BUILD, EVALUATE, GATE):
        result = run(words)
        # Built again, the engine has other bytes than the one that was measured.
        assert result.exit_code == 0 or "Run `pipeline benchmark" in result.stderr, result.output


# --- add-model ---------------------------------------------------------------------------------

ADDED = {
    "weights missing": ("no.pt", "data.yaml", "160", "no file is there"),
    "weights not a checkpoint": ("data.yaml", "data.yaml", "160", "a file that starts"),
    "data.yaml missing": ("weights.pt", "no.yaml", "160", "no file is there"),
    "imgsz": ("weights.pt", "data.yaml", "150", "multiples of 32"),
    "imgsz that is no number": ("weights.pt", "data.yaml", "wide", "got 'wide'"),
    "other classes": ("weights.pt", "other.yaml", "160", "class 3 is 'three' against '3'"),
}


@pytest.mark.parametrize("name", ADDED)
def test_add_model_refuses(spoiled: Clone, tmp_path: Path, name: str) -> None:
    weights_file, data_file, imgsz, said = ADDED[name]
    shutil.copyfile(spoiled.root / WEIGHTS, tmp_path / "weights.pt")
    names = [str(digit) for digit in range(10)]
    text = f"path: {spoiled.root / DATA}\nval: evaluation/images\nnames: "
    (tmp_path / "data.yaml").write_text(f"{text}{names}\n")
    (tmp_path / "other.yaml").write_text(f"{text}{[*names[:3], 'three', *names[4:]]}\n")
    before = files(spoiled)
    words = ("--weights", str(tmp_path / weights_file), "--data", str(tmp_path / data_file))
    result = run(("pipeline", "add-model", "mine", *words, "--imgsz", imgsz))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert files(spoiled) == before


# --- MLflow ------------------------------------------------------------------------------------


def test_mlflow_down_then_up(spoiled: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(spoiled.workspace.records)
    before = files(spoiled)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        result = run(PUBLISH)
    assert result.exit_code == 6, result.output
    assert "error: Expected MLflow at http://127.0.0.1:9" in result.stderr
    assert files(spoiled) == before
    result = run(PUBLISH)
    assert result.exit_code == 0, result.output
    assert len(list(spoiled.workspace.records.glob("*/publication.json"))) == 3
