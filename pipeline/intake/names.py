"""The rule for names that users give to models and targets."""

from __future__ import annotations

import re

from engines.config.names import NAME_PATTERN
from engines.errors import InputError


def check_new_name(name: str, taken: bool, kind: str) -> None:
    """Raise InputError unless `name` can be part of a tag and a label, and is not taken."""
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 40:
        raise InputError(
            f"Expected a {kind} name of at most 40 lower-case letters, digits and dashes, "
            f"since it becomes part of image tags and labels; came {name!r}."
        )
    if taken:
        raise InputError(f"Expected a new {kind}, but {name} is there already. Take another name.")
