"""What a data set holds, by content: figures of one set are not compared with those of another.

Names tell nothing of it: a picture that was turned, or a label that was put right, keeps its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.files import sha256_file
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import is_labelled


class ContentHashes(NamedTuple):
    """SHA-256 of a picture's file and of its label file; no label file is as an empty one."""

    picture: str
    labels: str


def contents(samples: Sequence[Sample]) -> dict[str, ContentHashes]:
    """Name of each picture to what it and its labels are."""
    return {
        sample.name: ContentHashes(
            picture=sample.sha256 or sha256_file(sample.image), labels=_labels(sample.label)
        )
        for sample in samples
    }


def _labels(path: Path) -> str:
    return sha256_file(path) if is_labelled(path) else hashlib.sha256().hexdigest()


def set_sha256(found: Mapping[str, ContentHashes]) -> str:
    """One number for all of a set: names, pictures and labels, whatever their order."""
    lines = (f"{name}\0{one.picture}\0{one.labels}\n" for name, one in sorted(found.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def changes(before: Mapping[str, ContentHashes], now: Mapping[str, ContentHashes]) -> str:
    """What was done to a set, in words with an example; empty where it is the same."""
    both = sorted(before.keys() & now.keys())
    kinds = {
        "changed": [name for name in both if before[name].picture != now[name].picture],
        "with other labels": [name for name in both if before[name].labels != now[name].labels],
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
    }
    return ", ".join(
        f"{len(names)} {kind} ({names[0]}{', …' if len(names) > 1 else ''})"
        for kind, names in kinds.items()
        if names
    )
