"""`release/bases.yaml`: runtime images below engines, and which one a target's images stand on."""

from __future__ import annotations

import io
from typing import Annotated, Literal

from pydantic import Field, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter
from typing_extensions import Self

from engines.config.names import Name, meant
from engines.config.target import target_names
from engines.config.workspace import Workspace
from engines.config.yaml import parse_file
from engines.errors import InputError
from engines.files import write_kept
from engines.records.record import Part
from release.packed import ImageDigest

NONE = "none"


class BaseRow(Part):
    """One runtime image."""

    platform: Literal["linux/amd64", "linux/arm64"]
    from_: str = Field(alias="from")
    """The image that it is built on."""
    python: Annotated[str, Field(pattern=r"^3\.\d+$")]
    """The Python of that image."""
    repository: Annotated[str, Field(min_length=1)]
    """Where it is pushed to, and taken from where it was not built."""
    digest: ImageDigest | None
    """Of the last build; None before the first."""


class Bases(Part):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    bases: dict[Name, BaseRow]
    targets: dict[Name, str]
    """Target to the name of a base, or `none`."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for target, base in self.targets.items():
            if base != NONE and base not in self.bases:
                raise ValueError(
                    f"targets.{target}: expected none or one of {', '.join(self.bases)}, got "
                    f"{base!r}"
                )
        return self

    def row(self, name: str) -> BaseRow:
        """Raises InputError for a base that there is not."""
        if name not in self.bases:
            raise InputError(
                f"Expected one of the bases of release/bases.yaml ({', '.join(self.bases)}), got "
                f"{name!r}."
            )
        return self.bases[name]


def load_bases(workspace: Workspace) -> Bases:
    """The file; where there is none, no target has a base. Raises InputError, also for a slip in
    the name of a target."""
    if not workspace.bases_file.is_file():
        return Bases(schema=1, bases={}, targets={})
    found, there = parse_file(Bases, workspace.bases_file), target_names(workspace)
    for target in found.targets.keys() - there:
        if near := meant(target, set(there) - found.targets.keys()):
            raise InputError(
                f"Expected targets of this repository under `targets` in {workspace.bases_file}, "
                f"got {target!r}{near}. Fix the file and run again: what is not named has no base."
            )
    return found


def base_name(workspace: Workspace, target: str) -> str | None:
    """The base of a target's images; None where they hold the engine only."""
    name = load_bases(workspace).targets.get(target, NONE)
    return None if name == NONE else name


class _Nulls(RoundTripRepresenter):
    """Writes `null`, as people do, and not nothing."""


_Nulls.add_representer(
    type(None), lambda one, _: one.represent_scalar("tag:yaml.org,2002:null", "null")
)


def write_digest(workspace: Workspace, name: str, digest: str) -> None:
    """Put what was built into the file, which stays as people wrote it otherwise."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.Representer = _Nulls
    content = yaml.load(workspace.bases_file)
    if content["bases"][name]["digest"] == digest:
        return
    content["bases"][name]["digest"] = digest
    text = io.StringIO()
    yaml.dump(content, text)
    ends = "\r\n" if b"\r\n" in workspace.bases_file.read_bytes() else "\n"
    write_kept(workspace.bases_file, text.getvalue().replace("\n", ends).encode("utf-8"))


def layout_name(name: str) -> str:
    """What the base is called in release/images/."""
    return f"base-{name}"
