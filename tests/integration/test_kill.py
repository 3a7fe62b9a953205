"""kill -9 at any moment: outputs are old and whole, new and whole, or not there; never half of one.

Each step runs as the real command in a process group of its own that is killed, either after a
random time or right at a moment that matters: half-way through writing a file, before it is
synced, before and after it gets its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.killed import SITECUSTOMIZE

from engines.backends.loading import check_engine
from engines.detect.golden import read_golden
from engines.errors import InputError, JetrailError, WrongEngine
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.record import Record
from engines.records.verdict import Verdict
from pipeline.accuracy.reference import read_reference
from pipeline.latency.results import HISTOGRAM_BINS
from pipeline.onnx.checkpoint_outputs import read_checkpoint_outputs
from pipeline.onnx.golden import read_golden_outputs
from pipeline.onnx.onnx_file import read_onnx
from pipeline.records import Quantize, Verify
from pipeline.report.summary import Summary
from release.records import Candidates, Publication, candidates_path
from release.rollout.release_yaml import NOTHING, dump, read_values
from tests.integration.conftest import BIN, CANARY, MODEL, TARGET, Clone, probed

pytestmark = pytest.mark.integration

ENGINE = f"{MODEL}-fp16"
MODEL_OUT = f"models/{MODEL}/out"
TARGET_OUT = f"engines/targets/{TARGET}/out"
OUT = f"{TARGET_OUT}/{ENGINE}"
CANDIDATES = f"release/records/candidates/{TARGET}.json"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, the files that it writes, and how many kills to try."""

    words: tuple[str, ...]
    files: tuple[str, ...]
    moments: int
    """At which it writes: four a file (half written, before fsync, before and after the rename)."""
    kills: int = 2
    """At moments drawn from these; one more comes at a random time."""
    prepare: Callable[[Clone], None] = lambda _: None
    """Gives the step something to write."""


def other_device(clone: Clone) -> None:
    other = read_fingerprint().model_copy(update={"cores": 99})
    other.write(clone.root / TARGET_OUT / "device.json")


def other_tables(clone: Clone) -> None:
    """Tables that are as they were are not written."""
    for path in (clone.root / TARGET_OUT / "report").glob("*.csv"):
        path.write_text(path.read_text().replace("fp32", "fp64"))


def new_store(clone: Clone) -> None:
    """Let the step publish everything anew."""
    (clone.root / "mlflow.db").unlink(missing_ok=True)
    for record in clone.workspace.records.glob("v*"):
        shutil.rmtree(record)
    shutil.rmtree(clone.root / "mlartifacts", ignore_errors=True)


def no_tag(clone: Clone) -> None:
    (clone.root / CANARY).write_text(dump(NOTHING))


ON_DEVICE = (ENGINE, "--target", TARGET)
STEPS = {
    "export": Step(
        words=("pipeline", "export", MODEL),
        files=(f"{MODEL_OUT}/checkpoint.npz", f"{MODEL_OUT}/model.fp32.onnx"),
        moments=3 + 4,
    ),
    "verify": Step(
        words=("pipeline", "verify", MODEL),
        files=(f"{MODEL_OUT}/reference.npz", f"{MODEL_OUT}/verify.json"),
        moments=3 + 4,
    ),
    "quantize": Step(
        words=("pipeline", "quantize", MODEL),
        files=(
            *(f"{MODEL_OUT}/model.{precision}.onnx" for precision in ("fp16", "int8")),
            f"{MODEL_OUT}/golden.npz",
            f"{MODEL_OUT}/quantize.json",
        ),
        moments=3 * 4 + 3,
    ),
    "probe": Step(
        words=("pipeline", "probe", "--target", TARGET),
        files=(f"{TARGET_OUT}/device.json",),
        moments=4,
        kills=4,
        prepare=other_device,
    ),
    "build": Step(
        words=("pipeline", "build", *ON_DEVICE),
        files=(f"{OUT}/engine.blob", f"{OUT}/manifest.json"),
        moments=2 * 4,
        kills=6,
    ),
    "benchmark": Step(
        words=("pipeline", "benchmark", *ON_DEVICE),
        files=(
            *(f"{OUT}/pytest-benchmark.json", f"{OUT}/benchmark.json"),
            f"{TARGET_OUT}/latency/{ENGINE}.csv",
        ),
        # The first four are those of the plan for the harness, elsewhere.
        moments=4 + 3 * 4,
    ),
    "evaluate": Step(
        words=("pipeline", "evaluate", *ON_DEVICE),
        files=(f"{OUT}/golden.npz", f"{OUT}/evaluation.json"),
        moments=3 + 4,
    ),
    "gate": Step(
        words=("pipeline", "gate", *ON_DEVICE),
        files=(
            *(f"{OUT}/verdict.json", f"{OUT}/verdict.junit.xml"),
            f"{TARGET_OUT}/summary/{ENGINE}.json",
        ),
        moments=3 * 4,
        kills=6,
    ),
    "report": Step(
        words=("pipeline", "report", "--target", TARGET),
        files=tuple(
            f"{TARGET_OUT}/report/{name}.csv" for name in ("latency", "accuracy", "tradeoff")
        ),
        moments=3 * 4,
        kills=4,
        prepare=other_tables,
    ),
    "publish": Step(
        words=("release", "publish", "--target", TARGET),
        files=(CANDIDATES,),
        # A record for each of the three engines first.
        moments=3 * 4 + 4,
        prepare=new_store,
    ),
    "write": Step(
        words=("release", "write", "--target", TARGET),
        files=(CANARY,),
        moments=4,
        kills=4,
        prepare=no_tag,
    ),
}

RECORDS: dict[str, type[Record]] = {
    "verify.json": Verify,
    "quantize.json": Quantize,
    "device.json": Fingerprint,
    "manifest.json": Manifest,
    "benchmark.json": Benchmark,
    "evaluation.json": Evaluation,
    "verdict.json": Verdict,
    f"{ENGINE}.json": Summary,
    f"{TARGET}.json": Candidates,
}
ROWS = {
    "latency.csv": 3 * HISTOGRAM_BINS,
    f"{ENGINE}.csv": HISTOGRAM_BINS,
    "accuracy.csv": 3,
    "tradeoff.csv": 3,
}


# --- whole files -------------------------------------------------------------------------------


def check_whole(path: Path) -> None:
    """Raise unless the file is complete, by its own format."""
    if path.name in RECORDS:
        RECORDS[path.name].read(path)
    elif path.suffix == ".onnx":
        read_onnx(path)
    elif path.name == "golden.npz":
        read_golden_outputs(path, MODEL) if path.parent.parent.name == MODEL else read_golden(path)
    elif path.name == "checkpoint.npz":
        assert read_checkpoint_outputs(path) is not None
    elif path.suffix == ".npz":
        read_reference(path, MODEL)
    elif path.suffix == ".xml":
        ET.parse(path)
    elif path.suffix == ".csv":
        header, *rows = path.read_text().removesuffix("\n").split("\n")
        assert {row.count(",") for row in rows} == {header.count(",")}
        assert len(rows) == ROWS[path.name]
    elif path.name == "pytest-benchmark.json":
        assert json.loads(path.read_text())["benchmarks"]
    elif path.name == "release.yaml":
        assert path.read_text().endswith("\n")
        read_values(path)
    else:
        assert path.name == "engine.blob"
        check_engine_fits(path.parent)


def check_engine_fits(folder: Path) -> None:
    """The engine is the manifest's, or loading refuses it: nobody runs half an engine."""
    with contextlib.suppress(WrongEngine, InputError):
        manifest = Manifest.read(folder / "manifest.json")
        engine = check_engine(folder, manifest, read_fingerprint())
        assert sha256_file(engine) == manifest.engine_sha256


def test_a_half_written_file_is_found_out(finished: Clone) -> None:
    """That the checks above can fail at all."""
    for step in STEPS.values():
        for file in step.files:
            path = finished.root / file
            check_whole(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            if path.name == "engine.blob":
                manifest = Manifest.read(path.with_name("manifest.json"))
                with pytest.raises(WrongEngine):
                    check_engine(path.parent, manifest, read_fingerprint())
                continue
            with pytest.raises((JetrailError, AssertionError, ValueError, ET.ParseError)):
                check_whole(path)


# --- killing -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH whose sitecustomize counts moments and kills."""
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


@pytest.fixture
def victim(finished: Clone) -> Clone:
    """A finished clone of which every step but the release's would write something else."""
    with finished.edited(f"models/{MODEL}/model.yaml") as model:
        model["version"] = "1.1"
    return finished


def start(clone: Clone, step: Step, **environment: str) -> subprocess.Popen[bytes]:
    name, *rest = step.words
    return subprocess.Popen(
        [str(BIN / name), *rest],
        cwd=clone.root,
        env=clone.environment | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_after(clone: Clone, step: Step, seconds: float) -> int:
    """Kill the command's process group after a time; returns how the command ended."""
    process = start(clone, step)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(60)


def contents(clone: Clone, step: Step) -> dict[str, bytes | None]:
    paths = ((file, clone.root / file) for file in step.files)
    return {file: path.read_bytes() if path.exists() else None for file, path in paths}


def check_outputs(clone: Clone, step: Step, before: dict[str, bytes | None]) -> None:
    """Each output is what it was, or is whole."""
    for file, now in contents(clone, step).items():
        if now is None:
            assert before[file] is None, f"{file} is gone"
        elif now != before[file] or file.endswith("engine.blob"):
            check_whole(clone.root / file)
    for record in clone.workspace.records.glob("v*/publication.json"):
        Publication.read(record)


def remove(clone: Clone, step: Step) -> None:
    """Take the outputs away, as DVC does before it runs a stage."""
    for file in set(step.files) - {CANARY}:
        (clone.root / file).unlink(missing_ok=True)


@pytest.mark.parametrize("name", STEPS)
def test_killed_step(victim: Clone, hook: Path, name: str) -> None:
    step, draw = STEPS[name], random.Random(name)
    for number in sorted(draw.sample(range(1, step.moments + 1), step.kills)):
        before = prepare(victim, step, draw)
        started = time.monotonic()
        process = start(victim, step, PYTHONPATH=str(hook), KILL_AT=str(number))
        assert process.wait(300) == -signal.SIGKILL, f"moment {number} did not come"
        seconds = time.monotonic() - started
        check_outputs(victim, step, before)

    before = prepare(victim, step, draw)
    kill_after(victim, step, draw.uniform(0.2, 1.0) * seconds)
    check_outputs(victim, step, before)

    victim.run(*step.words)
    for file in step.files:
        check_whole(victim.root / file)
    check_right(victim, name)


def prepare(clone: Clone, step: Step, draw: random.Random) -> dict[str, bytes | None]:
    """Set the scene, every other time without the old outputs; returns what lies there."""
    step.prepare(clone)
    if draw.random() < 0.5:
        remove(clone, step)
    return contents(clone, step)


def check_right(clone: Clone, name: str) -> None:
    """What the step says after the kill is true of what lies there."""
    folder, model_out = clone.root / OUT, clone.root / MODEL_OUT
    if name == "build":
        manifest = Manifest.read(folder / "manifest.json")
        assert check_engine(folder, manifest, read_fingerprint())
        assert manifest.model_version == "1.1"
    elif name == "verify":
        verify = Verify.read(model_out / "verify.json")
        assert verify.reference_sha256 == sha256_file(model_out / "reference.npz")
        assert verify.onnx_sha256 == sha256_file(model_out / "model.fp32.onnx")
    elif name == "quantize":
        quantize = Quantize.read(model_out / "quantize.json")
        assert quantize.int8.sha256 == sha256_file(model_out / "model.int8.onnx")
        assert quantize.golden_sha256 == sha256_file(model_out / "golden.npz")
    elif name == "probe":
        assert Fingerprint.read(clone.root / TARGET_OUT / "device.json") == probed()
    elif name == "publish":
        chosen = Candidates.read(candidates_path(clone.workspace, TARGET)).candidates
        records = clone.workspace.records.glob("v*/publication.json")
        releases = {Publication.read(path).release for path in records}
        assert len(releases) == 3
        assert chosen[MODEL].release in releases
    elif name == "write":
        chosen = Candidates.read(candidates_path(clone.workspace, TARGET)).candidates
        assert chosen[MODEL].release in (clone.root / CANARY).read_text()


# --- the whole pipeline ------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [os.killpg, os.kill], ids=["with its group", "by itself"])
def test_killed_repro_goes_on(finished: Clone, kill: Callable[[int, int], None]) -> None:
    """DVC is killed while it builds; what it started ends too, and the next one completes."""
    with finished.edited(f"engines/targets/{TARGET}/params.yaml") as row:
        row["batch"]["max"] = 3
    goal = f"engines/targets/{TARGET}/dvc.yaml:gate@{ENGINE}"
    process = subprocess.Popen(
        [str(BIN / "dvc"), "repro", goal],
        cwd=finished.root,
        env=finished.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any(f"pipeline build {ENGINE}" in line for line in process.stdout)
    time.sleep(0.3)
    kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not members_after(process.pid, seconds=30)

    check_engine_fits(finished.root / OUT)
    ran = finished.repro(goal)
    assert {f"build@{ENGINE}", f"gate@{ENGINE}"} <= set(ran)
    manifest = Manifest.read(finished.root / OUT / "manifest.json")
    assert manifest.batch.max == 3
    check_engine(finished.root / OUT, manifest, read_fingerprint())


def members_after(group: int, seconds: float) -> list[str]:
    """What still runs in a process group after so many seconds at most."""
    end = time.monotonic() + seconds
    while (found := members(group)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def members(group: int) -> list[str]:
    """The commands of a process group that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append((folder / "cmdline").read_text())
    return found
