"""Reading a YAML file that people write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from engines.errors import InputError
from engines.records.record import explain

Config = TypeVar("Config", bound=BaseModel)


def parse_file(kind: type[Config], path: Path) -> Config:
    """The file as a `kind`. Raises InputError that names the file and the key."""
    try:
        return kind.model_validate(load_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}. Fix the file and run again.") from error


def load_yaml(path: Path) -> Any:
    """The content of a YAML file as plain values. Raises InputError when it does not parse."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        where = re.sub(r"\s+", " ", str(error))[:300]
        raise InputError(f"{path} is not YAML: {where}. Fix the file and run again.") from error


def known_names(folder: Path, file: str) -> str:
    """The folders below `folder` that hold `file`, for messages."""
    return ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{file}"))) or "(none yet)"
