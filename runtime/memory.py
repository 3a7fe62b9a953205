"""How much of the memory that this pod may have is taken."""

from __future__ import annotations

from pathlib import Path

from engines.machine.sensors.reading import (
    read_memory_kib,
    read_memory_used_mib,
    read_number,
    read_text,
)

V2 = ("sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.stat")
V1 = (
    "sys/fs/cgroup/memory/memory.usage_in_bytes",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
    "sys/fs/cgroup/memory/memory.stat",
)
"""Files of the container's control group: taken, limit, and what is taken by what."""
INACTIVE = ("inactive_file", "total_inactive_file")
"""Pages of files that the kernel gives back before it kills: kubelet leaves them out too."""


def read_memory_percent(root: Path) -> float | None:
    """Of the container's limit; without one of the machine's memory. None where neither is said."""
    total_kib = read_memory_kib(root).get("MemTotal")
    for used_file, limit_file, stat_file in (V2, V1):
        used, limit = read_number(root / used_file), read_number(root / limit_file)
        # Version 1 says a number beyond all memory where there is no limit.
        if used is not None and limit and (total_kib is None or limit <= total_kib * 1024):
            return 100 * max(used - _inactive(root / stat_file), 0) / limit
    used_mib = read_memory_used_mib(root)
    if used_mib is None or not total_kib:
        return None
    return 100 * used_mib * 1024 / total_kib


def _inactive(path: Path) -> int:
    for line in read_text(path).splitlines():
        name, _, value = line.partition(" ")
        if name in INACTIVE and value.isdecimal():
            return int(value)
    return 0
