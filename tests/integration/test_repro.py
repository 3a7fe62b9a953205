"""`dvc repro` with the real tools: what it makes, what it redoes and what it leaves alone."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import pytest

from engines.backends.loading import check_engine
from engines.config.yaml import load_yaml
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.signed_folder import verify_folder
from engines.records.verdict import Verdict
from pipeline.accuracy.reference import read_reference
from pipeline.records import Quantize, Verify
from release.image.layout import Layout
from release.packed import read_image
from release.records import Candidates, Publication, candidates_path, read_publication
from release.rollout.release_yaml import read_values
from release.signing.keys import trying_key
from release.tags import parse_tag
from tests.integration.conftest import (
    CANARY,
    ENGINES,
    MODEL,
    ROOT,
    ROW,
    TARGET,
    Clone,
    only_fp16,
    probed,
    stages,
)

pytestmark = pytest.mark.integration

FP16 = f"{MODEL}-fp16"
TARGET_YAML = f"engines/targets/{TARGET}/dvc.yaml"
RELEASE = ["publish", "sign", "pack", "write"]
MODEL_SIDE = [f"{step}@{MODEL}" for step in ("export", "verify", "quantize")]
LATENCY_KEYS = {"p50_ms", "p95_ms", "p99_ms", "mean_ms", "count"}
EVALUATION_KEYS = {
    "map50_95",
    "map50",
    "map50_95_drop",
    "confidence_shift",
    "onnx_shift",
    "per_class",
}
BUDGET_KEYS = {
    *("frame_p99_ms", "frame_p50_ms", "throughput_fps", "map50_95_drop", "confidence_shift"),
    *("onnx_shift", "memory_peak_mib", "engine_size_mib"),
}


def read(path: Path) -> Any:
    """A JSON file between the steps, each of which carries the number of its format."""
    content = json.loads(path.read_text())
    assert content["schema"] == 1, path
    return content


def canary_tag(clone: Clone) -> str:
    """The tag of the canary ring; empty before the first release."""
    values = read_values(clone.root / CANARY)
    return values.image.tag if values else ""


def candidates(clone: Clone) -> Candidates:
    return Candidates.read(candidates_path(clone.workspace, TARGET))


def published_engines(clone: Clone) -> set[str]:
    """Engines of which there is a record of a release."""
    found = clone.workspace.records.glob("v*/publication.json")
    return {Publication.read(path).engine for path in found}


# --- from scratch ------------------------------------------------------------------------------


def test_from_scratch_runs_every_stage_once(first_run: tuple[Clone, str]) -> None:
    ran = stages(first_run[1])
    steps = ("build", "benchmark", "evaluate", "gate")
    each = [f"{step}@{engine}" for engine in ENGINES for step in steps]
    assert sorted(ran) == sorted([*MODEL_SIDE, "probe", *each, "report", *RELEASE])


def test_model_side(first_run: tuple[Clone, str]) -> None:
    clone, _ = first_run
    out = clone.workspace.model_out(MODEL)
    made = {"model.fp32.onnx", "model.fp16.onnx", "model.int8.onnx"}
    assert {path.name for path in out.glob("*.onnx")} == made
    verify, quantize = Verify.read(out / "verify.json"), Quantize.read(out / "quantize.json")
    assert read(out / "verify.json")["onnx_sha256"] == sha256_file(out / "model.fp32.onnx")
    reference = read_reference(out / verify.reference_file, MODEL)
    assert len(reference.detections) == verify.reference.images == 16
    assert {one.method for one in quantize.methods} == {"minmax", "entropy", "percentile", "mse"}
    assert quantize.int8.sha256 == sha256_file(out / "model.int8.onnx")
    assert quantize.golden_sha256 == sha256_file(out / "golden.npz")
    assert quantize.fp16.sha256 == sha256_file(out / "model.fp16.onnx")
    # Half the size that it was trained at, so lower than the sample's own figure, but real.
    assert verify.reference.map50_95 > 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_files(first_run: tuple[Clone, str], engine: str) -> None:
    clone, _ = first_run
    folder = clone.workspace.engine(TARGET, engine).path
    manifest = Manifest.read(folder / "manifest.json")
    assert check_engine(folder, manifest, read_fingerprint()) == folder / "engine.blob"
    assert manifest.executed_precision
    onnx = clone.root / manifest.source.onnx_file
    assert manifest.source.onnx_sha256 == sha256_file(onnx)
    assert re.fullmatch(r"[0-9a-f]{40}", manifest.source.git_commit)

    evaluation = read(folder / "evaluation.json")
    assert evaluation.keys() >= EVALUATION_KEYS
    assert abs(Evaluation.read(folder / "evaluation.json").map50_95_drop) < 0.1
    raw = json.loads((folder / "pytest-benchmark.json").read_text())
    assert {one["name"] for one in raw["benchmarks"]} >= {"test_frame[1]", "test_inference[2]"}
    verdict = read(folder / "verdict.json")
    assert verdict["verdict"] == "PASS"
    assert {check["name"] for check in verdict["checks"]} == BUDGET_KEYS
    assert all(check.keys() >= {"measured", "limit", "unit"} for check in verdict["checks"])
    assert f'tests="{len(BUDGET_KEYS)}"' in (folder / "verdict.junit.xml").read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_latencies_by_batch(first_run: tuple[Clone, str], engine: str) -> None:
    clone, _ = first_run
    folder = clone.workspace.engine(TARGET, engine).path
    content = read(folder / "benchmark.json")
    for kind in ("inference", "frame"):
        assert content[kind].keys() == {"1", "2"}
        for figures in content[kind].values():
            assert figures.keys() >= LATENCY_KEYS
            assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
            assert figures["count"] >= 300
    benchmark = Benchmark.read(folder / "benchmark.json")
    assert benchmark.validity.valid
    assert benchmark.throughput.frames_per_second > 0
    assert benchmark.memory_peak_mib > 0


def test_device_and_report(first_run: tuple[Clone, str]) -> None:
    clone, said = first_run
    assert Fingerprint.read(clone.out / "device.json") == probed()
    for name in ("latency", "accuracy", "tradeoff"):
        text = (clone.out / "report" / f"{name}.csv").read_text()
        assert {row["engine"] for row in csv.DictReader(io.StringIO(text))} == set(ENGINES)
    assert all(f"{engine} on {TARGET}: PASS" in said for engine in ENGINES)


def test_release(first_run: tuple[Clone, str]) -> None:
    clone, _ = first_run
    assert published_engines(clone) == set(ENGINES)
    candidate = candidates(clone).candidates[MODEL]
    record = read_publication(clone.workspace, candidate.release)
    manifest = Manifest.read(clone.workspace.engine(TARGET, record.engine).path / "manifest.json")
    precision, sha256 = manifest.precision, manifest.engine_sha256
    assert record.engine_sha256 == sha256
    assert record.release == f"v1.0-{TARGET}-{precision}-{sha256[:12]}"
    image = Layout(clone.workspace.images).image(record.release)
    assert canary_tag(clone) == f"{record.release}@{image.digest}"
    packed = read_image(clone.workspace, record.release)
    assert packed is not None
    assert packed.digest == image.digest
    assert (clone.root / "mlflow.db").is_file()


def test_a_release_manager_s_clone_needs_no_engine(first_run: tuple[Clone, str]) -> None:
    """What git has of the finished clone is enough for `write` and `status`."""
    clone, _ = first_run
    fresh = Clone(root=clone.root.parent / "fresh")
    clone.run("git", "clone", "--quiet", str(clone.root), str(fresh.root))
    assert not list(fresh.root.glob("engines/targets/*/out"))
    assert "is there already" in fresh.run("release", "write")
    (fresh.root / CANARY).unlink()
    fresh.run("release", "write")
    assert canary_tag(fresh) == canary_tag(clone)
    said = fresh.run("release", "status")
    assert canary_tag(clone) in said
    assert canary_tag(clone).partition("@")[2] in said.partition("packed")[2]
    assert "signed     by no key that counts" in said  # the one for trying is in no git
    assert fresh.run("git", "status", "--porcelain") == ""


def test_the_image_holds_what_was_signed(first_run: tuple[Clone, str], tmp_path: Path) -> None:
    clone, _ = first_run
    release = candidates(clone).candidates[MODEL].release
    layout = Layout(clone.workspace.images)
    layout.files(layout.image(release), tmp_path)
    key = trying_key(clone.workspace)
    assert key is not None
    assert verify_folder(tmp_path, [key]).statement.predicate.release == release


def test_release_verify_accepts_the_canary_s_tag(first_run: tuple[Clone, str]) -> None:
    """`tag@sha256:…` as Fleet has it, by the key that the clone made for itself."""
    clone, _ = first_run
    said = clone.run("release", "verify", canary_tag(clone))
    assert f"{candidates(clone).candidates[MODEL].release}: verified" in said
    assert canary_tag(clone).partition("@")[2] in said
    assert "for-trying" in said
    assert "for trying only: no pod trusts it" in said


PICTURES = """
import cv2

picture = cv2.imread("picture.jpg")
pictures = [picture, picture[:100]]
"""


def test_the_candidate_by_the_python_of_the_page(finished: Clone) -> None:
    """docs/releasing.md, word for word: three ways to give pictures, the same boxes."""
    page = (ROOT / "docs" / "releasing.md").read_text()
    block = re.search(r"(?s)```python\n(import mlflow\n.*?)```", page)
    assert block is not None
    script, count = re.subn(r"(?m)^boxes = (.*?)(  #.*)?$", r"print(\1.to_csv())", block[1])
    assert count == 3
    picture = min((finished.root / "models" / MODEL / "data/evaluation/images").iterdir())
    cv2.imwrite(str(finished.root / "picture.jpg"), cv2.imread(str(picture)))
    printed = finished.run("python", "-c", PICTURES + script)
    by_path, by_pixels, by_list = re.split(r"(?m)^(?=,)", printed)[1:]
    assert by_path == by_pixels
    assert by_path.strip() in by_list
    assert len(by_path.splitlines()) > 1


def test_the_fastest_engine_goes_to_the_canary_ring(first_run: tuple[Clone, str]) -> None:
    clone, _ = first_run
    p50 = {
        engine: read(clone.out / "summary" / f"{engine}.json")["frame_p50_ms"] for engine in ENGINES
    }
    assert candidates(clone).candidates[MODEL].engine == min(p50, key=p50.__getitem__)


# --- again -------------------------------------------------------------------------------------


def test_again_runs_only_probe_and_changes_nothing(finished: Clone) -> None:
    # The code that stages depend on runs from elsewhere here, and leaves no bytecode by itself.
    finished.run("python", "-m", "compileall", "-q", "engines", "pipeline", "release")
    assert finished.repro() == ["probe"]
    assert finished.run("git", "status", "--porcelain") == ""


def test_a_changed_budget_judges_again_and_builds_nothing(finished: Clone) -> None:
    before = [sha256_file(finished.out / engine / "engine.blob") for engine in ENGINES]
    with finished.edited(ROW) as row:
        row["budgets"]["frame_p50_ms"] = 59_999
    gates = [f"gate@{engine}" for engine in ENGINES]
    ran = finished.repro()
    assert {"probe", *gates} <= set(ran) <= {"probe", *gates, "report", *RELEASE}
    assert [sha256_file(finished.out / engine / "engine.blob") for engine in ENGINES] == before


def test_a_key_that_pods_trust_signs_what_was_signed_for_trying(finished: Clone) -> None:
    release, _, for_trying = canary_tag(finished).partition("@")
    assert "signed     by for-trying" in finished.run("release", "status")
    finished.run("release", "keygen", "plant")
    assert finished.repro() == ["probe", "sign", "pack", "write"]
    assert "signed     by plant" in finished.run("release", "status")
    image = read_image(finished.workspace, release)
    assert image is not None
    assert image.digest != for_trying
    assert canary_tag(finished) == f"{release}@{image.digest}"
    assert finished.repro() == ["probe"]


def test_other_benchmark_params_measure_again_and_build_nothing(finished: Clone) -> None:
    with finished.edited(ROW) as row:
        row["benchmark"]["warmup_seconds"] = 0.11
    assert finished.repro(f"{TARGET_YAML}:gate@{FP16}") == [  # a chain: one order only
        "probe",
        f"benchmark@{FP16}",
        f"gate@{FP16}",
    ]


def test_other_weights_redo_all_that_depends_on_them(finished: Clone) -> None:
    only_fp16(finished)
    finished.repro()
    tag = canary_tag(finished)
    change_weights(finished)
    ran = finished.repro()
    on_device = [f"{step}@{FP16}" for step in ("build", "benchmark", "evaluate", "gate")]
    assert sorted(ran) == sorted([*MODEL_SIDE, "probe", *on_device, "report", *RELEASE])
    assert canary_tag(finished) not in (tag, "")


def change_weights(clone: Clone) -> None:
    """Save the checkpoint with a slightly other first layer, and put its sha256 in model.yaml."""
    import torch

    path = clone.workspace.model(MODEL) / "weights.pt"
    content = torch.load(path, weights_only=False)
    with torch.no_grad():
        content["model"].model[0].conv.weight *= 1.01
    torch.save(content, path)
    with clone.edited(f"models/{MODEL}/model.yaml") as model:
        model["weights"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_target_alone(finished: Clone) -> None:
    assert finished.repro(TARGET_YAML) == ["probe"]
    with finished.edited(ROW) as row:
        row["budgets"]["engine_size_mib"] = 63
    ran = finished.repro(TARGET_YAML)
    assert {stage.partition("@")[0] for stage in ran} <= {"probe", "gate", "report"}


def test_from_within_the_target_s_folder(finished: Clone) -> None:
    (finished.out / "report" / "accuracy.csv").unlink()
    folder = finished.workspace.target(TARGET)
    done = finished.command("git", "-C", str(folder), "rev-parse", "--show-prefix")
    assert done.stdout.strip() == f"engines/targets/{TARGET}/"
    inside = Clone(root=folder)
    assert "PASS" in inside.run("pipeline", "report")
    assert (finished.out / "report" / "accuracy.csv").is_file()


# --- metrics and plots -------------------------------------------------------------------------


def test_metrics_show(finished: Clone) -> None:
    shown = json.loads(finished.command("dvc", "metrics", "show", "--json").stdout)
    files = shown[""]["data"]
    assert {Path(file).stem for file in files} == set(ENGINES)
    assert all(one["data"]["map50_95"] > 0.1 for one in files.values())


def test_metrics_diff_against_the_last_commit(finished: Clone) -> None:
    with finished.edited(ROW) as row:
        row["engines"][FP16]["budgets"] = {"frame_p50_ms": 0.001}
    finished.repro(f"{TARGET_YAML}:gate@{FP16}")
    changed = json.loads(finished.command("dvc", "metrics", "diff", "--json").stdout)
    (file,) = changed
    assert Path(file).stem == FP16
    assert changed[file]["verdict"] == {"old": "PASS", "new": "FAIL"}


def test_plots_show(finished: Clone) -> None:
    finished.run("dvc", "plots", "show")
    page = (finished.root / "dvc_plots" / "index.html").read_text()
    assert all(engine in page for engine in ENGINES)
    titles = ("Whole-frame latency", "Accuracy on the evaluation set", "Accuracy against latency")
    assert all(title in page for title in titles)


# --- verdicts ----------------------------------------------------------------------------------


def test_an_engine_that_fails_does_not_stop_the_others(finished: Clone) -> None:
    chosen = candidates(finished).candidates[MODEL].engine
    with finished.edited(ROW) as row:
        row["engines"][chosen]["budgets"] = {"frame_p99_ms": 0.001}
    ran = finished.repro()
    assert sorted(ran) == sorted(["probe", f"gate@{chosen}", "report", *RELEASE])

    done = finished.command("pipeline", "report")
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: Expected every engine to keep its budgets, but {chosen}")
    assert finished.command("pipeline", "gate", chosen).returncode == 3

    now = candidates(finished)
    assert now.skipped == {chosen: "FAIL"}
    assert now.candidates[MODEL].engine != chosen
    assert parse_tag(canary_tag(finished)).name == now.candidates[MODEL].release


def test_an_untrusted_measurement_is_invalid_and_not_published(finished: Clone) -> None:
    tag, before = canary_tag(finished), candidates(finished).candidates
    only_fp16(finished)
    with finished.edited(ROW) as row:
        row["benchmark"].update(max_drift_share=0, max_attempts=1)
    ran = finished.repro()
    assert ran[:3] == ["probe", f"benchmark@{FP16}", f"gate@{FP16}"]
    verdict = Verdict.read(finished.workspace.engine(TARGET, FP16).path / "verdict.json")
    assert verdict.verdict == "INVALID"
    assert verdict.reasons

    done = finished.command("pipeline", "report")
    assert done.returncode == 4
    assert done.stderr.startswith("error: Expected measurements that can be trusted")
    assert finished.command("pipeline", "gate", FP16).returncode == 4
    assert candidates(finished).skipped == {FP16: "INVALID"}
    assert candidates(finished).candidates == before
    assert canary_tag(finished) == tag


def test_a_retried_job_measures_again_what_was_invalid(finished: Clone) -> None:
    """The lines of a device's job, on a runner that keeps dvc.lock and out/."""
    script = load_yaml(ROOT / "engines" / "targets" / "device.gitlab-ci.yml")[".device"]["script"]
    first = next(i for i, line in enumerate(script) if "--invalid" in line)
    assert script[first + 1] == 'dvc repro "engines/targets/$TARGET/dvc.yaml"'
    job = ("bash", "-eo", "pipefail", "-c", "\n".join(script[first : first + 2]))

    assert stages(finished.run(*job, TARGET=TARGET)) == ["probe"]  # all was PASS
    only_fp16(finished)
    with finished.edited(ROW) as row:
        row["benchmark"].update(max_drift_share=0, max_attempts=1)
    finished.repro(TARGET_YAML)
    assert finished.repro(TARGET_YAML) == ["probe"]  # for DVC nothing changed
    assert f"benchmark@{FP16}" in stages(finished.run(*job, TARGET=TARGET))


def test_a_measurement_by_hand_is_judged_once_it_is_committed(finished: Clone) -> None:
    """docs/jetson.md, Hot: `dvc repro` would otherwise measure over it."""
    stage = f"{TARGET_YAML}:benchmark@{FP16}"
    finished.run("pipeline", "benchmark", FP16, "--soak", "0.02")
    finished.run("dvc", "commit", "--force", stage)
    assert finished.repro(TARGET_YAML)[:2] == ["probe", f"gate@{FP16}"]
    assert read(finished.out / FP16 / "benchmark.json")["soak"] is not None

    finished.run("pipeline", "benchmark", FP16, "--soak", "0.02")
    assert f"benchmark@{FP16}" in finished.repro(TARGET_YAML)
    assert read(finished.out / FP16 / "benchmark.json")["soak"] is None


def test_one_engine_is_measured_again_by_force(finished: Clone) -> None:
    """docs/jetson.md, When it says INVALID."""
    stage = f"{TARGET_YAML}:benchmark@{FP16}"
    assert finished.repro("--force", "--single-item", stage) == [f"benchmark@{FP16}"]
    assert finished.repro(TARGET_YAML)[:2] == ["probe", f"gate@{FP16}"]
