"""`release/rings.yaml`: the rings that a release goes through, in order, and what each asks.

Here, and not in `release`, since `pipeline add-model` and `add-target` lay out a folder for each.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator

from engines.config.names import Name, meant
from engines.config.workspace import Workspace
from engines.config.yaml import parse_bytes, parse_file
from engines.errors import InputError
from engines.records.record import Part

Named = TypeVar("Named")


class GitOpsPlace(Part):
    """`gitops:`: the branch that Fleet reads; every move is a commit on it."""

    url: str = Field(default="origin", min_length=1, pattern=r"^[^-\s]\S*$")
    """Name of a remote of this clone, or an address: of this repository, or of one of Fleet's own
    that has the same folder `release/fleet`."""
    branch: str = Field(default="main", min_length=1, pattern=r"^[^-\s]\S*$")


class AgeRule(Part):
    """The release is in the ring below for so long."""

    rule: Literal["age"]
    hours: float = Field(gt=0, le=10_000)


class ReadyRule(Part):
    """A report says that clusters of the ring below run the release and are ready."""

    rule: Literal["ready"]
    clusters: int = Field(ge=1)
    """At least so many."""
    report_minutes: float = Field(default=60, gt=0)
    """The report is not older."""


class VerdictRule(Part):
    """The verdict is PASS, on the device, JetPack and backend that the ring's clusters have."""

    rule: Literal["verdict"]


class SignatureRule(Part):
    """The release has a statement over its files that a key in release/trust/keys signed."""

    rule: Literal["signature"]


class ImageRule(Part):
    """The registry that the ring's clusters pull from has the image under the digest that will be
    written."""

    rule: Literal["image"]


class LintRule(Part):
    """`release lint` finds no error in the ring's folder, with the release in it."""

    rule: Literal["lint"]


class WhoRule(Part):
    """Only these may: e-mail addresses of git's author, or names of GitLab users."""

    rule: Literal["who"]
    people: Annotated[tuple[str, ...], Field(min_length=1)]


Rule = Annotated[
    AgeRule | ImageRule | LintRule | ReadyRule | SignatureRule | VerdictRule | WhoRule,
    Field(discriminator="rule"),
]


class Watch(Part):
    """When `release watch` rolls the ring back: a release that stays not ready, or of which pods
    tell another version, at so many clusters."""

    clusters: int = Field(default=1, ge=1)
    minutes: float = Field(default=30, gt=0)
    """So long without a break."""
    hours: float = Field(default=72, gt=0)
    """Only so long after the ring got the release: what fails a month later is not its doing."""
    report_minutes: float = Field(default=15, gt=0)
    """An older report is no ground for anything."""


class Ring(Part):
    """Clusters that get a release at the same time: those with the label `ring: <name>`."""

    name: Name
    rules: tuple[Rule, ...] = ()
    """What a promotion to this ring asks. That the release is not quarantined is always asked."""
    watch: Watch | None = None
    """None: `release watch` leaves the ring alone."""

    @field_validator("rules")
    @classmethod
    def _different(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return _once(value, [one.rule for one in value], "rule")


class Rings(Part):
    """`rings.yaml`."""

    schema_: Literal[1] = Field(alias="schema")
    gitops: GitOpsPlace = GitOpsPlace()
    rings: Annotated[tuple[Ring, ...], Field(min_length=1)]
    """In order: publishing writes the first, and a promotion goes from one to the next."""

    @field_validator("rings")
    @classmethod
    def _different(cls, value: tuple[Ring, ...]) -> tuple[Ring, ...]:
        return _once(value, [ring.name for ring in value], "ring")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(ring.name for ring in self.rings)

    def ring(self, name: str) -> Ring:
        """The ring of that name. Raises InputError where there is none."""
        for ring in self.rings:
            if ring.name == name:
                return ring
        raise InputError(
            f"Expected one of the rings {', '.join(self.names)} of release/rings.yaml; "
            f"got {name!r}{meant(name, self.names)}."
        )

    def below(self, name: str) -> Ring | None:
        """The ring that a release is in before it goes to `name`; none before the first."""
        at = self.names.index(self.ring(name).name)
        return self.rings[at - 1] if at else None


def _once(value: tuple[Named, ...], names: list[str], what: str) -> tuple[Named, ...]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"expected different names, but {what} {index} is {name!r} again")
    return value


def load_rings(workspace: Workspace) -> Rings:
    """Read release/rings.yaml. Raises InputError."""
    path = workspace.rings_file
    if not path.is_file():
        raise InputError(
            f"Expected {path} with the rings in order, but it is not there. Bring it back with "
            f"`git checkout -- {workspace.relative(path)}`."
        )
    return parse_file(Rings, path)


def parse_rings(content: bytes, name: str) -> Rings:
    """As `load_rings`, of what a file called `name` holds."""
    return parse_bytes(Rings, content, name)
