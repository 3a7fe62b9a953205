"""`pipeline doctor`: what a machine is and can do, and a record of it without serial numbers."""

from __future__ import annotations

import io
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Timer

import pytest
from factories.processes import until
from rich.console import Console
from typer.testing import CliRunner

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.machine.jetson import read_jetson
from engines.machine.sensors import open_sensors
from engines.machine.sensors.reading import Counters, Reading, count_all, read_all
from engines.records.fingerprint import Fingerprint
from pipeline.cli import commands
from pipeline.device import diagnosis as step
from pipeline.device.diagnosis import Diagnosis, TargetState, diagnose
from pipeline.device.record import COMMAND_SECONDS, record_device, run_command
from pipeline.device.trial import import_problem
from pipeline.steps.doctor import raise_unless_useful
from pipeline.terminal.diagnosis import print_diagnosis

REPOSITORY = Path(__file__).parents[4]
JETSONS = REPOSITORY / "tests/documented/jetson"
EVERYTHING = {"tensorrt": "10.3.0", "polygraphy": "0.53.6", "cuda-bindings": "12.9.10"}

CARD = Fingerprint(
    **{"kind": "dgpu", "gpu": "NVIDIA L4", "compute_capability": "8.9", "gpu_memory_gib": 24},
    **{"unified_memory": False, "dla_cores": 0, "driver": "570.86", "cuda": "12.8"},
    **{"name": "Xeon", "architecture": "x86_64", "isa": (), "cores": 8, "memory_gib": 32},
    backends={},
)

Version = Callable[[str], str | None]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The rows of three targets of this repository."""
    for name in ("x86-openvino", "jetson-orin-nx", "rtx-x86"):
        folder = tmp_path / "engines/targets" / name
        folder.mkdir(parents=True)
        shutil.copy(REPOSITORY / "engines/targets" / name / "params.yaml", folder)
    return Workspace(root=tmp_path)


@pytest.fixture
def x86(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an x86 machine without a card."""
    root = tmp_path / "x86"
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text("model name\t: Intel(R) [red](R)\nflags\t: avx2\n")
    (root / "proc/meminfo").write_text("MemTotal: 16200000 kB\n")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return root


@pytest.fixture
def orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an Orin NX in the power mode that its row wants."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = Path(shutil.copytree(JETSONS / "orin-nx-16gb", tmp_path / "orin"))
    (root / "etc/nvpmodel.conf").write_text(
        "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=25W >\n"
    )
    return root


def _by_name(diagnosis: Diagnosis) -> dict[str, TargetState]:
    return {target.name: target for target in diagnosis.targets}


def _printed(diagnosis: Diagnosis, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_diagnosis(diagnosis, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_extra_is_installed_from_the_root(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip reads `.` where it is run."""
    (workspace.root / "models" / "meter").mkdir(parents=True)
    (workspace.root / "dvc.yaml").touch()
    diagnosis = diagnose(workspace, version={}.get)
    there = f"The commands are to be run in {workspace.root.resolve()}.\n"
    monkeypatch.chdir(workspace.root)
    assert "pip install --constraint constraints.txt --editable" in _printed(diagnosis)
    assert there not in _printed(diagnosis)
    monkeypatch.chdir(workspace.root / "models" / "meter")
    assert _printed(diagnosis).count(there) == 1


def test_a_jetson_with_all_it_needs(workspace: Workspace, orin: Path) -> None:
    diagnosis = diagnose(workspace, orin, version=EVERYTHING.get)
    assert diagnosis.power_mode == "MAXN"
    targets = _by_name(diagnosis)
    assert (targets["jetson-orin-nx"].build, targets["jetson-orin-nx"].measure) == ((), ())
    assert (targets["x86-openvino"].build, targets["rtx-x86"].build) == (None, None)
    parts = {part.name: part.found for part in diagnosis.parts}
    assert parts["python3-libnvinfer (apt)"] == "10.3.0.30-1+cuda12.5"
    assert "openvino" not in parts, "there is none for a Jetson"
    raise_unless_useful(diagnosis)


@pytest.mark.parametrize(("bindings", "fit"), [("12.9.10", True), ("13.0.3", False)])
def test_bindings_that_the_driver_is_too_old_for(
    workspace: Workspace, orin: Path, bindings: str, fit: bool
) -> None:
    have = {**EVERYTHING, "cuda-bindings": bindings}
    measure = _by_name(diagnose(workspace, orin, version=have.get))["jetson-orin-nx"].measure
    assert measure is not None
    if fit:
        assert measure == ()
    else:
        assert (
            "cuda-bindings 13.0.3 is for drivers of CUDA 13, and this one takes 12.6" in measure[0]
        )
        assert "`pip install 'cuda-bindings<13'`" in measure[0]


def test_a_jetson_in_another_power_mode(workspace: Workspace, orin: Path) -> None:
    (orin / "var/lib/nvpmodel/status").write_text("pmode:0003")
    orin_nx = _by_name(diagnose(workspace, orin, version=EVERYTHING.get))["jetson-orin-nx"]
    assert orin_nx.build == ()
    assert orin_nx.measure == ("the power mode is 25W, the row wants MAXN: `sudo nvpmodel -m 0`",)


def test_a_power_mode_that_the_device_does_not_have(workspace: Workspace, orin: Path) -> None:
    (orin / "etc/nvpmodel.conf").unlink()
    orin_nx = _by_name(diagnose(workspace, orin, version=EVERYTHING.get))["jetson-orin-nx"]
    assert orin_nx.measure is not None
    assert "the power mode is unknown, the row wants MAXN" in orin_nx.measure[0]
    assert "in its params.yaml" in orin_nx.measure[0]


def test_tensorrt_that_the_environment_does_not_see(workspace: Workspace, orin: Path) -> None:
    diagnosis = diagnose(workspace, orin, version={"polygraphy": "0.53"}.get)
    orin_nx = _by_name(diagnosis)["jetson-orin-nx"]
    assert orin_nx.build is not None
    assert orin_nx.measure is not None
    assert "JetPack's python3-libnvinfer 10.3.0.30-1+cuda12.5 is installed" in orin_nx.build[0]
    assert "`python3.10 -m venv --system-site-packages .venv`" in orin_nx.build[0]
    assert orin_nx.measure[1] == "cuda-bindings is missing. " + step.DEVICE_EXTRA
    with pytest.raises(WrongEngine) as raised:
        raise_unless_useful(diagnosis)
    assert raised.value.exit_code == 5
    assert "Jetson Orin NX 16GB (JetPack 6.2" in str(raised.value)
    assert "what is said above of jetson-orin-nx" in str(raised.value)


def test_tensorrt_that_is_nowhere(workspace: Workspace, orin: Path) -> None:
    (orin / "var/lib/dpkg/status").unlink()
    build = _by_name(diagnose(workspace, orin, version=lambda name: None))["jetson-orin-nx"].build
    assert build is not None
    assert "`sudo apt-get install python3-libnvinfer libnvinfer-bin`" in build[0]
    assert build[1] == "polygraphy is missing. " + step.DEVICE_EXTRA


def test_an_x86_machine_builds_for_rtx_and_measures_its_own(
    workspace: Workspace, x86: Path
) -> None:
    have = {"openvino": "2026.4", "tensorrt_rtx": "1.7", "polygraphy": "0.53"}
    targets = _by_name(diagnose(workspace, x86, version=have.get))
    assert (targets["rtx-x86"].build, targets["rtx-x86"].measure) == ((), None)
    assert (targets["x86-openvino"].build, targets["x86-openvino"].measure) == ((), ())
    assert targets["jetson-orin-nx"].wants == "jetson, orin-nx"


def test_what_sees_a_card_and_what_cross_checks_its_plans_are_listed(
    workspace: Workspace, x86: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def parts() -> dict[str, str | None]:
        diagnosis = diagnose(workspace, x86, version={"nvidia-ml-py": "13.580"}.get)
        return {part.name: part.found for part in diagnosis.parts}

    assert parts()["nvidia-ml-py (sees NVIDIA cards)"] == "13.580"
    assert "tensorrt_rtx (tool)" not in parts()

    monkeypatch.setattr(step, "read_fingerprint", lambda _: CARD)
    monkeypatch.setattr(step, "ROOT", x86)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert parts()["tensorrt_rtx (tool)"] is None
    (tmp_path / "tensorrt_rtx").touch(0o755)
    assert parts()["tensorrt_rtx (tool)"] == str(tmp_path / "tensorrt_rtx")


def test_a_jetson_is_seen_without_its_driver(workspace: Workspace, orin: Path) -> None:
    parts = {part.name for part in diagnose(workspace, orin, version=EVERYTHING.get).parts}
    assert not [name for name in parts if "nvidia-ml-py" in name or name == "tensorrt_rtx (tool)"]


def test_a_machine_for_which_there_is_no_target(workspace: Workspace, x86: Path) -> None:
    for name in ("x86-openvino", "rtx-x86"):
        shutil.rmtree(workspace.target(name))
    with pytest.raises(WrongEngine, match="Use another device, or add a target"):
        raise_unless_useful(diagnose(workspace, x86, version=EVERYTHING.get))


def test_a_row_that_does_not_parse_hides_no_other(workspace: Workspace, x86: Path) -> None:
    (workspace.target("rtx-x86") / "params.yaml").write_text("schema: 2\n")
    targets = _by_name(diagnose(workspace, x86, version={"openvino": "2026.4"}.get))
    assert targets["rtx-x86"].build is not None
    assert "params.yaml" in targets["rtx-x86"].build[0]
    assert targets["x86-openvino"].build == ()


def test_the_tables_fit_and_commands_stay_whole(workspace: Workspace, orin: Path) -> None:
    text = _printed(diagnose(workspace, orin, version=lambda name: None))
    for line in text.splitlines():
        assert len(line) <= 80 or line.startswith("  jetson-orin-nx"), line
    for part in ("Jetson Orin NX 16GB", "MAXN", "2 DLA cores", "other device", "missing"):
        assert part in text
    assert "`python3.10 -m venv --system-site-packages .venv`" in text
    assert "jetson-orin-nx, to measure: cuda-bindings is missing" in text


def test_names_are_no_markup(workspace: Workspace, x86: Path) -> None:
    assert "[red](R)" in _printed(diagnose(workspace, x86, version=EVERYTHING.get), width=120)


def test_the_command_here() -> None:
    done = CliRunner().invoke(commands, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "x86-openvino" in done.output


def test_the_command_imports_no_backend() -> None:
    script = (
        "import sys; from engines.config.workspace import find_workspace;"
        "from pipeline.device.diagnosis import diagnose; diagnose(find_workspace());"
        "print([name for name in ('openvino', 'tensorrt', 'tensorrt_rtx', 'torch', 'polygraphy')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# --- a package that is there and cannot be used ---------------------------------------------------


def test_tensorrt_that_does_not_run_beside_numpy_2(workspace: Workspace, orin: Path) -> None:
    asked = []

    def problem(package: str) -> str:
        asked.append(package)
        return "compiled for NumPy 1"

    diagnosis = diagnose(workspace, orin, version=EVERYTHING.get, problem=problem)
    orin_nx = _by_name(diagnosis)["jetson-orin-nx"]
    assert orin_nx.build == orin_nx.measure == ("compiled for NumPy 1",)
    assert asked == ["tensorrt"], "once, and only where this device is the target's"


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """A function that makes an interpreter for which TensorRT is a module with such code."""

    def make(code: str) -> str:
        (tmp_path / "tensorrt.py").write_text(code)
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
        script.chmod(0o755)
        return str(script)

    return make


WARNS = """
import sys
print("A module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.2.6", file=sys.stderr)
Weights = print
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("Weights = print", ""),
        (WARNS, "does not run beside the NumPy 2 of this environment: `pip install 'numpy<2' 'op"),
        ("raise ImportError('libnvinfer.so.10')", "cannot be used: ImportError: libnvinfer.so.10"),
        ("import os; os.abort()", "cannot be used: it ended with -6"),
        ("def Weights(array): raise TypeError('an array')", "TypeError: an array"),
    ],
)
def test_the_import_is_tried_in_another_process(
    python: Callable[[str], str], code: str, said: str
) -> None:
    found = import_problem("tensorrt", python(code))
    assert said in found
    assert bool(found) == bool(said)


def test_the_real_bindings_take_an_array() -> None:
    """TensorRT-RTX has the bindings of TensorRT, and is installed here."""
    pytest.importorskip("tensorrt_rtx")
    assert import_problem("tensorrt_rtx") == ""


# --- the record --------------------------------------------------------------------------------

SERIAL = "1424622012345"
MAC = "48:b0:2d:aa:bb:cc"
UUID = "2a9c7d10-1111-2222-3333-444455556666"


@pytest.fixture
def marked(orin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Orin that tells its serial number, address and name wherever it can."""
    monkeypatch.setattr(platform, "node", lambda: "line-4-box")
    tree = orin / "proc/device-tree"
    (tree / "serial-number").write_text(f"{SERIAL}\0")
    (tree / "model").write_text(f"NVIDIA Jetson Orin NX {SERIAL}\0")
    with (orin / "proc/cpuinfo").open("a") as file:
        file.write(f"Serial\t\t: {SERIAL}\nHardware\t: {MAC}\n")
    with (orin / "var/lib/dpkg/status").open("a") as file:
        file.write("Package: bash\nStatus: install ok installed\nVersion: 5\n\n")
    (orin / "etc/hostname").write_text("line-4-box\n")
    (orin / "sys/class/net/eth0").mkdir(parents=True)
    (orin / "sys/class/net/eth0/address").write_text(MAC)
    return orin


def _says(command: Sequence[str], lines: int | None) -> str | None:
    if command[0] == "trtexec":
        return None
    return (
        f"line-4-box says: a serialized engine: yes\nGPU UUID : GPU-{UUID}\nid {UUID} at {MAC}\n"
        f"Serial Number : {SERIAL}\nNV Power Mode: MAXN\n0\n"
    )


def test_a_record_can_be_read_like_the_device(orin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "record"
    files = record_device(folder, orin, run=_says)
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == (files)
    assert read_jetson(folder, memory_gib=15.3) == read_jetson(orin, memory_gib=15.3)
    assert read_fingerprint(folder) == read_fingerprint(orin)
    for path in (
        "sys/class/hwmon/hwmon3/oc3_event_cnt",
        "sys/class/hwmon/hwmon1/in1_label",
        "sys/class/hwmon/hwmon1/curr1_input",
        "sys/class/devfreq/17000000.gpu/cur_freq",
        "sys/class/thermal/thermal_zone2/temp",
        "etc/nvpmodel.conf",
        "proc/device-tree/compatible",
    ):
        assert (folder / path).read_bytes() == (orin / path).read_bytes(), path
    assert "commands/trtexec-help.txt" not in files
    assert "Jetson Orin NX 16GB" in (folder / "SOURCE.md").read_text()


def _sampled(root: Path) -> tuple[Reading, Counters]:
    sensors = open_sensors(root, (0, 1), gpu=True)
    return read_all(sensors), count_all(sensors)


def _counts(events: dict[str, int] | None) -> list[int]:
    return [] if events is None else list(events.values())


def test_a_record_replays_the_sampler(orin: Path, tmp_path: Path) -> None:
    cpus = orin / "sys/devices/system/cpu"
    for number in (0, 1):
        for name, value in (
            ("cpufreq/scaling_cur_freq", 1_984_000 + number),
            ("thermal_throttle/core_throttle_count", 3 + number),
        ):
            (cpus / f"cpu{number}" / name).parent.mkdir(parents=True)
            (cpus / f"cpu{number}" / name).write_text(f"{value}\n")
    (orin / "proc/stat").write_text("cpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 8 7 6 5 4 3 2 1 0 0\n")
    emc = orin / "sys/kernel/debug/bpmp/debug/clk/emc/rate"
    emc.parent.mkdir(parents=True)
    emc.write_text("3199000000\n")
    record_device(tmp_path / "record", orin, run=_says)

    (expected, counted), (came, replayed) = _sampled(orin), _sampled(tmp_path / "record")
    assert came == expected
    assert came.clocks_mhz == (1984.0, 1984.001)
    assert came.memory_clock_mhz == 3199
    assert replayed.ticks is not None
    assert replayed.ticks.tolist() == [9] * 8
    assert _counts(replayed.throttles) == [3, 4]
    assert _counts(replayed.over_currents) == _counts(counted.over_currents) != []


def test_a_record_holds_nothing_of_this_one_machine(marked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "record"
    record_device(folder, marked, run=_says)
    for path in folder.rglob("*"):
        text = path.read_text() if path.is_file() else ""
        for secret in (SERIAL, MAC, UUID, "line-4-box"):
            assert secret not in text, path
            assert secret not in str(path.relative_to(folder))
    assert "bash" not in (folder / "var/lib/dpkg/status").read_text()
    said = (folder / "commands/nvpmodel-q.txt").read_text()
    assert said == "HOST says: a serialized engine: yes\nid UUID at MAC\nNV Power Mode: MAXN\n0\n"
    assert "Features" in (folder / "proc/cpuinfo").read_text()


def test_a_record_goes_to_a_new_or_empty_folder(orin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    assert record_device(folder, orin, run=_says)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="new or empty folder"):
        record_device(folder, orin, run=_says)
    with pytest.raises(InputError, match="new or empty folder"):
        record_device(folder / "SOURCE.md", orin, run=_says)
    assert sorted(folder.rglob("*")) == before


def test_a_failure_leaves_no_record(
    orin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Path, *args: object) -> int:
        raise OSError("the disk went away")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="went away"):
        record_device(tmp_path / "new/record", orin, run=_says)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_sensor_that_cannot_be_read_is_an_empty_file(orin: Path, tmp_path: Path) -> None:
    broken = orin / "sys/class/thermal/thermal_zone1/temp"
    broken.unlink()
    broken.mkdir()  # reading a folder fails as a sensor without power does, with an OSError
    record_device(tmp_path / "record", orin, run=_says)
    assert (tmp_path / "record/sys/class/thermal/thermal_zone1/temp").read_text() == ""


def test_commands_stop_after_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tegrastats"
    words = f"echo RAM; echo bad >&2; touch {tmp_path}/said$1; sleep 0.05"
    tool.write_text(f"#!/bin/sh\nwhile :; do {words}; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run_command(("tegrastats", "--interval", "1000"), 1) == "RAM\n"

    def timer(seconds: float, stop: Callable[[], None]) -> Timer:
        """Whose time is over once the tool has said something."""
        assert seconds == COMMAND_SECONDS
        return Timer(0, lambda: stop() if until((tmp_path / "said").exists) else None)

    monkeypatch.setattr("pipeline.device.record.Timer", timer)
    assert (run_command(("tegrastats",), None) or "").startswith("RAM\nbad\n"), "stopped"
    assert run_command(("no-such-tool",), None) is None


def test_the_command_records(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    done = CliRunner().invoke(commands, ["doctor", "--record", str(folder)])
    assert done.exit_code == 0, done.output
    assert "Recorded" in done.output
    assert (folder / "proc/meminfo").is_file()
    nvml = folder / "commands/nvml.json"
    assert not nvml.exists() or "uuid" not in json.loads(nvml.read_text())
    done = CliRunner().invoke(commands, ["doctor", "--record", str(folder)])
    assert done.exit_code == 2
