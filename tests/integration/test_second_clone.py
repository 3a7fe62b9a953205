"""A second clone: what it brings from DVC's remote, and what DVC says where targets were never
built, or have no engines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engines.config.yaml import load_yaml
from tests.integration.conftest import BUDGETS, ENGINES, ROOT, TARGET, Clone, stages

pytestmark = pytest.mark.integration

OTHER = "jetson-orin-nx"
"""A target that nobody ever built."""


@pytest.fixture
def pushed(finished: Clone, tmp_path: Path) -> Clone:
    """The finished clone with a remote that has everything, and one more target."""
    folder = finished.workspace.target(OTHER)
    shutil.copytree(ROOT / folder.relative_to(finished.root), folder)
    finished.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    finished.run("git", "add", "--all")
    finished.run("git", "commit", "--quiet", "--message=Pushed")
    finished.run("dvc", "push")
    return finished


@pytest.fixture
def second(pushed: Clone, tmp_path: Path) -> Clone:
    """A fresh clone of it."""
    return fresh(pushed, tmp_path / "second")


def test_pull_brings_what_this_machine_needs_and_speaks_of_nothing_else(
    pushed: Clone, second: Clone
) -> None:
    said = second.run("pipeline", "pull")
    assert OTHER not in said
    for folder in (second.out, second.workspace.model_out("meter-yolov8n")):
        other = pushed.root / folder.relative_to(second.root)
        assert contents(folder) == contents(other)
    second.run("pipeline", "report")
    assert second.repro(f"engines/targets/{TARGET}/dvc.yaml") == ["probe"]

    again = second.run("pipeline", "pull", "-t", TARGET, "-t", OTHER)
    assert f"{OTHER}: no engine was kept yet; next: dvc repro engines/targets/{OTHER}" in again

    without = second.command("pipeline", "pull", "-t", "nothing")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)


def test_what_this_clone_has_itself_needs_no_remote(second: Clone, finished: Clone) -> None:
    second.run("dvc", "remote", "remove", "store")
    without = second.command("pipeline", "pull")
    assert without.returncode == 2
    assert "dvc remote add --default" in without.stderr.splitlines()[-1]

    model = finished.workspace.model_out("meter-yolov8n") / "model.fp16.onnx"
    before = model.read_bytes()
    model.write_bytes(b"of another commit")
    finished.run("dvc", "commit", "--force", "quantize@meter-yolov8n")
    finished.run("git", "checkout", "--", "dvc.lock")
    finished.run("pipeline", "pull")
    assert model.read_bytes() == before


def test_jobs_of_gitlab_bring_what_dvc_keeps_of_a_model(finished: Clone, tmp_path: Path) -> None:
    """Of an own model git has neither weights nor data: `add-model` gave them to DVC."""
    kept = [f"models/meter-yolov8n/{one}" for one in ("weights.pt", "data")]
    finished.run("git", "rm", "-r", "--quiet", "--cached", *kept)
    finished.run("dvc", "add", *kept)
    finished.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    finished.run("dvc", "push", *kept, "export", "verify", "quantize")
    finished.run("git", "add", "--all")
    finished.run("git", "commit", "--quiet", "--message=An own model")

    models = fresh(finished, tmp_path / "models")
    (line,) = (one for one in script(".gitlab-ci.yml", "models") if one.startswith("dvc repro"))
    assert stages(models.run("bash", "-ec", line)) == []

    device = fresh(finished, tmp_path / "device")
    shutil.rmtree(tmp_path / "store" / "files" / "md5")  # no ONNX file, as where CI pushes none
    finished.run("dvc", "push", *kept)
    shutil.copy(models.root / "dvc.lock", device.root)
    out = models.workspace.model_out("meter-yolov8n")
    shutil.copytree(out, device.workspace.model_out("meter-yolov8n"))
    lines = script("engines/targets/device.gitlab-ci.yml", ".device")
    first = next(i for i, one in enumerate(lines) if one.startswith("git ls-files"))
    assert lines[first + 1] == "dvc commit export verify quantize"
    device.run("bash", "-eo", "pipefail", "-c", "\n".join(lines[first : first + 2]))
    assert device.repro("export", "verify", "quantize") == []
    assert all((device.root / one).exists() for one in kept)


def test_a_colleague_s_pictures_that_dvc_repro_took_back_are_said(
    finished: Clone, tmp_path: Path
) -> None:
    """After `git pull` DVC takes the older data here for newer, and writes that into data.dvc."""
    data = "models/meter-yolov8n/data"
    finished.run("git", "rm", "-r", "--quiet", "--cached", data)
    finished.run("dvc", "add", data)
    finished.run("git", "add", "--all")
    finished.run("git", "commit", "--quiet", "--message=Data")
    finished.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "store"))
    finished.run("dvc", "push", data)
    second = fresh(finished, tmp_path / "second")
    second.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "store"))
    second.run("dvc", "pull", data)
    picture = f"{data}/evaluation/images/another.jpg"
    (finished.root / picture).write_bytes(b"another")
    finished.run("dvc", "add", data)
    finished.run("git", "commit", "--quiet", "--all", "--message=More")
    finished.run("dvc", "push")

    second.run("git", "pull", "--quiet")
    second.run("dvc", "repro", f"{data}.dvc")
    said = second.run("pipeline", "pull")
    assert f"{data}.dvc is an earlier commit's" in said
    assert f"{data}.dvc is an earlier commit's" in second.run("pipeline", "list")
    second.run("git", "checkout", "--", f"{data}.dvc")
    assert "earlier" not in second.run("pipeline", "pull")
    assert (second.root / picture).exists()


def fresh(origin: Clone, root: Path) -> Clone:
    origin.run("git", "clone", "--quiet", str(origin.root), str(root))
    return Clone(root=root)


def script(file: str, job: str) -> list[str]:
    lines: list[str] = load_yaml(ROOT / file)[job]["script"]
    return lines


def test_what_was_never_pushed_is_said(second: Clone, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    done = second.command("pipeline", "pull")
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("error: Expected DVC to bring all that dvc.lock")
    assert "Traceback" not in done.stderr


def test_figures_and_plots_are_those_of_the_machine_at_hand(pushed: Clone) -> None:
    shown = pushed.command("dvc", "metrics", "show", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    figures = next(iter(json.loads(shown.stdout).values()))["data"]
    summary = f"engines/targets/{TARGET}/out/summary"
    assert figures.keys() == {f"{summary}/{engine}.json" for engine in ENGINES}
    assert all("error" not in one for one in figures.values())
    assert "failed" not in pushed.run("dvc", "plots", "show")
    with pushed.edited(f"engines/targets/{TARGET}/params.yaml") as row:
        row["budgets"] = {**BUDGETS, "frame_p99_ms": 1e-3}
    pushed.repro(f"engines/targets/{TARGET}/dvc.yaml")
    changed = json.loads(pushed.command("dvc", "metrics", "diff", "--json").stdout)
    assert changed[f"{summary}/{ENGINES[0]}.json"]["verdict"]["new"] == "FAIL"


def test_a_target_without_engines_is_reproduced(clone: Clone) -> None:
    clone.run("pipeline", "remove-model", "meter-yolov8n")
    assert clone.repro(f"engines/targets/{TARGET}/dvc.yaml") == ["probe", "report"]
    assert "has no engine yet" in clone.run("pipeline", "report")


def contents(folder: Path) -> dict[Path, bytes]:
    """Of all files but what export leaves for verify, which does without it."""
    found = folder.rglob("*")
    files = (path for path in found if path.is_file() and path.name != "checkpoint.npz")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_after_git_revert_of_a_release_one_command_puts_the_alias_right(
    finished: Clone, tmp_path: Path
) -> None:
    """`release status` names it, and only it is run."""
    finished.run("git", "init", "--quiet", "--bare", str(tmp_path / "origin"))
    finished.run("git", "remote", "add", "origin", str(tmp_path / "origin"))
    finished.run("git", "push", "--quiet", "origin", "main")
    before = candidate(finished)
    other = next(one for one in ENGINES if one != before)
    with finished.edited(f"engines/targets/{TARGET}/params.yaml") as row:
        for engine in set(ENGINES) - {other}:
            del row["engines"][engine]
    finished.run("release", "publish", "--target", TARGET)
    assert candidate(finished) == other
    finished.run("git", "commit", "--quiet", "--all", "--message=Another candidate")
    finished.run("git", "revert", "--no-edit", "HEAD")
    finished.run("git", "push", "--quiet", "origin", "main")

    said = finished.run("release", "status")
    (line,) = (one for one in said.splitlines() if "git's candidate is" in one)
    assert line.endswith("Run `release status --repair`.")
    finished.run("release", "status", "--repair")
    assert "git's candidate" not in finished.run("release", "status")
    assert candidate(finished) == before


def candidate(clone: Clone) -> str:
    """The engine that the record of candidates names."""
    path = clone.workspace.records / "candidates" / f"{TARGET}.json"
    return str(json.loads(path.read_text())["candidates"]["meter-yolov8n"]["engine"])
