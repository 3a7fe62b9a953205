"""A move: what is changed, on what it rests, and the message of its commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from release.gitops.branch import Snapshot

SOURCE = "Source"
"""The commit of the clone that handed a release over to a repository of Fleet's own."""
TRAILERS = ("Release", "From", "To", "Replaces", SOURCE, "Evidence", "Override", "Why")
"""In the order in which a commit has them."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One commit to be made."""

    subject: str
    body: str
    trailers: tuple[tuple[str, str], ...]
    files: Mapping[str, bytes | None]
    """What it writes: path to content; None removes the file."""
    rests_on: Mapping[str, str | None]
    """Path to the blob that it has: where another one is there by now, the move is off."""

    @property
    def message(self) -> str:
        """The commit's message."""
        lines = [f"{key}: {one_line(value)}" for key, value in self.trailers]
        parts = [self.subject, self.body, "\n".join(lines)]
        return "\n\n".join(part for part in parts if part) + "\n"


def resting_on(snapshot: Snapshot, *paths: str) -> dict[str, str | None]:
    """What each of the files is now, for `Move.rests_on`."""
    files = {path: snapshot.file(path) for path in paths}
    return {path: file.blob if file else None for path, file in files.items()}


def one_line(text: str) -> str:
    """`text` on one line: a trailer ends where its line does, so nobody writes another into one."""
    return " ".join(text.split())
