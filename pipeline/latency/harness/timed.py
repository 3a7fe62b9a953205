"""The pod's detector, with the time of inference in each call."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from engines.detect.detector import Detector


class TimedDetector(Detector):
    """Times the engine within whole frames. Measured by itself, before or after them, it would meet
    another state of the machine, and could come out above the frame that it is a part of."""

    inference_seconds = 0.0
    """Of the last batch: from the filled buffer to the raw output."""

    def infer(self, *, slot: int = 0) -> NDArray[np.float32]:
        """As `Detector.infer`."""
        begun = time.perf_counter()
        raw = super().infer(slot=slot)
        self.inference_seconds = time.perf_counter() - begun
        return raw
