"""The targets of other devices: left alone by a bare `dvc repro`, and refused on this machine."""

from __future__ import annotations

import shlex

import pytest

from engines.errors import GateInvalid
from engines.records.verdict import Verdict
from pipeline.steps.gate import raise_unless_pass
from tests.integration.conftest import MODEL, ROOT, TARGET, Clone, copy, stages

pytestmark = pytest.mark.integration

FP16 = f"{MODEL}-fp16"

OTHERS = sorted(
    path.parent.name
    for path in (ROOT / "engines/targets").glob("*/params.yaml")
    if path.parent.name != TARGET
)
MADE = {"out", "dvc.lock"}


@pytest.fixture
def with_all_targets(finished: Clone) -> Clone:
    for name in OTHERS:
        for file in ("params.yaml", "dvc.yaml"):
            path = f"engines/targets/{name}/{file}"
            copy(ROOT / path, finished.root / path)
    return finished


def made(clone: Clone) -> list[str]:
    """The targets of other devices for which something was made."""
    folders = [clone.workspace.target(name) for name in OTHERS]
    return [folder.name for folder in folders if {one.name for one in folder.iterdir()} & MADE]


def test_a_bare_repro_leaves_other_devices_to_their_own(with_all_targets: Clone) -> None:
    assert "jetson-orin-nx" in OTHERS
    assert with_all_targets.repro() == ["probe"]
    assert made(with_all_targets) == []


def test_a_jetson_s_target_stops_here_before_anything_is_built(with_all_targets: Clone) -> None:
    done = with_all_targets.command("dvc", "repro", "engines/targets/jetson-orin-nx/dvc.yaml")
    assert done.returncode != 0
    assert stages(done.stdout) == ["probe"]
    assert "exited with 5" in done.stderr
    assert (
        "Expected a device of target jetson-orin-nx (kind: jetson, family: orin-nx)" in done.stderr
    )
    assert "runners have the tag jetson-orin-nx" in done.stderr
    # DVC makes the folder of a stage's outputs before it runs the stage.
    out = with_all_targets.workspace.target("jetson-orin-nx") / "out"
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_what_an_invalid_verdict_says_to_do_touches_no_other_target(
    with_all_targets: Clone,
) -> None:
    verdict = Verdict.read(with_all_targets.workspace.engine(TARGET, FP16).path / "verdict.json")
    with pytest.raises(GateInvalid) as raised:
        raise_unless_pass(verdict.model_copy(update={"verdict": "INVALID"}))
    remove, repro = str(raised.value).splitlines()[1:]
    with_all_targets.run(*shlex.split(remove))
    ran = stages(with_all_targets.run(*shlex.split(repro)))
    assert ran[0] == "probe"
    assert set(ran[1:]) == {f"benchmark@{FP16}", f"gate@{FP16}", "report"}
    assert made(with_all_targets) == []
