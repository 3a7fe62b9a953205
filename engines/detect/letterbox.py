"""A camera frame into the network's input: resized with its aspect ratio kept, centred, padded.

The same pixels as `ultralytics.data.augment.LetterBox`, written straight into the session's input
buffer, and the way back from input pixels to frame pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FILL = 114
"""Grey of the padding, which YOLOv8 was trained with."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a frame lies in the network's input."""

    left: int
    top: int
    """Padding before the frame, in input pixels."""
    width: int
    height: int
    """Size of the resized frame, in input pixels."""
    frame_width: int
    frame_height: int

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes x1, y1, x2, y2 in input pixels, shape (n, 4), as ones in frame pixels, clipped."""
        before, scales, frame = self._by_side
        moved = (boxes - before) / scales
        return np.asarray(moved.clip(0, frame), dtype=np.float32)

    @cached_property
    def _by_side(self) -> NDArray[np.float32]:
        """Padding before, scale and size of the frame, each for x1, y1, x2, y2; shape (3, 4)."""
        # Each side is rounded to whole pixels, so the two scales differ a little.
        across = (self.left, self.width / self.frame_width, self.frame_width)
        down = (self.top, self.height / self.frame_height, self.frame_height)
        return np.ascontiguousarray(np.array([across, down] * 2, np.float32).T)


def place(frame_size: tuple[int, int], imgsz: tuple[int, int]) -> Placement:
    """Where a frame of `frame_size` lies in an input of `imgsz`, both (height, width) in pixels.

    The rounding is that of Ultralytics: the odd pixel of padding goes below and to the right.
    """
    frame_height, frame_width = frame_size
    scale = min(imgsz[0] / frame_height, imgsz[1] / frame_width)
    height, width = max(round(frame_height * scale), 1), max(round(frame_width * scale), 1)
    return Placement(
        left=round((imgsz[1] - width) / 2 - 0.1),
        top=round((imgsz[0] - height) / 2 - 0.1),
        width=width,
        height=height,
        frame_width=frame_width,
        frame_height=frame_height,
    )


def letterbox(
    frame: NDArray[np.uint8],
    imgsz: tuple[int, int],
    out: NDArray[np.uint8],
    *,
    painted: Placement | None = None,
) -> Placement:
    """Write `frame` (uint8 BGR, height x width x 3) into `out` (uint8, imgsz x 3).

    `imgsz` is (height, width). `painted` is what the last call on the same `out` returned: for a
    frame of the same size the padding still stands and is not painted again.
    """
    import cv2

    height, width = frame.shape[:2]
    if painted is None or (painted.frame_height, painted.frame_width) != (height, width):
        placement = place((height, width), imgsz)
        _paint_padding(out, placement)
    else:
        placement = painted
    target = _inside(out, placement)
    if (height, width) == target.shape[:2]:
        np.copyto(target, frame)
    else:
        size = (placement.width, placement.height)
        cv2.resize(frame, size, dst=target, interpolation=cv2.INTER_LINEAR)
    return placement


def _inside(out: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    rows = slice(placement.top, placement.top + placement.height)
    return out[rows, placement.left : placement.left + placement.width]


def _paint_padding(out: NDArray[np.uint8], placement: Placement) -> None:
    out[: placement.top] = FILL
    out[placement.top + placement.height :] = FILL
    out[:, : placement.left] = FILL
    out[:, placement.left + placement.width :] = FILL
