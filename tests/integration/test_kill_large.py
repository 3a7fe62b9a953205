"""kill -9 of each command while it writes: an untrained YOLOv8m, whose files are large enough that
the file system itself says when they are half written.

Nothing of the commands is changed for it (as test_kill.py does, which finds every moment), but
where all files of a step are small: those nobody sees half written, least on a busy machine. The
size of a picture decides how long a step computes, and not how much it writes: CI takes 64 x 64,
and `make test-long` 640 x 640.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from factories.killed import SITECUSTOMIZE
from factories.processes import PATIENCE_SECONDS

from engines.backends.loading import check_engine
from engines.config.model import load_model
from engines.config.target import load_target
from engines.errors import InputError, WrongEngine
from engines.files import TEMPORARY_PREFIX, sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from pipeline.onnx.onnx_file import read_onnx
from pipeline.records import Quantize, Verify
from release.packed import ImageRecord
from release.records import Candidates, Publication, candidates_path
from tests.integration.conftest import BIN, MODEL, ROW, TARGET, Clone, make_clone

pytestmark = pytest.mark.integration

NAME = "large"
ENGINE = f"{NAME}-fp16"
MODEL_OUT = f"models/{NAME}/out"
OUT = f"engines/targets/{TARGET}/out/{ENGINE}"
DEVICE = (ENGINE, "--target", TARGET)
PICTURES = 2
MIB = 1 << 20
TRIES = 5
"""Half of a file is there for a moment, which nobody sees now and then."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, when it is killed, and what must hold of its files at any time."""

    words: tuple[str, ...]
    writes: str | None
    """Glob of what is there in the middle of writing, and only then; None: nothing so large."""
    outputs: str
    """The folder in which it leaves nothing else, at last."""
    check: Callable[[Clone], object]
    """Raises where a file is there that is not whole."""
    at: tuple[int, ...] = (1,)
    """Bytes of it that are there when the command is killed, one number a kill; without `writes`
    the moment of `SITECUSTOMIZE`."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands that run through first."""
    undo: tuple[str, ...] = ()
    """Takes back what a kill comes too late for, where the command would not do it again."""
    environment: Mapping[str, str] = field(default_factory=dict)


def whole_model(clone: Clone) -> None:
    """All of the model or nothing, and what names it is not without it."""
    if (folder := clone.workspace.model(NAME)).exists():
        model = load_model(clone.workspace, NAME)
        assert sha256_file(folder / model.weights.path) == model.weights.sha256
    load_target(clone.workspace, TARGET)


def whole_onnx(*precisions: str) -> Callable[[Clone], object]:
    def check(clone: Clone) -> None:
        for precision in precisions:
            path = clone.root / MODEL_OUT / f"model.{precision}.onnx"
            if path.exists():
                read_onnx(path)
        if (record := clone.root / MODEL_OUT / Quantize.file).exists():
            int8 = record.parent / "model.int8.onnx"
            assert Quantize.read(record).int8.sha256 == sha256_file(int8)

    return check


def whole_engine(clone: Clone) -> None:
    """The engine is the manifest's, or loading refuses it."""
    folder = clone.root / OUT
    if (folder / "manifest.json").exists():
        manifest = Manifest.read(folder / "manifest.json")
        with contextlib.suppress(WrongEngine, InputError):
            engine = check_engine(folder, manifest, read_fingerprint())
            assert sha256_file(engine) == manifest.engine_sha256


def whole_record(folder: str, kind: Any) -> Callable[[Clone], object]:
    def check(clone: Clone) -> None:
        if (path := clone.root / folder / kind.file).exists():
            kind.read(path)

    return check


def published(clone: Clone) -> None:
    for record in clone.workspace.records.glob("v*/publication.json"):
        Publication.read(record)
    if (path := candidates_path(clone.workspace, TARGET)).exists():
        Candidates.read(path)


def packed(clone: Clone) -> None:
    """Each blob is what its name says."""
    for record in clone.workspace.records.glob("v*/image.json"):
        ImageRecord.read(record)
    for blob in clone.workspace.images.glob("**/blobs/sha256/[0-9a-f]*"):
        assert sha256_file(blob) == blob.name


def steps(clone: Clone, weights: Path, data: Path, side: int) -> dict[str, Step]:
    """In the order in which a user types them."""
    words = ("--weights", str(weights), "--data", str(data), "--imgsz", str(side))
    return {
        "add-model": Step(
            words=("pipeline", "add-model", NAME, *words),
            writes=f"models/{TEMPORARY_PREFIX}*/{NAME}/weights.pt",
            outputs="models",
            check=whole_model,
            undo=("pipeline", "remove-model", NAME),
        ),
        "export": Step(
            words=("pipeline", "export", NAME),
            writes=f"{MODEL_OUT}/{TEMPORARY_PREFIX}*/model.fp32.onnx",
            outputs=MODEL_OUT,
            check=whole_onnx("fp32"),
        ),
        "verify": Step(
            words=("pipeline", "verify", NAME),
            writes=None,
            outputs=MODEL_OUT,
            check=whole_record(MODEL_OUT, Verify),
        ),
        "quantize": Step(
            words=("pipeline", "quantize", NAME),
            writes=f"{MODEL_OUT}/{TEMPORARY_PREFIX}*/model.*.onnx",
            outputs=MODEL_OUT,
            check=whole_onnx("fp16", "int8"),
        ),
        "build": Step(
            words=("pipeline", "build", *DEVICE),
            writes=f"{OUT}/{TEMPORARY_PREFIX}*/engine.blob",
            outputs=OUT,
            check=whole_engine,
            at=(1, 30 * MIB, 80 * MIB),
            before=(("pipeline", "probe", "--target", TARGET),),
        ),
        "benchmark": Step(
            words=("pipeline", "benchmark", *DEVICE),
            writes=f"tmp/{TEMPORARY_PREFIX}*/plan.json",
            outputs=OUT,
            check=whole_record(OUT, Benchmark),
            environment={"TMPDIR": str(clone.root / "tmp")},
        ),
        "evaluate": Step(
            words=("pipeline", "evaluate", *DEVICE),
            writes=None,
            outputs=OUT,
            check=whole_record(OUT, Evaluation),
        ),
        "gate": Step(
            words=("pipeline", "gate", *DEVICE),
            writes=None,
            outputs=OUT,
            check=whole_record(OUT, Verdict),
        ),
        "publish": Step(
            words=("release", "publish", "--target", TARGET, "--engine", ENGINE),
            writes="mlartifacts/**/engine.blob",
            outputs="release/records",
            check=published,
        ),
        "pack": Step(
            words=("release", "pack", "--target", TARGET),
            writes=f"release/images/**/{TEMPORARY_PREFIX}*/*",
            outputs="release/images",
            check=packed,
            at=(1, 30 * MIB, 80 * MIB),
            before=(("release", "sign", "--target", TARGET),),
        ),
    }


@pytest.mark.parametrize("side", [64, pytest.param(640, marks=pytest.mark.long)])
def test_every_step_killed_while_it_writes(tmp_path: Path, side: int) -> None:
    clone = make_clone(tmp_path / "clone")
    weights, data = make_ready(clone)
    for name, step in steps(clone, weights, data, side).items():
        for words in step.before:
            clone.run(*words)
        for size in step.at:
            kill_while_it_writes(clone, name, step, size)
            step.check(clone)
        age_left_overs(clone)
        clone.run(*step.words, **step.environment)
        step.check(clone)
        assert not [*(clone.root / step.outputs).glob(f"{TEMPORARY_PREFIX}*")], name
    check_released(clone)


def check_released(clone: Clone) -> None:
    """That what came out of all this is one release, with its engine in MLflow and in the image."""
    manifest = Manifest.read(clone.root / OUT / "manifest.json")
    assert check_engine(clone.root / OUT, manifest, read_fingerprint())
    assert set(Candidates.read(candidates_path(clone.workspace, TARGET)).candidates) == {NAME}
    (record,) = clone.workspace.records.glob("v*/publication.json")
    kept = [*(clone.root / "mlartifacts").glob("**/engine.blob")]
    assert {sha256_file(path) for path in kept} == {manifest.engine_sha256}
    assert record.with_name("image.json").is_file()


# --- killing -----------------------------------------------------------------------------------


def kill_while_it_writes(clone: Clone, name: str, step: Step, size: int) -> None:
    """Start the command and kill its group when it has written so many bytes."""
    for _ in range(TRIES):
        if killed(clone, step, size):
            return
        if step.undo:
            clone.run(*step.undo)
    raise AssertionError(f"{name} was through before it could be killed, {TRIES} times")


def killed(clone: Clone, step: Step, size: int) -> bool:
    hook = clone.root.parent / "hook"
    by_itself = {} if step.writes else {"PYTHONPATH": str(hook), "KILL_AT": str(size)}
    old = there(clone, step)
    process = subprocess.Popen(
        [str(BIN / step.words[0]), *step.words[1:]],
        cwd=clone.root,
        env=clone.environment | step.environment | by_itself,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if not step.writes:
        return process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    while process.poll() is None and largest(there(clone, step) - old) < size:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(60) == -signal.SIGKILL


def there(clone: Clone, step: Step) -> set[Path]:
    """What the glob finds, of a folder that changes meanwhile."""
    found = set[Path]()
    with contextlib.suppress(FileNotFoundError):
        found.update(clone.root.glob(step.writes) if step.writes else ())
    return found


def largest(paths: set[Path]) -> int:
    """Bytes of the largest file, where a folder is as good as a byte."""
    sizes = [0]
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            sizes.append(1 if path.is_dir() else path.stat().st_size)
    return max(sizes)


def age_left_overs(clone: Clone) -> None:
    """What killed commands left behind is collected when it is a minute old."""
    for folder in clone.root.glob(f"**/{TEMPORARY_PREFIX}*"):
        os.utime(folder, (0, 0))


# --- a large model -----------------------------------------------------------------------------


def make_ready(clone: Clone) -> tuple[Path, Path]:
    """A checkpoint and data.yaml for `add-model`; what the sample needs is taken away."""
    weights, data = clone.root.parent / "yolov8m.pt", clone.root.parent / "data.yaml"
    save_yolov8m(weights)
    pictures = clone.workspace.model(MODEL) / "data"
    for images in pictures.glob("*/images"):
        for one in sorted(images.iterdir())[PICTURES:]:
            one.unlink()
    names = [str(digit) for digit in range(10)]
    data.write_text(
        f"path: {pictures}\ntrain: calibration/images\nval: evaluation/images\nnames: {names}\n"
    )
    with clone.edited("params.yaml") as params:
        params["models"] = []
        params["quantize"].update(max_float_layers=0, methods=["minmax"])
    with clone.edited(ROW) as row:
        row["engines"] = {}
        row["batch"].update(opt=1, max=1)
        row["benchmark"].update(max_attempts=4)
        row["budgets"].update(engine_size_mib=1024)
    (clone.root / "tmp").mkdir()
    (clone.root.parent / "hook").mkdir()
    (clone.root.parent / "hook" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return weights, data


def save_yolov8m(path: Path) -> None:
    """With the sample's classes; its scores are about a half, so that it can be judged."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(path.parent / "ultralytics"))
    import torch

    torch.manual_seed(0)
    network: Any = import_module("ultralytics.nn.tasks").DetectionModel
    model = network("yolov8m.yaml", nc=10, verbose=False)
    model.names = {index: str(index) for index in range(10)}
    for scores in model.model[-1].cv3:
        scores[-1].bias.data.zero_()
    torch.save({"model": model.half(), "train_args": {"imgsz": 640}}, path)
