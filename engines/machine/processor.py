"""The processors and the memory of this machine, read from `/proc` and `/sys` below a root."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError

# fmt: off
KERNEL_FLAGS = frozenset({
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8",
    "avx_ne_convert", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16", "avx10", "asimd",
    "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "svebf16", "svei8mm", "sme",
})
# fmt: on
"""Flags of /proc/cpuinfo that change which kernels a CPU engine is compiled to."""


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What does not change between boots."""

    name: str
    """As it names itself, or the board's name where it does not."""
    isa: tuple[str, ...]
    """Those of KERNEL_FLAGS that it has, sorted."""
    usable: int
    """Processors that this process may run on."""
    present: int | None
    """Processors that there are, also those that a power mode has switched off; None where the
    kernel does not say."""
    memory_gib: float
    """The machine's memory."""


def read_processor(root: Path) -> Processor:
    """The processors of the machine whose files lie below `root`.

    Raises InputError where /proc cannot be read (any system but Linux).
    """
    try:
        cpuinfo = _parse_cpuinfo((root / "proc/cpuinfo").read_text(errors="replace"))
        memory_kib = _memory_kib((root / "proc/meminfo").read_text())
    except OSError as error:
        raise InputError(
            f"Expected Linux's /proc/cpuinfo and /proc/meminfo, but {error.filename} cannot be "
            f"read ({error.strerror}). Run this on the Linux device itself."
        ) from error
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    return Processor(
        name=_name(cpuinfo, root),
        isa=tuple(sorted(KERNEL_FLAGS.intersection(flags))),
        usable=len(os.sched_getaffinity(0)),
        present=_present(root / "sys/devices/system/cpu/present"),
        memory_gib=memory_kib / 2**20,
    )


def _parse_cpuinfo(text: str) -> dict[str, str]:
    """The keys of the first processor, and those after all processors (ARM's `Hardware`)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _name(cpuinfo: dict[str, str], root: Path) -> str:
    if name := cpuinfo.get("model name") or cpuinfo.get("Model"):
        return name
    board = root / "proc/device-tree/model"
    if board.is_file():
        return board.read_text(errors="replace").strip("\0 \n")
    maker, part = cpuinfo.get("CPU implementer", "?"), cpuinfo.get("CPU part", "?")
    return f"CPU implementer {maker} part {part}"


def _present(path: Path) -> int | None:
    """The number of processors in a list like `0-7` or `0,2-5`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    ranges = re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges) or None


def _memory_kib(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0
