from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from engines.config import TargetConfig, load_target
from engines.device import check_target, differences, read_fingerprint
from engines.errors import InputError, WrongEngine
from engines.records import Fingerprint
from engines.workspace import Workspace

REPOSITORY = Path(__file__).parents[3]

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
    with pytest.raises(WrongEngine, match="came none installed"):
        check_target(bare, target, target.device)


def test_a_row_that_asks_for_an_unknown_field(target: TargetConfig) -> None:
    row = target.model_copy(update={"device": {"kind": "cpu", "architectur": "x86_64"}})
    with pytest.raises(InputError, match="came architectur"):
        check_target(read_fingerprint(), row, row.device)
