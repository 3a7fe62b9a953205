"""What `doctor --record` keeps of a real device: the files and tool outputs that tests read.

The layout is that of `tests/documented/jetson`: the folder stands in for `/`, and `commands/` holds
what the tools print. Only files named here are read, none of which holds a serial number; whatever
looks like one, a network address or this machine's name is taken out all the same.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from threading import Timer

from engines.errors import InputError
from engines.files import atomic_folder
from engines.machine import ROOT
from engines.machine.fingerprint import describe, read_fingerprint
from engines.machine.jetson import nvidia_stanzas
from engines.machine.sensors.jetson import MEMORY_CLOCKS
from engines.machine.sensors.nvml import Card, read_card
from pipeline.latency import trtexec_tool

FILES = (
    *("proc/device-tree/compatible", "proc/device-tree/model", "proc/cpuinfo", "proc/meminfo"),
    *("etc/nv_tegra_release", "etc/nvpmodel.conf", "var/lib/nvpmodel/status"),
    *("proc/stat", "sys/devices/system/cpu/present"),
    "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count",
    *("sys/class/thermal/thermal_zone*/type", "sys/class/thermal/thermal_zone*/temp"),
    *(f"sys/class/thermal/cooling_device*/{name}" for name in ("type", "cur_state", "max_state")),
    *("sys/class/hwmon/hwmon*/name", "sys/class/hwmon/hwmon*/oc*_event_cnt"),
    "sys/class/hwmon/hwmon*/oc*_throt_en",
    *(f"sys/class/hwmon/hwmon*/{kind}[0-9]_*" for kind in ("in", "curr", "power", "temp")),
    *(f"sys/class/devfreq/*/{name}" for name in ("cur_freq", "min_freq", "max_freq", "governor")),
    *MEMORY_CLOCKS,
)
"""Files and patterns below the root: all that `engines.machine.jetson` and
`engines.machine.sensors` read, but what is of a single process."""

COMMANDS = {
    "nvpmodel-q.txt": (("nvpmodel", "-q"), None),
    "tegrastats.txt": (("tegrastats", "--interval", "1000"), 1),
    "trtexec-help.txt": (("trtexec", "--help"), 400),
}
"""File to the command whose output it holds, and how many lines of it (None: all)."""

PATH = ("/usr/bin", "/usr/sbin", str(trtexec_tool.FOLDER))
COMMAND_SECONDS = 15.0
STANZA_FIELDS = ("Package", "Status", "Architecture", "Version")

SERIAL_LINE = re.compile(
    r"^[ \t]*(?:[\w-]+[ \t]+)*(?:serial(?:[ \t]*number)?|uuid)[ \t]*[:=][^\n]*\n?",
    re.IGNORECASE | re.MULTILINE,
)
MAC = re.compile(r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b")
UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")

Run = Callable[[Sequence[str], int | None], str | None]
"""Runs a command; what it printed, at most so many lines, or None where it cannot be run."""


def record_device(folder: Path, root: Path = ROOT, *, run: Run | None = None) -> list[str]:
    """Write the record of this machine to `folder`, which must be new or empty; returns the files.

    Raises InputError where it is not, or cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"Expected a new or empty folder for the record, but {folder} is there and holds "
            "something. Name another one; nothing was written."
        )
    scrub = _scrubber(root)
    kept = dict(_read(root, run or run_command, read_card if root == ROOT else _no_card))
    with atomic_folder(folder) as temporary:
        for name, content in kept.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scrub(name, content))
    return sorted(kept)


def run_command(command: Sequence[str], lines: int | None) -> str | None:
    """What a command prints, its errors too; stopped after so many lines, or when it hangs."""
    tool = shutil.which(command[0], path=os.pathsep.join((os.environ.get("PATH", ""), *PATH)))
    if tool is None:
        return None
    with subprocess.Popen(
        [tool, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        timer = Timer(COMMAND_SECONDS, process.kill)
        timer.start()
        try:
            return "".join(islice(process.stdout or (), lines))
        finally:
            timer.cancel()
            process.kill()


def _read(root: Path, run: Run, card: Callable[[], Card | None]) -> Iterator[tuple[str, str]]:
    for pattern in FILES:
        yield from _files(root, pattern)
    if stanzas := nvidia_stanzas(root):
        yield "var/lib/dpkg/status", "".join(_shortened(stanza) for _, _, stanza in stanzas)
    for name, (command, lines) in COMMANDS.items():
        if (printed := run(command, lines)) is not None:
            yield f"commands/{name}", printed
    if (found := card()) is not None:
        yield "commands/nvml.json", json.dumps(asdict(found), indent=2) + "\n"
    yield "SOURCE.md", _source(root, found)


def _files(root: Path, pattern: str) -> Iterator[tuple[str, str]]:
    for path in sorted(root.glob(pattern)):
        try:
            content = path.read_text(errors="replace")
        except PermissionError:
            continue
        except OSError:  # a sensor without power answers with an error: an empty file says so
            content = ""
        yield str(path.relative_to(root)), content


def _shortened(stanza: str) -> str:
    lines = [line for line in stanza.splitlines() if line.startswith(STANZA_FIELDS)]
    return "\n".join(lines) + "\n\n"


def _source(root: Path, card: Card | None) -> str:
    device = read_fingerprint(root, card=lambda: card)
    return (
        f"# {describe(device)}\n\nRecorded on the device itself with `pipeline doctor --record`. "
        "Serial numbers, network addresses and the machine's name are taken out; an empty file is "
        "one that could not be read.\n"
    )


def _scrubber(root: Path) -> Callable[[str, str], str]:
    """Takes out of a file's content what tells this machine from others of its kind."""
    serials = [
        text.strip("\0 \n")
        for path in ("proc/device-tree/serial-number", "sys/class/dmi/id/product_serial")
        for _, text in _files(root, path)
    ]
    secrets = [secret for secret in serials if len(secret) >= 4]
    # A machine may be called `nvidia` or `orin`: its name counts only in what programs print,
    # since the kernel's files do not hold it.
    name = re.compile(rf"\b{re.escape(platform.node() or 'localhost')}\b", re.IGNORECASE)

    def scrub(file: str, content: str) -> str:
        content = SERIAL_LINE.sub("", content)
        content = UUID.sub("UUID", MAC.sub("MAC", content))
        for secret in secrets:
            content = content.replace(secret, "SERIAL")
        return name.sub("HOST", content) if file.startswith("commands/") else content

    return scrub


def _no_card() -> Card | None:
    return None
