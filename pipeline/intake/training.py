"""What a checkpoint says of its training."""

from __future__ import annotations

from typing import Any


def trained_with(content: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the training; empty where it does not say."""
    arguments = content.get("train_args")
    arguments = vars(arguments) if hasattr(arguments, "__dict__") else arguments
    return arguments if isinstance(arguments, dict) else {}


def trained_imgsz(content: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width that it was trained at, in pixels; None where it does not say."""
    imgsz = trained_with(content).get("imgsz")
    sides = imgsz if isinstance(imgsz, list | tuple) else (imgsz, imgsz)
    if len(sides) != 2 or not all(type(side) is int and 0 < side < 1 << 16 for side in sides):
        return None
    return sides[0], sides[1]


def left_out(content: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes whose objects it passed over (`classes`)."""
    given = trained_with(content).get("classes")
    trained = given if isinstance(given, list | tuple) else [given]
    if not all(type(one) is int for one in trained):
        return ()
    return tuple(name for index, name in enumerate(names) if index not in trained)


def unfinished(content: dict[str, Any]) -> int | None:
    """Epochs that were done when it was saved. Only what was stripped at the end of a training has
    no epoch: None."""
    epoch = content.get("epoch")
    return epoch + 1 if type(epoch) is int and epoch >= 0 else None
