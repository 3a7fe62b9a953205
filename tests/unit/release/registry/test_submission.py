"""What MLflow is told about an engine, and the table that the loaded engine answers with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories.paper import edit, judge_again

from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from engines.detect.pyfunc import COLUMNS, to_table
from engines.errors import InputError
from engines.verdict.judged import load_judged
from release.lineage import dvc_md5
from release.registry.plots import write_plots
from release.registry.submission import Submission, describe

TARGET = "x86-openvino"
ENGINE = "meter-fp16"
ONNX_MD5 = hashlib.md5(b"onnx").hexdigest()
ENGINE_MD5 = hashlib.md5(b"engine in fp16").hexdigest()
LOCK = f"""\
schema: '2.0'
stages:
  build@meter-fp16:
    deps:
    - {{path: ../../../models/meter/out/model.fp16.onnx, md5: {ONNX_MD5}}}
    outs:
    - {{path: out/meter-fp16/engine.blob, hash: md5, md5: {ENGINE_MD5}}}
    - {{path: out/device.json}}
  evaluate@meter-fp16:
    deps:
    - {{path: ../../../models/meter/data/evaluation, md5: 3333.dir, nfiles: 2}}
"""
ROOT_LOCK = """\
schema: '2.0'
stages:
  verify@meter:
    deps:
    - {path: models/meter/data/evaluation, md5: 3333.dir}
  quantize@meter:
    deps:
    - {path: models/meter/data/calibration, md5: 4444.dir}
    - {path: models/meter/data/tuning, md5: 5555.dir}
"""

SETS = {"calibration", "tuning", "evaluation"}


def describe_fp16(workspace: Workspace) -> Submission:
    return describe(workspace, load_judged(workspace, TARGET, ENGINE), print)


def lineage(submission: Submission) -> dict[str, str]:
    """The hashes in the table of the run's description."""
    return dict(re.findall(r"^\| (\S+) \| `(.*)` \|$", submission.descriptions.run, re.MULTILINE))


def test_figures_and_tags(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16", p50_ms=12.0)
    (workspace.target(TARGET) / "dvc.lock").write_text(LOCK)
    (workspace.root / "dvc.lock").write_text(ROOT_LOCK)
    publication = describe_fp16(workspace)
    assert publication.registered_model == "meter.x86-openvino"
    assert publication.metrics["frame_p50_ms"] == 12.0
    first = ["frame_p50_ms", "frame_p99_ms", "throughput_fps", "map50_95", "map50_95_drop"]
    assert list(publication.metrics)[:5] == first  # as the run's page shows them
    assert publication.metrics["frame_batch_4_p99_ms"] == 1000.0
    found = lineage(publication)
    assert {key: value for key, value in found.items() if "dvc." in key} == {
        "dvc.onnx_md5": ONNX_MD5,
        "dvc.engine_md5": ENGINE_MD5,
        "dvc.calibration_md5": "4444.dir",
        "dvc.tuning_md5": "5555.dir",
        "dvc.evaluation_md5": "3333.dir",
    }
    hashes = {"git_commit", "weights_sha256", "onnx_sha256", "engine_sha256"}
    assert hashes < found.keys()
    assert publication.descriptions.run.count("| PASS |") == 8
    # Tags are read by people: all hashes are in the run's description.
    assert not [value for value in publication.tags.values() if "{" in value or len(value) > 64]
    assert publication.tags.keys() == {"verdict", "precision", "engine", "device", "git_commit"}
    assert publication.data_sets["evaluation"] == ("models/meter/data/evaluation", "3333.dir")
    assert publication.thresholds == {
        **{"confidence": 0.25, "iou": 0.7, "max_detections": 300},
        "per_class": {},
    }


def test_figures_of_a_gpu(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    folder = workspace.engine(TARGET, "meter-fp16").path
    edit(folder / "manifest.json", lambda one: one["device"].update(module="Orin NX 16GB"))
    edit(folder / "benchmark.json", lambda one: one.update(energy_per_frame_mj=150.0))
    edit(folder / "benchmark.json", lambda one: one["machine"].update(power_mean_w=12.5))
    judge_again(workspace, ENGINE)
    publication = describe_fp16(workspace)
    assert publication.tags["device"] == "Orin NX 16GB"
    assert publication.metrics["energy_per_frame_mj"] == 150.0
    assert publication.metrics["power_mean_w"] == 12.5
    assert "hot_frame_p99_ms" not in publication.metrics


def test_the_device_is_the_one_that_measured(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    add_engine("fp16")
    folder = workspace.engine(TARGET, "meter-fp16").path
    device = json.loads((folder / "manifest.json").read_text())["device"]
    measured_on = device | {"kind": "dgpu", "gpu": "NVIDIA L4", "compute_capability": "8.9"}
    edit(folder / "benchmark.json", lambda one: one.update(device=measured_on))
    judge_again(workspace, ENGINE)
    submission = describe_fp16(workspace)
    assert submission.tags["device"] == "NVIDIA L4"
    assert "on NVIDIA L4 (8.9), fp16" in submission.descriptions.version("3", None)


def test_a_version_says_how_to_load_just_that_one(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    add_engine("fp16")
    text = describe_fp16(workspace).descriptions.version("7", None)
    assert 'load_model("models:/meter.x86-openvino/7")' in text


def test_fingerprint_follows_the_measurement(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    add_engine("fp16")
    first = describe_fp16(workspace)
    assert describe_fp16(workspace).fingerprint == first.fingerprint
    add_engine("fp16", p50_ms=11.0)
    again = describe_fp16(workspace)
    assert again.fingerprint != first.fingerprint
    assert (again.release, again.params) == (first.release, first.params)


@pytest.mark.parametrize(
    ("content", "remedy"), [(b"another", "dvc repro"), (None, "Bring it .* `pipeline pull")]
)
def test_another_onnx_file(
    workspace: Workspace, add_engine: Callable[..., str], content: bytes | None, remedy: str
) -> None:
    add_engine("fp16")
    path = workspace.model_out("meter") / "model.fp16.onnx"
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"from which meter-fp16 was built.*{remedy}"):
        describe_fp16(workspace)


def test_lock_of_another_build(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    lock = LOCK.replace(ENGINE_MD5, "2" * 32)
    (workspace.target(TARGET) / "dvc.lock").write_text(lock)
    found = lineage(describe_fp16(workspace))
    assert "dvc.engine_md5" not in found
    assert found["dvc.onnx_md5"] == ONNX_MD5


@pytest.mark.parametrize("other", ["evaluation, md5: 6666.dir", "../out/golden.npz, md5: '1'"])
def test_the_model_side_s_lock_is_of_another_run(
    workspace: Workspace, add_engine: Callable[..., str], other: str
) -> None:
    """As where a device's engines were copied and dvc.lock is the commit's. Calibration and tuning
    stand there alone."""
    add_engine("fp16")
    golden = "    - {path: ../../../models/meter/out/golden.npz, md5: '2'}\n"
    (workspace.target(TARGET) / "dvc.lock").write_text(LOCK + golden)
    lock = f"{ROOT_LOCK}  verify@meter: {{deps: [{{path: models/meter/data/{other}}}]}}\n"
    (workspace.root / "dvc.lock").write_text(lock.replace("  verify@meter:\n", "  verify@x:\n"))
    found = lineage(describe_fp16(workspace))
    assert not [name for name in found if name.split("_")[0].removeprefix("dvc.") in SETS]


def test_stages_of_engines_that_are_gone_do_not_count(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    """DVC keeps them in dvc.lock."""
    add_engine("fp16")
    gone = LOCK.partition("stages:\n")[2].replace("meter-fp16:", "meter-int8:")
    gone = gone.replace("3333", "6666")
    (workspace.target(TARGET) / "dvc.lock").write_text(LOCK + gone)
    (workspace.root / "dvc.lock").write_text(ROOT_LOCK)
    found = lineage(describe_fp16(workspace))
    assert found["dvc.evaluation_md5"] == "3333.dir"


def test_file_that_the_lock_names_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages: {a: {outs: [{path: b, md5: '1'}]}}")
    assert dvc_md5(tmp_path / "b", (lock,)) is None


def test_lock_file_that_changes_between_two_questions(tmp_path: Path) -> None:
    file, lock = tmp_path / "b", tmp_path / "dvc.lock"
    file.write_bytes(b"built again")
    md5 = hashlib.md5(b"built again", usedforsecurity=False).hexdigest()
    lock.write_text("stages: {a: {outs: [{path: b, md5: '1'}]}}")
    assert dvc_md5(file, (lock,)) is None
    lock.write_text(f"stages: {{a: {{outs: [{{path: b, md5: '{md5}'}}]}}}}")
    assert dvc_md5(file, (lock,)) == md5


def test_no_lock_file(tmp_path: Path) -> None:
    assert dvc_md5(tmp_path / "a", (tmp_path / "dvc.lock",)) is None


def test_damaged_lock_file(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        dvc_md5(tmp_path / "a", (tmp_path / "dvc.lock",))


@pytest.mark.parametrize(
    "part", ["", "schema: '2.0'\nstages:", "stages:\n  a:", "stages:\n  a:\n    outs:"]
)
def test_a_part_of_a_lock_file(tmp_path: Path, part: str) -> None:
    """DVC writes it in place: on a full disk, a part of it or nothing is left."""
    (tmp_path / "dvc.lock").write_text(part)
    with pytest.raises(InputError, match="the part of one that a full disk leaves.*git checkout"):
        dvc_md5(tmp_path / "a", (tmp_path / "dvc.lock",))


def test_plots(workspace: Workspace, add_engine: Callable[..., str], tmp_path: Path) -> None:
    add_engine("fp16")
    measured = load_judged(workspace, TARGET, ENGINE)
    write_plots(measured.benchmark, measured.evaluation, tmp_path)
    for name in ("latency.png", "accuracy.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_table() -> None:
    found = Detections(
        boxes=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
        confidences=np.array([0.9, 0.5], np.float32),
        classes=np.array([1, 0]),
    )
    table = to_table([found, Detections.empty(), found], ("zero", "one"))
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    assert list(table["image"]) == [0, 0, 2, 2]
    assert list(table["class_name"]) == ["one", "zero"] * 2
    assert list(table["y2"]) == [4, 8, 4, 8]


@pytest.mark.parametrize("images", [0, 2])
def test_empty_table(images: int) -> None:
    table = to_table([Detections.empty()] * images, ("zero",))
    assert len(table) == 0
    assert list(table.columns) == list(COLUMNS)


def test_every_database_takes_the_letters_of_what_it_is_told(
    workspace: Workspace, add_engine: Callable[..., str]
) -> None:
    """Tables of MySQL may be of Latin letters only, and refuse a whole description for one sign."""
    add_engine("fp16", p50_ms=12.0)
    texts = describe_fp16(workspace).descriptions
    assert "| &le; " in texts.run
    assert "| &ge; " in texts.run
    told = (texts.experiment, texts.model, texts.run, texts.version("7", None))
    assert [text for text in told if not text.isascii()] == []
