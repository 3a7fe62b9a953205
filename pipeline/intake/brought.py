"""The data that somebody brings for a model: checked against its checkpoint, divided, copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.intake.checkpoint import CheckpointFacts
from pipeline.intake.data_yaml import as_one_class, read_data_yaml
from pipeline.intake.sets import SetFacts, copy_set
from pipeline.intake.split import Split, split
from pipeline.intake.weights import check_data_names, check_one_class


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What went into a model's data sets."""

    split: Split
    facts: dict[str, SetFacts]
    """By purpose: calibration, tuning, evaluation."""
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    """Classes whose objects the checkpoint's training passed over."""


def read_split(
    path: Path,
    weights: Path,
    checkpoint: CheckpointFacts,
    *,
    single_class: bool,
    settled: bool = False,
) -> Split:
    """The three sets of a data.yaml; with `single_class` every object is of the checkpoint's one
    class. Raises InputError as `check_data_names`, where its classes are not those of `weights`."""
    data = read_data_yaml(path)
    if single_class:
        check_one_class(weights, checkpoint)
        data = as_one_class(data, checkpoint.classes)
    check_data_names(weights, path, data.names, checkpoint, settled=settled)
    return split(data)


def copy_sets(folder: Path, divided: Split, checkpoint: CheckpointFacts) -> Brought:
    """Copy the three sets into `folder`, one folder each. Raises InputError as `copy_set`."""
    facts = {
        purpose: copy_set(folder / purpose, samples, purpose, len(checkpoint.classes))
        for purpose, samples in divided.sets.items()
    }
    return Brought(
        split=divided, facts=facts, classes=checkpoint.classes, left_out=checkpoint.left_out
    )
