"""Moves where git itself is in a bad way: the server's, the clone's, and the user's settings."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from factories.gitops import GitOpsRepository, environment, git, make_repository

import release.gitops.git
from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError, ServiceError
from release.moves.promotion import Wish
from release.records import publication_path
from release.steps.promote import promote
from tests.unit.release.publications import PUBLICATION, TARGET, another

pytestmark = pytest.mark.integration

TWO = another("2.0", "b")
PILOT = f"release/fleet/meter/{TARGET}/pilot/release.yaml"


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    for key in ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"):
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> GitOpsRepository:
    """Canary runs the second release, pilot the first."""
    made = make_repository(tmp_path, [PUBLICATION])
    TWO.write(publication_path(made.workspace, TWO.release))
    made.put(PUBLICATION, "pilot")
    made.push("The first in pilot")
    made.put(TWO, "canary")
    made.push("The second in canary")
    return made


def to_pilot(workspace: Workspace) -> None:
    wish = Wish(model="meter", target=TARGET, to="pilot")
    promote(workspace, wish, dry_run=False, show=lambda _: None, say=lambda _: None)


# --- the server ----------------------------------------------------------------------------------


class _AsksForPassword(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_asks_for_a_password(repository: GitOpsRepository) -> None:
    """Nobody is there to type one: it is said at once, and nothing waits."""
    server = HTTPServer(("127.0.0.1", 0), _AsksForPassword)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/fleet.git"
    git(repository.root, "remote", "set-url", "origin", address)
    try:
        with pytest.raises(ServiceError) as caught:
            to_pilot(repository.workspace)
    finally:
        server.shutdown()
        server.server_close()
    assert "terminal prompts disabled" in str(caught.value)


def test_a_server_that_takes_for_ever(
    repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexec sleep 30\n")
    hook.chmod(0o755)
    real = release.gitops.git.run_git

    def impatient(command: list[str], **options: Any) -> object:
        return real(command, **{**options, "timeout": 2 if "push" in command else 60})

    monkeypatch.setattr(release.gitops.git, "run_git", impatient)
    with pytest.raises(ServiceError, match="`git push` to end within"):
        to_pilot(repository.workspace)
    hook.unlink()
    monkeypatch.undo()
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    to_pilot(repository.workspace)
    assert repository.subjects().count(repository.subjects()[0]) == 1


def test_the_server_s_head_is_elsewhere(repository: GitOpsRepository) -> None:
    """The branch of rings.yaml counts, not what `git clone` would check out."""
    git(repository.bare, "branch", "other", "main~")
    git(repository.bare, "symbolic-ref", "HEAD", "refs/heads/other")
    to_pilot(repository.workspace)
    assert TWO.release in repository.at(PILOT)
    assert len(repository.subjects("other")) == 2


# --- the clone -----------------------------------------------------------------------------------


def _shallow(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    return repository.clone(tmp_path / "shallow", "--depth=1")


def _detached(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    git(repository.root, "checkout", "--quiet", "--detach", "HEAD~")
    return repository.workspace


def _on_another_branch(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    git(repository.root, "checkout", "--quiet", "-b", "mine", "HEAD~2")
    return repository.workspace


def _index_locked(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    (repository.root / ".git" / "index.lock").write_text("")
    return repository.workspace


def _rebase_under_way(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    root = repository.root
    git(root, "checkout", "--quiet", "-b", "mine", "HEAD~")
    (root / "release/fleet/meter" / TARGET / "canary/release.yaml").write_text("mine: 1\n")
    git(root, "commit", "--quiet", "-am", "Mine")
    done = subprocess.run(["git", "rebase", "main"], cwd=root, env=environment(), check=False,
                          capture_output=True)  # fmt: skip
    assert done.returncode != 0
    return repository.workspace


def _edited_by_a_person(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    (repository.root / PILOT).write_text("mine: 1\n")
    git(repository.root, "add", PILOT)
    return repository.workspace


def _carriage_returns(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    git(repository.root, "config", "core.autocrlf", "true")
    (repository.root / ".gitattributes").write_text("* text=auto eol=crlf\n")
    return repository.workspace


def _hooks(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    """Of the clone: they are about the clone's files, and one of them never ends well."""
    for name in ("pre-commit", "commit-msg", "pre-push", "post-commit", "reference-transaction"):
        hook = repository.root / ".git" / "hooks" / name
        code = 0 if name == "reference-transaction" else 1
        hook.write_text(f"#!/bin/sh\ncat >/dev/null\nexit {code}\n")
        hook.chmod(0o755)
    return repository.workspace


def _worktree(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    git(repository.root, "worktree", "add", "--quiet", "-b", "mine", str(tmp_path / "worktree"))
    return Workspace(root=tmp_path / "worktree")


def _submodule(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    """The clone is one of another repository."""
    outer = tmp_path / "outer"
    git(tmp_path, "init", "--quiet", str(outer))
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(repository.bare), "vision")  # fmt: skip
    return Workspace(root=outer / "vision")


CLONES = (
    *(_shallow, _detached, _on_another_branch, _index_locked, _rebase_under_way),
    *(_edited_by_a_person, _carriage_returns, _hooks, _worktree, _submodule),
)


@pytest.mark.parametrize("spoil", CLONES)
def test_a_clone_in_any_state(
    repository: GitOpsRepository,
    tmp_path: Path,
    spoil: Callable[[GitOpsRepository, Path], Workspace],
) -> None:
    """The move is of one file, on top of the branch, whatever lies in the clone; and that stays."""
    workspace = spoil(repository, tmp_path)
    env = environment() | {"GIT_OPTIONAL_LOCKS": "0"}

    def state() -> str:
        done = subprocess.run(["git", "status", "--porcelain"], cwd=workspace.root, env=env,
                              capture_output=True, text=True, check=True)  # fmt: skip
        return done.stdout

    before, count = state(), len(repository.subjects())
    to_pilot(workspace)
    assert len(repository.subjects()) == count + 1
    assert git(repository.bare, "diff", "--name-only", "main~", "main") == PILOT
    # Byte for byte what the canary has: no line ending was changed on the way.
    show = ["git", "cat-file", "blob"]
    canary = f"main:release/fleet/meter/{TARGET}/canary/release.yaml"
    bytes_of = [subprocess.check_output([*show, one], cwd=repository.bare)
                for one in (f"main:{PILOT}", canary)]  # fmt: skip
    assert bytes_of[0] == bytes_of[1]
    assert state() == before
    to_pilot(workspace)
    assert len(repository.subjects()) == count + 1


# --- git itself ----------------------------------------------------------------------------------

GIT_OF_A_TEST = """\
#!/bin/sh
# The real git, but for the so-manieth call.
number=$(($(cat "{calls}") + 1))
echo $number > "{calls}"
[ $number = "$FAIL_AT" ] && {{ {failing}; }}
exec {real} "$@"
"""
FAILING = {
    "killed": "kill -9 $$",
    "what nobody foresaw": "echo 'fatal: bad object HEAD' >&2; exit 128",
}


@pytest.mark.parametrize("name", FAILING)
def test_git_fails_at_any_call(
    repository: GitOpsRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It ends with a sentence, and the same command again does the rest."""
    failing = FAILING[name]
    program, calls = tmp_path / "bin" / "git", tmp_path / "calls"
    program.parent.mkdir()
    real = shutil.which("git")
    program.write_text(GIT_OF_A_TEST.format(calls=calls, failing=failing, real=real))
    program.chmod(0o755)
    before, start = repository.subjects(), git(repository.bare, "rev-parse", "main")
    path, told, codes = os.environ["PATH"], list[str](), set[int]()
    for number in count(1):
        clone = repository.clone(tmp_path / f"clone{number}")
        calls.write_text("0")
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{program.parent}:{path}")
            patch.setenv("FAIL_AT", str(number))
            try:
                to_pilot(clone)
            except JetrailError as error:
                told.append(str(error))
                codes.add(error.exit_code)
        if int(calls.read_text()) < number:
            break
        assert len(repository.subjects()) <= len(before) + 1
        to_pilot(clone)
        assert len(repository.subjects()) == len(before) + 1
        assert TWO.release in repository.at(PILOT)
        assert git(clone.root, "status", "--porcelain") == ""
        git(repository.bare, "update-ref", "refs/heads/main", start)
    assert len(told) > 20
    assert codes <= {InputError.exit_code, ServiceError.exit_code}
    if name == "killed":
        assert all("signal 9 (SIGKILL) ended it" in one for one in told)
    else:
        assert "it says: fatal: bad object HEAD. See" in told[0]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("file write error", errno.EIO),
        ("file write error", errno.EUCLEAN),
        ("file write error", errno.ESTALE),
        # A clone that somebody else owns.
        ("cannot lock ref 'x': Unable to create '/r/.git/x.lock'", errno.EACCES),
    ],
)
def test_a_broken_disk_is_said(
    repository: GitOpsRepository, tmp_path: Path, said: str, number: int
) -> None:
    strerror, program = os.strerror(number), tmp_path / "git"
    # The last line only says that it ends, as after "insufficient permission for adding an object".
    ends = "fatal: unpack-objects failed"
    program.write_text(f'#!/bin/sh\necho "error: {said}: {strerror}\n{ends}" >&2; exit 128\n')
    program.chmod(0o755)
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(InputError, match=f"Cannot write to the git repository .*{strerror}"),
    ):
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        to_pilot(repository.workspace)


# --- the user's settings -------------------------------------------------------------------------


def test_a_signing_key_that_is_not_there(repository: GitOpsRepository, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen to sign with: install openssh-client")
    for name, value in {
        "commit.gpgSign": "true",
        "gpg.format": "ssh",
        "user.signingKey": str(tmp_path / "gone"),
    }.items():
        git(repository.root, "config", name, value)
    before = repository.subjects()
    with pytest.raises(InputError, match="Expected git to make the commit"):
        to_pilot(repository.workspace)
    assert repository.subjects() == before


def test_nobody_s_name(repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        for what in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{who}_{what}")
    git(repository.root, "config", "user.useConfigOnly", "true")
    with pytest.raises(JetrailError, match="git config user.name NAME"):
        to_pilot(repository.workspace)


def test_names_that_differ_by_case(repository: GitOpsRepository) -> None:
    """On a branch from a machine that tells them apart; nothing of ours is taken for the other."""
    other = repository.root / f"release/fleet/meter/{TARGET}/Pilot"
    shutil.copytree(repository.root / PILOT.rpartition("/")[0], other)
    repository.push("Another case")
    to_pilot(repository.workspace)
    assert TWO.release in repository.at(PILOT)
    assert PUBLICATION.release in repository.at(PILOT.replace("/pilot/", "/Pilot/"))


def test_somebody_else_s_configuration(
    repository: GitOpsRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that change what git prints or does by itself."""
    mine = tmp_path / "gitconfig"
    mine.write_text(
        "[color]\n ui = always\n[core]\n pager = false\n quotePath = true\n"
        "[push]\n default = nothing\n followTags = true\n[fetch]\n prune = true\n"
        "[pull]\n rebase = true\n[merge]\n ff = false\n[log]\n showSignature = true\n"
        "[format]\n pretty = oneline\n[status]\n short = true\n[submodule]\n recurse = true\n"
        "[i18n]\n commitEncoding = ISO-8859-1\n[user]\n name = Zoë\n email = zoe@example.com\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(mine))
    to_pilot(repository.workspace)
    assert TWO.release in repository.at(PILOT)
    assert os.environ["GIT_CONFIG_GLOBAL"] == str(mine)


# --- what a push that ends badly has done ---------------------------------------------------------

FULL = "error: update_ref failed for ref 'refs/remotes/origin/main': No space left on device"
CUT = "fatal: the remote end hung up unexpectedly"


def _ends_badly(
    monkeypatch: pytest.MonkeyPatch, said: str, *, takes: bool, answers: bool = True, code: int = 1
) -> None:
    """Every push ends with `code` and `said`; the server `takes` it before, and `answers` then."""
    real = release.gitops.git.run_git

    def run(command: list[str], **options: Any) -> object:
        if "push" in command:
            if takes:
                assert real(command, **options).returncode == 0
            return subprocess.CompletedProcess(command, code, b"", said.encode())
        if "ls-remote" in command and not answers:
            return subprocess.CompletedProcess(command, 128, b"", CUT.encode())
        return real(command, **options)

    monkeypatch.setattr(release.gitops.git, "run_git", run)


ENDS = ((FULL, 1), (CUT, 128), ("", -9))


@pytest.mark.parametrize(("said", "code"), ENDS, ids=["disk", "connection", "killed"])
def test_a_push_that_is_done_and_ends_badly(
    repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch, said: str, code: int
) -> None:
    """Of a full disk here it was said that nothing was changed, of a commit that Fleet read."""
    count = len(repository.subjects())
    _ends_badly(monkeypatch, said, takes=True, code=code)
    to_pilot(repository.workspace)
    assert len(repository.subjects()) == count + 1
    assert git(repository.root, "rev-parse", "HEAD") == git(repository.bare, "rev-parse", "main")


@pytest.mark.parametrize(("takes", "answers"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("said", "code"), ENDS, ids=["disk", "connection", "killed"])
def test_what_is_said_of_it_is_so(
    repository: GitOpsRepository,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    code: int,
    *,
    takes: bool,
    answers: bool,
) -> None:
    before = repository.subjects()
    _ends_badly(monkeypatch, said, takes=takes, answers=answers, code=code)
    with pytest.raises(JetrailError) as caught:
        to_pilot(repository.workspace)
    assert (len(repository.subjects()) > len(before)) == takes
    told = str(caught.value)
    assert ("is not known" in told) == (not answers)
    assert ("Nothing was moved." in told) == (answers and code > 0)
    assert ("did not have the commit right after that" in told) == (answers and code < 0)
    assert "Nothing was changed" not in told
    assert caught.value.exit_code == (2 if said == FULL else 6)


OWNED = """\
fatal: detected dubious ownership in repository at '{place}'
To add an exception for this directory, call:

\tgit config --global --add safe.directory '{place}'
{more}"""
REMOTE = "fatal: Could not read from remote repository.\n\nPlease make sure you have rights.\n"


@pytest.mark.parametrize("more", ["", REMOTE], ids=["the clone", "the repository pushed to"])
def test_a_repository_of_somebody_else(
    repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """The one that git means is named: of that which is pushed to, the clone was."""
    place = "/srv/git/our fleet.git"
    said = OWNED.format(place=place, more=more).encode()
    monkeypatch.setattr(
        release.gitops.git,
        "run_git",
        lambda command, **_: subprocess.CompletedProcess(command, 128, b"", said),
    )
    with pytest.raises(InputError) as caught:
        release.gitops.git.git(repository.root, "fetch")
    assert f"the repository of {place}, but it says: detected dubious" in str(caught.value)
    assert f"`git config --global --add safe.directory '{place}'`" in str(caught.value)
    assert str(repository.root) not in str(caught.value)
