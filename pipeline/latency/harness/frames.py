"""The camera frames that are measured with."""

from __future__ import annotations

import cv2
import numpy as np

from engines.detect.detector import Frame
from pipeline.intake.dataset import Sample
from pipeline.latency.harness.plan import BenchmarkPlan


def camera_frames(plan: BenchmarkPlan) -> list[Frame]:
    """Pictures of the evaluation set, grown until they fill the plan's frame: uint8 BGR each."""
    samples = (Sample(image=path, label=path) for path in plan.frames)
    return [fill_frame(one.read_image(), plan.frame_size) for one in samples]


def fill_frame(picture: Frame, size: tuple[int, int]) -> Frame:
    """The middle of the picture, grown to `size` (height, width)."""
    height, width = size
    scale = max(height / picture.shape[0], width / picture.shape[1])
    grown = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    top, left = (grown.shape[0] - height) // 2, (grown.shape[1] - width) // 2
    return np.ascontiguousarray(grown[top : top + height, left : left + width])
