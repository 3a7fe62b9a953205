"""Bad input for NVIDIA's builder through the real commands: a sentence, the right exit code, and
the last good engine with its manifest still in place.

One row a line of the list in issue 3. What the sentences say in full is tested in tests/unit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from factories.processes import PATIENCE_SECONDS, runs
from typer.testing import CliRunner

import pipeline.cli
from engines.backends.loading import check_engine
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Manifest
from tests.integration.conftest import BIN, MODEL, ROOT, Clone, check_refused, copy, files

pytestmark = pytest.mark.integration

RTX, SYSTEM = "rtx-x86", "dgpu-x86"
ENGINE = f"{MODEL}-fp16"
ONNX = f"models/{MODEL}/out/model.fp16.onnx"
ROW = f"engines/targets/{RTX}/params.yaml"
OUT = f"engines/targets/{RTX}/out/{ENGINE}"
BUILD = ("build", ENGINE, "--target", RTX)
EVALUATE = ("evaluate", ENGINE, "--target", RTX)
BENCHMARK = ("benchmark", ENGINE, "--target", RTX)

Spoil = Callable[[Clone], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is spoiled, the command that meets it, and a part of what it says."""

    spoil: Spoil
    words: tuple[str, ...] = BUILD
    said: str
    code: int = 2


# --- ways to spoil a repository ------------------------------------------------------------------


def row(*keys: str, value: Any, target: str = RTX) -> Spoil:
    def spoil(clone: Clone) -> None:
        with clone.edited(f"engines/targets/{target}/params.yaml") as content:
            for key in keys[:-1]:
                content = content[key]
            content[keys[-1]] = value

    return spoil


def manifest(*keys: str, value: Any) -> Spoil:
    def spoil(clone: Clone) -> None:
        path = clone.root / OUT / "manifest.json"
        content = here = json.loads(path.read_text())
        for key in keys[:-1]:
            here = here[key]
        here[keys[-1]] = value
        path.write_text(json.dumps(content))

    return spoil


def all_of(*spoils: Spoil) -> Spoil:
    def spoil(clone: Clone) -> None:
        for one in spoils:
            one(clone)

    return spoil


def onnx_file(edit: Callable[[Any], None]) -> Spoil:
    def spoil(clone: Clone) -> None:
        import onnx

        model = onnx.load(str(clone.root / ONNX))
        edit(model)
        onnx.save(model, str(clone.root / ONNX))

    return spoil


def unknown_operators(model: Any) -> None:
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    for node, operator in zip(pools, ("Det", "StringNormalizer", "Det"), strict=True):
        node.op_type = operator
        del node.attribute[:]


def fixed_batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def batch_fixed_inside(model: Any) -> None:
    """The last Reshape of the head for one picture alone."""
    from onnx import numpy_helper

    last = [node for node in model.graph.node if node.op_type == "Reshape"][-1]
    shape = next(one for one in model.graph.initializer if one.name == last.input[1])
    fixed = numpy_helper.to_array(shape).copy()
    fixed[0] = 1
    shape.CopyFrom(numpy_helper.from_array(fixed, shape.name))


def damaged_onnx(clone: Clone) -> None:
    path = clone.root / ONNX
    path.write_bytes(path.read_bytes()[:100_000])


def cut(clone: Clone) -> None:
    path = clone.root / OUT / "engine.plan"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_bit(clone: Clone) -> None:
    path = clone.root / OUT / "engine.plan"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def as_if_of_tensorrt(*keys: str, value: Any) -> Spoil:
    """A plan of TensorRT itself, built on another device than this."""
    return all_of(manifest("backend_package", value="tensorrt"), manifest(*keys, value=value))


# --- the list ------------------------------------------------------------------------------------

CASES = {
    # --- what cannot be built ---
    "operators that TensorRT does not have": Case(
        spoil=onnx_file(unknown_operators),
        said="Det (nodes /model.9/m/MaxPool, /model.9/m_2/MaxPool): TensorRT has no such "
        "operator; StringNormalizer (node /model.9/m_1/MaxPool): TensorRT has no such operator",
    ),
    "damaged ONNX": Case(spoil=damaged_onnx, said=ONNX),
    "profile outside the model's axes": Case(
        spoil=onnx_file(fixed_batch),
        said="for the profile 1, 4, 8 of the row, got one that is always 1",
    ),
    "profile outside an axis within the model": Case(
        spoil=onnx_file(batch_fixed_inside),
        said="expected as many results as pictures, got 1 for any number",
    ),
    "workspace larger than memory": Case(
        spoil=row("builder", "workspace_mib", value=1 << 30),
        said="Expected for `builder.workspace_mib` what tensorrt_rtx",
    ),
    "workspace too small": Case(
        spoil=row("builder", "workspace_mib", value=1), said="raise `builder.workspace_mib` (now 1)"
    ),
    "version compatible": Case(
        spoil=row("builder", "version_compatible", value=True),
        said="Expected for `builder.version_compatible` what tensorrt_rtx",
    ),
    "hardware compatible": Case(
        spoil=row("builder", "hardware_compatibility", value="ampere+"),
        said="Expected for `builder.hardware_compatibility` what tensorrt_rtx",
    ),
    "DLA": Case(spoil=row("builder", "dla_core", value=0), said="there is no DLA here"),
    # --- another device or engine ---
    "plan of another SM": Case(
        spoil=as_if_of_tensorrt("device", "compute_capability", value="8.7"),
        words=EVALUATE,
        said="built for another device: device compute_capability: expected '8.7'",
        code=5,
    ),
    "plan of another JetPack": Case(
        spoil=as_if_of_tensorrt("device", "jetpack", value="6.2"),
        words=BENCHMARK,
        said="built for another device: device jetpack: expected '6.2'",
        code=5,
    ),
    "plan of another architecture": Case(
        spoil=manifest("device", "architecture", value="aarch64"),
        words=EVALUATE,
        said="built for another device: device architecture: expected 'aarch64'",
        code=5,
    ),
    "plan of another TensorRT": Case(
        spoil=manifest("backend_version", value="1.6.0.1"),
        words=EVALUATE,
        said="backend_version: it was built with tensorrt_rtx 1.6.0.1",
        code=5,
    ),
    "plan truncated": Case(spoil=cut, words=EVALUATE, said="engine_bytes: expected", code=5),
    "plan truncated, in benchmark": Case(
        spoil=cut, words=BENCHMARK, said="engine_bytes: expected", code=5
    ),
    "one bit of the plan flipped": Case(
        spoil=one_bit, words=EVALUATE, said="engine_sha256: expected", code=5
    ),
    "one bit of the plan flipped, in benchmark": Case(
        spoil=one_bit, words=BENCHMARK, said="engine_sha256: expected", code=5
    ),
    "TensorRT missing": Case(
        spoil=row("device", value={"architecture": "x86_64"}, target=SYSTEM),
        words=("build", ENGINE, "--target", SYSTEM),
        said="Expected the package 'tensorrt', which target dgpu-x86 runs on, on this device",
        code=5,
    ),
    "TensorRT missing, in probe": Case(
        spoil=row("device", value={"architecture": "x86_64"}, target=SYSTEM),
        words=("probe", "--target", SYSTEM),
        said="`pip install tensorrt",
        code=5,
    ),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Timing caches go here and not to the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def sound(
    first_run: tuple[Clone, str], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Clone:
    """A clone with an engine of TensorRT-RTX, whose target this machine counts as a device of."""
    root = tmp_path_factory.mktemp("sound-rtx") / "clone"
    unused = shutil.ignore_patterns(".git", "cache", "mlartifacts", "*.py", "x86-openvino")
    shutil.copytree(first_run[0].root, root, symlinks=True, ignore=unused)
    for target in (RTX, SYSTEM):
        path = f"engines/targets/{target}/params.yaml"
        copy(ROOT / path, root / path)
    clone = Clone(root=root)
    row("device", value={"architecture": "x86_64"})(clone)
    row("builder", "timing_cache", value=True)(clone)
    clone.run("pipeline", "probe", "--target", RTX)
    clone.run("pipeline", *BUILD)
    return clone


@pytest.fixture
def spoiled(sound: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A copy that a test may spoil, as the current folder."""
    root = shutil.copytree(sound.root, tmp_path / "clone", symlinks=True)
    monkeypatch.chdir(root)
    return Clone(root=root)


def run(words: tuple[str, ...]) -> Result:
    return CliRunner().invoke(pipeline.cli.commands, list(words))


@pytest.mark.parametrize("name", CASES)
def test_refused(spoiled: Clone, name: str) -> None:
    case = CASES[name]
    case.spoil(spoiled)
    check_refused(spoiled, lambda: run(case.words), case.code, case.said)


def test_the_sound_repository_is_not_refused(spoiled: Clone) -> None:
    """That it is the spoiling which makes the others fail."""
    result = run(BUILD)
    assert result.exit_code == 0, result.output
    engine_fits(spoiled)


def engine_fits(clone: Clone) -> None:
    """The plan is the manifest's, and both are of this machine."""
    folder = clone.root / OUT
    check_engine(folder, Manifest.read(folder / "manifest.json"), read_fingerprint())


# --- the timing cache ----------------------------------------------------------------------------


def test_a_timing_cache_of_another_version_is_ignored(spoiled: Clone, cache: Path) -> None:
    (timings,) = cache.rglob("*.cache")
    timings.write_bytes(b"of another version")
    result = run(BUILD)
    assert result.exit_code == 0, result.output
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "the timing cache of tensorrt_rtx" in warning
    assert "The engine was built without it, and a new one written." in warning
    assert timings.read_bytes() != b"of another version"
    engine_fits(spoiled)


# --- while it builds -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Build:
    """A `pipeline build` whose builder was stopped in the middle of its work."""

    process: subprocess.Popen[str]
    builder: int


@contextmanager
def building(clone: Clone) -> Iterator[Build]:
    """Start a build and stop the builder's process once NVIDIA's parser is loaded."""
    process = subprocess.Popen(
        [str(BIN / "pipeline"), *BUILD],
        cwd=clone.root,
        env=clone.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    builder = wait_for(lambda: builder_of(process.pid))
    os.kill(builder, signal.SIGSTOP)
    try:
        yield Build(process=process, builder=builder)
    finally:
        for pid in (process.pid, builder):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def builder_of(parent: int) -> int | None:
    """The child that has NVIDIA's parser loaded."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # others end meanwhile, as git's do
            if "libtensorrt_onnxparser" in Path(f"/proc/{child}/maps").read_text():
                return int(child)
    return None


def wait_for(what: Callable[[], Any]) -> Any:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    return found


def test_a_builder_that_linux_kills_for_want_of_memory(spoiled: Clone) -> None:
    before = files(spoiled)
    with building(spoiled) as build:
        os.kill(build.builder, signal.SIGKILL)
        _, said = build.process.communicate(timeout=PATIENCE_SECONDS)
    assert build.process.returncode == 2
    assert "error: Expected enough memory to build" in said
    assert "it was killed (signal 9), as happens when memory runs out" in said
    assert "lower `builder.workspace_mib` (now 2048)" in said
    assert files(spoiled) == before


def test_a_builder_that_crashes(spoiled: Clone) -> None:
    before = files(spoiled)
    with building(spoiled) as build:
        os.kill(build.builder, signal.SIGSEGV)
        os.kill(build.builder, signal.SIGCONT)
        _, said = build.process.communicate(timeout=PATIENCE_SECONDS)
    assert build.process.returncode == 1
    assert "its process crashed: it ended by signal 11 (SIGSEGV)" in said
    assert "Expected enough memory" not in said
    assert files(spoiled) == before


def test_ctrl_c_while_it_builds(spoiled: Clone) -> None:
    """The terminal sends it to the command and to the builder."""
    before = files(spoiled)
    with building(spoiled) as build:
        os.killpg(build.process.pid, signal.SIGINT)
        _, said = build.process.communicate(timeout=PATIENCE_SECONDS)
        assert not runs(build.builder)
    assert build.process.returncode not in (0, 2)
    assert "Traceback" not in said
    assert files(spoiled) == before


def test_kill_9_while_it_builds(spoiled: Clone) -> None:
    """The builder ends with its command, before it has written anything."""
    before = files(spoiled)
    with building(spoiled) as build:
        build.process.kill()
        build.process.wait()
        os.kill(build.builder, signal.SIGCONT)
        wait_for(lambda: not runs(build.builder))
    assert files(spoiled) == before
    engine_fits(spoiled)


def test_two_builds_on_one_device(spoiled: Clone) -> None:
    before = files(spoiled)
    with building(spoiled) as build:
        second = run(("build", f"{MODEL}-int8", "--target", RTX, "--no-wait"))
        assert second.exit_code == 7, second.output
        assert files(spoiled) == before
        os.kill(build.builder, signal.SIGCONT)
        build.process.communicate(timeout=PATIENCE_SECONDS)
        assert build.process.returncode == 0
    for part in (f"`pipeline build {ENGINE} --target {RTX}`", f"process {build.process.pid} in"):
        assert part in second.stderr
    engine_fits(spoiled)
    assert run(("build", f"{MODEL}-int8", "--target", RTX)).exit_code == 0
