"""What all parts of the comparison share: where things are, how long to measure."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig
from engines.config.target import TargetConfig
from engines.config.workspace import Workspace
from pipeline.intake.dataset import load_set
from pipeline.latency.harness.frames import fill_frame

FRAMES = 8
"""Pictures that the camera frames are made from, as in `pipeline benchmark`."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure."""

    rounds: int
    """Turns of each side inside one process."""
    frames: int
    """Frames a turn; a multiple of FRAMES, so that each turn sees the same."""
    warmup: int
    process_rounds: int
    """Turns of each side where a turn is a process."""
    process_seconds: float
    """Length of a process that measures for a given time."""


FULL = Effort(rounds=11, frames=96, warmup=16, process_rounds=5, process_seconds=6)
QUICK = Effort(rounds=3, frames=16, warmup=8, process_rounds=2, process_seconds=2)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison."""

    workspace: Workspace
    target: TargetConfig
    model: ModelConfig
    effort: Effort
    scratch: Path
    """A folder that is gone afterwards."""
    environment: dict[str, str]
    """For other processes."""
    opencv_threads: int
    """OpenCV's own choice, which our detector runs with."""

    def engine(self, precision: str) -> Path:
        """Folder of the model's engine."""
        return self.workspace.engine(self.target.target, f"{self.model.name}-{precision}").path

    @property
    def weights(self) -> Path:
        return self.workspace.model(self.model.name) / self.model.weights.path

    def frames(self) -> list[NDArray[np.uint8]]:
        """Camera frames: pictures of the evaluation set, grown until they fill the frame."""
        folder = self.workspace.model(self.model.name) / self.model.data.evaluation
        samples = load_set(folder, "evaluation")[:FRAMES]
        return [fill_frame(one.read_image(), self.target.benchmark.frame_size) for one in samples]

    def copy_repository(self, folder: Path, *, outputs: bool) -> None:
        """Copy what the commands of one model need, so that the working tree stays as it is.

        `outputs`: with the outputs of the steps, too.
        """
        root = self.workspace.root
        without = None if outputs else shutil.ignore_patterns("out")
        parts = (self.workspace.model(self.model.name), self.workspace.target(self.target.target))
        for part in parts:
            shutil.copytree(part, folder / part.relative_to(root), ignore=without, symlinks=True)
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(root / name, folder / name)
