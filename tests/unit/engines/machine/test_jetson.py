"""Recognition of Jetsons, on the trees of tests/documented/jetson: no real device made them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.machine.jetson import (
    debian_packages,
    is_jetson,
    parse_compatible,
    parse_power_mode,
    parse_release,
    power_mode,
    read_compatible,
    read_jetson,
)
from engines.machine.jetson_facts import FAMILIES, JETPACK_OF_L4T, JETPACKS, MODELS, PARTS

DOCUMENTED = Path(__file__).parents[3] / "documented/jetson"
TREES = sorted(folder.name for folder in DOCUMENTED.iterdir())

EXPECTED = {
    "orin-nx-16gb": ("orin-nx", "Jetson Orin NX 16GB", "8.7", 2, "36.4.3", "6.2", "12.6"),
    "orin-nx-8gb-jetpack-6.0": ("orin-nx", "Jetson Orin NX 8GB", "8.7", 1, "36.3.0", "6.0", "12.2"),
    "orin-nano-8gb": ("orin-nano", "Jetson Orin Nano 8GB", "8.7", 0, "36.4.7", "6.2.1", "12.6"),
    "agx-orin-64gb": ("agx-orin", "Jetson AGX Orin 64GB", "8.7", 2, "36.4.0", "6.1", "12.6"),
    "agx-thor": ("thor", "Jetson T5000", "11.0", 0, "38.2.0", "7.0", "13.0"),
}
POWER_MODES = {
    "orin-nx-16gb": "MAXN_SUPER",
    "orin-nx-8gb-jetpack-6.0": "MAXN",
    "orin-nano-8gb": "MAXN_SUPER",
    "agx-orin-64gb": "MAXN",
    "agx-thor": "120W",
}


def _memory_gib(root: Path) -> float:
    return int((root / "proc/meminfo").read_text().split()[1]) / 2**20


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A tree that a test may change."""
    return Path(shutil.copytree(DOCUMENTED / "orin-nx-16gb", tmp_path / "root"))


@pytest.mark.parametrize("name", TREES)
def test_reads_the_documented_jetsons(name: str) -> None:
    root = DOCUMENTED / name
    found = read_jetson(root, memory_gib=_memory_gib(root))
    assert is_jetson(root)
    assert found is not None
    assert EXPECTED[name] == (
        *(found.family, found.module, found.compute_capability, found.dla_cores),
        *(found.l4t, found.jetpack, found.cuda),
    )
    assert found.gpu == ("NVIDIA Thor" if found.family == "thor" else "Orin")
    assert found.model.startswith("NVIDIA Jetson")
    assert "\0" not in found.model


@pytest.mark.parametrize("name", TREES)
def test_every_tree_names_its_sources(name: str) -> None:
    source = (DOCUMENTED / name / "SOURCE.md").read_text()
    assert "https://" in source
    assert "## Inferred" in source
    assert "no device made these files" in source


def test_another_machine_is_no_jetson(tmp_path: Path) -> None:
    assert read_jetson(tmp_path, memory_gib=16) is None
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"raspberrypi,5\0brcm,bcm2712\0")
    assert read_jetson(tmp_path, memory_gib=8) is None
    assert not is_jetson(tmp_path)


def test_the_other_place_of_the_device_tree(orin: Path) -> None:
    (orin / "sys/firmware/devicetree").mkdir(parents=True)
    (orin / "proc/device-tree").rename(orin / "sys/firmware/devicetree/base")
    assert read_compatible(orin)[-1] == "nvidia,tegra234"


def test_the_memory_tells_modules_of_one_part_number_apart(orin: Path) -> None:
    # A user's 8 GB module runs the device tree p3768-0000+p3767-0000-super.
    found = read_jetson(orin, memory_gib=7.4)
    assert found is not None
    assert (found.module, found.dla_cores) == ("Jetson Orin NX 8GB", 1)


def test_an_unknown_part_number_is_told_by_the_boards_name(orin: Path) -> None:
    (orin / "proc/device-tree/compatible").write_bytes(b"vendor,box\0nvidia,tegra234\0")
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert found.family == "orin-nx"
    (orin / "proc/device-tree/model").write_bytes(b"Vendor Box\0")
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert (found.family, found.module, found.compute_capability) == (None, None, "8.7")


def test_the_module_of_an_igx_orin_kit_is_told_by_its_part_number(orin: Path) -> None:
    """Its board's name has no family in it."""
    (orin / "proc/device-tree/model").write_bytes(b"NVIDIA IGX Orin Development Kit\0")
    (orin / "proc/device-tree/compatible").write_bytes(
        b"nvidia,p3740-0002+p3701-0002\0nvidia,p3701-0002\0nvidia,tegra234\0"
    )
    found = read_jetson(orin, memory_gib=61.4)
    assert found is not None
    assert (found.family, found.module) == ("agx-orin", "Jetson AGX Orin 64GB")


def test_the_early_access_of_jetpack_7_2(orin: Path) -> None:
    (orin / "etc/nv_tegra_release").write_text("# R39 (release), REVISION: 0.0, GCID: 1\n")
    (orin / "var/lib/dpkg/status").unlink()
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert (found.l4t, found.jetpack, found.cuda) == ("39.0.0", "7.2", "13.2")


def test_packages_tell_what_the_release_file_does_not(orin: Path) -> None:
    (orin / "etc/nv_tegra_release").unlink()
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert (found.l4t, found.jetpack) == ("36.4.3", "6.2")
    (orin / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 9.9, GCID: 1\n")
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert (found.l4t, found.jetpack, found.cuda) == ("36.9.9", "6.2", "12.6")
    (orin / "var/lib/dpkg/status").unlink()
    found = read_jetson(orin, memory_gib=15.3)
    assert found is not None
    assert (found.l4t, found.jetpack, found.cuda) == ("36.9.9", None, None)


def test_packages_that_were_removed_do_not_count(orin: Path) -> None:
    status = orin / "var/lib/dpkg/status"
    assert debian_packages(orin)["tensorrt"] == "10.3.0.30-1+cuda12.5"
    removed = "Package: tensorrt\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    status.write_text(removed + "Package: bash\nStatus: install ok installed\nVersion: 5\n")
    assert debian_packages(orin) == {}


@pytest.mark.parametrize("name", TREES)
def test_the_power_mode(name: str) -> None:
    root = DOCUMENTED / name
    said = (root / "commands/nvpmodel-q.txt").read_text()
    assert power_mode(root, run=lambda: said) == POWER_MODES[name]
    assert power_mode(root, run=str) == POWER_MODES[name], "from the stored mode"


def test_the_power_mode_among_warnings() -> None:
    warned = "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W_2CORE\n5\n"
    assert parse_power_mode(warned) == "MODE_30W_2CORE"
    assert parse_power_mode("NVPM ERROR: must be root\n") is None


def test_what_the_tool_says_goes_before_what_is_stored(orin: Path) -> None:
    assert power_mode(orin, run=lambda: "NV Power Mode: 40W\n4\n") == "40W"
    (orin / "var/lib/nvpmodel/status").write_text("pmode:0009 fmode:fanNull")
    assert power_mode(orin) is None


@pytest.mark.parametrize(
    ("line", "l4t"),
    [
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64", "35.4.1"),
        ("# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic", "39.2.0"),
        ("# R36 , REVISION: 4.3", None),
        ("", None),
    ],
)
def test_parses_the_release_file(line: str, l4t: str | None) -> None:
    assert parse_release(line) == l4t


@given(st.integers(0, 999), st.lists(st.integers(0, 99), min_size=1, max_size=3), st.text())
def test_parses_every_release_that_is_written_so(major: int, minor: list[int], rest: str) -> None:
    revision = ".".join(map(str, minor))
    text = f"# R{major} (release), REVISION: {revision}, GCID: {rest}"
    assert parse_release(text) == f"{major}.{revision}"


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1)))
def test_parses_every_list_of_strings(entries: list[str]) -> None:
    assert parse_compatible("".join(f"{entry}\0" for entry in entries)) == tuple(
        entry.strip() for entry in entries if entry.strip()
    )


@given(st.binary(), st.binary(), st.binary(), st.binary())
def test_junk_is_no_error(
    tmp_path_factory: pytest.TempPathFactory,
    compatible: bytes,
    release: bytes,
    status: bytes,
    mode: bytes,
) -> None:
    root = tmp_path_factory.mktemp("junk")
    for path, content in {
        "proc/device-tree/compatible": b"nvidia,tegra234\0nvidia,p3767-" + compatible,
        "proc/device-tree/model": compatible,
        "etc/nv_tegra_release": release,
        "var/lib/dpkg/status": b"Package: nvidia-l4t-core\nVersion: " + status,
        "var/lib/nvpmodel/status": b"pmode:" + mode,
        "etc/nvpmodel.conf": mode,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    found = read_jetson(root, memory_gib=8)
    assert found is not None
    assert found.compute_capability == "8.7"
    assert power_mode(root) is None


def test_a_number_too_long_for_python_is_no_mode(orin: Path) -> None:
    (orin / "var/lib/nvpmodel/status").write_text(f"pmode:{'9' * 5000}")
    (orin / "etc/nvpmodel.conf").write_text(f"< POWER_MODEL ID={'9' * 5000} NAME=MAXN >")
    assert power_mode(orin) is None


def test_the_tables_fit_together() -> None:
    assert set(PARTS.values()) == set(MODELS.values()) == set(FAMILIES)
    assert {".".join(found.split(".")[:2]) for found in JETPACK_OF_L4T.values()} == set(JETPACKS)
