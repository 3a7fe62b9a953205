"""`release/rings.yaml`: the rings that a release goes through, in order.

Here, and not in `release`, since `pipeline add-model` and `add-target` lay out a folder for each.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from engines.config.names import Name
from engines.config.workspace import Workspace
from engines.config.yaml import parse_file
from engines.errors import InputError
from engines.records.record import Part


class Ring(Part):
    """Clusters that get a release at the same time: those with the label `ring: <name>`."""

    name: Name


class Rings(Part):
    """`rings.yaml`."""

    schema_: Literal[1] = Field(alias="schema")
    rings: Annotated[tuple[Ring, ...], Field(min_length=1)]
    """In order: publishing writes the first, and a promotion goes from one to the next."""

    @field_validator("rings")
    @classmethod
    def _different(cls, value: tuple[Ring, ...]) -> tuple[Ring, ...]:
        names = [ring.name for ring in value]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"expected different names, but ring {index} is {name!r} again")
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(ring.name for ring in self.rings)


def load_rings(workspace: Workspace) -> Rings:
    """Read release/rings.yaml. Raises InputError."""
    path = workspace.rings_file
    if not path.is_file():
        raise InputError(
            f"Expected {path} with the rings in order, but it is not there. Bring it back with "
            f"`git checkout -- {workspace.relative(path)}`."
        )
    return parse_file(Rings, path)
