"""A verdict counts only while it, and every file that it is about, are what the gate left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import paper
from factories.paper import ROW, TARGET, add_engine, edit, judge_again
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError, WrongEngine
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.judged import load_judged, load_passed

ENGINE = "meter-fp16"
RECORDS = (Manifest, Benchmark, Evaluation)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path)
    paper.lay_out(workspace)
    return workspace


@pytest.fixture
def folder(workspace: Workspace) -> EngineFolder:
    """An engine that passed."""
    add_engine(workspace, "fp16", p50_ms=12.0)
    return workspace.engine(TARGET, ENGINE)


def test_all_agree(workspace: Workspace) -> None:
    sha256 = add_engine(workspace, "fp16", p50_ms=12.0)
    judged = load_judged(workspace, TARGET, ENGINE)
    assert judged.manifest.engine_sha256 == sha256
    assert judged.engine_file.read_bytes() == b"engine in fp16"
    assert judged.frame.p50_ms == 12.0
    assert load_passed(workspace, TARGET, ENGINE) == judged


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_not_passed(workspace: Workspace, verdict: str) -> None:
    add_engine(workspace, "fp16", verdict=verdict)
    assert load_judged(workspace, TARGET, ENGINE).verdict.verdict == verdict
    with pytest.raises(InputError, match=f"says {verdict}"):
        load_passed(workspace, TARGET, ENGINE)


# --- files that were judged ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize(
    ("key", "value"), [("engine_sha256", "b" * 64), ("target", "other"), ("engine", "meter-fp32")]
)
def test_record_of_another_engine(
    workspace: Workspace, folder: EngineFolder, kind: Any, key: str, value: str
) -> None:
    edit(folder.file(kind), lambda one: one.update({key: value}))
    _refused(workspace, rf"{kind.file} was changed after the engine was judged.*`dvc repro ")


@pytest.mark.parametrize("kind", RECORDS)
def test_record_that_is_gone(workspace: Workspace, folder: EngineFolder, kind: Any) -> None:
    folder.file(kind).unlink()
    _refused(workspace, f"{kind.file} was changed.*but it is not there")


@pytest.mark.parametrize("kind", RECORDS)
def test_record_that_is_broken(workspace: Workspace, folder: EngineFolder, kind: Any) -> None:
    folder.file(kind).write_text("{")
    _refused(workspace, f"{kind.file} was changed")


@pytest.mark.parametrize("content", [b"engine of another", None])
def test_another_engine_file(
    workspace: Workspace, folder: EngineFolder, content: bytes | None
) -> None:
    path = folder.path / "engine.blob"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    _refused(workspace, "engine.blob was changed.*with sha256")


def test_another_engine_file_that_the_verdict_was_made_to_name(
    workspace: Workspace, folder: EngineFolder
) -> None:
    (folder.path / "engine.blob").write_bytes(b"engine by fp16")
    sha256 = folder.sha256("engine.blob")
    edit(folder.file(Verdict), lambda one: one["judged"].update({"engine.blob": sha256}))
    _refused(workspace, "engine_sha256: expected")


@pytest.mark.parametrize("kind", RECORDS)
def test_forged_record_of_another_engine(
    workspace: Workspace, folder: EngineFolder, kind: Any
) -> None:
    """Also when the verdict was made to name it."""
    edit(folder.file(kind), lambda one: one.update(engine_sha256="b" * 64))
    name = kind.file
    edit(folder.file(Verdict), lambda one: one["judged"].update({name: folder.sha256(name)}))
    with pytest.raises(JetrailError, match="but it is of|is not what"):
        load_judged(workspace, TARGET, ENGINE)


def test_folder_of_another_engine(workspace: Workspace, folder: EngineFolder) -> None:
    for kind in (*RECORDS, Verdict):
        edit(folder.file(kind), lambda one: one.update(target="other"))
    names = [kind.file for kind in RECORDS]
    judged = {name: folder.sha256(name) for name in names}
    edit(folder.file(Verdict), lambda one: one["judged"].update(judged))
    with pytest.raises(InputError, match="got that of meter-fp16 on other"):
        load_judged(workspace, TARGET, ENGINE)


def test_measured_again_and_not_judged(workspace: Workspace, folder: EngineFolder) -> None:
    validity = {"valid": False, "reasons": ["The machine was busy."], "attempts": 3}
    edit(folder.file(Benchmark), lambda one: one.update(validity=validity))
    _refused(workspace, "benchmark.json was changed after the engine was judged")


# --- the verdict itself --------------------------------------------------------------------------


def test_not_judged_yet(workspace: Workspace, folder: EngineFolder) -> None:
    folder.file(Verdict).unlink()
    with pytest.raises(InputError, match=r"verdict\.json.*is not there"):
        load_judged(workspace, TARGET, ENGINE)


def test_verdict_of_an_older_version(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one.pop("judged"))
    _refused(
        workspace, r"judged: Field required.*`dvc repro engines/targets/x86-openvino/dvc\.yaml`"
    )


@pytest.mark.parametrize("key", ["engine_sha256", "target", "engine"])
def test_verdict_of_another_engine(workspace: Workspace, folder: EngineFolder, key: str) -> None:
    edit(folder.file(Verdict), lambda one: one.update({key: "b" * 64}))
    _refused(workspace, rf"verdict\.json is not what judging.*{key}: expected .*, got {'b' * 64}")


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_words_alone(workspace: Workspace, verdict: str) -> None:
    add_engine(workspace, "fp16", verdict=verdict)
    path = workspace.engine(TARGET, ENGINE).file(Verdict)
    edit(path, lambda one: one.update(verdict="PASS"))
    _refused(workspace, f"verdict: expected {verdict}, got PASS")
    edit(path, lambda one: [check.update(verdict="PASS") for check in one["checks"]])
    name = "map50_95_drop" if verdict == "FAIL" else "frame_p99_ms"
    _refused(workspace, f"checks.{name}.verdict: expected {verdict}, got PASS")


def test_reasons_that_were_taken_out(workspace: Workspace) -> None:
    add_engine(workspace, "fp16", verdict="INVALID")
    edit(workspace.engine(TARGET, ENGINE).file(Verdict), lambda one: one.update(reasons=[]))
    _refused(workspace, "reasons: expected Others took 21 % of the processors., got none")


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_pass_with_a_check_that_did_not(
    workspace: Workspace, folder: EngineFolder, verdict: str
) -> None:
    edit(folder.file(Verdict), lambda one: one["checks"][0].update(verdict=verdict))
    _refused(workspace, f"checks.frame_p99_ms.verdict: expected PASS, got {verdict}")


def test_pass_without_checks(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one.update(checks=[]))
    _refused(workspace, "expected checks.frame_p99_ms.name frame_p99_ms, got verdict PASS")


def test_budget_without_a_check(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one["checks"].pop(0))
    _refused(workspace, r"expected checks\.frame_p99_ms\.name frame_p99_ms, got checks\.frame_p50")


def test_check_that_is_there_twice(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one["checks"].append(one["checks"][-1]))
    _refused(workspace, "expected verdict PASS, got checks.engine_size_mib.name")


def test_file_that_nobody_judged(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one["judged"].update({"../params.yaml": "a" * 64}))
    _refused(workspace, "judged: expected .*, got ../params.yaml, ")


@pytest.mark.parametrize("name", ["engine.blob", *(kind.file for kind in RECORDS)])
def test_file_that_the_verdict_no_longer_names(
    workspace: Workspace, folder: EngineFolder, name: str
) -> None:
    edit(folder.file(Verdict), lambda one: one["judged"].pop(name))
    _refused(workspace, f"{name} was changed.*which verdict.json does not name")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"verdict": "PASS"}', b"{}" * 9999]
)
def test_verdict_that_is_no_verdict(
    workspace: Workspace, folder: EngineFolder, content: bytes
) -> None:
    folder.file(Verdict).write_bytes(content)
    _refused(workspace, r"verdict\.json is not what `pipeline gate` writes: .*`dvc repro engines")


@pytest.mark.parametrize("value", ["9.5", None, True, "GOOD", 1e400])
def test_verdict_with_a_value_that_is_none(
    workspace: Workspace, folder: EngineFolder, value: object
) -> None:
    edit(folder.file(Verdict), lambda one: one["checks"][0].update(measured=value))
    _refused(workspace, r"verdict\.json is not what ")


# --- the budgets ---------------------------------------------------------------------------------


def edit_row(workspace: Workspace, old: str, new: str) -> None:
    params = workspace.target(TARGET) / "params.yaml"
    text = params.read_text()
    assert old in text
    params.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("frame_p99_ms: 30", "frame_p99_ms: 25", r"frame_p99_ms 30\.0 then and 25\.0 now"),
        ("frame_p99_ms: 30", "frame_p99_ms: 35", r"frame_p99_ms 30\.0 then and 35\.0 now"),
        ("frame_p99_ms: 30", "frame_p99_ms: 5", r"frame_p99_ms 30\.0 then and 5\.0 now"),
        (
            "precision: fp16}",
            "precision: fp16, budgets: {engine_size_mib: 1}}",
            r"engine_size_mib 64\.0 then and 1\.0 now",
        ),
    ],
)
def test_judged_by_other_budgets(
    workspace: Workspace, folder: EngineFolder, old: str, new: str, match: str
) -> None:
    edit_row(workspace, old, new)
    with pytest.raises(
        InputError, match=rf"other budgets .* now: {match}\. Judge.*gate {ENGINE} --target {TARGET}"
    ):
        load_judged(workspace, TARGET, ENGINE)


def test_budget_that_is_new(workspace: Workspace, folder: EngineFolder) -> None:
    edit_row(workspace, "benchmark: {", "benchmark: {soak_minutes: 1, ")
    edit_row(workspace, "budgets: {", "budgets: {hot_frame_p99_ms: 30, ")
    with pytest.raises(InputError, match=r"hot_frame_p99_ms no limit then and 30\.0 now"):
        load_judged(workspace, TARGET, ENGINE)


def test_limit_that_was_edited(workspace: Workspace) -> None:
    """Whatever the verdict says of itself, the row's limits are what counts."""
    add_engine(workspace, "fp16", verdict="FAIL")

    def forgive(verdict: Any) -> None:
        verdict["verdict"] = "PASS"
        for check in verdict["checks"]:
            check.update(verdict="PASS", cause="")
            if check["name"] == "map50_95_drop":
                check.update(limit=1.0)

    edit(workspace.engine(TARGET, ENGINE).file(Verdict), forgive)
    with pytest.raises(JetrailError, match=r"map50_95_drop 1\.0 then and 0\.01 now"):
        load_judged(workspace, TARGET, ENGINE)


def test_engine_taken_out_of_the_target(workspace: Workspace, folder: EngineFolder) -> None:
    edit_row(workspace, "  meter-fp16: {", "  # meter-fp16: {")
    with pytest.raises(InputError, match="got 'meter-fp16'"):
        load_judged(workspace, TARGET, ENGINE)


# --- the rest of the row --------------------------------------------------------------------------

TENSORRT = """\
backend: tensorrt
engine_file: engine.plan
device: {kind: dgpu}
runner_tag: null
fleet_label: dgpu
builder: {package: tensorrt, workspace_mib: 2048, optimization_level: 3, timing_cache: true,
  version_compatible: false, hardware_compatibility: none, dla_core: null}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "confidence: 0.25",
            "confidence: 0.2",
            r"manifest\.json to be by .*, whose `evaluate\.confidence` is 0\.2 now, but it is by "
            r"0\.25\. Build and measure",
        ),
        (
            "max_detections: 300}",
            "max_detections: 300, per_class: {one: 0.5}}",
            r"`evaluate\.per_class` is \{'one': 0\.5\} now, but it is by \{\}\. Build",
        ),
        ("opt: 4", "opt: 1", r"manifest\.json to be by .*`batch\.opt` is 1 now, but it is by 4"),
        (
            "frame_size: [720, 1280]",
            "frame_size: [1080, 1920]",
            r"benchmark\.json to be by .*`benchmark\.frame_size` is \(1080, 1920\) now, but it is "
            r"by \(720, 1280\)\. Measure it again: `dvc repro engines/targets/"
            rf"{TARGET}/dvc\.yaml`, or `pipeline benchmark {ENGINE} --target {TARGET}`, then",
        ),
        (
            ROW[ROW.index("backend:") : ROW.index("batch:")],
            TENSORRT,
            r"manifest\.json to be by .*`backend` is tensorrt now, but it is by openvino\. Build",
        ),
    ],
)
def test_built_or_measured_by_a_row_that_was_edited_since(
    workspace: Workspace, folder: EngineFolder, old: str, new: str, said: str
) -> None:
    """Neither the old verdict counts, nor can one be had without building or measuring again."""
    edit_row(workspace, old, new)
    with pytest.raises(InputError, match=said):
        load_judged(workspace, TARGET, ENGINE)
    with pytest.raises(InputError, match=said):
        judge_again(workspace, ENGINE)


# --- any edit ------------------------------------------------------------------------------------


def _numbers(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each number in a JSON document."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _numbers(value, (*path, key))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path


def _put(value: float, path: tuple[Any, ...], content: Any) -> None:
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_number_that_is_edited_is_refused(
    workspace: Workspace, folder: EngineFolder, data: st.DataObject
) -> None:
    path = folder.file(data.draw(st.sampled_from([*RECORDS, Verdict])))
    before = path.read_text()
    place = data.draw(st.sampled_from(list(_numbers(json.loads(before)))))
    value = data.draw(st.integers(-(10**6), 10**6) | st.floats(allow_nan=False))
    content = json.loads(before)
    _put(value, place, content)
    if content == json.loads(before):
        return
    path.write_text(json.dumps(content))
    try:
        with pytest.raises(JetrailError) as raised:
            load_judged(workspace, TARGET, ENGINE)
        assert path.name in str(raised.value)
        # A limit that is another one is what a changed row gives too.
        limit = place[-1] == "limit" and math.isfinite(value)
        assert raised.value.exit_code == 5 or (limit and raised.value.exit_code == 2)
    finally:
        path.write_text(before)
    load_judged(workspace, TARGET, ENGINE)


def test_judging_again_makes_it_count_again(workspace: Workspace, folder: EngineFolder) -> None:
    edit(folder.file(Benchmark), lambda one: one.update(memory_peak_mib=201.0))
    _refused(workspace, "benchmark.json was changed")
    assert judge_again(workspace, ENGINE) == "PASS"
    assert load_judged(workspace, TARGET, ENGINE).benchmark.memory_peak_mib == 201.0


def _refused(workspace: Workspace, match: str) -> None:
    with pytest.raises(WrongEngine, match=match):
        load_judged(workspace, TARGET, ENGINE)
