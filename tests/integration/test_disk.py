"""A full disk, for real: the clone lies on a small tmpfs that is filled up to the last block.

The tmpfs is mounted in a namespace of its own, which needs no root and is gone with the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, MODEL, TARGET, Clone

pytestmark = pytest.mark.integration

ENGINE = f"{MODEL}-fp16"
PUBLISH = ("release", "publish", "--target", TARGET)

SCRIPT = """
import hashlib, json, os, pathlib, shutil, subprocess, sys

plan = json.loads(sys.argv[1])
disk = pathlib.Path(plan["disk"])
subprocess.run(["mount", "-t", "tmpfs", "-o", plan["options"], "tmpfs", str(disk)], check=True)
root = disk / "clone"
subprocess.run(["cp", "-a", plan["source"], str(root)], check=True)
for file in plan["remove"]:
    (root / file).unlink(missing_ok=True)
(disk / "tmp").mkdir()

def fill():
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    os.truncate(filler, filler.stat().st_size // 4096 * 4096 - plan["free"])

def use_up_inodes():
    folder = disk / "files"
    folder.mkdir()
    try:
        for number in range(1_000_000):
            (folder / str(number)).touch()
    except OSError:
        pass

def read_only():
    mount = ["mount", "-o", "remount,ro,bind", "-t", "tmpfs", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)

def state():
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not str(path.relative_to(root)).startswith(tuple(plan["theirs"]))
    }

def small_tmp():
    size = f"size={plan['free']}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk / "tmp")], check=True)

ways = {"fill": fill, "use_up_inodes": use_up_inodes, "read_only": read_only}
(ways | {"small_tmp": small_tmp})[plan["way"]]()
before = state()
environment = {**os.environ, **({"TMPDIR": str(disk / "tmp")} if plan["tmp"] else {})}
done = subprocess.run(plan["words"], cwd=root, env=environment, capture_output=True, text=True)
json.dump(
    {"code": done.returncode, "said": done.stderr, "before": before, "after": state()}, sys.stdout
)
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command that needs room, and what is taken away first so that it has something to do."""

    words: tuple[str, ...]
    remove: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ("mlflow.db", "mlartifacts/")
    """What MLflow keeps in its own way: an unfinished run is completed by the next publish."""


CASES = {
    "export": Case(words=("pipeline", "export", MODEL)),
    "verify": Case(words=("pipeline", "verify", MODEL)),
    "quantize": Case(words=("pipeline", "quantize", MODEL)),
    "probe": Case(
        words=("pipeline", "probe"), remove=(f"engines/targets/{TARGET}/out/device.json",)
    ),
    "build": Case(words=("pipeline", "build", ENGINE)),
    "benchmark": Case(words=("pipeline", "benchmark", ENGINE)),
    "gate": Case(words=("pipeline", "gate", ENGINE)),
    "publish": Case(words=PUBLISH, remove=(f"release/records/candidates/{TARGET}.json",)),
}


@pytest.fixture(scope="session")
def light(first_run: tuple[Clone, str], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The finished clone without DVC's cache and MLflow's files: 40 MB."""
    root = tmp_path_factory.mktemp("light") / "clone"
    subprocess.run(["cp", "-a", str(first_run[0].root), str(root)], check=True)
    for folder in (".dvc/cache", "mlartifacts", ".git"):
        subprocess.run(["rm", "-r", str(root / folder)], check=True)
    return Clone(root=root)


@pytest.fixture
def on_full_disk(light: Clone, tmp_path: Path) -> Callable[..., Any]:
    """A function that runs a case on a tmpfs and returns code, stderr and files."""
    used = subprocess.run(
        ["du", "-s", "--block-size=1M", str(light.root)], capture_output=True, text=True, check=True
    )
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(case: Case, way: str = "fill", *, free: int = 0, tmp: bool = False) -> Any:
        words = [str(BIN / case.words[0]), *case.words[1:]]
        plan = {
            **{"disk": str(disk), "source": str(light.root), "words": words, "way": way},
            **{"free": free, "tmp": tmp, "remove": case.remove, "theirs": case.theirs},
            "options": f"size={int(used.stdout.split()[0]) + 24}m,nr_inodes=20k",
        }
        own_namespace = ("unshare", "--user", "--map-root-user", "--mount")
        done = subprocess.run(
            [*own_namespace, sys.executable, "-c", SCRIPT, json.dumps(plan)],
            env=light.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def check(result: Any, reason: str) -> None:
    assert result["code"] == 2, result["said"]
    errors = [line for line in result["said"].splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result["said"]
    assert reason in errors[0]
    assert "Traceback" not in result["said"]
    assert result["after"] == result["before"]


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"benchmark"}))
def test_no_block_is_free(on_full_disk: Callable[..., Any], name: str) -> None:
    # The store lies elsewhere than it was made, which SQLite notes first, in words of its own.
    full = "disk is full" if name == "publish" else "No space left on device"
    check(on_full_disk(CASES[name]), full)


@pytest.mark.parametrize("name", ["export", "quantize", "build"])
def test_the_disk_fills_up_half_way(on_full_disk: Callable[..., Any], name: str) -> None:
    check(on_full_disk(CASES[name], free=1 << 20), "No space left on device")


@pytest.mark.parametrize("name", ["probe", "build"])
def test_no_inode_is_free(on_full_disk: Callable[..., Any], name: str) -> None:
    check(on_full_disk(CASES[name], "use_up_inodes"), "No space left on device")


@pytest.mark.parametrize("name", ["probe", "build"])
def test_read_only_disk(on_full_disk: Callable[..., Any], name: str) -> None:
    check(on_full_disk(CASES[name], "read_only"), "Read-only file system")


@pytest.mark.parametrize("name", ["export", "build"])
def test_temporary_files_on_the_same_full_disk(on_full_disk: Callable[..., Any], name: str) -> None:
    check(on_full_disk(CASES[name], tmp=True), "No space left on device")


@pytest.mark.parametrize(
    ("name", "free"),
    # The second has room for the traced file (12 MB), and not for the simplified one beside it.
    [("export", 200 << 10), ("export", 18 << 20), ("benchmark", 4 << 10)],
)
def test_temporary_files_on_a_full_disk_of_their_own(
    on_full_disk: Callable[..., Any], tmp_path: Path, name: str, free: int
) -> None:
    result = on_full_disk(CASES[name], "small_tmp", free=free, tmp=True)
    check(result, "No space left on device")
    # What was half written is gone by then, so how much is free depends on the case.
    assert f"the disk at {tmp_path}/disk/tmp has " in result["said"]


@pytest.mark.parametrize("free", [0, 4 << 20])
def test_publish_to_a_new_store(on_full_disk: Callable[..., Any], free: int) -> None:
    """SQLite and MLflow say it in their own words."""
    result = on_full_disk(Case(words=PUBLISH, remove=("mlflow.db",)), free=free)
    check(result, "disk is full" if free == 0 else "No space left on device")


@pytest.mark.parametrize("free", [0, 1 << 20])
def test_add_model(on_full_disk: Callable[..., Any], light: Clone, free: int) -> None:
    data = light.root.parent / "data.yaml"
    sets = f"{light.root}/models/{MODEL}/data"
    names = [str(digit) for digit in range(10)]
    data.write_text(
        f"path: {sets}\ntrain: calibration/images\nval: evaluation/images\nnames: {names}\n"
    )
    weights = f"models/{MODEL}/weights.pt"
    words = ("pipeline", "add-model", "mine", "--weights", weights, "--data", str(data))
    check(on_full_disk(Case(words=words), free=free), "No space left on device")


def test_the_same_disk_with_room(on_full_disk: Callable[..., Any]) -> None:
    """That it is the disk which makes the others fail."""
    result = on_full_disk(CASES["build"], free=16 << 20)
    assert result["code"] == 0, result["said"]
