"""Publishing for real: a built engine, a SQLite store, and an `mlflow server` process."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import built
from factories.built import BOX, SIDE, one_box_network
from factories.paper import edit, judge_again, model_yaml, row_yaml
from factories.processes import PATIENCE_SECONDS, until
from factories.records import source
from standins.registry import free_port

from engines.backends import BuildRequest
from engines.backends.openvino.options import OpenVINOOptions
from engines.config.workspace import Workspace
from engines.detect.detector import Detector
from engines.detect.golden import find_golden, write_golden
from engines.errors import InputError, ServiceError, WrongEngine
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.folder import EngineFolder
from engines.records.manifest import Batch
from pipeline.steps.remove_model import remove_model
from release.moves.aliases import ask, point
from release.moves.by_git import by_git, ever_published
from release.moves.place import Place
from release.records import Candidates, candidates_path, publication_path, read_publication
from release.registry import saved
from release.registry.mlflow import open_store
from release.rollout.release_yaml import read_values, release_file
from release.steps.publish import Published, publish
from release.steps.status import status
from release.steps.write import write

pytestmark = pytest.mark.integration

TARGET = "x86-openvino"
MODEL = "tiny"
NAME = f"{MODEL}.{TARGET}"
CLASSES = ("zero", "one")
BATCH = Batch(min=1, opt=2, max=2)
P50 = {"fp32": 9.0, "fp16": 3.0, "int8": 5.0}
DROPS = {"fp32": 0.0, "fp16": 0.0, "int8": 0.5}
"""Of mAP50-95, so that INT8 fails."""
DISTURBED = {"valid": False, "reasons": ["Others took 21 % of the processors."], "attempts": 1}

PASSWORD = "a long one, 0123456789"

WEIGHTS_MD5 = hashlib.md5(b"weights").hexdigest()
LOCK = f"""\
schema: '2.0'
stages:
  export@tiny:
    cmd: pipeline export tiny
    deps:
    - {{path: models/tiny/weights.pt, hash: md5, md5: {WEIGHTS_MD5}, size: 7}}
    outs:
    - {{path: models/tiny/out/model.fp32.onnx, hash: md5, md5: fedcba9876543210fedcba9876543210}}
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three built and measured engines, in a folder with a space in its name."""
    root = tmp_path_factory.mktemp("template") / "a repository"
    workspace = Workspace(root=root)
    (workspace.model(MODEL) / "out").mkdir(parents=True)
    workspace.target(TARGET).mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "dvc.lock").write_text(LOCK)
    (workspace.model(MODEL) / "weights.pt").write_bytes(b"weights")
    (workspace.model(MODEL) / "model.yaml").write_text(model_yaml(MODEL, SIDE))
    row = row_yaml(*(f"{MODEL}-{precision}" for precision in P50))
    (workspace.target(TARGET) / "params.yaml").write_text(
        row.replace("opt: 4, max: 8", f"opt: {BATCH.opt}, max: {BATCH.max}")
    )
    folder = workspace.ring(MODEL, TARGET, "canary")
    folder.mkdir(parents=True)
    (folder / "fleet.yaml").write_text("helm: {chart: x}  # mine\n")
    workspace.rings_file.write_text("schema: 1\nrings: [{name: canary}, {name: pilot}]\n")
    for number, precision in enumerate(P50):
        _make_engine(workspace, precision, 0.9 + number / 1000)
    # With its tables made, which takes seconds that only some tests want to spend.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with open_store(root):
            return root


@pytest.fixture
def workspace(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "a repository"
    shutil.copytree(template, root)
    return Workspace(root=root)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.stop()


class Server:
    """A real `mlflow server` on a port of the loopback."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self, *options: str, **variables: str) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *options]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"} | variables
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        assert until(self._answers), (self._folder / "log").read_text()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
            return True
        return False

    def pause(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:  # a loaded machine: its workers would live on
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None


# --- one run, one version, one alias -----------------------------------------------------------


def test_publish_load_predict(workspace: Workspace) -> None:
    (workspace.root / "mlflow.db").unlink()
    published = publish(workspace, TARGET, None, _quiet)

    assert [one.engine for one in published.publications] == ["tiny-fp16", "tiny-fp32"]
    assert published.candidates.skipped == {"tiny-int8": "FAIL"}
    candidate = published.candidates.candidates[MODEL]
    assert candidate.engine == "tiny-fp16"

    client = _client(workspace)
    version = client.get_model_version_by_alias(NAME, "candidate")
    assert version.tags["jetrail.tag"] == candidate.release
    record = read_publication(workspace, candidate.release)
    assert record == published.publications[0]
    assert (record.mlflow.run_id, record.mlflow.version) == (version.run_id, int(version.version))
    folder = workspace.engine(TARGET, "tiny-fp16").path
    assert record.judged == {name: sha256_file(folder / name) for name in record.judged}
    assert record.judged.keys() >= {
        "benchmark.json",
        "evaluation.json",
        "golden.npz",
        "manifest.json",
    }
    assert version.tags["git_commit"] == "c" * 40
    assert version.tags["dvc.weights_md5"] == WEIGHTS_MD5
    assert version.tags["device"] == read_fingerprint().name
    assert not [value for value in version.tags.values() if "{" in value]
    assert version.description.startswith(f"### `{candidate.release}`")
    assert "| frame_p99_ms |" in version.description
    assert f'load_model("models:/{NAME}/{version.version}")' in version.description
    assert f"`{MODEL}`" in client.get_registered_model(NAME).description

    run = client.get_run(version.run_id)
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "image tag" in experiment.tags["mlflow.note.content"]
    purposes = {one.tags[0].value: one.dataset.name for one in run.inputs.dataset_inputs}
    assert purposes["evaluation"] == f"{MODEL}-evaluation"
    (model_id,) = [one.model_id for one in run.outputs.model_outputs]
    model = client.get_logged_model(model_id)
    assert model.source_run_id == run.info.run_id
    assert model.tags["mlflow.note.content"] == run.data.tags["mlflow.note.content"]
    # By which the model's page says that it is registered.
    assert json.loads(model.tags["mlflow.modelVersions"]) == [
        {"name": NAME, "version": int(version.version)}
    ]
    ours = {key for key in run.data.tags if not key.startswith("mlflow.")}
    marks = {"jetrail.tag", "jetrail.logged", "jetrail.measurement"}
    about = {"verdict", "precision", "engine", "device", "git_commit", "dvc.weights_md5"}
    assert ours == about | marks
    assert f"| dvc.weights_md5 | `{WEIGHTS_MD5}` |" in run.data.tags["mlflow.note.content"]
    assert published.page == f"#/experiments/{run.info.experiment_id}/runs" + (
        "?workflowType=machine_learning&viewStateShareKey=jetrail"
    )
    columns = json.loads(experiment.tags["mlflow.sharedViewState.jetrail"])["selectedColumns"]
    values = {"metrics": run.data.metrics, "params": run.data.params}
    for kind, name in (one.split(".", 1) for one in columns):
        assert name.strip("`") in values[kind]
    assert run.info.status == "FINISHED"
    assert run.data.params["precision"] == "fp16"
    assert run.data.metrics["frame_p50_ms"] == 3.0
    assert run.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert _artifacts(client, version.run_id) == {
        *("benchmark.json", "engine.blob", "evaluation.json", "golden.npz", "manifest.json"),
        *("model.fp16.onnx", "plots/accuracy.png", "plots/latency.png"),
        *("pytest-benchmark.json", "verdict.json"),
    }

    images = np.full((3, 128, 128, 3), 90, np.uint8)
    table = _load_candidate(workspace).predict(images)
    assert list(table["image"]) == [0, 1, 2]
    assert list(table["class_name"]) == ["one"] * 3
    boxes = table[["x1", "y1", "x2", "y2"]].to_numpy()
    np.testing.assert_allclose(boxes, np.tile(np.array(BOX) * 2, (3, 1)), atol=0.5)
    assert table["confidence"].between(0.85, 0.95).all()


def test_model_has_signature_and_example(workspace: Workspace) -> None:
    publish(workspace, TARGET, None, _quiet)
    model = _load_candidate(workspace)
    assert "class_name" in model.metadata.signature.outputs.input_names()
    assert len(model.predict(model.input_example)) == 1


def test_a_loaded_model_takes_pictures_as_people_have_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    import cv2

    publish(workspace, TARGET, "tiny-fp16", _quiet)
    model = _load_candidate(workspace)
    small, wide = np.full((64, 64, 3), 90, np.uint8), np.full((48, 128, 3), 90, np.uint8)
    files = [tmp_path / "wide.png", tmp_path / "schön.jpg"]
    for file in files:
        cv2.imencode(file.suffix, wide)[1].tofile(file)
    batch = np.stack([small, small])
    for pictures, images in (
        (small, [0]),
        (batch, [0, 1]),
        ([small, wide, str(files[0]), files[1]], [0, 1, 2, 3]),
        (files[1], [0]),
        (str(files[0]), [0]),
        (batch.astype(np.int64), [0, 1]),  # from JSON
        ([], []),
        (batch[:0], []),
    ):
        assert list(model.predict(pictures)["image"]) == images
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for wrong, said in (
        (small.astype(np.float32) / 255, "got float32 of shape (64, 64, 3)"),
        (small[:, :, 0], "got uint8 of shape (64, 64)"),
        ([small, small[:, :, :1]], "picture at 1 of the list"),
        (small.transpose(2, 0, 1), "got uint8 of shape (3, 64, 64)"),
        (small.astype(np.int64) * 100, "got int64"),
        (None, "got a NoneType"),
        ([small.tolist()], "at 0 of the list"),
        (tmp_path / "broken.png", "OpenCV reads none"),
        (str(tmp_path / "no.png"), "No such file"),
        (tmp_path, "Is a directory"),
        ("a\0b", "embedded null"),
        (pd.DataFrame({"a": [1]}), "got a DataFrame"),
    ):
        with pytest.raises(InputError, match=re.escape(said)) as raised:
            model.predict(wrong)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 400


LOAD = """
import sys
import mlflow, numpy as np

model = mlflow.pyfunc.load_model(sys.argv[1])
assert len(model.predict(np.full((1, 64, 64, 3), 90, np.uint8))) == 1
import engines, engines.detect.pyfunc

print(engines.__file__, engines.detect.pyfunc.__file__, sep=chr(10))
"""


@pytest.mark.parametrize("flags", [[], ["-S"]], ids=["installed", "not-installed"])
def test_load_with_and_without_jetrail(
    workspace: Workspace, tmp_path: Path, flags: list[str]
) -> None:
    """`-S` leaves .pth files out, and with them an editable installation of Jetrail."""
    import mlflow

    publish(workspace, TARGET, "tiny-fp16", _quiet)
    folder = tmp_path / "model"
    client = _client(workspace)
    source = client.get_model_version_by_alias(NAME, "candidate").source
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", _uri(workspace))
        mlflow.artifacts.download_artifacts(source, dst_path=str(folder))
    result = subprocess.run(
        [sys.executable, *flags, "-c", LOAD, str(folder)],
        **{"capture_output": True, "text": True, "cwd": tmp_path},
        env=os.environ | {"PYTHONPATH": str(Path(mlflow.__file__).parents[1])},
    )
    assert result.returncode == 0, result.stderr
    code = folder / "code"
    assert all(Path(line).is_relative_to(code) for line in result.stdout.split("\n") if line)
    assert {path.suffix for path in code.rglob("*") if path.is_file()} <= {".py", ".pyc"}
    wanted = (folder / "requirements.txt").read_text().split()
    assert "jetrail" not in "".join(wanted)
    assert all("==" in one for one in wanted)
    assert {one.partition("==")[0] for one in wanted} == {
        *("mlflow", "numpy", "opencv-python-headless", "openvino", "packaging", "pandas"),
        *("pillow", "pydantic"),
    }


def test_twice_makes_nothing_twice(workspace: Workspace) -> None:
    publish(workspace, TARGET, None, _quiet)
    first, state = _files(workspace), _state(workspace)
    publish(workspace, TARGET, None, _quiet)
    assert _files(workspace) == first
    assert _state(workspace) == state


def test_measured_again_is_a_run_of_its_own(workspace: Workspace) -> None:
    first = publish(workspace, TARGET, None, _quiet)
    before = _state(workspace)
    client = _client(workspace)
    run = next(one for one in first.publications if one.engine == "tiny-fp16").mlflow.run_id
    version = client.search_model_versions(f"name = '{NAME}' and run_id = '{run}'")[0]
    _change(workspace, "tiny-fp16", "benchmark.json", frame={"1": _latency(11.0)})
    records = _files(workspace)
    said: list[str] = []
    published = publish(workspace, TARGET, None, said.append)
    assert _candidate(published) == "tiny-fp32"
    changed = {path for path, content in _files(workspace).items() if records[path] != content}
    assert changed == {str(candidates_path(workspace, TARGET))}, "a record never changes"
    assert [one for one in said if "measured again since" in one]
    # What the release was published with, its figures and the files that its hashes name, stays.
    assert client.get_run(run).data.metrics["frame_p50_ms"] == P50["fp16"]
    state = _state(workspace)
    assert state["versions"] == before["versions"]
    assert state["models"] == before["models"]
    after = client.get_model_version(NAME, version.version)
    assert after.description == version.description
    (later,) = [one for one in state["runs"] if one not in before["runs"]]
    assert later[0].endswith(", measured again")
    assert later[1] == "FINISHED"
    assert '"frame_p50_ms": 11.0' in later[2]
    assert client.get_model_version_by_alias(NAME, "candidate").tags["engine"] == "tiny-fp32"

    publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == state, "a measurement is one run"
    # A version that somebody deleted is described by what its run holds, as it was before.
    client.delete_model_version(NAME, version.version)
    publish(workspace, TARGET, None, _quiet)
    anew = client.search_model_versions(f"name = '{NAME}' and run_id = '{run}'")[0]
    loads = f'/{version.version}")', f'/{anew.version}")'
    assert anew.description == version.description.replace(*loads)
    shutil.rmtree(workspace.root / "mlartifacts")
    publish(workspace, TARGET, None, said.append)
    (line,) = [one for one in said if one.startswith("tiny-fp16") and "files" in one]
    assert line.endswith("; its run is without files, which were of the earlier measurement")


@pytest.mark.parametrize("before", ["nothing", "a measurement"])
def test_a_publish_that_broke_off_before_a_new_measurement_leaves_no_run_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    if before == "a measurement":
        publish(workspace, TARGET, "tiny-fp16", _quiet)
        _change(workspace, "tiny-fp16", "benchmark.json", memory_peak_mib=111.0)
    _broken_off(workspace, monkeypatch, "log_artifacts")
    _change(workspace, "tiny-fp16", "benchmark.json", memory_peak_mib=122.0)
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    runs = [(name, status) for name, status, *_ in _state(workspace)["runs"]]
    assert [one for one in runs if one[1] == "RUNNING"] == []
    assert len([one for one in runs if one[1] == "FINISHED"]) == (2 if before != "nothing" else 1)


@pytest.mark.parametrize(("call", "status"), [("log_artifacts", "KILLED"), ("tags", "FINISHED")])
def test_a_publish_that_broke_off_before_a_new_build_leaves_no_run_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, call: str, status: str
) -> None:
    """The run of an engine that there is no more is nobody's to go on with, but what has its
    version is whole. Of other engines, and of people, nothing is touched."""
    call = {"tags": "set_logged_model_tags"}.get(call, call)
    _broken_off(workspace, monkeypatch, call)
    client = _client(workspace)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    (broken,) = client.search_runs([experiment])
    theirs = client.create_run(experiment, tags={"engine": "tiny-fp16"}).info.run_id
    elsewhere = broken.data.tags["jetrail.tag"].replace(TARGET, f"{TARGET}-2")
    tags = {"engine": "tiny-fp16", "jetrail.tag": elsewhere}
    other = client.create_run(experiment, tags=tags).info.run_id
    shutil.rmtree(workspace.engine(TARGET, "tiny-fp16").path)
    _make_engine(workspace, "fp16", 0.7)
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    found = {one: client.get_run(one).info.status for one in (broken.info.run_id, theirs, other)}
    assert list(found.values()) == [status, "RUNNING", "RUNNING"]


def _broken_off(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Publish one engine up to that call."""
    from mlflow import MlflowClient

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, fail)
        with pytest.raises(ServiceError, match="the line went dead"):
            publish(workspace, TARGET, "tiny-fp16", _quiet)


def test_a_new_budget_is_judged_and_nothing_measured(workspace: Workspace) -> None:
    release = publish(workspace, TARGET, "tiny-fp16", _quiet).publications[0].release
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace("frame_p99_ms: 30", "frame_p99_ms: 29"))
    assert judge_again(workspace, "tiny-fp16") == "PASS"
    said: list[str] = []
    publish(workspace, TARGET, "tiny-fp16", said.append)
    assert [one for one in said if "published before, and judged again since" in one]
    names = [name for name, *_ in _state(workspace)["runs"]]
    assert names == [release, f"{release}, judged again"]


def test_one_engine_then_the_other(workspace: Workspace) -> None:
    alone = publish(workspace, TARGET, "tiny-fp32", _quiet)
    assert _candidate(alone) == "tiny-fp32"
    both = publish(workspace, TARGET, "tiny-fp16", _quiet)
    assert [one.engine for one in both.publications] == ["tiny-fp16", "tiny-fp32"]
    assert _candidate(both) == "tiny-fp16"


def test_nothing_passed(workspace: Workspace) -> None:
    for engine in ("tiny-fp32", "tiny-fp16"):
        _change(workspace, engine, "benchmark.json", validity=DISTURBED)
    (workspace.root / "mlflow.db").unlink()
    published = publish(workspace, TARGET, None, _quiet)
    assert published.publications == ()
    assert published.candidates.candidates == {}
    assert not (workspace.root / "mlflow.db").exists()
    assert write(workspace, TARGET, _quiet) == {}
    assert not list(workspace.fleet.rglob("release.yaml"))


def test_nothing_passes_any_more(workspace: Workspace) -> None:
    candidate = publish(workspace, TARGET, None, _quiet).candidates.candidates[MODEL]
    for engine in ("tiny-fp32", "tiny-fp16"):
        _change(workspace, engine, "evaluation.json", map50_95_drop=0.5)
    said: list[str] = []
    publish(workspace, TARGET, "tiny-fp32", said.append)
    model = _client(workspace).get_registered_model(NAME)
    assert model.aliases, "one engine says nothing of the others"
    assert publish(workspace, TARGET, "tiny-fp16", said.append).candidates.candidates == {}
    assert f"{MODEL}: no published engine passes any more, so {NAME} has no candidate now" in said
    model = _client(workspace).get_registered_model(NAME)
    assert model.aliases == {}
    assert publication_path(workspace, candidate.release).is_file()

    said.clear()
    files = _files(workspace)
    publish(workspace, TARGET, None, said.append)
    assert not [line for line in said if "any more" in line]
    assert _files(workspace) == files

    _change(workspace, "tiny-fp32", "evaluation.json", map50_95_drop=0.0)
    assert _candidate(publish(workspace, TARGET, None, _quiet)) == "tiny-fp32"
    version = _client(workspace).get_model_version_by_alias(NAME, "candidate")
    assert version.tags["engine"] == "tiny-fp32"


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_failure_while_an_alias_is_taken_off_converges(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    from mlflow import MlflowClient

    publish(workspace, TARGET, None, _quiet)
    for engine in ("tiny-fp32", "tiny-fp16"):
        _change(workspace, engine, "evaluation.json", map50_95_drop=0.5)
    real = MlflowClient.delete_registered_model_alias

    def fail(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        if done:
            real(self, *args, **kwargs)
        raise ConnectionResetError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_registered_model_alias", fail)
        with pytest.raises(ServiceError, match="the line went dead"):
            publish(workspace, TARGET, None, _quiet)
    assert publish(workspace, TARGET, None, _quiet).candidates.candidates == {}
    assert _client(workspace).get_registered_model(NAME).aliases == {}


def test_other_model_of_the_target_loses_its_alias(workspace: Workspace) -> None:
    """Or was never published: then there is nothing to take off."""
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text() + "  other-fp16: {model: other, precision: fp16}\n")
    shutil.copytree(
        workspace.engine(TARGET, "tiny-int8").path, workspace.engine(TARGET, "other-fp16").path
    )
    for file in ("manifest.json", "benchmark.json", "evaluation.json"):
        _put(workspace, "other-fp16", file, engine="other-fp16")
    judge_again(workspace, "other-fp16")
    said: list[str] = []
    publish(workspace, TARGET, None, said.append)
    assert not [line for line in said if "any more" in line]

    client, other = _client(workspace), f"other.{TARGET}"
    client.create_registered_model(other)
    client.create_model_version(other, source=workspace.root.as_uri())
    client.set_registered_model_alias(other, "candidate", "1")
    client.set_registered_model_alias(other, "mine", "1")
    publish(workspace, TARGET, None, said.append)
    assert client.get_registered_model(other).aliases == {"mine": 1}
    assert client.get_model_version_by_alias(NAME, "candidate").tags["engine"] == "tiny-fp16"
    assert any(line.startswith("other: no published engine passes any more") for line in said)


def test_everything_invalid_leaves_the_candidate_where_it_was(workspace: Workspace) -> None:
    before = publish(workspace, TARGET, None, _quiet).candidates.candidates
    state = _state(workspace)
    for engine in ("tiny-fp32", "tiny-fp16"):
        _change(workspace, engine, "verdict.json", verdict="INVALID")
    assert publish(workspace, TARGET, None, _quiet).candidates.candidates == before
    assert _state(workspace) == state
    path = release_file(workspace, MODEL, TARGET, "canary")
    assert write(workspace, None, _quiet) == {path: before[MODEL].release}


def test_another_store_leaves_the_records_as_they_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `candidate` names the right engine there, whatever its version is."""
    first = publish(workspace, TARGET, None, _quiet)
    records = _files(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root}/other.db")
    said: list[str] = []
    publish(workspace, TARGET, "tiny-fp32", said.append)
    assert any("has no version of the candidate" in line for line in said)
    assert _files(workspace) == records
    publish(workspace, TARGET, "tiny-fp16", said.append)
    assert _candidate_in_mlflow(workspace) == "tiny-fp16"
    assert any("its record stays as it is" in line for line in said)
    assert (
        sum("had no version of it: version 1 (`release status --repair`" in it for it in said) == 1
    )
    publish(workspace, TARGET, None, _quiet)
    assert _candidate_in_mlflow(workspace) == "tiny-fp16"
    assert _files(workspace) == records
    run = first.publications[0].mlflow.run_id
    assert read_publication(workspace, first.publications[0].release).mlflow.run_id == run


def test_a_record_that_was_edited(workspace: Workspace) -> None:
    release = publish(workspace, TARGET, None, _quiet).publications[0].release
    state = _state(workspace)
    path = publication_path(workspace, release)
    path.write_text(path.read_text().replace('"limit": 30.0', '"limit": 1.0'))
    with pytest.raises(WrongEngine, match="does not add up"):
        publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == state


# --- broken off in the middle ------------------------------------------------------------------

CALLS = [
    *("create_experiment", "create_run", "log_batch", "log_artifacts", "set_tag"),
    *("create_logged_model", "log_model_artifacts", "finalize_logged_model"),
    *("create_registered_model", "create_model_version", "set_terminated"),
    "set_registered_model_alias",
]


@pytest.fixture(scope="session")
def untroubled(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is in MLflow after publishing without any trouble."""
    workspace = Workspace(root=tmp_path_factory.mktemp("untroubled") / "a repository")
    shutil.copytree(template, workspace.root)
    publish(workspace, TARGET, None, _quiet)
    return _state(workspace)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_failure_at_each_call_converges(
    workspace: Workspace,
    untroubled: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    done: bool,
) -> None:
    from mlflow import MlflowClient

    real: Callable[..., Any] = getattr(MlflowClient, call)

    def fail(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        if done:
            real(self, *args, **kwargs)
        raise ConnectionResetError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, fail)
        with pytest.raises(ServiceError, match="the line went dead"):
            publish(workspace, TARGET, None, _quiet)
    publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled


def test_full_disk(workspace: Workspace, untroubled: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    def fill(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", fill)
        with pytest.raises(InputError, match="No space left"):
            publish(workspace, TARGET, None, _quiet)
    publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_database_cannot_be_used(workspace: Workspace, kind: str) -> None:
    path = workspace.root / "mlflow.db"
    path.unlink()
    path.mkdir() if kind == "folder" else path.write_text("no database" * 100)
    way = {"folder": "permissions or move", "text": "from a backup or move"}[kind]
    with pytest.raises(InputError, match=rf"mlflow\.db.*SQLite says: .*{way}"):
        publish(workspace, TARGET, None, _quiet)


KILLED = """
import os, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from engines.config.workspace import Workspace
from release.steps.publish import publish

call = sys.argv[2]
real = getattr(MlflowClient, call)

def kill(self, *args, **kwargs):
    real(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(MlflowClient, call, kill)
publish(Workspace(root=Path(sys.argv[1])), "x86-openvino", None, print)
"""


@pytest.mark.parametrize("call", ["create_run", "create_logged_model", "create_model_version"])
def test_kill_9_converges(workspace: Workspace, untroubled: dict[str, Any], call: str) -> None:
    command = [sys.executable, "-c", KILLED, str(workspace.root), call]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not workspace.records.exists()
    publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled


def test_two_at_once_make_one_version(workspace: Workspace, untroubled: dict[str, Any]) -> None:
    processes = [_command(workspace, "publish") for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0, 0]
    assert _state(workspace) == untroubled


def test_two_machines_at_once_leave_one_version(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, untroubled: dict[str, Any]
) -> None:
    """Another machine registers the same engine between our look and our registration."""
    from mlflow import MlflowClient

    real = MlflowClient.create_model_version

    def raced(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        experiment = self.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
        theirs = self.create_run(experiment, run_name="theirs").info.run_id
        real(self, *args, **{**kwargs, "run_id": theirs})
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_model_version", raced)
    published = publish(workspace, TARGET, None, _quiet)
    client = _client(workspace)
    for one in published.publications:
        # A record names the run that everybody finds by the version.
        version = client.get_model_version(NAME, str(one.mlflow.version))
        assert one.mlflow.run_id == version.run_id
        assert client.get_run(version.run_id).info.run_name == "theirs"
    tags = [tag for _, tag in _state(workspace)["versions"]]
    assert sorted(tags) == sorted(tag for _, tag in untroubled["versions"])


@pytest.mark.parametrize("call", ["create_run", "create_logged_model"])
def test_two_machines_at_once_leave_one_of_each(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, untroubled: dict[str, Any], call: str
) -> None:
    """Another machine makes the same between our look and our making it."""
    from mlflow import MlflowClient

    real: Callable[..., Any] = getattr(MlflowClient, call)

    def raced(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        real(self, *args, **kwargs)
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, raced)
        publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled


@pytest.fixture
def colleague(workspace: Workspace, template: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A clone of the same repository on another machine, with the same MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root}/mlflow.db")
    # Named by a user, a time limit is theirs: none of ours ends what waits for the other.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    root = workspace.root.with_name("another clone")
    shutil.copytree(template, root)
    return Workspace(root=root)


def _meanwhile(patch: pytest.MonkeyPatch, call: str, do: Callable[[], object]) -> None:
    """Let the first request of that name arrive late: when `do` has ended."""
    from mlflow import MlflowClient

    real: Callable[..., Any] = getattr(MlflowClient, call)

    def late(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if call == "create_run":  # the time that MLflow's client puts into its request
            kwargs.setdefault("start_time", int(time.time() * 1000))
        patch.setattr(MlflowClient, call, real)
        do()
        return real(self, *args, **kwargs)

    patch.setattr(MlflowClient, call, late)


@pytest.mark.parametrize("call", CALLS[:-1])
def test_somebody_publishes_while_a_request_is_on_its_way(
    workspace: Workspace,
    colleague: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    untroubled: dict[str, Any],
    call: str,
) -> None:
    theirs: list[Published] = []
    _meanwhile(monkeypatch, call, lambda: theirs.append(publish(colleague, TARGET, None, _quiet)))
    ours = publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled
    named = [
        [(one.mlflow.run_id, one.mlflow.version) for one in published.publications]
        for published in (ours, theirs[0])
    ]
    assert named[0] == named[1]


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_somebody_with_another_clock_publishes_meanwhile(
    workspace: Workspace,
    colleague: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    untroubled: dict[str, Any],
    ahead: int,
) -> None:
    from mlflow import MlflowClient

    real = MlflowClient.create_run

    def other_clock(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        return real(self, *args, **{**kwargs, "start_time": int((time.time() + ahead) * 1000)})

    def theirs() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "create_run", other_clock)
            publish(colleague, TARGET, None, _quiet)

    _meanwhile(monkeypatch, "create_run", theirs)
    publish(workspace, TARGET, None, _quiet)
    assert _state(workspace) == untroubled


def test_somebody_publishes_a_measurement_of_their_own_meanwhile(
    workspace: Workspace, colleague: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither run may hold figures of both."""
    _change(colleague, "tiny-fp16", "benchmark.json", memory_peak_mib=123.0)
    _meanwhile(
        monkeypatch, "log_artifacts", lambda: publish(colleague, TARGET, "tiny-fp16", _quiet)
    )
    ours = publish(workspace, TARGET, "tiny-fp16", _quiet).publications[0]
    client = _client(workspace)
    theirs = client.get_run(ours.mlflow.run_id)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    (other,) = (
        one for one in client.search_runs([experiment]) if one.info.run_id != ours.mlflow.run_id
    )
    assert theirs.info.run_name == ours.release
    assert other.info.run_name == f"{ours.release}, measured again"
    assert [one.info.status for one in (theirs, other)] == ["FINISHED"] * 2
    held = [
        [one.value for one in client.get_metric_history(run.info.run_id, "memory_peak_mib")]
        for run in (theirs, other)
    ]
    assert [set(values) for values in held] == [{123.0}, {100.0}]


IN_TURNS = """
import os, sys, time
from pathlib import Path
from mlflow import MlflowClient
from engines.config.workspace import Workspace
from release.steps.publish import publish

root, call, when, done, awaited, ahead = sys.argv[1:]
real = getattr(MlflowClient, call)

def wait():
    Path(done).touch()
    until = time.monotonic() + 300
    while not Path(awaited).exists():
        assert time.monotonic() < until
        time.sleep(0.05)

def held(self, *args, **kwargs):
    if call == "create_run":
        kwargs["start_time"] = int((time.time() + float(ahead)) * 1000)
    setattr(MlflowClient, call, real)
    if when == "before":
        wait()
    made = real(self, *args, **kwargs)
    if when == "after":
        wait()
    return made

setattr(MlflowClient, call, held)
publish(Workspace(root=Path(root)), "x86-openvino", "tiny-fp16", print)
"""


def test_three_at_once(workspace: Workspace, template: Path, tmp_path: Path) -> None:
    """One goes on with the run of another, who finds that a third was first."""
    roots = [workspace.root, tmp_path / "second", tmp_path / "third"]
    for root in roots[1:]:
        shutil.copytree(template, root)
    # Named by a user, a time limit is theirs: none of ours ends those who wait.
    named = os.environ | {"MLFLOW_TRACKING_URI": _uri(workspace)}
    named["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "120"

    def start(number: int, *turn: str) -> subprocess.Popen[str]:
        done, awaited = (str(tmp_path / name) for name in turn[2:4])
        command = [sys.executable, "-c", IN_TURNS, str(roots[number])]
        command += [*turn[:2], done, awaited, turn[4]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, text=True, env=named, **pipes)

    def reached(name: str, process: subprocess.Popen[str]) -> None:
        assert until(lambda: (tmp_path / name).exists() or process.poll() is not None)
        assert (tmp_path / name).exists(), process.communicate()[0]

    third = start(2, "create_run", "before", "third looked", "second found", "-3600")
    reached("third looked", third)
    first = start(0, "create_run", "after", "first made", "third ended", "0")
    reached("first made", first)
    second = start(1, "log_batch", "before", "second found", "first ended", "0")
    reached("second found", second)
    for process, name in [(third, "third ended"), (first, "first ended"), (second, "all ended")]:
        said = process.communicate(timeout=PATIENCE_SECONDS)[0]
        assert process.returncode == 0, said
        (tmp_path / name).touch()
    client = _client(workspace)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    (run,) = client.search_runs([experiment])
    (model,) = client.search_logged_models([experiment])
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert version.run_id == model.source_run_id == run.info.run_id
    assert run.info.status == "FINISHED"


# --- a server ----------------------------------------------------------------------------------


def test_server(workspace: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (workspace.root / "mlflow.db").unlink()
    started = time.monotonic()
    process = _command(workspace, "publish")
    output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 6, output
    assert "MLFLOW_TRACKING_URI" in output
    assert time.monotonic() - started < 30
    assert not workspace.records.exists()

    server.start()
    process = _command(workspace, "publish")
    output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0, output
    first, state = _files(workspace), _state(workspace)
    assert len(state["versions"]) == 2

    published = publish(workspace, TARGET, None, _quiet)
    assert _files(workspace) == first
    assert _state(workspace) == state

    record = read_publication(workspace, published.candidates.candidates[MODEL].release)
    assert record.mlflow.tracking_uri == server.uri
    assert len(_load_candidate(workspace).predict(np.zeros((1, 64, 64, 3), np.uint8))) == 1
    assert not (workspace.root / "mlflow.db").exists()


def test_a_registry_of_its_own_is_named_where_it_cannot_be_used(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs' store was, which is in order."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "mysql+foo://me:t0psecret@127.0.0.1/models")
    with pytest.raises(InputError, match="Expected MLFLOW_REGISTRY_URI to name a driver"):
        publish(workspace, TARGET, None, _quiet)


# --- the command line --------------------------------------------------------------------------


def test_commands(workspace: Workspace) -> None:
    process = _command(workspace, "publish")
    output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0, output
    assert "tiny-int8: FAIL, so it is not published" in output
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in output
    assert "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning" in output
    for noise in ("INFO", "WARN", "🏃", "View run", "Traceback"):
        assert noise not in output

    candidate = Candidates.read(candidates_path(workspace, TARGET)).candidates[MODEL]
    tag = candidate.release
    process = _command(workspace, "write")
    output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0, output
    path = release_file(workspace, MODEL, TARGET, "canary")
    assert path.with_name("fleet.yaml").read_text() == "helm: {chart: x}  # mine\n"
    values = read_values(path)
    assert values is not None
    assert values.image.tag == tag
    process = _command(workspace, "write")
    assert "is there already" in process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert read_values(path) == values

    output = _command(workspace, "status").communicate(timeout=PATIENCE_SECONDS)[0]
    assert [line.split() for line in output.splitlines() if tag in line] == [
        ["candidate", tag],
        ["canary", tag],
    ]
    assert candidate.engine == "tiny-fp16"
    assert f"run {read_publication(workspace, tag).mlflow.run_id}" in output


# --- helpers -----------------------------------------------------------------------------------


def _quiet(text: str) -> None:
    """Say nothing."""


def _command(workspace: Workspace, name: str) -> subprocess.Popen[str]:
    # The installed command and not `python -m`, which would take the workspace's own folder
    # release/ for the package.
    command = [str(Path(sys.executable).with_name("release")), name, "--target", TARGET]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=workspace.root, text=True, **pipes)


def _candidate_in_mlflow(workspace: Workspace) -> str:
    version = _client(workspace).get_model_version_by_alias(NAME, "candidate")
    return str(version.tags["engine"])


def _candidate(published: Published) -> str:
    """The engine of the model's candidate."""
    return published.candidates.candidates[MODEL].engine


def _uri(workspace: Workspace) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root}/mlflow.db"


def _client(workspace: Workspace) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=_uri(workspace))


def _load_candidate(workspace: Workspace) -> Any:
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", _uri(workspace))
        return mlflow.pyfunc.load_model(f"models:/{NAME}@candidate")


def _artifacts(client: Any, run: str, path: str | None = None) -> set[str]:
    found = set()
    for one in client.list_artifacts(run, path):
        found |= _artifacts(client, run, one.path) if one.is_dir else {one.path}
    return found


def _files(workspace: Workspace) -> dict[str, bytes]:
    folder = workspace.root / "release"
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _state(workspace: Workspace) -> dict[str, Any]:
    """What is in MLflow, without random identifiers and times."""
    client = _client(workspace)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    runs, models = client.search_runs([experiment]), client.search_logged_models([experiment])
    versions = client.search_model_versions(f"name = '{NAME}'")
    candidate = client.get_model_version_by_alias(NAME, "candidate")
    return {
        "runs": sorted(
            (
                run.info.run_name,
                run.info.status,
                json.dumps([run.data.params, run.data.metrics], sort_keys=True),
                sorted(_artifacts(client, run.info.run_id)),
            )
            for run in runs
        ),
        "models": sorted((one.tags["jetrail.tag"], one.status.value) for one in models),
        "versions": sorted((one.version, one.tags["jetrail.tag"]) for one in versions),
        "candidate": candidate.tags["jetrail.tag"],
    }


def _change(workspace: Workspace, engine: str, file: str, /, **values: Any) -> None:
    """Change a record of the engine and judge it again, as a new measurement would."""
    _put(workspace, engine, file, **values)
    judge_again(workspace, engine)


def _put(workspace: Workspace, engine: str, file: str, /, **values: Any) -> None:
    edit(workspace.engine(TARGET, engine).path / file, lambda one: one.update(values))


def _latency(p50: float) -> dict[str, float]:
    names = ("p50_ms", "p95_ms", "p99_ms", "p99_low_ms", "p99_high_ms", "mean_ms", "min_ms")
    return {**dict.fromkeys((*names, "max_ms"), p50), "count": 10}


def _make_engine(workspace: Workspace, precision: Any, score: float) -> None:
    """Build one engine and write records about it as the pipeline would."""
    onnx = workspace.model_out(MODEL) / f"model.{precision}.onnx"
    one_box_network(onnx, score=score)
    folder = workspace.engine(TARGET, f"{MODEL}-{precision}")
    folder.path.mkdir(parents=True)
    about = _build(workspace, folder.path, onnx, precision)
    folder.write(_benchmark(about, P50[precision]))
    folder.raw_times.write_text("{}\n")
    golden_sha256 = _write_golden(folder)
    folder.write(_evaluation(about | {"golden_sha256": golden_sha256}, DROPS[precision]))
    judge_again(workspace, folder.path.name)


def _build(workspace: Workspace, folder: Path, onnx: Path, precision: Any) -> dict[str, Any]:
    """The engine and its manifest; gives what the other records say of the engine too."""
    request = BuildRequest(
        onnx=onnx,
        precision=precision,
        batch=BATCH,
        imgsz=(SIDE, SIDE),
        device=read_fingerprint(),
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    made_from = source(
        workspace.relative(onnx),
        weights_sha256="a" * 64,
        onnx_sha256=sha256_file(onnx),
        git_commit="c" * 40,
    )
    manifest = built.build(
        folder, request, model=MODEL, target=TARGET, classes=CLASSES, source=made_from
    )
    return {one: getattr(manifest, one) for one in ("engine", "target", "engine_sha256")}


def _benchmark(about: dict[str, Any], p50: float) -> Benchmark:
    latency = _latency(p50)
    return Benchmark.model_validate(
        {
            **about,
            "frame_size": (720, 1280),
            "inference": {"1": latency, "2": latency},
            "frame": {"1": latency, "2": latency},
            "throughput": {"frames_per_second": 100.0, "in_flight": 2, "count": 10},
            "memory_peak_mib": 100.0,
            "machine": {
                **dict.fromkeys(
                    ("steal_share", "others_share", "run_queue_wait_share", "clock_min_mhz")
                ),
                **dict.fromkeys(("clock_max_mhz", "throttle_events", "temperature_max_c")),
                "drift_share": 0.0,
            },
            "quiet": {"share": 1.0, "enough": True, "seconds": 8.0, "set_aside": {}},
            "validity": {"valid": True, "reasons": (), "attempts": 1},
        }
    )


def _write_golden(folder: EngineFolder) -> str:
    with Detector.open(folder.path, read_fingerprint()) as detector:
        write_golden(find_golden(detector, np.full((2, 64, 64, 3), 90, np.uint8)), folder.golden)
    return sha256_file(folder.golden)


def _evaluation(about: dict[str, Any], drop: float) -> Evaluation:
    return Evaluation.model_validate(
        {
            **about,
            **{"images": 9, "objects": 9, "map50_95": 0.7, "map50": 0.9},
            **dict.fromkeys(("map50_95_small", "map50_95_medium", "map50_95_large")),
            "per_class": {
                "zero": {"map50_95": None, "map50": None, "objects": 0},
                "one": {"map50_95": 0.7, "map50": 0.9, "objects": 9},
            },
            **{"reference_map50_95": 0.7, "map50_95_drop": drop},
            "map50_95_drop_interval": {"low": 0.0, "high": 0.0, "resamples": 10},
            **{"confidence_threshold": 0.25, "reference_detections": 9, "lost_detections": 0},
            "confidence_shift": 0.0,
            "onnx_shift": {
                **{"frames": 8, "objects": 200, "scores_mean": 0.002, "scores_max": 0.01},
                **{"boxes_mean_px": 0.1, "boxes_max_px": 1.5, "onnx_map50_95_drop": 0.0},
            },
        }
    )


# --- stores as they are in the wild --------------------------------------------------------------


def test_files_that_were_deleted_come_back(workspace: Workspace) -> None:
    published = publish(workspace, TARGET, None, _quiet)
    before = {one.release: one.mlflow for one in published.publications}
    store = workspace.root / "mlartifacts" / "jetrail" / MODEL
    model, run = "models/*/artifacts", "*/artifacts"
    inside = ("code", "data/engine/engine.blob", "data/engine/manifest.json")
    of_model = [f"{model}/{one}" for one in inside]
    for gone in ("*", *of_model, f"{run}/plots/*.png", f"{run}/engine.blob"):
        for one in [*store.glob(gone)]:
            if one.is_dir():
                shutil.rmtree(one)
            else:
                one.write_bytes(b"") if one.suffix == ".blob" else one.unlink()
        said: list[str] = []
        again = publish(workspace, TARGET, None, said.append)
        assert {one.release: one.mlflow for one in again.publications} == before
        assert any("files that were gone are back" in line for line in said), gone
    client = _client(workspace)
    run = again.publications[0].mlflow.run_id
    assert {"engine.blob", "manifest.json", "plots/latency.png"} <= _artifacts(client, run)
    _load_candidate(workspace).predict(np.full((1, 128, 128, 3), 90, np.uint8))


def test_a_moved_repository_publishes_into_its_own_folder(
    workspace: Workspace, tmp_path: Path
) -> None:
    publish(workspace, TARGET, None, _quiet)
    old = workspace.root
    moved = Workspace(root=tmp_path / "moved to")
    old.rename(moved.root)
    # In a process of its own: MLflow remembers folders for as long as it runs.
    command = [str(Path(sys.executable).with_name("release")), "publish", "--target", TARGET]
    subprocess.run(command, cwd=moved.root, check=True, capture_output=True)
    assert not old.exists()
    client = _client(moved)
    version = client.get_model_version_by_alias(NAME, "candidate")
    run = client.get_run(version.run_id)
    assert run.info.artifact_uri.startswith((moved.root / "mlartifacts").as_uri())


def test_a_copied_repository_leaves_the_old_store_alone(
    workspace: Workspace, tmp_path: Path
) -> None:
    publish(workspace, TARGET, None, _quiet)
    copy = Workspace(root=tmp_path / "a copy")
    shutil.copytree(workspace.root, copy.root)
    before = _contents(workspace.root)
    assert {"mlflow.db"} < before.keys()
    # Something to write, in a process of its own: MLflow remembers folders for as long as it runs.
    shutil.rmtree(copy.root / "mlartifacts")
    command = [str(Path(sys.executable).with_name("release")), "publish", "--target", TARGET]
    subprocess.run(command, cwd=copy.root, check=True, capture_output=True)
    assert _contents(workspace.root) == before
    client = _client(copy)
    run = client.get_run(client.get_model_version_by_alias(NAME, "candidate").run_id)
    assert run.info.artifact_uri.startswith((copy.root / "mlartifacts").as_uri())
    assert [*(copy.root / "mlartifacts").glob("**/engine.blob")]


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def test_a_relative_store_is_one_of_the_repository_in_records_too(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "mlflow.db").rename(workspace.root / "own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    monkeypatch.chdir(tmp_path)
    (entry,) = [one.mlflow for one in publish(workspace, TARGET, "tiny-fp16", _quiet).publications]
    assert entry.tracking_uri == "sqlite:///own.db"
    assert not (tmp_path / "own.db").exists()
    assert [*(workspace.root / "mlartifacts").glob("**/engine.blob")]


def test_a_deleted_version_is_made_again_and_said(workspace: Workspace) -> None:
    published = publish(workspace, TARGET, "tiny-fp16", _quiet)
    (entry,) = [one.mlflow for one in published.publications]
    client = _client(workspace)
    client.delete_model_version(NAME, str(entry.version))
    client.create_model_version(NAME, source=workspace.root.as_uri())  # somebody's own
    said: list[str] = []
    again = publish(workspace, TARGET, "tiny-fp16", said.append).publications[0].mlflow
    assert (again.run_id, again.version) != (entry.run_id, entry.version)
    told = f"names run {entry.run_id}, version {entry.version}, at sqlite:///mlflow.db; here it is"
    assert [one for one in said if f"{told} run {again.run_id}, version {again.version}" in one]
    # Whoever only looks is shown what is there, not what the record named.
    assert [*status(workspace, TARGET).mlflow.entries.values()] == [again]


@pytest.mark.parametrize("what", ["model", "run", "experiment"])
def test_what_mlflow_gc_took_is_made_again(workspace: Workspace, what: str) -> None:
    """A version cannot be told another model or run: with those gone it loads nothing."""
    entry = publish(workspace, TARGET, "tiny-fp16", _quiet).publications[0].mlflow
    client = _client(workspace)
    version = client.get_model_version(NAME, str(entry.version))
    client.set_registered_model_alias(NAME, "mine", version.version)
    model = version.source.removeprefix("models:/")
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    delete = {
        "model": lambda: client.delete_logged_model(model),
        "run": lambda: client.delete_run(entry.run_id),
        "experiment": lambda: client.delete_experiment(experiment),
    }
    delete[what]()
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", _uri(workspace)]
    named = os.environ | {"MLFLOW_TRACKING_URI": _uri(workspace)}
    subprocess.run(command, check=True, capture_output=True, env=named)
    said: list[str] = []
    again = publish(workspace, TARGET, "tiny-fp16", said.append).publications[0].mlflow
    assert again.version != entry.version
    assert (again.run_id == entry.run_id) == (what == "model")
    assert any("whose model or run was deleted: version " in one for one in said)
    assert [*status(workspace, TARGET).mlflow.entries.values()] == [again]
    assert not any("of which this clone has no record" in one for one in said)
    _load_candidate(workspace).predict(np.full((1, 128, 128, 3), 90, np.uint8))
    # What people put on the old version stays theirs.
    assert str(client.get_model_version_by_alias(NAME, "mine").version) == str(entry.version)
    said.clear()
    assert publish(workspace, TARGET, "tiny-fp16", said.append).publications[0].mlflow == again
    assert any("tiny-fp16: published before as v1.0" in one for one in said)


def test_a_release_that_this_mlflow_does_not_have(workspace: Workspace) -> None:
    """`--repair` would say the same for ever."""
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    client = _client(workspace)
    client.delete_registered_model_alias(NAME, "candidate")
    for version in client.search_model_versions(f"name = '{NAME}'"):
        client.delete_model_version(NAME, version.version)
    found = status(workspace, TARGET)
    (said,) = found.mlflow.differ
    assert found.mlflow.entries == {}
    assert f"run `release publish --target {TARGET}` where its engine is" in said
    assert "--repair" not in said
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    assert status(workspace, TARGET).mlflow.differ == ()


def test_no_alias_stays_on_what_a_ring_no_longer_runs(workspace: Workspace) -> None:
    published = publish(workspace, TARGET, None, _quiet)
    client = _client(workspace)
    runs, ran = (one.mlflow.version for one in published.publications)
    client.delete_model_version(NAME, str(runs))
    client.set_registered_model_alias(NAME, "canary", str(ran))
    place, said = Place(model=MODEL, target=TARGET, ring="canary"), []
    point(workspace, {place: published.publications[0].release}, said.append)
    assert ["so no alias canary" in one for one in said] == [True]
    assert "canary" not in client.get_registered_model(NAME).aliases


def test_an_alias_that_was_moved_to_somebody_elses_version(workspace: Workspace) -> None:
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    client = _client(workspace)
    theirs = client.create_model_version(NAME, source=workspace.root.as_uri()).version
    client.set_registered_model_alias(NAME, "candidate", theirs)
    (said,) = status(workspace, TARGET).mlflow.differ
    assert f"MLflow's alias version {theirs} of no release" in said
    told: list[str] = []
    publish(workspace, TARGET, "tiny-fp16", told.append)
    assert any(f"candidate named version {theirs} of no release until now" in one for one in told)
    client.set_registered_model_alias(NAME, "candidate", theirs)
    _repair_candidates(workspace)
    assert status(workspace, TARGET).mlflow.differ == ()


def test_an_alias_of_a_version_that_is_gone(workspace: Workspace) -> None:
    """Some servers delete a version and keep its aliases, which MLflow's own client can't read."""
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    with contextlib.closing(sqlite3.connect(workspace.root / "mlflow.db")) as store, store:
        assert store.execute("UPDATE registered_model_aliases SET version = 99").rowcount == 1
    (said,) = status(workspace, TARGET).mlflow.differ
    assert "MLflow's alias version 99 that was deleted. Run `release status --repair`" in said
    _repair_candidates(workspace)
    assert status(workspace, TARGET).mlflow.differ == ()


def test_a_deleted_run_is_named_with_the_command(workspace: Workspace) -> None:
    published = publish(workspace, TARGET, None, _quiet)
    candidate = published.candidates.candidates[MODEL].release
    (run,) = (it.mlflow.run_id for it in published.publications if it.release == candidate)
    _client(workspace).delete_run(run)
    with pytest.raises(InputError, match=f"mlflow runs restore --run-id {run}"):
        publish(workspace, TARGET, None, _quiet)
    # Whoever only looks is told too.
    (said,) = status(workspace, TARGET).mlflow.differ
    assert f"mlflow runs restore --run-id {run}" in said
    # Of a deleted experiment the run alone led into the next refusal.
    number = _client(workspace).get_run(run).info.experiment_id
    _client(workspace).delete_experiment(number)
    (said,) = status(workspace, TARGET).mlflow.differ
    assert f"mlflow experiments restore --experiment-id {number}" in said


def test_a_run_that_mlflow_gc_took_is_named_until_it_is_published_again(
    workspace: Workspace,
) -> None:
    published = publish(workspace, TARGET, None, _quiet)
    candidate = published.candidates.candidates[MODEL].release
    (run,) = (it.mlflow.run_id for it in published.publications if it.release == candidate)
    _client(workspace).delete_run(run)
    _client(workspace)._tracking_client.store._hard_delete_run(run)  # as `mlflow gc` does
    (said,) = status(workspace, TARGET).mlflow.differ
    assert said.startswith(f"Expected run {run} of {candidate} in MLflow at sqlite:///")
    assert f"`release publish --target {TARGET}` where its engine is" in said
    publish(workspace, TARGET, None, _quiet)
    assert status(workspace, TARGET).mlflow.differ == ()


def test_what_a_user_may_not_ask_for_is_not_taken_for_gone(
    workspace: Workspace, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own users, of whom each sees what is theirs: after `git revert` of a first release
    whoever had no part in it heard that all was as git says, while `candidate` named it."""
    settings = tmp_path / "users.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\n"
        f"admin_password = {PASSWORD}\ndatabase_uri = sqlite:///{tmp_path}/users.db\n"
    )
    variables = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "k", "MLFLOW_AUTH_CONFIG_PATH": str(settings)}
    server.start("--app-name", "basic-auth", **variables)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    for user in ("ada", "bob"):
        _make_user(server, user)

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    assert publish(workspace, TARGET, None, _quiet).candidates.candidates
    wanted = {Place(model=MODEL, target=TARGET, ring=ring): "" for ring in ("candidate", "pilot")}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    (said,) = ask(workspace, wanted, []).differ
    assert f"what the aliases of {NAME} name, but it forbids this user to ask" in said
    with pytest.raises(ServiceError, match="forbids this user to ask"):
        point(workspace, wanted, _quiet)

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    (said,) = ask(workspace, wanted, []).differ
    assert f"{MODEL} on {TARGET}: git's candidate is none, MLflow's alias v1.0-" in said
    assert point(workspace, wanted, _quiet)
    assert ask(workspace, wanted, []).differ == ()


def _make_user(server: Server, user: str) -> None:
    import requests

    requests.post(
        f"{server.uri}/api/2.0/mlflow/users/create",
        json={"username": user, "password": PASSWORD},
        auth=("admin", PASSWORD),
        timeout=60,
    ).raise_for_status()


def _repair_candidates(workspace: Workspace) -> None:
    """As `release status --repair`, where no branch is to be read."""
    published = ever_published(workspace, TARGET, None)
    point(workspace, by_git(workspace, TARGET, None, workspace, published).releases, _quiet)


def test_a_removed_model_is_no_candidate(workspace: Workspace) -> None:
    publish(workspace, TARGET, None, _quiet)
    remove_model(workspace, MODEL, force=True)
    (said,) = status(workspace, TARGET).mlflow.differ
    assert said.startswith(f"{MODEL} on {TARGET}: git's candidate is none, MLflow's alias v1.0-")
    assert "`release status --repair`" in said
    _repair_candidates(workspace)
    assert status(workspace, TARGET).mlflow.differ == ()
    assert "candidate" not in _client(workspace).get_registered_model(NAME).aliases


@pytest.mark.long
def test_a_server_that_falls_silent_is_given_up_soon(
    workspace: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with monkeypatch.context() as patch:
        patch.setattr(saved, "save_model", lambda *_, **__: server.pause())
        start = time.monotonic()
        with pytest.raises(ServiceError):
            publish(workspace, TARGET, None, _quiet)
        # The bound of the issue, no measure of speed.
        assert time.monotonic() - start < 30
    server.go_on()
    published = publish(workspace, TARGET, None, _quiet)
    assert len(published.publications) == 2
    assert len(_client(workspace).search_model_versions(f"name = '{NAME}'")) == 2


def test_a_deleted_experiment_is_named_with_the_command(workspace: Workspace) -> None:
    publish(workspace, TARGET, None, _quiet)
    client = _client(workspace)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}")
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(
        InputError, match=f"experiments restore --experiment-id {experiment.experiment_id}"
    ):
        publish(workspace, TARGET, None, _quiet)


def test_an_experiment_that_people_renamed_gets_no_empty_one_beside_it(
    workspace: Workspace,
) -> None:
    """What comes new goes where the model's releases are."""
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    client = _client(workspace)
    experiment = client.get_experiment_by_name(f"jetrail/{MODEL}").experiment_id
    client.rename_experiment(experiment, "line 7")
    published = publish(workspace, TARGET, None, _quiet)
    assert client.get_experiment_by_name(f"jetrail/{MODEL}") is None
    assert len(client.search_runs([experiment])) == 2
    assert published.page.startswith(f"#/experiments/{experiment}/runs?")


def test_a_registered_model_that_people_renamed_gets_no_new_one_beside_it(
    workspace: Workspace,
) -> None:
    """Whoever loads by its aliases would get the release of before for ever."""
    publish(workspace, TARGET, "tiny-fp16", _quiet)
    client = _client(workspace)
    client.rename_registered_model(NAME, "line-7")
    for engine in ("tiny-fp16", None):  # what was published before, and what is new
        with pytest.raises(InputError, match=f"{NAME} in MLflow .* under the name line-7"):
            publish(workspace, TARGET, engine, _quiet)
    assert [one.name for one in client.search_registered_models()] == ["line-7"]
    client.create_registered_model(NAME)
    publish(workspace, TARGET, None, _quiet)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


@pytest.mark.parametrize("answer", ["silent", "429", "429 after a while"])
def test_a_server_that_does_not_serve_is_given_up_soon(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    with _bad_server(answer) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{uri}/?token=t0psecret")
        start = time.monotonic()
        with pytest.raises(ServiceError) as caught:
            publish(workspace, TARGET, None, _quiet)
    # The bound of the issue, four times what is waited here: no measure of speed.
    assert time.monotonic() - start < 30
    assert "t0psecret" not in str(caught.value)


@contextmanager
def _bad_server(answer: str) -> Iterator[str]:
    """A server that takes connections and says nothing, or that asks to come back in an hour, at
    once or once it said that it is there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    held.append(connection)
                    if answer == "429 after a while" and len(held) == 1:
                        connection.recv(65536)
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
                        )
                    elif answer.startswith("429"):
                        connection.recv(65536)
                        connection.sendall(
                            b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\n"
                            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                        )

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in held:
            one.close()


def test_status_says_where_mlflow_differs_from_git(workspace: Workspace) -> None:
    published = publish(workspace, TARGET, None, _quiet)
    assert status(workspace, TARGET).mlflow.differ == ()
    client = _client(workspace)
    client.delete_registered_model_alias(NAME, "candidate")
    (said,) = status(workspace, TARGET).mlflow.differ
    release = published.candidates.candidates[MODEL].release
    assert f"git's candidate is {release}, MLflow's alias is not there" in said
    assert "`release status --repair`" in said
    (workspace.root / "mlflow.db").rename(workspace.root / "elsewhere.db")
    (said,) = status(workspace, TARGET).mlflow.differ
    assert said.startswith("MLflow was not asked")
