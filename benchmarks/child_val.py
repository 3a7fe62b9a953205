"""Run Ultralytics' `val` on one of its exports: REPORT MODEL DATA_YAML IOU HEIGHT WIDTH."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from peer import StandIn


class Watch:
    """Takes the time of the loop from Ultralytics' callbacks."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self.loop = self.matching = self.images = 0.0

    def start(self, validator: Any) -> None:
        """Before the first image is read. Counts what the loop does beside finding boxes, too."""
        self.images = len(validator.dataloader.dataset)
        update = validator.update_metrics

        def timed(*arguments: Any) -> None:
            started = time.perf_counter()
            update(*arguments)
            self.matching += time.perf_counter() - started

        validator.update_metrics = timed
        self._started = time.perf_counter()

    def batch_end(self, validator: Any) -> None:
        """After each image."""
        spent = time.perf_counter() - self._started
        self.loop = spent - self.matching - self._stand_in.seconds


def main(report: Path, model_file: Path, data: Path, iou: float, imgsz: tuple[int, int]) -> None:
    """Validate as `yolo val` does, without plots, then write the report."""
    from ultralytics.models import YOLO

    stand_in = StandIn()
    stand_in.install()
    watch = Watch(stand_in)
    model: Any = YOLO(model_file, task="detect")
    model.add_callback("on_val_start", watch.start)
    model.add_callback("on_val_batch_end", watch.batch_end)
    result = model.val(
        data=str(data),
        imgsz=max(imgsz),
        iou=iou,
        device="cpu",
        plots=False,
        project=str(data.parent),
    )
    said = {"loop_s": watch.loop, "nms_s": stand_in.seconds, "images": watch.images}
    report.write_text(json.dumps({**said, "map50_95": float(result.box.map)}))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        float(sys.argv[4]),
        (int(sys.argv[5]), int(sys.argv[6])),
    )
