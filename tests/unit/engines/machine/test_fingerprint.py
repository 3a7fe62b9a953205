from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from engines import packages
from engines.backends.tensorrt.options import TensorRTOptions
from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.machine import fingerprint as device
from engines.machine.fingerprint import describe, differences, read_fingerprint
from engines.machine.sensors.nvml import Card
from engines.records.fingerprint import Fingerprint
from pipeline.device.installing import how_to_install
from pipeline.device.recognition import check_target

REPOSITORY = Path(__file__).parents[4]
JETSONS = REPOSITORY / "tests/documented/jetson"
L4 = Card(
    name="NVIDIA L4", compute_capability="8.9", memory_mib=23034, driver="560.35.05", cuda="12.6"
)

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6430
cpu MHz\t\t: 2100.000
flags\t\t: fpu vme sse2 avx2 fma avx512f amx_bf16 amx_tile hypervisor

processor\t: 1
model name\t: Intel(R) Xeon(R) Gold 6430
"""
ORIN = """\
processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes asimdhp asimddp crc32
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""


@pytest.fixture
def target() -> TargetConfig:
    return load_target(Workspace(root=REPOSITORY), "x86-openvino")


@pytest.fixture
def orin_row(target: TargetConfig) -> TargetConfig:
    """A row for Orin NX."""
    builder = TensorRTOptions(
        package="tensorrt",
        workspace_mib=2048,
        optimization_level=3,
        timing_cache=True,
        version_compatible=False,
        hardware_compatibility="none",
        dla_core=None,
    )
    row = {
        "target": "jetson-orin-nx",
        "backend": "tensorrt",
        "builder": builder,
        "runner_tag": "orin-nx",
        "device": {"kind": "jetson", "family": "orin-nx"},
    }
    return target.model_copy(update=row)


def _orin(name: str = "orin-nx-16gb", **changes: object) -> Fingerprint:
    found = read_fingerprint(JETSONS / name, architecture="aarch64")
    return found.model_copy(update=changes)


def _tree(root: Path, cpuinfo: str, memory_kib: int = 16_200_000) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/meminfo").write_text(f"MemTotal:       {memory_kib} kB\nMemFree: 1 kB\n")
    return root


def test_reads_an_x86_processor(tmp_path: Path) -> None:
    found = read_fingerprint(_tree(tmp_path, XEON), architecture="x86_64")
    assert found.name == "Intel(R) Xeon(R) Gold 6430"
    assert found.isa == ("amx_bf16", "amx_tile", "avx2", "avx512f", "fma")
    assert found.memory_gib == 15
    assert found.cores == len(os.sched_getaffinity(0))


def test_reads_an_arm_processor(tmp_path: Path) -> None:
    root = _tree(tmp_path, ORIN)
    found = read_fingerprint(root, architecture="aarch64")
    assert found.name == "CPU implementer 0x41 part 0xd42"
    assert found.isa == ("asimd", "asimddp", "asimdhp")
    (root / "proc/device-tree").mkdir()
    (root / "proc/device-tree/model").write_text("NVIDIA Jetson Orin NX Developer Kit\0")
    assert read_fingerprint(root).name == "NVIDIA Jetson Orin NX Developer Kit"


def test_reads_this_machine() -> None:
    found = read_fingerprint()
    assert found == read_fingerprint()
    assert found.backends["openvino"]
    assert TypeAdapter(Fingerprint).validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_machine_without_proc_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="proc/cpuinfo cannot be read"):
        read_fingerprint(tmp_path)


def test_differences_name_field_and_both_values(tmp_path: Path) -> None:
    here = read_fingerprint(_tree(tmp_path, XEON), architecture="x86_64")
    other = here.model_copy(
        update={"name": "AMD EPYC 9354", "isa": ("avx2", "avx512f", "fma"), "cores": 64}
    )
    name, isa, cores = differences(here, other, "openvino")
    assert name == "name: expected 'Intel(R) Xeon(R) Gold 6430', this device has 'AMD EPYC 9354'"
    assert "lacks amx_bf16, amx_tile" in isa
    assert "has 64" in cores


def test_memory_and_other_backends_do_not_matter(tmp_path: Path) -> None:
    here = read_fingerprint(_tree(tmp_path, XEON), architecture="x86_64")
    other = here.model_copy(update={"memory_gib": 64, "backends": {"tensorrt": "10.3.0"}})
    assert differences(here, other, "openvino") == []


def test_another_architecture_is_not_the_target(tmp_path: Path, target: TargetConfig) -> None:
    orin = read_fingerprint(_tree(tmp_path, ORIN), architecture="aarch64")
    with pytest.raises(WrongEngine) as raised:
        check_target(orin, target, target.device)
    message = str(raised.value)
    assert raised.value.exit_code == 5
    for part in ("x86-openvino", "architecture: x86_64", "aarch64", "pipeline add-target"):
        assert part in message


def test_a_target_may_ask_for_instruction_sets(tmp_path: Path, target: TargetConfig) -> None:
    xeon = read_fingerprint(_tree(tmp_path, XEON), architecture="x86_64")
    row = target.model_copy(update={"device": {"kind": "cpu", "isa": "avx2 amx_bf16"}})
    check_target(xeon, row, row.device)
    row = target.model_copy(update={"device": {"isa": "avx2 avx512_fp16"}})
    with pytest.raises(WrongEngine, match="avx512_fp16"):
        check_target(xeon, row, row.device)


def test_a_missing_backend_is_named(tmp_path: Path, target: TargetConfig) -> None:
    bare = read_fingerprint(_tree(tmp_path, XEON), architecture="x86_64").model_copy(
        update={"backends": {}}
    )
    with pytest.raises(WrongEngine, match="got none installed"):
        check_target(bare, target, target.device)


def test_a_row_that_asks_for_an_unknown_field(target: TargetConfig) -> None:
    row = target.model_copy(update={"device": {"kind": "cpu", "architectur": "x86_64"}})
    with pytest.raises(InputError, match="got architectur"):
        check_target(read_fingerprint(), row, row.device)


def test_reads_a_jetson() -> None:
    def no_card() -> Card | None:
        raise AssertionError("NVML was asked on a Jetson")

    found = read_fingerprint(JETSONS / "orin-nx-16gb", architecture="aarch64", card=no_card)
    assert (found.kind, found.family, found.module) == ("jetson", "orin-nx", "Jetson Orin NX 16GB")
    assert (found.gpu, found.compute_capability, found.dla_cores) == ("Orin", "8.7", 2)
    assert (found.memory_gib, found.gpu_memory_gib, found.unified_memory) == (15, 15, True)
    assert (found.l4t, found.driver, found.jetpack, found.cuda) == (
        *("36.4.3", "36.4.3"),
        *("6.2", "12.6"),
    )


def test_the_power_mode_does_not_change_a_jetsons_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert _orin("agx-orin-64gb").cores == 12
    xeon = _tree(tmp_path, XEON)
    (xeon / "sys/devices/system/cpu").mkdir(parents=True)
    (xeon / "sys/devices/system/cpu/present").write_text("0,2-95\n")
    assert read_fingerprint(xeon).cores == 4, "elsewhere what this process may use counts"


def test_reads_a_card(tmp_path: Path) -> None:
    root = _tree(tmp_path, XEON)
    found = read_fingerprint(root, architecture="x86_64", card=lambda: L4)
    assert (found.kind, found.gpu, found.compute_capability) == ("dgpu", "NVIDIA L4", "8.9")
    assert (found.driver, found.cuda, found.dla_cores) == ("560.35.05", "12.6", 0)
    assert (found.gpu_memory_gib, found.unified_memory) == (22, False)
    assert found.name == "Intel(R) Xeon(R) Gold 6430"
    assert found.family is None
    shared = Card(
        name="NVIDIA GB10", compute_capability="12.1", memory_mib=None, driver="580", cuda="13.0"
    )
    found = read_fingerprint(root, card=lambda: shared)
    assert (found.gpu_memory_gib, found.unified_memory) == (15, True)


def test_the_driver_is_asked_on_the_real_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "read_card", lambda: L4)
    assert read_fingerprint().kind == "dgpu"
    assert read_fingerprint(_tree(tmp_path, XEON)).kind == "cpu"


def test_tensorrt_counts_by_each_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "tensorrt-cu12":
            raise packages.PackageNotFoundError
        return "10.7.0"

    monkeypatch.setattr(packages, "version", version)
    assert packages.installed_packages() == {"tensorrt": "10.7.0"}


def test_devices_in_words(tmp_path: Path) -> None:
    assert describe(_orin()) == "Jetson Orin NX 16GB (JetPack 6.2, L4T 36.4.3, SM 8.7)"
    root = _tree(tmp_path, XEON)
    card = describe(read_fingerprint(root, architecture="x86_64", card=lambda: L4))
    assert card.startswith("NVIDIA L4 (SM 8.9, 22 GiB, driver 560.35.05) in 'Intel(R) Xeon")
    bare = describe(read_fingerprint(root, architecture="x86_64"))
    assert bare.endswith("without an NVIDIA GPU")
    unknown = _orin(module=None, family=None, jetpack=None, l4t=None, compute_capability=None)
    assert "None" not in describe(unknown)


def test_another_jetson_is_not_the_target(orin_row: TargetConfig) -> None:
    with pytest.raises(WrongEngine) as raised:
        check_target(_orin("orin-nano-8gb"), orin_row, orin_row.device)
    message = str(raised.value)
    for part in (
        "target jetson-orin-nx (kind: jetson, family: orin-nx)",
        "Jetson Orin Nano 8GB (JetPack 6.2.1, L4T 36.4.7, SM 8.7)",
        "which is not family: orin-nx",
        "GitLab runners have the tag orin-nx",
        "pipeline add-target",
        "pipeline doctor",
    ):
        assert part in message


def test_the_target_of_this_device_is_named(target: TargetConfig, orin_row: TargetConfig) -> None:
    here = _orin(backends={"tensorrt": "10.3.0"})
    with pytest.raises(WrongEngine, match=r"this one: `--target jetson-orin-nx`\.$"):
        check_target(here, target, target.device, lambda: [target, orin_row])
    bare = _orin(backends={})
    with pytest.raises(WrongEngine, match="pipeline add-target"):
        check_target(bare, target, target.device, lambda: [target, orin_row])


def test_a_missing_tensorrt_says_how_jetpack_brings_it(orin_row: TargetConfig) -> None:
    with pytest.raises(WrongEngine) as raised:
        check_target(_orin(backends={}), orin_row, orin_row.device)
    message = str(raised.value)
    for part in (
        "JetPack 6.2 (TensorRT 10.3 for Python 3.10)",
        "`sudo apt-get install python3-libnvinfer libnvinfer-bin`",
        "nvidia-jetpack",
        "`pip install tensorrt` fails on a Jetson",
        "`python3.10 -m venv --system-site-packages .venv`",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "package", "command"),
    [
        ({"jetpack": None}, "tensorrt", "python3 -m venv --system-site-packages"),
        ({"jetpack": "5.1.2"}, "tensorrt", "flash JetPack 6"),
        ({"jetpack": "7.2.1"}, "tensorrt", "python3.12 -m venv"),
        ({"kind": "dgpu", "cuda": "12.6"}, "tensorrt", "`pip install tensorrt-cu12`"),
        ({"kind": "dgpu", "cuda": "13.0"}, "tensorrt", "`pip install tensorrt-cu13`"),
        ({"kind": "dgpu", "cuda": None}, "tensorrt", "`pip install tensorrt-cu12`"),
        ({"kind": "cpu"}, "tensorrt", "install the driver"),
        ({}, "tensorrt_rtx", "x86_64"),
        ({"architecture": "x86_64"}, "tensorrt_rtx", "constraints.txt --editable '.[rtx]'`"),
        ({"architecture": "x86_64"}, "openvino", "constraints.txt --editable '.[device]'`"),
        ({}, "openvino", "x86_64"),
    ],
)
def test_how_to_install(changes: dict[str, str], package: str, command: str) -> None:
    assert command in how_to_install(_orin(**changes), package)
