"""Print the p50 of inference alone in milliseconds: ENGINE_FOLDER FRAME_NPY SECONDS."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from engines.detect.detector import Detector
from engines.machine.fingerprint import read_fingerprint


def main(folder: Path, frame: Path, seconds: float) -> None:
    """As `pipeline benchmark` measures it: the buffer is filled once, then single runs."""
    with Detector.open(folder, read_fingerprint()) as detector:
        detector.fill([np.load(frame)])
        detector.infer()
        times = []
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            detector.infer()
            times.append(time.perf_counter() - started)
    print(float(np.median(times)) * 1e3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
