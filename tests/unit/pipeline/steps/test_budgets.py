"""Budgets from what the device itself measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from typer.testing import CliRunner

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from engines.records.benchmark import Benchmark, Latency, MachineState, Quiet, Throughput, Validity
from pipeline.cli import commands
from pipeline.repository.lock import one_at_a_time
from pipeline.repository.yaml_edit import edited_yaml, put
from pipeline.steps.add_target import add_target
from pipeline.steps.budgets import budgets, parse_margin
from pipeline.steps.report import budget_sources

REPOSITORY = Path(__file__).parents[4]
TARGETS = REPOSITORY / "engines" / "targets"
NX = "jetson-orin-nx"
ENGINE = "meter-yolov8n-fp16"
ORIN = read_fingerprint(REPOSITORY / "tests/documented/jetson/orin-nx-16gb", architecture="aarch64")
QUIET = MachineState(
    **{"steal_share": 0, "others_share": 0, "run_queue_wait_share": 0, "drift_share": 0},
    **{"clock_min_mhz": None, "clock_max_mhz": None, "throttle_events": 0},
    temperature_max_c=None,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """All rows of this repository."""
    for row in TARGETS.glob("*/params.yaml"):
        folder = tmp_path / "engines/targets" / row.parent.name
        folder.mkdir(parents=True)
        shutil.copy(row, folder)
    shutil.copy(TARGETS / "device.dvc.yaml", tmp_path / "engines/targets")
    return Workspace(root=tmp_path)


def measurement(folder: Path, **changes: Any) -> Path:
    """A benchmark.json with a p50 of 4.4 ms, a p99 of 6, 200 frames a second and 800 MiB."""
    times = Latency(
        **{"p50_ms": 4.4, "p95_ms": 5, "p99_ms": 6, "p99_low_ms": 5.5, "p99_high_ms": 6.5},
        **{"mean_ms": 4.5, "min_ms": 4, "max_ms": 7, "count": 1000},
    )
    facts: dict[str, Any] = {
        **{"engine": ENGINE, "target": NX, "engine_sha256": "3f2a91c04b7e" + "0" * 52},
        **{"frame_size": (720, 1280), "inference": {"1": times}, "frame": {"1": times}},
        "throughput": Throughput(frames_per_second=200, in_flight=2, count=400),
        **{"memory_peak_mib": 800, "machine": QUIET, "device": ORIN},
        "quiet": Quiet(share=1, enough=True, seconds=8, set_aside={}),
        "validity": Validity(valid=True, reasons=(), attempts=1),
    }
    path = folder / "benchmark.json"
    Benchmark(**(facts | changes)).write(path)
    return path


def comments(path: Path) -> list[str]:
    """What people wrote, line by line."""
    found = [line.partition("#")[2].strip() for line in path.read_text().splitlines()]
    return [text for text in found if text and not text.startswith("measured")]


def test_writes_the_engine_s_own_budgets_and_where_they_are_from(
    workspace: Workspace, tmp_path: Path
) -> None:
    row = workspace.target(NX) / "params.yaml"
    before, kept = load_target(workspace, NX), comments(row)
    said = budgets(workspace, NX, measurement(tmp_path), 0.25)
    after = load_target(workspace, NX)
    limits = after.budgets_of(ENGINE)
    assert (limits.frame_p50_ms, limits.frame_p99_ms) == (5.5, 7.5)
    assert (limits.throughput_fps, limits.memory_peak_mib) == (160, 1000)
    assert (limits.map50_95_drop, limits.engine_size_mib) == (0.01, 32)
    assert after.engines[ENGINE].budgets_from == "measured"
    text = row.read_text()
    assert "frame_p50_ms: 5.5  # measured p50 4.4 ms + 25%" in text
    assert "throughput_fps: 160.0  # measured 200 a second less 25%" in text
    assert "budgets_from: measured  # measured with engine 3f2a91c04b7e on Jetson Orin NX" in text
    assert comments(row) == kept
    assert "frame_p50_ms: 5.5  (measured p50 4.4 ms + 25%)" in said
    others = {engine: row for engine, row in after.engines.items() if engine != ENGINE}
    assert others == {engine: row for engine, row in before.engines.items() if engine != ENGINE}
    assert after.budgets == before.budgets


def test_it_waits_for_who_else_edits_the_row(workspace: Workspace, tmp_path: Path) -> None:
    row = workspace.target(NX) / "params.yaml"
    before = row.read_bytes()
    other = Thread(target=budgets, args=(workspace, NX, measurement(tmp_path), 0.25))
    with one_at_a_time(workspace):
        other.start()
        other.join(0.5)
        assert other.is_alive()
        assert row.read_bytes() == before
    other.join(60)
    assert row.read_bytes() != before


def test_a_later_measurement_replaces_an_earlier_one(workspace: Workspace, tmp_path: Path) -> None:
    row = workspace.target(NX) / "params.yaml"
    budgets(workspace, NX, measurement(tmp_path), 0.25)
    once = row.read_text()
    budgets(workspace, NX, measurement(tmp_path), 0.25)
    assert row.read_text() == once
    budgets(workspace, NX, measurement(tmp_path), 0.5)
    assert "+ 25%" not in row.read_text()
    assert load_target(workspace, NX).budgets_of(ENGINE).frame_p50_ms == 6.6


@pytest.mark.parametrize("target", sorted(path.parent.name for path in TARGETS.glob("*/*.yaml")))
def test_every_row_keeps_what_people_wrote(
    workspace: Workspace, tmp_path: Path, target: str
) -> None:
    row, target_row = workspace.target(target) / "params.yaml", load_target(workspace, target)
    text = row.read_text()
    # A line of a person between two engines, and a comment beside a figure.
    text = text.replace("  meter-yolov8n-int8:", "\n  # The smallest.\n  meter-yolov8n-int8:")
    text = text.replace("    precision: fp16\n", "    precision: fp16  # of float16\n")
    row.write_text(text)
    kept = comments(row)
    here = ORIN.model_copy(update=dict(target_row.device))
    for engine in target_row.engines:
        path = measurement(tmp_path, engine=engine, target=target, device=here)
        budgets(workspace, target, path, 0.25)
    assert sorted(comments(row)) == sorted(kept)
    lines = row.read_text().splitlines()
    place = lines.index("  # The smallest.")
    assert lines[place + 1] == "  meter-yolov8n-int8:"
    assert {row.budgets_from for row in load_target(workspace, target).engines.values()} == {
        "measured"
    }


def test_the_p99_stays_what_cameras_need(workspace: Workspace, tmp_path: Path) -> None:
    """A slow device does not make its own real time."""
    slow = Latency(
        **{"p50_ms": 20, "p95_ms": 25, "p99_ms": 28, "p99_low_ms": 27, "p99_high_ms": 29},
        **{"mean_ms": 20, "min_ms": 18, "max_ms": 30, "count": 1000},
    )
    said = budgets(workspace, NX, measurement(tmp_path, frame={"1": slow}), 0.25)
    assert load_target(workspace, NX).budgets_of(ENGINE).frame_p99_ms == 30
    assert "frame_p99_ms: 30  (measured p99 28 ms + 25%, at most the target's 30)" in said


def test_the_p50_never_goes_above_the_p99(workspace: Workspace, tmp_path: Path) -> None:
    slow = Latency(
        **{"p50_ms": 28, "p95_ms": 28.5, "p99_ms": 29, "p99_low_ms": 28, "p99_high_ms": 30},
        **{"mean_ms": 28, "min_ms": 27, "max_ms": 30, "count": 1000},
    )
    said = budgets(workspace, NX, measurement(tmp_path, frame={"1": slow}), 0.25)
    limits = load_target(workspace, NX).budgets_of(ENGINE)
    assert (limits.frame_p50_ms, limits.frame_p99_ms) == (30, 30)
    assert "frame_p50_ms: 30  (measured p50 28 ms + 25%, at most that of the p99)" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "jetson-thor"}, "of jetson-thor. Run this with `--target jetson-thor`"),
        ({"engine": "other-fp16"}, "other-fp16"),
        (
            {"validity": Validity(valid=False, reasons=("It was busy.",), attempts=3)},
            "is INVALID: It was busy. Measure again with `pipeline benchmark",
        ),
        (
            {"device": ORIN.model_copy(update={"family": "orin-nano"})},
            "which is not family: orin-nx. Measure again",
        ),
        ({"device": None}, "is of an unknown device"),
        ({"frame": {}}, "Expected figures at batch 1 .* got `frame` at batches .none"),
        ({"memory_peak_mib": 0}, "Expected measured figures above 0 .* got memory_peak_mib 0. Mea"),
        (
            {"throughput": Throughput(frames_per_second=0, in_flight=2, count=1)},
            "got frames_per_second 0",
        ),
    ],
)
def test_refuses(workspace: Workspace, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    row = workspace.target(NX) / "params.yaml"
    before = row.read_text()
    with pytest.raises(InputError, match=said):
        budgets(workspace, NX, measurement(tmp_path, **changes), 0.25)
    assert row.read_text() == before


@pytest.mark.parametrize(("text", "margin"), [("25%", 0.25), (" 0 %", 0), ("12.5%", 0.125)])
def test_margins(text: str, margin: float) -> None:
    assert parse_margin(text) == margin


@pytest.mark.parametrize("text", ["25", "0.25", "-1%", "1001%", "nan%", "%", ""])
def test_no_margins(text: str) -> None:
    with pytest.raises(InputError, match="--margin as a percentage such as 25%"):
        parse_margin(text)


def test_the_command(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "dvc.yaml").touch()
    (workspace.root / "models").mkdir()
    monkeypatch.chdir(workspace.root)
    path = str(measurement(tmp_path))
    done = CliRunner().invoke(commands, ["budgets", "--target", NX, "--from", path])
    assert done.exit_code == 0, done.output
    assert "measured p50 4.4 ms + 25%" in done.output
    done = CliRunner().invoke(commands, ["budgets", "--from", path, "--margin", "a lot"])
    assert done.exit_code == 2


def test_what_another_device_measured_is_no_measurement_of_a_new_target(
    workspace: Workspace, tmp_path: Path
) -> None:
    budgets(workspace, NX, measurement(tmp_path), 0.25)
    assert budget_sources(workspace, NX)[ENGINE] == "measured"
    assert budget_sources(workspace, NX)["meter-yolov8n-int8"] == "article"
    shutil.copytree(REPOSITORY / "release/templates", workspace.root / "release/templates")
    shutil.copy(REPOSITORY / "release/rings.yaml", workspace.root / "release")
    add_target(workspace, "line-4-nx", NX)
    assert budget_sources(workspace, "line-4-nx")[ENGINE] == "derived"


# --- comments in YAML -----------------------------------------------------------------------------

WORDS = st.text("abc xyz", min_size=1, max_size=8).map(str.strip).filter(bool)
ENTRIES = st.lists(
    st.tuples(WORDS | st.none(), st.lists(WORDS, max_size=2)), min_size=1, max_size=4
)


@given(ENTRIES, ENTRIES, st.integers(0, 5), st.booleans())
def test_put_keeps_every_comment_of_people(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str | None, list[str]]],
    second: list[tuple[str | None, list[str]]],
    chosen: int,
    nested: bool,
) -> None:
    """Beside keys and in lines below them, in a mapping that others follow."""
    path = tmp_path_factory.mktemp("yaml") / "row.yaml"
    lines = []
    for name, entries in (("one", first), ("two", second)):
        lines.append(f"{name}:")
        for number, (beside, below) in enumerate(entries):
            lines.append(f"  k{number}: {number}" + (f"  # {beside}" if beside else ""))
            lines += [f"  # {text}" for text in below]
    path.write_text("\n".join(lines) + "\n")
    kept = comments(path)
    value: object = CommentedMap({"x": 1, "y": 2}) if nested else 7.5
    for _ in range(2):
        with edited_yaml(path) as content:
            put(content["one"], f"k{chosen}", value, "" if nested else "measured here")
    found = YAML(typ="safe").load(path.read_text())
    assert found["one"][f"k{chosen}"] == ({"x": 1, "y": 2} if nested else 7.5)
    assert found["two"] == {f"k{number}": number for number in range(len(second))}
    ours = [text.partition("; ")[2] or text for text in _texts(path)]
    assert sorted(text for text in ours if text != "measured here") == sorted(kept)


def _texts(path: Path) -> list[str]:
    found = [line.partition("#")[2].strip() for line in path.read_text().splitlines()]
    return [text for text in found if text]
