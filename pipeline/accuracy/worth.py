"""What the accuracy of an evaluation set is worth: of a small one, and of crowds for a pod."""

from __future__ import annotations

from collections.abc import Mapping

from engines.config.names import shown

ENOUGH_PICTURES = 100
ENOUGH_OBJECTS = 30


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
    few = {name: count for name, count in objects.items() if count < ENOUGH_OBJECTS}
    if few:
        first = ", ".join(f"{shown(name)} ({count})" for name, count in list(few.items())[:5])
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        least = max(1, min(few.values()))
        notes.append(
            f"Fewer than {ENOUGH_OBJECTS} evaluation objects of {first}{more}: the share found of "
            f"{least} object(s) is known to about ±{min(1.0, 0.98 / least**0.5):.2f} (95 %)."
        )
    return tuple(notes)
