"""The operating point: what of an engine's raw output is a detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from engines.records.record import Part

Share = Annotated[float, Field(ge=0, le=1)]


class Thresholds(Part):
    """In a target's row for all of its engines, and from there in each manifest."""

    confidence: Share
    """What a pod reports, and where the confidence shift is taken."""
    iou: Share
    """Two boxes of one class that overlap more are one object."""
    max_detections: int = Field(ge=1)
    """In one frame, the most confident first."""
    per_class: dict[str, Share] = Field(default_factory=dict)
    """Class name to the confidence that stands in for `confidence` for it."""

    def confidences(self, classes: Sequence[str]) -> float | NDArray[np.float32]:
        """The confidence that all classes share, or that of each, shape (classes,)."""
        if not self.per_class:
            return self.confidence
        values = [self.per_class.get(name, self.confidence) for name in classes]
        return np.array(values, np.float32)
