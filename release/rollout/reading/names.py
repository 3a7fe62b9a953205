"""The name that Fleet makes of a folder (`internal/names/name.go`)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_DISALLOWED = re.compile(r"[^a-zA-Z0-9-]+")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

MAX_NAME = 53
"""Characters of a Helm release's name, and so of a bundle's."""


def bundle_name(repo: str, folder: Path) -> str:
    """The name that Fleet gives a folder of a GitRepo, and its Helm release where none is said."""
    path = f"{repo}/{folder.as_posix()}" if folder.as_posix() != "." else repo
    text = path.replace("/", "-")
    if text != text.lower() or _DISALLOWED.search(text):
        text = f"{text}-{_hex(text, 8)}"
    text = re.sub("-+", "-", _DISALLOWED.sub("-", text.lower())).strip("-")
    if not _LABEL.fullmatch(text):
        return _hex(path, 24)
    if len(text) <= MAX_NAME:
        return text
    cut = text[: MAX_NAME - 6]
    return f"{cut}{'' if cut.endswith('-') else '-'}{_hex(text, 5)}"


def _hex(text: str, length: int) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:length]
