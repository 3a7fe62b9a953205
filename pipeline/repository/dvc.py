"""DVC, as the command that the user has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError, ServiceError
from engines.extras import require
from engines.files import listed
from engines.process.orphans import ends_with_us
from engines.records.record import refuse_conflict

_DVC = (sys.executable, "-m", "dvc")
_LET_GO = (
    "Move them, or let them go with `dvc checkout --force` and their paths, then `pipeline pull` "
    "again"
)
_IN_THE_WAY = f"Where it names unsaved files, they stand in the way. {_LET_GO}"

MOST_LINES = 8


def tracked(path: Path) -> bool:
    """Whether `dvc add` put this file or folder under DVC's control."""
    return dvc_file(path).is_file()


def dvc_file(path: Path) -> Path:
    """Where `dvc add` writes what it keeps of a file or folder."""
    return path.with_name(f"{path.name}.dvc")


def dvc_add(root: Path, paths: Sequence[Path]) -> None:
    """Put files or folders under DVC's control; DVC ends with this process. Raises InputError with
    DVC's own words."""
    done = _asked(root, "add", *map(str, paths))  # with --quiet it does not say what is wrong
    # On a full disk it ends with 0, and its cache lacks a part of a folder: a line for each file.
    lacking = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    if done.returncode or lacking:
        said = done.stderr if done.returncode else lacking[0]
        raise InputError(
            f"Expected `dvc add` to take {', '.join(map(str, paths))}, but it said: "
            f"{' '.join(said.split()) or f'nothing, and ended with {done.returncode}'}. "
            f"{_remedy(said)} and run the same command again."
        )


def kept_in(root: Path, folder: Path) -> set[str]:
    """The names that DVC has in a folder of its own, here or not; none where it cannot say, as of a
    folder that its cache and remote never had."""
    done = _asked(root, "list", "--dvc-only", ".", str(folder.relative_to(root)))
    return set(done.stdout.split("\n")) - {""} if done.returncode == 0 else set()


def added(workspace: Workspace) -> list[str]:
    """What `dvc add` put under DVC's control below models/, as `dvc pull` is told of it. Raises
    InputError where a merge was not finished."""
    found = [
        path
        for pattern in ("*/*.dvc", "*/*/*.dvc")
        for path in listed(workspace.models, pattern)
        if path.is_file()
    ]
    for path in found:
        refuse_conflict(path.read_bytes(), workspace.relative(path))
    return sorted(map(workspace.relative, found))


def locked_stages(workspace: Workspace, folder: Path) -> list[str]:
    """The stages of a folder's dvc.yaml that its dvc.lock has, as `dvc pull` is told of them: those
    that never ran have nothing to bring. Where all of a `foreach` ran it is named once, as `build`,
    since DVC reads the dvc.yaml anew for each name, 0.7 s. Raises InputError where DVC or YAML
    cannot read them."""
    lock = folder / "dvc.lock"
    if not lock.is_file():
        return []
    content = load_yaml(lock)
    ran = set(content.get("stages") or ()) if isinstance(content, dict) else set()
    done = _asked(
        workspace.root, "stage", "list", "--name-only", workspace.relative(folder / "dvc.yaml")
    )
    if done.returncode:
        raise InputError(
            f"Expected DVC to read {folder / 'dvc.yaml'}, but it said: "
            f"{' '.join(done.stderr.split())}. {_remedy(done.stderr)} and run again."
        )
    groups: dict[str, list[str]] = {}
    for name in done.stdout.split():
        groups.setdefault(name.partition("@")[0], []).append(name)
    names: list[str] = []
    for group, stages in groups.items():
        there = [name for name in stages if name.rpartition(":")[2] in ran]
        names += [group] if there == stages else there
    return names


def dvc_pull(workspace: Workspace, names: Sequence[str]) -> None:
    """Bring what `names` (stages, .dvc files) have in the remote, with DVC's own progress; without
    a remote, what this clone's cache has of them, as after `git revert`.

    What DVC brought is printed here: a reader who left (`| head`) would end DVC itself.

    Raises InputError where there is no remote and the cache lacks some of it, and ServiceError
    where DVC did not bring all of it from the remote; what it said stands above that.
    """
    remote = _asked(workspace.root, "config", "core.remote").stdout.strip()
    command = ends_with_us([*_DVC, "pull" if remote else "checkout", *names])
    pipe = subprocess.PIPE
    shown = None if remote else pipe  # from the cache there is no progress to look at
    done = subprocess.run(
        command, cwd=workspace.root, stdout=pipe, stderr=shown, text=True, check=False
    )
    print(done.stdout, end="")
    wait = "Where another of its commands runs, wait for that to end"
    if done.returncode and not remote:
        print(_shortened(done.stderr), file=sys.stderr)
        if "unsaved" in done.stderr:
            raise InputError(
                "Expected DVC to bring what this commit has, but files that it does not have stand "
                f"in its way: those that it names above. {_LET_GO}."
            )
        raise InputError(
            "Expected DVC to bring all of it from this clone's own cache, since there is no "
            "default remote, but it did not, as it says above. What the cache lacks comes from a "
            "remote: where it was made name one with `dvc remote add --default origin URL`, commit "
            f".dvc/config and `dvc push`; then pull here. {wait}. {_IN_THE_WAY}."
        )
    if done.returncode:
        raise ServiceError(
            "Expected DVC to bring all that dvc.lock and the .dvc files name from its remote "
            f"{remote}, but it could not, as it says above. First see that this machine reaches it "
            "(`dvc remote list` says where it is): DVC calls all of a server that is down, or of a "
            f"folder that is not mounted, missing. {wait}. Where the remote lacks some of it, run "
            f"`dvc push` where it was made; then `pipeline pull` again. {_IN_THE_WAY}."
        )


def _shortened(said: str) -> str:
    """What DVC said, without most of the files that it names one a line: a new clone has none."""
    lines = said.strip().splitlines()
    if len(lines) <= MOST_LINES:
        return "\n".join(lines)
    head, tail = lines[: MOST_LINES - 2], lines[-2:]
    return "\n".join([*head, f"(and {len(lines) - MOST_LINES} lines more)", *tail])


def _remedy(said: str) -> str:
    if "dvc.lock' validation failed" in said:
        # DVC writes it in place.
        return (
            "A full disk may have left a part of that dvc.lock: bring the one of the last commit "
            "back (`git checkout -- dvc.lock` in its folder; where there is none, remove it)"
        )
    if "is not a git repository" in said:
        return "Make the root one (`git init`), as a clone is and an unpacked archive is not,"
    return "Fix that"


def _asked(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    require("dvc")
    command = ends_with_us([*_DVC, *words])
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
