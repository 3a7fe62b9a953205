"""How much of the processors a container may use: the quota of its control group.

A quota is not in the set of processors that a process may run on: with one of 1.5 of 8 processors
a program sees 8, and is held back for the rest of each period once it has used its part. Control
groups nest, and each one above may have a quota too.

Version 2 has `cpu.max`, version 1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`; both count in
`cpu.stat` how often they held the group back (the kernel's admin-guide/cgroup-v2, sched-bwc).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from engines.machine import ROOT
from engines.machine.sensors.reading import Events, read_number, read_text

MOUNT = "sys/fs/cgroup"


def usable_processors(root: Path = ROOT) -> int:
    """Threads that can work at once without being held back: the processors that this process may
    run on, or as many whole ones as its quota allows, at least one."""
    processors = len(os.sched_getaffinity(0))
    quota = read_quota(root)
    return processors if quota is None else max(1, min(processors, int(quota)))


def read_quota(root: Path = ROOT) -> float | None:
    """The smallest quota of this process's group and those above it, in processors; None where
    there is none."""
    quotas = (_quota(group) for group in _groups(root))
    return min((quota for quota in quotas if quota is not None), default=None)


def read_quota_throttles(root: Path = ROOT) -> Events:
    """How often each of these groups was held back, by the path of what says so."""
    stats = (group / "cpu.stat" for group in _groups(root))
    found = ((str(path), _throttled(read_text(path))) for path in stats)
    return {path: count for path, count in found if count is not None}


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's group and of those above it, as far as they are mounted.

    A container sees its own group as the topmost one, whatever path the file names.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / MOUNT / ("cpu" if controllers else "")
        below = PurePosixPath(path.lstrip("/"))
        inside = () if ".." in below.parts else (below, *below.parents)
        yield from dict.fromkeys((*(base / one for one in inside), base))


def _quota(group: Path) -> float | None:
    limit, _, period = read_text(group / "cpu.max").partition(" ")
    if limit.isdecimal() and period.isdecimal() and int(period):
        return int(limit) / int(period)
    quota = read_number(group / "cpu.cfs_quota_us")
    length = read_number(group / "cpu.cfs_period_us")
    return quota / length if quota and length and quota > 0 else None


def _throttled(stat: str) -> int | None:
    rows = (line.split() for line in stat.splitlines())
    values = {row[0]: row[1] for row in rows if len(row) == 2}
    count = values.get("nr_throttled", "")
    return int(count) if count.isdecimal() else None
