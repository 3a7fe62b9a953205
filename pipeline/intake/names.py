"""The rule for names that users give to models and targets."""

from __future__ import annotations

import re
import warnings
from typing import Any

from ruamel.yaml import YAML

from engines.config.names import LONGEST_NAME, NAME_PATTERN, VERSION_PATTERN
from engines.errors import InputError

SITES = "sites"
"""The one folder of release/fleet that is no model's."""


def check_new_name(name: str, taken: bool, kind: str) -> None:
    """Raise InputError unless `name` can be part of a tag and a label, and is not taken."""
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > LONGEST_NAME:
        raise InputError(
            f"Expected a {kind} name of at most {LONGEST_NAME} lower-case letters, digits and "
            f"dashes, since it becomes part of image tags and labels; got {name!r}, of {len(name)}."
        )
    if any(not isinstance(_as_yaml(name, version), str) for version in ((1, 1), (1, 2))):
        raise InputError(
            f"Expected a {kind} name that YAML reads as text, got {name!r}, which it reads as a "
            f"number, date or truth value in params.yaml. Begin it with a word, as {kind}-{name}."
        )
    if (kind, name) == ("model", SITES):
        raise InputError(
            f"Expected another name for a model than {name!r}: release/fleet/{name} holds the "
            "folders of sites. Take another name."
        )
    if taken:
        new = (
            f", or give that one new weights, or engines for another target (--target): `pipeline "
            f"update-model {name}`"
        )
        raise InputError(
            f"Expected a new {kind}, but {name} is there already. Take another name"
            f"{new if kind == 'model' else ''}."
        )


def check_version(version: str) -> None:
    """Raise InputError unless `version` can be a model's."""
    if not re.fullmatch(VERSION_PATTERN, version):
        raise InputError(
            "Expected --version as `1`, `1.2` or `1.2.3`, in numbers of at most 14 digits, got "
            f"{version!r}."
        )


def _as_yaml(name: str, version: tuple[int, int]) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of floats that the two versions see differently
        return yaml.load(name)
