"""A small clone of this repository in a folder of its own, for tests that run the real commands.

The clone has the real dvc.yaml, model and target, with fewer pictures, a smaller network input and
budgets that a busy machine keeps too. The code runs from where it is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from factories import served
from factories.bases import RealBase, build_real_base
from factories.containers import Podman, podman
from factories.pods import Pods
from factories.signed import Signer
from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.fingerprint import Fingerprint

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MODEL = "meter-yolov8n"
TARGET = "x86-openvino"
ROW = f"engines/targets/{TARGET}/params.yaml"
RINGS = ("canary", "pilot", "production")
FLEET = ("fleet", "release")
CANARY = f"release/fleet/{MODEL}/{TARGET}/canary/release.yaml"
PRECISIONS = ("fp32", "fp16", "int8")
ENGINES = tuple(f"{MODEL}-{precision}" for precision in PRECISIONS)

PICTURES = {"calibration": 16, "tuning": 12, "evaluation": 16}
SIDE = 160
"""Half of what the sample model was trained at: faster, and it still finds digits."""

FILES = (
    *(".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"),
    *(f".dvc/plots/{name}_by_engine.json" for name in ("bars", "line", "points")),
    *("engines/targets/device.dvc.yaml", f"engines/targets/{TARGET}/dvc.yaml", ROW),
    *(
        "release/bases.yaml",
        "release/rings.yaml",
        "release/templates/fleet.yaml",
        "release/templates/release.yaml",
        "release/trust/keys/README.md",
    ),
    *(f"release/fleet/{MODEL}/{TARGET}/{ring}/{file}.yaml" for ring in RINGS for file in FLEET),
    *(f"models/{MODEL}/model.yaml", f"models/{MODEL}/weights.pt"),
)
BENCHMARK = {
    **{"frame_size": [360, 640], "warmup_seconds": 0.1, "seconds": 0.2, "max_seconds": 0.2},
    **{"p99_interval_share": 1000, "max_attempts": 10, "max_temperature_c": 1000},
    **{"max_steal_share": 1.0, "max_run_queue_wait_share": 1.0, "max_drift_share": 1000},
    "max_others_share": 1.0,
}
BUDGETS = {
    **{"frame_p99_ms": 60_000, "frame_p50_ms": 60_000, "throughput_fps": 0.01},
    **{"map50_95_drop": 1.0, "confidence_shift": 1.0, "onnx_shift": 0.05},
    **{"memory_peak_mib": 16_384, "engine_size_mib": 64},
}


def probed() -> Fingerprint:
    """What `pipeline probe` writes for TARGET here: of all packages of backends its own."""
    found = read_fingerprint()
    return found.model_copy(update={"backends": {"openvino": found.backends["openvino"]}})


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A repository, and the commands that a user types in it."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)

    @property
    def out(self) -> Path:
        """What the on-device pipeline writes."""
        return self.workspace.target(TARGET) / "out"

    def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the installed commands in the root."""
        return subprocess.run(
            [str(BIN / words[0]) if (BIN / words[0]).exists() else words[0], *words[1:]],
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *words: str, **environment: str) -> str:
        """As `command`, which must succeed; returns what it said."""
        done = self.command(*words, **environment)
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}:\n{said}"
        return said

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; returns the stages that ran, such as `build@meter-yolov8n-fp16`."""
        return stages(self.run("dvc", "repro", *arguments))

    @contextmanager
    def edited(self, file: str) -> Iterator[Any]:
        """Change a YAML file of the clone."""
        yaml = YAML()
        content = yaml.load(self.root / file)
        yield content
        yaml.dump(content, self.root / file)

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in UNSET}
        return ours | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "dvc-site-cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "Tester" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "tester@localhost" for who in ("AUTHOR", "COMMITTER")},
        }


UNSET = {"MLFLOW_TRACKING_URI", "PYTHONPATH", "JETRAIL_BENCHMARK_PLAN", "COLUMNS"}


def stages(output: str) -> list[str]:
    """Names of the stages that `dvc repro` ran, without their files."""
    return [name.rpartition(":")[2] for name in re.findall(r"Running stage '([^']+)'", output)]


def make_clone(root: Path) -> Clone:
    """Lay out a repository as a fresh `git clone` gives it, made smaller."""
    for file in FILES:
        copy(ROOT / file, root / file)
    for package in ("engines", "pipeline", "release"):
        for source in (ROOT / package).rglob("*.py"):
            copy(source, root / source.relative_to(ROOT))
    for purpose, count in PICTURES.items():
        copy_pictures(Path(f"models/{MODEL}/data/{purpose}"), root, count)
    clone = Clone(root=root)
    make_smaller(clone)
    clone.run("git", "init", "--quiet", "--initial-branch=main")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message=Start")
    return clone


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target, follow_symlinks=False)


def copy_pictures(folder: Path, root: Path, count: int) -> None:
    """The first pictures of one of the sample model's data sets, with their labels."""
    for image in sorted((ROOT / folder / "images").iterdir())[:count]:
        label = (Path("labels") / image.name).with_suffix(".txt")
        copy(image, root / folder / "images" / image.name)
        copy(ROOT / folder / label, root / folder / label)


def make_smaller(clone: Clone) -> None:
    with clone.edited(f"models/{MODEL}/model.yaml") as model:
        model["imgsz"] = [SIDE, SIDE]
    with clone.edited("params.yaml") as params:
        params["quantize"]["sensitivity_images"] = 1
        params["quantize"]["range_images"] = 1
        params["quantize"]["max_map50_95_drop"] = 1.0
        params["quantize"]["max_confidence_shift"] = 1.0
    with clone.edited(ROW) as row:
        row["batch"].update(opt=2, max=2)
        row["benchmark"] = dict(BENCHMARK)
        row["budgets"] = dict(BUDGETS)


def only_fp16(clone: Clone) -> None:
    """Take the other engines out of the row, for tests that need no more than one."""
    with clone.edited(ROW) as row:
        for engine in set(ENGINES) - {f"{MODEL}-fp16"}:
            del row["engines"][engine]


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, str]:
    """A clone after its first `dvc repro`, and what that said; not to be changed."""
    clone = make_clone(tmp_path_factory.mktemp("finished") / "clone")
    said = clone.run("dvc", "repro")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message=Measured")
    return clone, said


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A small repository in which nothing ran yet."""
    return make_clone(tmp_path / "clone")


@pytest.fixture
def finished(first_run: tuple[Clone, str], copy_of: Callable[[Clone], Clone]) -> Clone:
    """A copy of the clone in which `dvc repro` is through."""
    return copy_of(first_run[0])


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Clone], Clone]:
    """A function that copies a clone with times and links, so that DVC takes it for the same."""

    def make(source: Clone) -> Clone:
        root = tmp_path / "copy"
        subprocess.run(["cp", "-a", str(source.root), str(root)], check=True)
        return Clone(root=root)

    return make


@pytest.fixture(scope="session")
def tools() -> Iterator[Podman]:
    """Podman, with a storage of its own."""
    with podman() as tools:
        yield tools


@pytest.fixture(scope="session")
def x86_base(tools: Podman, tmp_path_factory: pytest.TempPathFactory) -> RealBase:
    """The real runtime image for x86, built once for all tests; not to be changed."""
    return build_real_base(tmp_path_factory.mktemp("base"), tools)


@pytest.fixture(scope="session")
def runtime_image(tools: Podman, x86_base: RealBase) -> Iterator[str]:
    """The same in podman's storage, by its name there."""
    name = f"localhost/jetrail-test-runtime:{os.getpid()}"
    source = f"oci:{x86_base.workspace.images}:base-x86"
    tools.run("skopeo", "copy", "--quiet", source, f"containers-storage:{name}")
    yield name
    tools.run("podman", "rmi", "--force", name)


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Whose key the pods of a test trust."""
    return Signer("ours")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """`/models` of a good release, with a real engine; not to be changed."""
    folder = tmp_path_factory.mktemp("pod") / "models"
    served.build(folder)
    return served.judge_and_sign(folder, signer)


@pytest.fixture
def play(tools: Podman, signer: Signer, runtime_image: str, tmp_path: Path) -> Iterator[Pods]:
    """Roll out an image: rendered by helm, run by podman."""
    pods = Pods(tools=tools, runtime=runtime_image, signer=signer, folder=tmp_path)
    yield pods
    pods.remove()


# --- bad input -----------------------------------------------------------------------------------


def files(clone: Clone) -> dict[str, str]:
    """Every file with its content; MLflow's database is left to MLflow."""
    found = (path for path in clone.root.rglob("*") if path.is_file())
    return {str(path): sha256_file(path) for path in found if path.name != "mlflow.db"}


def check_refused(clone: Clone, command: Callable[[], Result], code: int, said: str) -> None:
    """The command ends with `code` and one sentence that holds `said`, and no file changes."""
    before = files(clone)
    result = command()
    assert result.exit_code == code, result.output
    error = result.stderr[result.stderr.index("error: ") :]
    assert said in error
    assert error.rstrip().count("\n") == 0
    assert error.rstrip().endswith((".", "`"))
    assert files(clone) == before
