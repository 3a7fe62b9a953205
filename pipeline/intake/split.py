"""Three disjoint sets out of the splits of a data.yaml, the same every time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.errors import InputError
from engines.files import sha256_file
from pipeline.intake.data_yaml import DataYaml
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import is_labelled
from pipeline.progress import track

CALIBRATION_IMAGES = 300
TUNING_IMAGES = 200


@dataclass(frozen=True, kw_only=True)
class Split:
    """The three sets, and where they come from."""

    sets: dict[str, list[Sample]]
    sources: dict[str, str]
    """The split of data.yaml that each set comes from."""
    copies: dict[str, int]
    """Pictures of each split left out because an equal picture is in it, or in the evaluation."""
    seen: dict[str, int]
    """Pictures of the tuning and the evaluation set that are in `train` too."""


def split(data: DataYaml) -> Split:
    """The sets `calibration`, `tuning` and `evaluation`, disjoint by content, the same every time.

    Evaluation is `test`, or else `val`. Calibration comes from `train`; tuning from `val` where
    evaluation is `test`, else from `train` too. Without `train`, both come from `val`; if that is
    the evaluation itself, it is dealt out 1 : 1 : 3.
    Raises InputError when a set would be empty, or two copies of a picture differ in their labels.
    """
    pictures = _by_content(data)
    held_out: Literal["test", "val"] = "test" if pictures["test"] else "val"
    evaluation = pictures[held_out]
    rest, calibrated = [*pictures["train"].items()], "train"
    tuning, tuned = ([*pictures["val"].items()], "val") if held_out == "test" else ([], "train")
    if not rest:
        rest, tuning, calibrated, tuned = tuning, [], "val", "val"
    if not rest:
        dealt = sorted(evaluation.items())
        count = len(dealt) // 5
        rest, tuning, evaluation = dealt[:count], dealt[count : 2 * count], dict(dealt[2 * count :])
        calibrated = tuned = held_out
    # Sorted by hash: a fixed draw that does not follow the order of the files.
    both = sum(content in evaluation for content, _ in rest)
    rest = sorted(one for one in rest if one[0] not in evaluation)
    tuning = sorted(one for one in tuning if one[0] not in evaluation)
    if not tuning:
        count = min(TUNING_IMAGES, len(rest) // 2)
        tuning, rest, tuned = rest[:count], rest[count:], calibrated
    taken = {content for content, _ in tuning[:TUNING_IMAGES]}
    calibration = [one for one in rest if one[0] not in taken]
    sets = {
        "calibration": [sample for _, sample in calibration[:CALIBRATION_IMAGES]],
        "tuning": [sample for _, sample in tuning[:TUNING_IMAGES]],
        "evaluation": list(evaluation.values()),
    }
    _check_filled(
        data,
        sets,
        f"{both} of {calibrated} are in {held_out} too" if both else "",
        "train" if calibrated == "train" else held_out,
    )
    held = {"evaluation": evaluation} | ({} if tuned == "train" else {"tuning": taken})
    return Split(
        sets=sets,
        sources={"calibration": calibrated, "tuning": tuned, "evaluation": held_out},
        copies={name: len(data.splits[name]) - len(pictures[name]) for name in pictures},
        seen={purpose: len(pictures["train"].keys() & one) for purpose, one in held.items()},
    )


_KNOWN = {
    "train": ": the accuracy is then that on pictures of the training, which no site sees",
    "test": "",
    "val": "",
}
"""What it costs to go without a split that has the pictures of another one."""


def _check_filled(data: DataYaml, sets: dict[str, list[Sample]], shared: str, doubled: str) -> None:
    for purpose, samples in sets.items():
        if not samples:
            counts = ", ".join(f"{name} {len(samples)}" for name, samples in data.splits.items())
            counts = f"{counts}; {shared}" if shared else counts
            raise InputError(
                f"{data.path}: expected enough different pictures for three disjoint sets, but "
                f"none are left for {purpose} (pictures: {counts}). "
                + (
                    f"Evaluate on other pictures, or take `{doubled}` out{_KNOWN[doubled]}."
                    if shared
                    else "Add `train` or more pictures."
                )
            )


def _by_content(data: DataYaml) -> dict[str, dict[str, Sample]]:
    """Each split's different pictures by sha256; of several copies, one that has a label file."""
    hashed = {name: _hashed(name, samples) for name, samples in data.splits.items()}
    labelled = _labelled((one for rows in hashed.values() for one in rows), len(data.names))
    return {
        name: {content: labelled.get(content, sample) for content, sample in rows}
        for name, rows in hashed.items()
    }


def _hashed(name: str, samples: Sequence[Sample]) -> list[tuple[str, Sample]]:
    """Each sample with its picture's sha256; of large sets that takes minutes, so it is said."""
    told = track(samples, f"look for copies in {name}") if samples else samples
    return [(sha256_file(sample.image), sample) for sample in told]


def _labelled(rows: Iterable[tuple[str, Sample]], classes: int) -> dict[str, Sample]:
    """A sample with a label file for each picture that has one."""
    chosen: dict[str, Sample] = {}
    for content, sample in rows:
        if not is_labelled(sample.label):
            continue
        first = chosen.setdefault(content, sample)
        if first.label == sample.label:
            continue
        if first.read_labels(classes).content() != sample.read_labels(classes).content():
            raise InputError(
                f"Expected copies of a picture with the same labels, but {first.image} and "
                f"{sample.image} are one picture, and {first.label} and {sample.label} differ. "
                "Remove the wrong one."
            )
    return chosen
