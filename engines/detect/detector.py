"""Camera frame in, boxes out: what benchmark, evaluate and the pod all run."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.backends import Session
from engines.backends.loading import load_engine
from engines.detect.decode import decode
from engines.detect.detections import Detections
from engines.detect.letterbox import Placement, letterbox
from engines.errors import InputError
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.thresholds import Thresholds

Frame = NDArray[np.uint8]
"""A picture: uint8 BGR, shape (height, width, 3)."""


class Detector:
    """An engine with its pre- and post-processing. Not safe for use by several threads at once."""

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        *,
        thresholds: Thresholds | None = None,
        multi_label: bool = False,
    ) -> None:
        """`thresholds` stand in for the manifest's; `multi_label` counts an anchor once for each
        class, as mAP is measured."""
        self.manifest = manifest
        self._session = session
        self._thresholds = thresholds or manifest.thresholds
        self._confidences = self._thresholds.confidences(manifest.classes)
        self._multi_label = multi_label
        self._painted: dict[tuple[int, int], Placement] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        device: Fingerprint,
        *,
        in_flight: int = 1,
        thresholds: Thresholds | None = None,
        multi_label: bool = False,
    ) -> Self:
        """Check and load the engine in `folder`; the rest is as for the constructor.

        Raises WrongEngine when the engine may not run here.
        """
        manifest, session = load_engine(folder, device, in_flight=in_flight)
        return cls(session, manifest, thresholds=thresholds, multi_label=multi_label)

    @property
    def slots(self) -> int:
        """Frames that can be in flight."""
        return self._session.slots

    @property
    def waits(self) -> str | None:
        """How a thread waits for the GPU; None where the engine does not run on one."""
        return self._session.waits

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Boxes in each frame, in frame pixels; more frames than the engine's largest batch go in
        several batches. Raises InputError for a frame that is not uint8 height x width x 3."""
        for frame in frames:
            check_frame(frame)
        limit = self.manifest.batch.max
        found: list[Detections] = []
        for start in range(0, len(frames), limit):
            placements = self.fill(frames[start : start + limit])
            raw = self.infer()
            found += [self._decode(*pair) for pair in zip(raw, placements, strict=True)]
        return found

    def stream(self, frames: Iterable[Frame]) -> Generator[Detections, None, None]:
        """Boxes frame by frame, in order, with as many frames in flight as the session has slots.

        Raises InputError for a frame that is not uint8 height x width x 3.
        """
        pending: deque[tuple[int, Placement]] = deque()
        slots = cycle(range(self.slots))
        try:
            for frame in frames:
                check_frame(frame)
                done = self._finish(*pending.popleft()) if len(pending) == self.slots else None
                slot = next(slots)
                placement = self.fill([frame], slot=slot)[0]
                self._session.start(slot)
                pending.append((slot, placement))
                if done is not None:
                    yield done
            while pending:
                yield self._finish(*pending.popleft())
        finally:
            for slot, _ in pending:
                self._session.wait(slot)

    def fill(self, frames: Sequence[Frame], *, slot: int = 0) -> list[Placement]:
        """Letterbox the frames, at most the engine's largest batch, into the slot's buffer."""
        buffer = self._session.input(slot, len(frames))
        return [
            self._letterbox(frame, buffer[row], (slot, row)) for row, frame in enumerate(frames)
        ]

    def infer(self, *, slot: int = 0) -> NDArray[np.float32]:
        """Run the engine alone on what the slot's buffer holds.

        Returns the raw head output, shape (batch, 4 + classes, anchors), valid until the next run.
        """
        self._session.start(slot)
        return self._session.wait(slot)

    def gpu_times_ms(self, rounds: int) -> NDArray[np.float64] | None:
        """Times that the GPU alone took for the one frame that was filled in, in milliseconds,
        shape (rounds,); None where the engine does not run on a GPU."""
        return self._session.gpu_times_ms(1, rounds)

    def close(self) -> None:
        """Free the engine."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _letterbox(self, frame: Frame, out: Frame, row: tuple[int, int]) -> Placement:
        placement = letterbox(frame, self.manifest.imgsz, out, painted=self._painted.get(row))
        self._painted[row] = placement
        return placement

    def _finish(self, slot: int, placement: Placement) -> Detections:
        return self._decode(self._session.wait(slot)[0], placement)

    def _decode(self, raw: NDArray[np.float32], placement: Placement) -> Detections:
        return decode(
            raw,
            placement,
            confidence=self._confidences,
            iou=self._thresholds.iou,
            max_detections=self._thresholds.max_detections,
            multi_label=self._multi_label,
        )


def check_frame(frame: Any) -> None:
    """Raise InputError unless `frame` is an array of uint8 with the shape (height, width, 3)."""
    if not isinstance(frame, np.ndarray):
        got = type(frame).__name__
    elif frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        got = f"{frame.dtype} of shape {frame.shape}"
    else:
        return
    raise InputError(
        f"Expected a frame as uint8 BGR of shape (height, width, 3), got {got}. "
        "Convert it first, for example with cv2.cvtColor."
    )
