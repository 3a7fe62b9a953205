"""The branch that Fleet reads: fetched, read at one commit, built upon, and pushed without force.

All of it goes through git's object store: a commit is made from the fetched tree and single files,
in an index of its own. So nothing that lies changed or committed in the clone is ever part of a
move, and a command that is killed leaves objects behind that git sweeps up, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from engines.config.rings import load_rings
from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError, ServiceError
from engines.files import temporary_folder
from release.gitops.git import SECONDS, CannotWrite, GitFailed, git, without_credentials

FETCHED = "refs/jetrail"
"""Where the fetched branch is kept: no branch of the user's, and not swept up."""

_RACES = ("fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref",
          "incorrect old value", "stale info", "reference already exists")  # fmt: skip
"""Words of a refused push that mean that somebody else pushed at the same moment."""

_CHECKED_OUT = "(branch is currently checked out)"

UNMOVED = "Nothing was moved."
ASKED_SECONDS = 60
"""How long a server may take to say whether it took a commit, after a push that ended badly."""


@dataclass(frozen=True, kw_only=True)
class File:
    """An entry of a commit's tree."""

    mode: str
    """`100644`, or what else git has: `100755`, `120000` for a link, `160000` for a submodule."""
    blob: str
    """Its object's name; equal for equal content."""


@dataclass(frozen=True, kw_only=True)
class GitOps:
    """The branch that Fleet reads, seen from a clone."""

    folder: Path
    """Top of the clone, whose root or a folder of which is the Jetrail repository."""
    url: str
    """Name of a remote, or an address."""
    branch: str
    prefix: str
    """Where the Jetrail repository lies in that branch: empty, or a folder with a slash."""

    @property
    def shown(self) -> str:
        """For messages: the branch and where it is, without credentials."""
        return f"{without_credentials(self.url)} {self.branch}"

    def fetch(self, seconds: float = SECONDS) -> Snapshot:
        """The branch as it is now. Raises InputError where there is no such remote or branch, and
        ServiceError where the remote does not answer within `seconds`."""
        reference = f"{FETCHED}/{self.branch}"
        try:
            self._fetch(f"+refs/heads/{self.branch}:{reference}", seconds)
            commit = git(self.folder, "rev-parse", "--verify", f"{reference}^{{commit}}")
        except GitFailed as error:
            raise self._not_fetched(error) from error
        return Snapshot(gitops=self, commit=commit.decode().strip())

    def push(self, commit: str, branch: str | None = None) -> GitFailed | None:
        """Let the branch be `commit`; None where it is now, else what git says: somebody else moved
        it, or is about to.

        Never with force: git refuses a push that would take a commit away. Hooks of the clone are
        not run, since they are about the files of the clone. A push that ends badly may be done all
        the same: the connection breaks, or the disk here is full, after the server took it. So the
        server is asked. Raises ServiceError and CannotWrite, which say whether it has the commit,
        and InputError where somebody works on the branch there.
        """
        branch = branch or self.branch
        try:
            git(self.folder, "push", "--no-verify", self.url, f"{commit}:refs/heads/{branch}")
        except GitFailed as error:
            refused = [one for one in error.said.splitlines() if one.lstrip().startswith("! [")]
            if any(word in line for line in refused for word in _RACES):
                return error
            if any(_CHECKED_OUT in line for line in refused):
                raise InputError(
                    f"Expected {self.shown} to be a branch that git takes a push of, but it is "
                    "checked out there, in somebody's clone. Push to a bare repository (`make "
                    "fleet` gives one to try this with), or `git checkout --detach` there; then "
                    "run the same command again."
                ) from error
            if (moved := self._moved(commit, branch)) is None:
                return None
            way = "If the branch is protected, let somebody push who may, or give --merge-request"
            if branch != self.branch:
                way = f"A merge request comes from the branch {branch}: see that you may push one"
            raise ServiceError(
                f"Expected {self.shown} to take the commit, but git says: {_why(error)}. {moved} "
                f"{way}; then run the same command again."
            ) from error
        except (CannotWrite, ServiceError) as error:
            if (moved := self._moved(commit, branch)) is None:
                return None
            if isinstance(error, CannotWrite):
                raise error.but(moved) from error
            # It may be about to: nobody ended what works there.
            late = f"{self.shown} did not have the commit right after that."
            raise ServiceError(f"{error} {late if moved == UNMOVED else moved}") from error
        return None

    def _moved(self, commit: str, branch: str) -> str | None:
        """What to say of a push of `commit` that ended badly; None where the server has it."""
        reference = f"refs/heads/{branch}"
        try:
            # Writes nothing here, where the disk may be full.
            told = git(self.folder, "ls-remote", self.url, reference, seconds=ASKED_SECONDS)
            tip = told.decode().partition("\t")[0]
            if tip == commit:
                return None
            before = git(self.folder, "rev-parse", f"{commit}^").decode().strip()
            if tip in ("", before) or not self.fetch(ASKED_SECONDS).contains(commit):
                return UNMOVED
        except JetrailError:
            return (
                f"Whether {without_credentials(self.url)} has it by now is not known: `release "
                "history` says so once it answers, and what it has is not made twice."
            )
        return None

    def author(self) -> str:
        """Who would make a commit here, as `Name <address>`. Raises InputError where git does not
        know."""
        try:
            told = git(self.folder, "var", "GIT_AUTHOR_IDENT").decode(errors="replace")
        except GitFailed as error:
            raise InputError(
                "Expected git to know who makes the commit, but it does not. Tell it with `git "
                "config user.name NAME` and `git config user.email ADDRESS`."
            ) from error
        return told.rpartition(">")[0] + ">"

    def _fetch(self, refspec: str, seconds: float) -> None:
        shallow = git(self.folder, "rev-parse", "--is-shallow-repository").strip() == b"true"
        # Ages and earlier releases are read from the history, which a shallow clone lacks.
        deep = ("--unshallow",) if shallow else ()
        git(
            *(self.folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
            *("--no-auto-maintenance", "--no-recurse-submodules", *deep, self.url, refspec),
            seconds=seconds,
        )

    def _not_fetched(self, error: GitFailed) -> InputError | ServiceError:
        if error.in_the_way:
            return InputError(
                f"Expected to fetch {self.shown}, but {error.in_the_way}, then run the same "
                "command again."
            )
        if "couldn't find remote ref" in error.said:
            return InputError(
                f"Expected a branch {self.branch!r} in {without_credentials(self.url)}, but there "
                "is none. Push it, or name the one that Fleet reads under `gitops` in "
                "release/rings.yaml."
            )
        if self._is_no_remote():
            return InputError(
                f"Expected the GitOps repository, got {without_credentials(self.url)!r}, which is "
                "neither a remote of this clone nor an address. Add it with `git remote add "
                "origin ADDRESS`, or name another under `gitops` in release/rings.yaml."
            )
        return ServiceError(
            f"Expected {self.shown} to answer, but git says: {error.sentence}. "
            "See that it is there and that you may read it, then run the same command again."
        )

    def _is_no_remote(self) -> bool:
        if any(mark in self.url for mark in (":", "/")):
            return False
        try:
            git(self.folder, "remote", "get-url", self.url)
        except GitFailed:
            return True
        return False


def _path(printed: bytes) -> str:
    return os.fsdecode(printed.removesuffix(b"\n"))


def open_gitops(workspace: Workspace) -> GitOps:
    """The GitOps repository that `release/rings.yaml` names.

    Raises InputError where the workspace is in no git repository, or the branch's name is none.
    """
    place = load_rings(workspace).gitops
    try:
        # One at a time: the name of a folder may hold line ends.
        top = _path(git(workspace.root, "rev-parse", "--show-toplevel"))
        prefix = _path(git(workspace.root, "rev-parse", "--show-prefix"))
    except GitFailed as error:
        if "not a git repository" not in error.said:
            raise
        raise InputError(
            f"Expected {workspace.root} in a git repository, since every move is a commit, but "
            "it is in none. Clone the repository with git and run the command there."
        ) from error
    try:
        git(workspace.root, "check-ref-format", f"refs/heads/{place.branch}")
    except GitFailed as error:
        raise InputError(
            f"Expected {workspace.relative(workspace.rings_file)} to name a branch under `gitops`, "
            f"got {place.branch!r}. Fix the name."
        ) from error
    # A repository of its own for Fleet has these folders at its root.
    own = not any(mark in place.url for mark in (":", "/"))
    return GitOps(
        folder=Path(top),
        url=place.url,
        branch=place.branch,
        prefix=prefix if own else "",
    )


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The branch at one commit; paths are those of a Jetrail repository."""

    gitops: GitOps
    commit: str

    @cached_property
    def _files(self) -> dict[str, File]:
        places = [f"{self.gitops.prefix}{place}" for place in ("release/", "engines/targets/")]
        listed = self._git("ls-tree", "-r", "-z", self.commit, "--", *places)
        files = {}
        for entry in listed.decode(errors="surrogateescape").split("\0")[:-1]:
            facts, _, path = entry.partition("\t")
            mode, _, blob = facts.split(" ")
            files[path.removeprefix(self.gitops.prefix)] = File(mode=mode, blob=blob)
        return files

    def file(self, path: str) -> File | None:
        """The entry of a file below `release/` or `engines/targets/`; None where there is none."""
        return self._files.get(path)

    def below(self, folder: str) -> dict[str, File]:
        """All files below a folder of `release/`, by path."""
        start = f"{folder.rstrip('/')}/"
        return {path: file for path, file in self._files.items() if path.startswith(start)}

    def read(self, path: str) -> bytes | None:
        """What a file below `release/` holds, or None where there is none."""
        file = self.file(path)
        return self.blobs([file.blob])[file.blob] if file else None

    def blobs(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of each blob, read in one go."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        asked = "".join(f"{name}\n" for name in wanted).encode()
        answer = self._git("cat-file", "--batch", content=asked)
        found, at = {}, 0
        for name in wanted:
            end = answer.index(b"\n", at)
            size = int(answer[at:end].rsplit(b" ", 1)[1])
            found[name] = answer[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found

    def export(self, folder: Path, *places: str) -> Workspace:
        """Lay the files at or below `places`, as `file` knows them, out under `folder`, as a
        workspace that all that reads files can read. Links and what would leave the folder are left
        out."""
        starts = tuple(f"{place.rstrip('/')}/" for place in places)
        chosen = {
            path: file.blob
            for path, file in self._files.items()
            if (path in places or path.startswith(starts)) and _is_plain(path, file)
        }
        contents = self.blobs(chosen.values())
        for path, blob in chosen.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents[blob])
        return Workspace(root=folder)

    def build(self, files: Mapping[str, bytes | None], message: str) -> str:
        """A commit on this one with other content in `files` (None: without it), and no other
        change. Signed where git is configured to. Raises InputError where git knows no author or
        cannot sign."""
        with temporary_folder() as folder:
            index = f"{folder}/index"
            self._git("read-tree", self.commit, index=index)
            entries = "".join(self._entry(path, content) for path, content in files.items())
            self._git("update-index", "-z", "--index-info", content=entries.encode(), index=index)
            tree = self._git("write-tree", index=index).decode().strip()
        signed = ["-S"] if self._signs() else []
        try:
            made = self._git(
                *("commit-tree", tree, "-p", self.commit, *signed, "-F", "-"),
                content=message.encode(),
            )
        except GitFailed as error:
            raise InputError(
                f"Expected git to make the commit, but it says: {error.sentence}. See `git "
                "config user.name`, `user.email` and the keys that it signs with, then run the "
                "same command again."
            ) from error
        return made.decode().strip()

    def contains(self, commit: str) -> bool:
        """Whether `commit` is the tip or lies behind it."""
        try:
            self._git("merge-base", "--is-ancestor", commit, self.commit)
        except GitFailed:
            return False
        return True

    def left_at(self, other: str = "HEAD") -> Snapshot | None:
        """The commit where the clone, or an `other` commit, left the branch; None where the two
        have none in common."""
        try:
            told = self._git("merge-base", other, self.commit)
        except GitFailed:
            return None
        return Snapshot(gitops=self.gitops, commit=told.decode().strip())

    def _entry(self, path: str, content: bytes | None) -> str:
        """A line for `git update-index --index-info`."""
        place = self.gitops.prefix + path
        if content is None:
            return f"0 {'0' * len(self.commit)}\t{place}\0"
        blob = self._git("hash-object", "-w", "--stdin", content=content).decode().strip()
        return f"100644 {blob}\t{place}\0"

    def _signs(self) -> bool:
        """`git commit` looks at commit.gpgSign by itself, `git commit-tree` does not."""
        try:
            asked = self._git("config", "--type=bool", "--default=false", "commit.gpgsign")
        except GitFailed:
            return True  # not a boolean: git says so when it is asked to sign
        return asked.strip() == b"true"

    def _git(self, *arguments: str, content: bytes = b"", index: str | None = None) -> bytes:
        return git(self.gitops.folder, *arguments, content=content, index=index)


def _why(error: GitFailed) -> str:
    """What a server says of a push that it refuses: its hook's words before git's own."""
    lines = [line.strip() for line in error.said.splitlines()]
    told = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    refused = [line for line in lines if line.startswith("! [")]
    words = [line for line in (*told, *refused) if line]
    return " ".join("; ".join(words or [error.sentence]).split())[:400].rstrip(".")


def _is_plain(path: str, file: File) -> bool:
    parts = PurePosixPath(path).parts
    return file.mode in {"100644", "100755"} and not {"..", ".git", "/"} & set(parts)
