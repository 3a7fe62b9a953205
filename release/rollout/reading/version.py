"""What a version of Fleet knows and does, where versions differ; read from its tags.

    since    what
    0.12     templateValues
    0.13     partitions see clusters that are in no cluster group
    0.14     downstreamResources
    0.15     Helm 4; autoPartitionThreshold; acceptedStates; imageScans refused unless switched on;
             a change of `diff` by itself is no new deployment
    0.16     targetCustomizationMode, maxNew; valuesFrom and comparePatches merged by key;
             downstreamResources merged; correctDrift is no new deployment; `helm.repo: oci://`
             without `chart`; a link out of a folder fails
    0.16.1   createNamespace

https://github.com/rancher/fleet, `internal/cmd/controller`, `internal/bundlereader` and `pkg/apis`
of v0.12.0 to v0.16.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.errors import InputError

OLDEST = (0, 12, 0)
NEWEST = (0, 16, 1)


@dataclass(frozen=True, order=True)
class FleetVersion:
    """A version of Fleet, as far as it matters here."""

    parts: tuple[int, int, int] = NEWEST

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))

    def at_least(self, *parts: int) -> bool:
        """Whether it is `parts` or later."""
        return self.parts >= (*parts, 0, 0, 0)[:3]

    @property
    def helm4(self) -> bool:
        """Fleet looks for the texts of Helm 3's errors, which Helm 4 does not say."""
        return self.at_least(0, 15)


def parse_version(text: str | None) -> FleetVersion:
    """`0.15`, `v0.16.1` or, for None, the newest that was read.

    A version that is newer than the newest one read is taken to be like that one. Raises InputError
    for another spelling or a version before 0.12.
    """
    if text is None:
        return FleetVersion()
    match = re.fullmatch(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[-+].*)?", text.strip())
    version = tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if match and match[3] is None:
        version = _latest_patch(version[0], version[1])
    if version < OLDEST:
        raise InputError(
            f"Expected a version of Fleet from 0.12 on, for example 0.15 or 0.16.1; got {text!r}. "
            "`kubectl get -n cattle-fleet-system deploy fleet-controller -o wide` shows yours."
        )
    return FleetVersion((version[0], version[1], version[2]))


def _latest_patch(major: int, minor: int) -> tuple[int, int, int]:
    """`0.16` means the newest 0.16."""
    return NEWEST if (major, minor) == NEWEST[:2] else (major, minor, 0)
