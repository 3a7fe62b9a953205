"""The commit that an engine is built from, and where git does not say it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import ignore_patterns

import pytest

from pipeline.repository.git import RUNNING, commit, in_git, of_before


def git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message=a")
    return tmp_path


def test_a_detached_head_a_worktree_and_changes(root: Path, tmp_path: Path) -> None:
    head = commit(root)
    assert len(head) == 40
    git(root, "checkout", "--quiet", "--detach")
    git(root, "worktree", "add", "--quiet", "--detach", str(root / "tree"))
    assert commit(root / "tree") == head
    (root / "tree" / "a").write_text("b")
    assert commit(root / "tree") == f"{head}-dirty"


@pytest.mark.parametrize("file", ["engines/files.py", "pipeline/progress.py"])
@pytest.mark.parametrize("change", [Path.unlink, partial(Path.write_text, data="")])
def test_code_of_another_clone(
    root: Path, capsys: pytest.CaptureFixture[str], file: str, change: Callable[[Path], object]
) -> None:
    """Whose environment is active, or a copy that was installed before a `git pull`."""
    no_code = ignore_patterns("__pycache__", "targets")
    for package in ("engines", "pipeline"):
        shutil.copytree(RUNNING / package, root / package, ignore=no_code)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message=b")
    head = commit(root)
    assert not head.endswith("-dirty")
    change(root / file)
    git(root, "commit", "--quiet", "--all", "--message=c")
    assert commit(root).endswith("-dirty")
    assert "Activate this clone's own environment" in capsys.readouterr().err


def test_a_file_that_an_editor_locks_is_no_code(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emacs, with a link to nowhere, which people let git ignore."""
    monkeypatch.setattr("pipeline.repository.git.RUNNING", root)
    (root / "engines").mkdir()
    (root / "engines" / ".#files.py").symlink_to("me@here.1")
    (root / ".git" / "info" / "exclude").write_text(".#*\n")
    assert not commit(root).endswith("-dirty")


def test_a_shallow_clone_and_one_that_cannot_be_written(root: Path) -> None:
    git(root, "commit", "--quiet", "--allow-empty", "--message=b")
    head, shallow = commit(root), root / "Küche 検"
    git(root, "clone", "--quiet", "--depth=1", f"file://{root}", str(shallow))
    assert commit(shallow) == head
    (shallow / ".git").chmod(0o555)
    assert commit(shallow) == head
    (shallow / ".git").chmod(0o755)


def test_part_of_a_repository_and_a_folder_in_a_foreign_one(root: Path) -> None:
    (root / "part").mkdir()
    (root / "part" / "b").write_text("b")
    assert commit(root / "part") == ""  # nothing of it is in that repository
    git(root, "add", "part")
    git(root, "commit", "--quiet", "--message=b")
    assert commit(root / "part") == commit(root)


def test_no_git_and_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) == ""


def test_a_folder_of_another_user_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do so
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    root = root.rename(root.with_name("a clone"))
    assert commit(root) == ""
    said = capsys.readouterr().err
    assert f"`git config --global --add safe.directory '{root}'`" in said


def test_a_repository_that_git_cannot_read_is_noted_where_it_matters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with (tmp_path / ".git" / "config").open("a") as file:
        file.write("[core\n")
    assert not in_git(tmp_path)
    assert capsys.readouterr().err == ""
    assert commit(tmp_path) == ""
    assert "(bad config line" in capsys.readouterr().err


def test_a_git_that_does_not_say_what_was_changed_makes_no_commit_clean(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = commit(root)
    (root / ".git" / "index").write_bytes(b"no index")
    assert commit(root) == f"{head}-dirty"
    assert "counts as one that was changed" in capsys.readouterr().err
    ended = root / "bin" / "git"
    ended.parent.mkdir()
    ended.write_text("#!/bin/sh\nkill -9 $$\n")
    ended.chmod(0o755)
    monkeypatch.setenv("PATH", str(ended.parent))
    assert commit(root) == ""
    assert "(somebody ended it, with SIGKILL)" in capsys.readouterr().err


def test_code_in_a_folder_that_git_cannot_enter_makes_no_commit_clean(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real git says this and ends with 0, with nothing to say of the files in there."""
    said = "warning: could not open directory 'd/': Permission denied"
    real, own = shutil.which("git"), root / ".git" / "bin" / "git"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\n[ "$3" != status ] || echo "{said}" >&2\nexec {real} "$@"\n')
    own.chmod(0o755)
    head = commit(root)
    monkeypatch.setenv("PATH", str(own.parent))
    assert commit(root) == f"{head}-dirty"
    assert "could not open directory 'd/'" in capsys.readouterr().err


def test_in_a_hook_of_another_repository(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, other = commit(root), tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "--message=other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert commit(root) == head


def test_a_file_of_an_earlier_commit(root: Path) -> None:
    file = root / "a"
    file.write_text("b")
    assert not of_before(root, file)  # somebody's own
    git(root, "commit", "--quiet", "--all", "--message=b")
    assert not of_before(root, file)
    file.write_text("a")
    assert of_before(root, file)
    assert not of_before(root, root / "none")
