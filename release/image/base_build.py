"""A base is built: pip lays out what a pod needs, it is trimmed, a container engine does the rest.

Nothing is fetched while the image is built: pip, with this machine's own settings, takes wheels for
the base's platform and Python before that.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from engines.config.workspace import Workspace
from engines.disks import disk_of, says_full_disk
from engines.errors import InputError, ServiceError
from engines.files import copy_file, listed
from engines.process.orphans import ends_with_us
from release.image.bases import BaseRow
from release.image.describe import ARCHITECTURES

TOOLS = ("buildah", "podman", "docker")
PACKAGES = ("engines", "runtime")
"""Of ours: all that a pod imports."""
GLIBC = range(17, 36)
"""Minor versions that wheels name; the oldest bases, on Ubuntu 22.04, have 35."""
LEAVE_SECONDS = 10.0
"""How long a program may take to end by SIGTERM."""
SCRIPT = "#!/usr/bin/env python3\nfrom runtime.__main__ import main\n\nmain()\n"


def lay_context(workspace: Workspace, name: str, row: BaseRow, folder: Path) -> None:
    """The Containerfile and `site`, what it copies into the image.

    Raises InputError where a file is missing, and ServiceError when pip finds no wheels.
    """
    source = workspace.root / "release" / "bases" / name
    for file in ("Containerfile", "left-out.txt"):
        if not (source / file).is_file():
            raise InputError(f"Expected {source / file}, but it is not there.")
    copy_file(source / "Containerfile", folder / "Containerfile")
    site = folder / "site"
    _install(workspace, row, site)
    _trim(site, (source / "left-out.txt").read_text())
    _add_ours(workspace, site)


def build(name: str, row: BaseRow, context: Path, layout: Path, options: Sequence[str]) -> str:
    """Build the image with the first container engine that is here, into an OCI layout, where it is
    called `base`; gives the engine's name. `options` are handed on to its `build`.

    Raises InputError without an engine, and ServiceError when it fails.
    """
    tool = next((one for one in TOOLS if shutil.which(one)), None)
    if tool is None:
        raise InputError(
            f"Expected one of {', '.join(TOOLS)} to build a base image, got none. Install one "
            "(`apt-get install buildah`)."
        )
    # By its id from here on: whoever builds in another clone meanwhile gives the name to theirs.
    made = context.with_name("id")
    _run(
        *(tool, "build", "--tag", f"localhost/jetrail-base-{name}", "--iidfile", str(made)),
        *("--platform", row.platform),
        *("--file", str(context / "Containerfile"), "--build-arg", f"FROM={row.from_}"),
        *([] if tool == "docker" else ["--format", "oci", "--layers=false"]),
        *options,
        str(context),
    )
    image = made.read_text().strip()
    if tool == "docker":
        archive = str(context.parent / "image.tar")
        _run("docker", "save", "--output", archive, image)
        _run("skopeo", "copy", "--quiet", f"docker-archive:{archive}", f"oci:{layout}:base")
    else:
        _run(tool, "push", "--quiet", image, f"oci:{layout}:base")
    _run(tool, "rmi", image)
    return tool


def _requirements(there: Mapping[str, str]) -> list[str]:
    """What `jetrail[runtime]` asks for on such a machine."""
    found = [Requirement(one) for one in requires("jetrail") or ()]
    needed = [one for one in found if one.marker is None or one.marker.evaluate(dict(there))]
    return sorted(f"{one.name}{one.specifier}" for one in needed)


def _pins(constraints: str, there: Mapping[str, str]) -> str:
    """The lines of constraints.txt that count there, without their conditions: pip would ask the
    Python that runs it, not the one that it installs for (pypa/pip#11010)."""
    lines = (line.partition("#")[0].strip() for line in constraints.splitlines())
    pins = [Requirement(line) for line in lines if line]
    counting = [one for one in pins if one.marker is None or one.marker.evaluate(dict(there))]
    return "".join(f"{one.name}{one.specifier}\n" for one in counting)


def _environment(row: BaseRow) -> dict[str, str]:
    """What conditions of requirements ask of the machine that the base is for."""
    go = row.platform.rpartition("/")[2]
    return {
        "extra": "runtime",
        "platform_machine": next(one for one, name in ARCHITECTURES.items() if name == go),
        "platform_system": "Linux",
        "sys_platform": "linux",
        "python_version": row.python,
        "python_full_version": f"{row.python}.0",
    }


def _install(workspace: Workspace, row: BaseRow, site: Path) -> None:
    there = _environment(row)
    machine = there["platform_machine"]
    platforms = [
        f"manylinux2014_{machine}",
        *(f"manylinux_2_{x}_{machine}" for x in GLIBC),
    ]
    constraints = workspace.root / "constraints.txt"
    pins = site.with_name("pins.txt")
    pins.write_text(_pins(constraints.read_text(), there) if constraints.is_file() else "")
    # What a killed pip leaves goes with what we leave.
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(site), "--no-compile", "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", row.python),
        *(word for one in platforms for word in ("--platform", one)),
        *("--constraint", str(pins)),
        *_requirements(there),
        scratch=site.parent,
    )


def _trim(site: Path, left_out: str) -> None:
    for line in left_out.splitlines():
        glob = line.strip()
        if not glob or glob.startswith("#"):
            continue
        for path in site.glob(glob):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _add_ours(workspace: Workspace, site: Path) -> None:
    for package in PACKAGES:
        for source in listed(workspace.root / package, "**/*.py"):
            target = site / source.relative_to(workspace.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(source, target)
    script = site / "bin" / "runtime"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    for path in (site, *site.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path == script else 0o644)


def _run(*words: str, scratch: Path | None = None) -> None:
    """Run a program, with `scratch` for its temporary files. It is ended by SIGTERM, by which
    buildah removes its working container, as large as the base; after SIGKILL that would stay."""
    process = subprocess.Popen(
        ends_with_us(words, by=signal.SIGTERM),
        env={**os.environ, **({"TMPDIR": str(scratch)} if scratch else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        out, _ = process.communicate()
    except BaseException:  # Ctrl-C too
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE_SECONDS)
        process.kill()
        raise
    if process.returncode == 0:
        return
    said = " ".join(out.strip().splitlines()[-4:])[-800:]
    failed = (
        f"`{' '.join(words[:3])} …` failed while the base was built: {said}. Nothing was recorded"
    )
    if says_full_disk(out):
        place = Path(tempfile.gettempdir())
        raise InputError(
            f"{failed}: it wants more room for temporary files ({disk_of(place)})"
            f"{'' if scratch else f' or where {words[0]} keeps its images'}. Free some space, or "
            "name a folder on another disk with TMPDIR, and run again."
        )
    raise ServiceError(f"{failed}: fix that and run the same command again.")
