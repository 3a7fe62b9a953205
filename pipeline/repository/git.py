"""Git, asked for the commit that the code is at, and what it keeps."""

from __future__ import annotations

import filecmp
import shlex
import signal
from pathlib import Path

from engines.process.git import git_environment, run_git
from pipeline.progress import note

NOT_CODE = (":(exclude)*dvc.lock", ":(exclude,glob)**/out/**", ":(exclude)release/")
"""What the pipeline itself writes: it must not make its own commit look dirty."""

RUNNING = Path(__file__).resolve().parents[2]
"""Where the code lies that runs."""


def commit(root: Path) -> str:
    """Commit of the repository, with `-dirty` when the code differs from it, another one runs (that
    of another clone, or a copy that was installed before a `git pull`), or git does not say; empty
    without git, or in a folder that is not a repository with a commit. A repository around it of
    which it is no part, as of a home folder, does not count."""
    without = "so this is built without a commit to lead back to"
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", otherwise=without)
    if not head or not _git(root, "ls-tree", "--name-only", "HEAD", otherwise=without):
        return ""
    dirty = "so its commit counts as one that was changed"
    changes = _git(root, "status", "--porcelain", "--", ".", *NOT_CODE, otherwise=dirty)
    return head if changes == "" and _runs_here(root) else f"{head}-dirty"


def _runs_here(root: Path) -> bool:
    """Whether the code that runs is the repository's, if that has any."""
    packages = [RUNNING / one for one in ("engines", "pipeline") if (root / one).is_dir()]
    # An editor's lock is a link to nowhere.
    files = [file for one in packages for file in one.rglob("*.py") if file.is_file()]
    names = [str(file.relative_to(RUNNING)) for file in files]
    _, *unlike = filecmp.cmpfiles(RUNNING, root, names, shallow=False)
    if not any(unlike):
        return True
    note(
        f"The code that runs is that of {RUNNING}, and not what {root} has, whose commit counts as "
        "one that was changed. Activate this clone's own environment, or in its root run `pip "
        "install --constraint constraints.txt --editable .`, and build again."
    )
    return False


def in_git(root: Path) -> bool:
    """Whether a folder lies in a repository that git reads."""
    return _git(root, "rev-parse", "--is-inside-work-tree") == "true"


def knows(root: Path, folder: Path) -> bool:
    """Whether git has a file below `folder`, committed or added."""
    return bool(_git(root, "ls-files", "--", str(folder)))


def of_before(root: Path, path: Path) -> bool:
    """Whether a file is not the commit's but one that an earlier commit had."""
    content = _git(root, "hash-object", "--", str(path))
    if not content or not _git(root, "status", "--porcelain", "--", str(path)):
        return False
    had = ("log", "-1", "--format=%H", f"--find-object={content}", "HEAD", "--", str(path))
    return bool(_git(root, *had))


def _git(root: Path, *arguments: str, otherwise: str = "") -> str | None:
    """What git prints; None where it fails. What follows of that is noted with `otherwise`, unless
    there just is no repository, commit or git."""
    try:
        done = run_git(["git", "-C", str(root), *arguments], env=git_environment())
    except FileNotFoundError:
        return None
    said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
    # `git status` ends well and takes what lies in a folder that it cannot enter for unchanged.
    if done.returncode == 0 and "could not open directory" not in said:
        return done.stdout.decode(errors="replace").strip()
    if done.returncode < 0:
        said = f"somebody ended it, with {signal.Signals(-done.returncode).name}"
    if otherwise and "dubious ownership" in said:
        note(
            f"Git does not read {root}, which another user owns, {otherwise}. Say that it is yours "
            f"with `git config --global --add safe.directory {shlex.quote(str(root))}` and build "
            "again."
        )
    elif otherwise and said and "not a git repository" not in said:
        note(f"Git does not read {root} ({said}), {otherwise}. Fix that and build again.")
    return None
