"""pipeline gate: from the files of an engine to its verdict, and how the command ends."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from factories.records import (
    BUDGETS,
    FRAMES,
    HOT,
    MISSED,
    benchmark,
    evaluation,
    judge,
    manifest,
    soaked,
    verdict_with,
)

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid, InputError, WrongEngine
from engines.files import sha256_file
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from pipeline.steps.gate import gate, raise_unless_pass

REPOSITORY = Path(__file__).parents[4]
TARGET, ENGINE = "x86-openvino", "meter-yolov8n-fp16"
CONTENT = b"an engine"


def ours(record: Any) -> Any:
    """The record as one of the engine in `laid_out`."""
    about = {"engine": ENGINE, "target": TARGET}
    about["engine_sha256"] = hashlib.sha256(CONTENT).hexdigest()
    size = {"engine_bytes": len(CONTENT)} if isinstance(record, Manifest) else {}
    return record.model_copy(update=about | size)


def test_a_pass_raises_nothing() -> None:
    raise_unless_pass(judge(manifest(), benchmark(), evaluation(), BUDGETS))


@pytest.mark.parametrize(("missed", "change"), MISSED)
def test_a_missed_budget_is_named(missed: str, change: dict[str, Any]) -> None:
    with pytest.raises(GateFailed, match=missed):
        raise_unless_pass(verdict_with(**change))


@pytest.mark.parametrize("bare", [True, False])
def test_an_invalid_measurement_says_which_commands_to_run(bare: bool) -> None:
    verdict = judge(manifest(), benchmark(p99=1, valid=False), evaluation(), BUDGETS)
    with pytest.raises(GateInvalid) as raised:
        raise_unless_pass(verdict, bare=bare)
    assert str(raised.value).splitlines()[1:] == [
        "  rm engines/targets/t/out/m-fp16/benchmark.json",
        "  dvc repro" if bare else "  dvc repro engines/targets/t/dvc.yaml",
    ]


def test_what_was_not_measured_is_invalid() -> None:
    with pytest.raises(GateInvalid):
        raise_unless_pass(judge(manifest(), benchmark(), evaluation(), HOT))


@pytest.fixture
def laid_out(tmp_path: Path) -> Workspace:
    """One engine with its records, of a target with a budget for the hot p99."""
    text = (REPOSITORY / "engines/targets" / TARGET / "params.yaml").read_text()
    text = text.replace("benchmark:\n", "benchmark:\n  soak_minutes: 30\n", 1)
    text = text.replace("budgets:\n", "budgets:\n  hot_frame_p99_ms: 35\n", 1)
    workspace = Workspace(root=tmp_path)
    folder = workspace.engine(TARGET, ENGINE)
    folder.path.mkdir(parents=True)
    (workspace.target(TARGET) / "params.yaml").write_text(text)
    (folder.path / "engine.blob").write_bytes(CONTENT)
    folder.golden.write_bytes(FRAMES)
    for record in (manifest(), evaluation(), soaked(20, minutes=30)):
        folder.write(ours(record))
    return workspace


def test_the_gate_reads_how_long_the_row_s_soak_is(laid_out: Workspace) -> None:
    verdict, _ = gate(laid_out, TARGET, ENGINE)
    assert verdict.verdict == "PASS"
    laid_out.engine(TARGET, ENGINE).write(ours(soaked(20, minutes=0.05)))
    verdict, _ = gate(laid_out, TARGET, ENGINE)
    assert verdict.verdict == "INVALID"


def on_gpu(**changes: Any) -> Fingerprint:
    gpu = {"kind": "dgpu", "gpu": "NVIDIA L4", "compute_capability": "8.9", "driver": "560"}
    return manifest().device.model_copy(update=gpu | changes)


def gate_of(
    workspace: Workspace, built: Fingerprint, here: Fingerprint | None, package: str
) -> Verdict:
    folder = workspace.engine(TARGET, ENGINE)
    changes = {"device": built, "backend_package": package}
    folder.write(ours(manifest()).model_copy(update=changes))
    folder.write(ours(soaked(20, minutes=30)).model_copy(update={"device": here}))
    return gate(workspace, TARGET, ENGINE)[0]


@pytest.mark.parametrize(
    "other", [{"gpu": "NVIDIA T4"}, {"compute_capability": "8.6"}, {"driver": "570"}]
)
def test_figures_of_another_device_are_refused(laid_out: Workspace, other: dict[str, str]) -> None:
    with pytest.raises(InputError, match=rf"measured where {ENGINE} was built, on NVIDIA L4"):
        gate_of(laid_out, on_gpu(), on_gpu(**other), "tensorrt")


def test_figures_of_a_device_that_the_engine_may_run_on_are_judged(laid_out: Workspace) -> None:
    plain = manifest().device
    for package, built, here in (
        ("tensorrt", on_gpu(), on_gpu()),
        ("tensorrt", on_gpu(), None),  # of before the record had a device
        ("tensorrt_rtx", plain, on_gpu()),  # built without a GPU
        ("tensorrt_rtx", on_gpu(), on_gpu(gpu="NVIDIA T4")),
        ("openvino", plain, on_gpu()),  # somebody put a card in
    ):
        assert gate_of(laid_out, built, here, package).verdict == "PASS"


@pytest.mark.parametrize(
    ("weights", "version", "said"),
    [
        ("another", "1.0", "is of the weights of version 1.0; models/meter"),
        ("the model's", "0.9", "is of version 0.9; models/meter-yolov8n is of version 1.0 by now"),
        ("the model's", "1.0", None),
    ],
)
def test_an_engine_of_the_model_of_before_is_said(
    laid_out: Workspace,
    capsys: pytest.CaptureFixture[str],
    weights: str,
    version: str,
    said: str | None,
) -> None:
    """After `update-model`, and before `dvc repro`: its verdict looks like the new version's."""
    model = laid_out.model("meter-yolov8n")
    model.mkdir(parents=True)
    shutil.copy(REPOSITORY / "models/meter-yolov8n/model.yaml", model)
    built = ours(manifest()).model_copy(update={"model": model.name, "model_version": version})
    if weights == "the model's":
        sha256 = load_model(laid_out, model.name).weights.sha256
        source = built.source.model_copy(update={"weights_sha256": sha256})
        built = built.model_copy(update={"source": source})
    laid_out.engine(TARGET, ENGINE).write(built)
    assert gate(laid_out, TARGET, ENGINE)[0].verdict == "PASS"
    assert (f"{ENGINE} {said}" if said else "") in (heard := capsys.readouterr().err)
    assert said or "by now" not in heard


def test_the_verdict_names_the_files_that_it_is_about(laid_out: Workspace) -> None:
    verdict, _ = gate(laid_out, TARGET, ENGINE)
    folder = laid_out.engine(TARGET, ENGINE)
    names = ("engine.blob", "manifest.json", "benchmark.json", "evaluation.json", "golden.npz")
    assert verdict.judged == {name: sha256_file(folder.path / name) for name in names}
    assert folder.read(Verdict) == verdict
    assert json.loads(folder.file(Verdict).read_text())["schema"] == 1
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(
        (*names, "verdict.json", "verdict.junit.xml")
    )


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ({"thresholds": {"confidence": 0.3}}, "by confidence=0.25 .* by confidence=0.3 "),
        ({"thresholds": {"iou": 0.6}}, "iou=0.6"),
        ({"thresholds": {"per_class": {"wheel": 0.1}}}, "'wheel': 0.1"),
        ({"model_version": "0.9"}, "of version 0.9 by"),
    ],
)
def test_an_evaluation_of_the_build_before_is_refused(
    laid_out: Workspace, built: dict[str, Any], said: str
) -> None:
    """With new thresholds in the row, or other data of the same weights, the bytes are the same."""
    folder = laid_out.engine(TARGET, ENGINE)
    manifest = folder.read(Manifest)
    other = {**built, "thresholds": manifest.thresholds.model_copy(update=built.get("thresholds"))}
    of = {"model_version": manifest.model_version, **other}
    folder.write(folder.read(Evaluation).model_copy(update=of))
    with pytest.raises(InputError, match=rf"{said}.*Run `pipeline evaluate {ENGINE} "):
        gate(laid_out, TARGET, ENGINE)


@pytest.mark.parametrize("content", [b"frames of another evaluation", None])
def test_golden_frames_of_another_evaluation_are_refused(
    laid_out: Workspace, content: bytes | None
) -> None:
    golden = laid_out.engine(TARGET, ENGINE).golden
    golden.unlink()
    if content is not None:
        golden.write_bytes(content)
    with pytest.raises(InputError, match=rf"golden.npz as .*Run `pipeline evaluate {ENGINE} "):
        gate(laid_out, TARGET, ENGINE)


@pytest.mark.parametrize("kind", [Benchmark, Evaluation])
@pytest.mark.parametrize(
    ("key", "value"), [("engine_sha256", "b" * 64), ("target", "other"), ("engine", "other-fp16")]
)
def test_figures_of_another_engine_are_refused(
    laid_out: Workspace, kind: type[Benchmark | Evaluation], key: str, value: str
) -> None:
    folder = laid_out.engine(TARGET, ENGINE)
    folder.write(folder.read(kind).model_copy(update={key: value}))
    with pytest.raises(
        InputError, match=rf"{kind.file} to be of.*, but it is of .*`{kind.written_by} {ENGINE} "
    ):
        gate(laid_out, TARGET, ENGINE)
    assert not folder.file(Verdict).exists()


@pytest.mark.parametrize(("key", "value"), [("target", "other"), ("engine", "other-fp16")])
def test_a_folder_of_another_engine_is_refused(laid_out: Workspace, key: str, value: str) -> None:
    folder = laid_out.engine(TARGET, ENGINE)
    for kind in (Manifest, Benchmark, Evaluation):
        folder.write(folder.read(kind).model_copy(update={key: value}))
    with pytest.raises(InputError, match=f"to be of {ENGINE} on {TARGET}, got that of"):
        gate(laid_out, TARGET, ENGINE)


@pytest.mark.parametrize("content", [b"an edited", b"a longer engine", None])
def test_an_engine_that_is_not_the_manifest_s_is_not_judged(
    laid_out: Workspace, content: bytes | None
) -> None:
    folder = laid_out.engine(TARGET, ENGINE)
    path = folder.path / "engine.blob"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongEngine, match=r"engine_(sha256|bytes|file): "):
        gate(laid_out, TARGET, ENGINE)
    assert not folder.file(Verdict).exists()


@pytest.mark.parametrize("figure", ["frame", "inference"])
def test_no_figure_at_batch_1(laid_out: Workspace, figure: str) -> None:
    folder = laid_out.engine(TARGET, ENGINE)
    folder.write(folder.read(Benchmark).model_copy(update={figure: {}}))
    with pytest.raises(InputError, match=rf"at batch 1.*`{figure}` at batches \(none\)"):
        gate(laid_out, TARGET, ENGINE)
