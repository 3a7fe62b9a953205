"""What the accuracy of an evaluation set is worth: of a small one, of one on which the checkpoint
itself is nearly always wrong, and of crowds for a pod."""

from __future__ import annotations

from collections.abc import Mapping

from engines.config.names import shown

ENOUGH_PICTURES = 100
ENOUGH_OBJECTS = 30

LEAST_REFERENCE = 0.05
"""mAP50-95 of a checkpoint below which its labels are doubted: trained networks have more."""


def crowded(objects: Mapping[str, int], max_detections: int) -> tuple[str, ...]:
    """A sentence where a picture has more objects than a pod reports, which mAP does not see;
    `objects` by picture."""
    name, most = max(objects.items(), key=lambda item: item[1])
    if most <= max_detections:
        return ()
    return (
        f"The picture {shown(name)} has {most} labelled objects, but a pod reports at most "
        f"{max_detections} in a frame. Raise `evaluate.max_detections` of the target.",
    )


def doubted(reference_map50_95: float) -> tuple[str, ...]:
    """A sentence where the checkpoint finds nearly nothing of what is labelled, as with columns of
    labels in another order: an engine can lose no more than that, and keeps each budget of it."""
    if reference_map50_95 >= LEAST_REFERENCE:
        return ()
    return (
        f"The checkpoint itself has a mAP50-95 of only {reference_map50_95:.3f} on the evaluation "
        "pictures, so an engine has hardly anything to lose, and the drop says nothing. See that "
        "their labels (`class cx cy w h`), the order of the classes and the size are those of its "
        "training.",
    )


def worth(pictures: int, objects: Mapping[str, int]) -> tuple[str, ...]:
    """Sentences on what the accuracy's interval is worth where the evaluation set is small.

    A share found of n objects is known to about 0.98 / sqrt(n) at 95 % (a binomial at one half);
    `objects` by class.
    """
    notes = []
    if pictures < ENOUGH_PICTURES:
        notes.append(
            f"Only {pictures} evaluation pictures (better {ENOUGH_PICTURES} or more): one picture "
            f"more or less moves the accuracy by up to {1 / max(pictures, 1):.3f}, and the "
            "interval of the drop is a rough one."
        )
    if none := [shown(name) for name, count in objects.items() if not count]:
        notes.append(f"No evaluation objects of {_first(none)}, which the accuracy leaves out.")
    few = {name: count for name, count in objects.items() if 0 < count < ENOUGH_OBJECTS}
    if few:
        least = min(few.values())
        named = _first([f"{shown(name)} ({count})" for name, count in few.items()])
        notes.append(
            f"Fewer than {ENOUGH_OBJECTS} evaluation objects of {named}: the share found of "
            f"{least} object(s) is known to about ±{0.98 / least**0.5:.2f} (95 %)."
        )
    return tuple(notes)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 5} more classes" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
