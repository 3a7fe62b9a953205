"""pipeline benchmark --cross-check: what trtexec is asked, and what is made of its answers.

The answers are those of tests/documented/trtexec (written after NVIDIA's sources; SOURCE.md there),
given by a stand-in: a shell script under trtexec's name.
"""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import records
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engines.errors import InputError, JetrailError, WrongEngine
from engines.records.benchmark import CrossCheck
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest, Profile, Tensor, TensorRTPlan
from pipeline.latency import trtexec, trtexec_tool
from tests.unit.pipeline.latency.test_ended import runs, until

DOCUMENTED = Path(__file__).parents[3] / "documented" / "trtexec"
MEDIAN_MS = 12.0044
"""Of `computeMs` in times.json."""
SHAPE = (None, 640, 640, 3)
LENGTH = {"--warmUp=1000", "--duration=3", "--iterations=100", "--avgRuns=100"}
ALWAYS = LENGTH | {
    "--loadEngine=engine.plan",
    "--shapes=images:1x640x640x3",
    "--exportTimes=trtexec-times.json",
}
BY_REQUEST = {"--useCudaGraph", "--useSpinWait", "--noDataTransfers"}


def manifest(
    version: str = "10.3.0",
    package: str = "tensorrt",
    inputs: tuple[Tensor, ...] = (Tensor(name="images", dtype="uint8", shape=SHAPE),),
    batch_min: int = 1,
    **plan: Any,
) -> Manifest:
    built = TensorRTPlan(
        **{
            "profile": {"images": Profile(min=(1, 640, 640, 3), opt=(1,), max=(4,))},
            "strongly_typed": True,
            "workspace_mib": 1024,
            "optimization_level": 3,
            "version_compatible": False,
            "hardware_compatibility": "none",
            "dla_core": None,
            "timing_cache": "new",
        }
        | plan
    )
    device = {"kind": "jetson", "name": "cpu", "architecture": "aarch64", "isa": (), "cores": 6}
    return records.manifest(
        4,
        target="jetson-orin-nx",
        executed_precision="fp16",
        engine_file="engine.plan",
        backend="tensorrt",
        backend_package=package,
        backend_version=version,
        device=Fingerprint(**device, memory_gib=16, backends={package: version}),
        batch=Batch(min=batch_min, opt=4, max=8),
        inputs=inputs,
        imgsz=(640, 640),
        tensorrt=built,
    )


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engines" / "engine.plan"
    path.parent.mkdir()
    path.write_bytes(b"plan")
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a script under the tool's name first on PATH; it notes its arguments in `asked`."""

    def write(
        version: str = "10.3.0",
        log: str | None = None,
        *,
        name: str = "trtexec",
        times: str | None = "times.json",
        then: str = "exit 0",
    ) -> Path:
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        answer = DOCUMENTED / (log or f"passed.{version}.txt")
        copy = f'cp "{DOCUMENTED / times}" trtexec-times.json' if times else ":"
        script.write_text(
            "#!/bin/sh\n# A stand-in for the tests, not NVIDIA's program.\n"
            f'if [ "$1" = --help ]; then cat "{DOCUMENTED}/help.{version}.txt"; exit 0; fi\n'
            f'for one in "$@"; do echo "$one"; done >"{tmp_path}/asked"\n'
            f'cat engine.plan >"{tmp_path}/loaded"\n'
            f'{copy}\ncat "{answer}"\n{then}\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
        return script

    return write


# --- the tool ----------------------------------------------------------------------------------


def test_the_tool_on_path_comes_first(
    stand_in: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trtexec_tool, "FOLDER", tmp_path)
    (tmp_path / "trtexec").touch(0o755)
    script = stand_in()
    assert trtexec.find() == script


def test_a_relative_path_stays_right_from_another_folder(
    stand_in: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = stand_in()
    monkeypatch.chdir(script.parents[1])
    monkeypatch.setenv("PATH", "bin")
    assert trtexec.find().is_absolute()


def test_jetpack_s_place_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert Path("/usr/src/tensorrt/bin") == trtexec_tool.FOLDER
    monkeypatch.setattr(trtexec_tool, "FOLDER", tmp_path)
    (tmp_path / "trtexec").touch(0o755)
    assert trtexec.find() == tmp_path / "trtexec"
    with pytest.raises(InputError, match="Expected tensorrt_rtx on PATH for"):
        trtexec.find("tensorrt_rtx")


@pytest.mark.parametrize(
    ("package", "says"),
    [
        ("tensorrt", "sudo apt-get install libnvinfer-bin"),
        ("tensorrt_rtx", "unpack NVIDIA's TensorRT-RTX SDK .* LD_LIBRARY_PATH"),
        ("openvino", "Leave --cross-check out"),
    ],
)
def test_a_missing_tool_says_how_to_install_it(
    package: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(trtexec_tool, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=says):
        trtexec.find(package)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("TensorRT.trtexec [TensorRT v8502] # trtexec", "8.5.2"),
        ("TensorRT.trtexec [TensorRT v8602] # trtexec", "8.6.2"),
        ("TensorRT.trtexec [TensorRT v100300] # trtexec", "10.3.0"),
        ("TensorRT.trtexec [TensorRT v100700] [b23] # trtexec", "10.7.0.23"),
        ("TensorRT.trtexec [TensorRT v101602] [b10] # trtexec", "10.16.2.10"),
        ("TensorRT.trtexec [TensorRT v110100] [b106] # trtexec", "11.1.0.106"),
        ("TensorRT.tensorrt_rtx [TensorRT v10701] [b116] # tensorrt_rtx", "1.7.1.116"),
    ],
)
def test_version_of_the_banner(banner: str, version: str) -> None:
    assert trtexec_tool.read_version(f"warning\n&&&& RUNNING {banner} --help\nmore") == version


@pytest.mark.parametrize("banner", ["", "trtexec 1", "&&&& RUNNING TensorRT.trtexec # old"])
def test_no_version_in_the_banner(banner: str) -> None:
    with pytest.raises(JetrailError, match="(?s)Expected the line .* 8.6 or later"):
        trtexec_tool.read_version(banner)


def test_a_tool_that_misses_its_library(tmp_path: Path) -> None:
    script = tmp_path / "trtexec"
    script.write_text(
        "#!/bin/sh\necho 'error while loading shared libraries: libnvinfer.so.10: no such file' "
        ">&2\nexit 127\n"
    )
    script.chmod(0o755)
    with pytest.raises(JetrailError, match=r"(?s)ended with 127:\n.*libnvinfer.*LD_LIBRARY_PATH"):
        trtexec.probe(script)


def test_a_program_that_is_not_trtexec(tmp_path: Path) -> None:
    script = tmp_path / "trtexec"
    script.write_text("#!/bin/sh\necho '&&&& RUNNING TensorRT.trtexec [TensorRT v100300]'\n")
    script.chmod(0o755)
    with pytest.raises(JetrailError, match="Expected .* to list its flags"):
        trtexec.probe(script)


@pytest.mark.parametrize("mode", [stat.S_IRUSR, 0o755])
def test_a_tool_that_does_not_start(tmp_path: Path, mode: int) -> None:
    program = tmp_path / "trtexec"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(mode)
    with pytest.raises(InputError, match="does not start: "):
        trtexec.probe(program)


def test_a_tool_ends_with_the_command_that_asked_it(tmp_path: Path) -> None:
    """By kill -9 too: the lock of the device is free then."""
    script, pid = tmp_path / "trtexec", tmp_path / "pid"
    script.write_text(f"#!/bin/sh\necho $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 600\n")
    script.chmod(0o755)
    ask = (
        "import sys, pathlib; from pipeline.latency import trtexec_tool as t; t.probe(pathlib.Path("
    )
    command = subprocess.Popen([sys.executable, "-c", f"{ask}sys.argv[1]))", str(script)])
    assert until(pid.exists)
    command.kill()
    command.wait()
    assert until(lambda: not runs(int(pid.read_text())))


# --- what it is asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("8.6.2", BY_REQUEST),
        ("10.3.0", BY_REQUEST),
        ("11.1.0", set()),
        ("rtx-1.0.0", BY_REQUEST | {"--specializeStrategyDS=eager"}),
        (
            "rtx-1.2.0",
            (BY_REQUEST - {"--useCudaGraph"})
            | {"--rtxCudaGraphStrategy=wholeGraph", "--specializeStrategyDS=eager"},
        ),
        (
            "rtx-1.7.1",
            {"--rtxCudaGraphStrategy=wholeGraph", "--specializeStrategyDS=eager"},
        ),
    ],
)
def test_every_version_is_made_to_measure_the_same(
    version: str, more: set[str], stand_in: Callable[..., Path]
) -> None:
    tool = trtexec.probe(stand_in(version, log="passed.10.3.0.txt"))
    asked = trtexec.arguments(tool, manifest())
    assert set(asked) == ALWAYS | more
    assert len(set(asked)) == len(asked)


def tool(*flags: str) -> trtexec_tool.Tool:
    return trtexec_tool.Tool(path=Path("trtexec"), version="10.3.0", flags=frozenset(flags))


def test_shapes_of_dynamic_inputs_alone() -> None:
    inputs = (
        Tensor(name="images:0", dtype="uint8", shape=(None, 64, 96, 3)),
        Tensor(name="fixed", dtype="float32", shape=(1, 4)),
        Tensor(name="more", dtype="float32", shape=(None, 4)),
    )
    assert "--shapes='images:0':1x64x96x3,more:1x4" in trtexec.arguments(
        tool(), manifest(inputs=inputs)
    )
    static = trtexec.arguments(tool(), manifest(inputs=inputs[1:2]))
    assert not [one for one in static if one.startswith("--shapes")]


def test_a_plan_without_batch_1() -> None:
    with pytest.raises(InputError, match="smallest batch is 2.* build again"):
        trtexec.arguments(tool(), manifest(batch_min=2))


def test_flags_that_the_plan_needs() -> None:
    assert "--versionCompatible" in trtexec.arguments(tool(), manifest(version_compatible=True))
    assert "--useDLACore=0" in trtexec.arguments(tool(), manifest(dla_core=0))


# --- the whole check ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "package", "name", "says"),
    [
        ("8.6.2", "tensorrt", "trtexec", "8.6.2"),
        ("10.3.0", "tensorrt", "trtexec", "10.3.0"),
        ("11.1.0", "tensorrt", "trtexec", "11.1.0.106"),
        ("rtx-1.7.1", "tensorrt_rtx", "tensorrt_rtx", "1.7.1.116"),
    ],
)
def test_cross_check(
    version: str,
    package: str,
    name: str,
    says: str,
    stand_in: Callable[..., Path],
    engine: Path,
    tmp_path: Path,
) -> None:
    script = stand_in(version, name=name)
    built = manifest(version.removeprefix("rtx-") + ".99", package)
    check = trtexec.cross_check(engine, built, 12.3)
    assert check.version == says
    assert check.trtexec_p50_ms == MEDIAN_MS
    assert check.ours_p50_ms == 12.3
    assert check.difference_share == pytest.approx((12.3 - MEDIAN_MS) / MEDIAN_MS)
    assert check.command[0] == str(script)
    assert (tmp_path / "asked").read_text().split() == list(check.command[1:])
    assert (tmp_path / "loaded").read_bytes() == b"plan"
    assert [path.name for path in engine.parent.iterdir()] == ["engine.plan"]


@pytest.mark.parametrize("version", ["10.3.1", "10.4.0", "8.6.2", "11.3.0.30"])
def test_a_tool_of_another_tensorrt(
    version: str, stand_in: Callable[..., Path], engine: Path, tmp_path: Path
) -> None:
    script = stand_in()
    with pytest.raises(WrongEngine, match=f"{version}, which built m-fp16, but {script} is of 10"):
        trtexec.cross_check(engine, manifest(version), 12.0)
    assert not (tmp_path / "asked").exists()


def test_a_version_compatible_plan_runs_on_another(
    stand_in: Callable[..., Path], engine: Path
) -> None:
    stand_in()
    trtexec.cross_check(engine, manifest("8.6.2", version_compatible=True), 12.0)


@pytest.mark.parametrize("log", sorted(path.name for path in DOCUMENTED.glob("refused.*.txt")))
def test_a_plan_that_the_tool_refuses(
    log: str, stand_in: Callable[..., Path], engine: Path
) -> None:
    version = ".".join(log.split(".")[1:4])
    stand_in(version, log, times=None, then="exit 1")
    with pytest.raises(WrongEngine, match=r"refused:\n.*\[E\] ") as error:
        trtexec.cross_check(engine, manifest(version), 12.0)
    assert "`pipeline build m-fp16 --target jetson-orin-nx`" in str(error.value)


@pytest.mark.parametrize(
    ("log", "then", "says"),
    [
        ("failed.10.3.0.memory.txt", "exit 1", r"ended with 1:\n.*\(out of memory\)"),
        ("failed.8.6.2.unknown-option.txt", "exit 1", r"\[E\] Unknown option: --noCudaGraph\nIf"),
        # Both are asked: an exit status alone, or a last line alone, is no success.
        ("passed.10.3.0.txt", "exit 3", "ended with 3:"),
        ("failed.10.3.0.memory.txt", "exit 0", "ended with 0:"),
        ("help.10.3.0.txt", "exit 0", "ended with 0:"),
        ("help.10.3.0.txt", "kill -SEGV $$", "ended by signal 11:"),
    ],
)
def test_a_tool_that_fails(
    log: str, then: str, says: str, stand_in: Callable[..., Path], engine: Path
) -> None:
    stand_in(log=log, then=then)
    with pytest.raises(JetrailError, match=f"(?s)Expected trtexec 10.3.0 to measure.*{says}"):
        trtexec.cross_check(engine, manifest(), 12.0)


@pytest.mark.parametrize("log", sorted(path.name for path in DOCUMENTED.glob("no-graph.*.txt")))
def test_times_without_a_cuda_graph_are_not_compared(
    log: str, stand_in: Callable[..., Path], engine: Path
) -> None:
    version = ".".join(log.split(".")[1:4])
    stand_in(version, log)
    with pytest.raises(InputError, match=r"as we do, but it said: \[.*\[W\] .*CUDA graph"):
        trtexec.cross_check(engine, manifest(version), 12.0)


def test_a_tool_that_does_not_end(stand_in: Callable[..., Path], engine: Path) -> None:
    stand_in(log="help.10.3.0.txt", then="exec sleep 60")
    with pytest.raises(JetrailError, match=r"done within 0.5 s.*(?s:.)*--exportTimes=<file>"):
        trtexec.cross_check(engine, manifest(), 12.0, timeout_s=0.5)


def test_a_tool_that_writes_no_times(stand_in: Callable[..., Path], engine: Path) -> None:
    stand_in(times=None)
    with pytest.raises(JetrailError, match="Expected trtexec to write .*No such file"):
        trtexec.cross_check(engine, manifest(), 12.0)


# --- what it wrote -----------------------------------------------------------------------------


def test_times_in_the_order_of_the_file() -> None:
    times = trtexec.read_times(DOCUMENTED / "times.json")
    assert len(times) == 25
    assert times[:2] == (11.9738, 12.0044)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Expecting value"),
        ("[]", "holds no inference"),
        ("{}", "holds no inference"),
        ('[{"latencyMs": 1}]', "without `computeMs`"),
        ('[{"computeMs": "1"}]', "without `computeMs`"),
        ('[{"computeMs": true}]', "without `computeMs`"),
        ("[3]", "without `computeMs`"),
        ('[{"computeMs": 0}]', "is 0"),
        ('[{"computeMs": -1.5}]', "is -1.5"),
        ('[{"computeMs": NaN}]', "is nan"),
        ('[{"computeMs": Infinity}]', "is inf"),
        ('[{"computeMs": 1' + "0" * 400 + "}]", "too large"),
        ('[{"computeMs": 1}, {"computeMs"', "Expecting"),
        ("[" * 200_000, "(recursion|Stack overflow)"),  # Python before 3.14, and from then on
    ],
)
def test_times_that_are_none(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text(content)
    with pytest.raises(JetrailError, match=f"times.json is not that: .*{says}.*Measure again"):
        trtexec.read_times(path)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["computeMs", "latencyMs"]), inner)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary() | ANY_JSON.map(lambda one: json.dumps(one).encode()))
@example(content=b"\xff\xfe[")
@example(content=b"1" * 5000)
def test_junk_is_a_sentence_or_times(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_bytes(content)
    try:
        times = trtexec.read_times(path)
    except JetrailError:
        return
    assert times
    assert all(0 < one < float("inf") for one in times)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(1e-4, 1e4), min_size=1))
def test_times_survive_the_file(times: list[float], tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text(json.dumps([{"h2dMs": 0, "computeMs": one, "latencyMs": 2} for one in times]))
    assert trtexec.read_times(path) == tuple(times)


# --- what is made of it ------------------------------------------------------------------------


def check(share: float) -> CrossCheck:
    theirs = 12.0
    return CrossCheck(
        command=("trtexec", "--loadEngine=engine.plan", "--shapes='images:0':1x640x640x3"),
        version="10.3.0",
        ours_p50_ms=theirs * (1 + share),
        trtexec_p50_ms=theirs,
        difference_share=theirs * (1 + share) / theirs - 1,
    )


@pytest.mark.parametrize("share", [0.0, 0.03, -0.03, 0.0299])
def test_three_percent_are_agreement(share: float) -> None:
    assert trtexec.disagreement(check(share)) == ()


@pytest.mark.parametrize(("share", "ours"), [(0.0301, "12.361"), (-0.05, "11.400"), (2, "36.000")])
def test_more_is_a_sentence_that_says_what_to_do(share: float, ours: str) -> None:
    (sentence,) = trtexec.disagreement(check(share))
    assert f"ours is {ours} ms" in sentence
    assert "10.3.0 12.000 ms" in sentence
    assert f"({share:+.1%})" in sentence
    assert shlex.join(check(share).command) in sentence
    assert "measure again" in sentence
