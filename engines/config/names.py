"""The grammar of the names and versions that people give, which become tags, labels and folders."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
"""Names of models and targets: they become image tags, Kubernetes labels, folder names, and keys of
DVC's params, where a dot would part them."""

VERSION_PATTERN = r"^[0-9]{1,14}(\.[0-9]{1,14}){0,2}$"
"""Of a model: one to three numbers, each long enough for a date with its time. With the longest of
names, too, a release's tag is within the 128 characters that registries take."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]


def shown(name: str, most: int = 40) -> str:
    """A class's name, which may be anything, for people: one line of at most `most` characters
    without control characters."""
    text = " ".join("".join(one if one.isprintable() else " " for one in name).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
