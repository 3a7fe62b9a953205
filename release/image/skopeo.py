"""skopeo, the one program that copies images between layouts and registries here.

It sends no layer that is there, and gives one over to another repository of the same registry. Its
own retries are few, so that ours say what they wait for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engines.disks import disk_of, says_full_disk
from engines.errors import InputError, ServiceError
from engines.process.orphans import ends_with_us
from release.image.credentials import Credentials, auth_file, without_secrets
from release.image.distribution import HOW_TO_LOG_IN, Repository
from release.image.retry import Temporary, retried
from release.say import Say

FINAL = re.compile(
    r"unauthorized|authentication required|denied|forbidden|certificate|"
    r"unknown flag|unknown transport|no such file|not (?:find|found)|manifest unknown|"
    r"name unknown|invalid (?:reference|username)|no space left",
    re.IGNORECASE,
)
"""In what skopeo says: another try would end the same way."""

CRASHED = re.compile(r"^fatal error: .+", re.MULTILINE)
"""What the runtime of Go says first, before pages of stacks."""


def push(
    layout: Path, name: str, repository: Repository, credentials: Credentials | None, say: Say
) -> None:
    """Copy the image `name` of a layout to `repository`, where it gets the same name as its tag.

    Raises InputError without skopeo, and ServiceError when the registry does not take it.
    """
    words = (f"oci:{layout.name}:{name}", f"docker://{repository}:{name}")
    what = f"{repository} to take {name}"
    with auth_file(str(repository), credentials) as auth:
        options = ["--dest-authfile", str(auth)]
        if repository.plain:
            options.append("--dest-tls-verify=false")
        retried(lambda: _copy(layout.parent, (*options, *words), credentials), what, say)


def pull(
    repository: Repository,
    digest: str,
    layout: Path,
    credentials: Credentials | None,
    say: Say,
) -> None:
    """Copy the image with this digest from a registry into a layout of its own, as it is.

    Raises as `push`.
    """
    words = (f"docker://{repository}@{digest}", f"oci:{layout.name}:base")
    what = f"{repository} to give {digest[:19]}…"
    with auth_file(str(repository), credentials) as auth:
        options = ["--src-authfile", str(auth)]
        if repository.plain:
            options.append("--src-tls-verify=false")
        retried(lambda: _copy(layout.parent, (*options, *words), credentials), what, say)


def _copy(folder: Path, words: Sequence[str], credentials: Credentials | None) -> None:
    """--preserve-digests: without it skopeo compresses layers, and the image is another one."""
    program = shutil.which("skopeo")
    if program is None:
        raise InputError(
            "Expected skopeo, which copies images to and from registries, but it is not installed. "
            "Install it (`apt-get install skopeo`)."
        )
    command = [program, "copy", "--quiet", "--preserve-digests", *words]
    done = subprocess.run(
        ends_with_us(command), cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return
    if crashed := CRASHED.search(done.stderr):
        raise InputError(
            f"Expected skopeo to copy {words[-2]}, but it broke off with `{crashed[0]}`, as for "
            "lack of memory or threads. Free memory, or raise the limits (`ulimit -v` and `-u`, "
            "the container's), and run again."
        )
    said = without_secrets(_last_line(done.stderr), credentials)
    if words[-1].startswith("oci:") and says_full_disk(said):  # else it may be the registry's
        raise InputError(
            f"skopeo could not copy {words[-2]} to {folder}: {said}. Free some space there "
            f"({disk_of(folder)}), then run the same command again."
        )
    if FINAL.search(said):
        log_in = HOW_TO_LOG_IN if re.search(r"unauthori|authent|denied|forbidden", said) else ""
        raise ServiceError(f"skopeo could not copy {words[-2]} to {words[-1]}: {said}. {log_in}")
    raise Temporary(f"skopeo says {said!r}")


def _last_line(text: str) -> str:
    """skopeo's message without the time and level that its logger puts in front."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "nothing"
    match = re.search(r'msg="(.*)"$', last)
    return (match[1].replace('\\"', '"') if match else last)[-600:]
