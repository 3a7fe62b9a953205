"""Measure a checkpoint on a set of YOLO-labelled pictures with COCO's mAP, without torchvision.

Run by hand::

    python models/meter-yolov8n/evaluate.py models/meter-yolov8n/weights.pt
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor, nn

FOLDER = Path(__file__).parent
MIN_CONFIDENCE, NMS_IOU, MAX_DETECTIONS = 0.001, 0.7, 300
_METRICS = {"mAP50-95": 0, "mAP50": 1, "mAP75": 2, "small": 3, "medium": 4, "large": 5}


def evaluate(model: nn.Module, data: Path, *, batch: int = 16) -> dict[str, float]:
    """Return COCO metrics of a float32 model on `data`/{images,labels}, pictures as they are.

    Sizes are COCO's: small is under 32x32 pixels, large is over 96x96. A digit counts whole.
    """
    paths = sorted((data / "images").glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no pictures in {data / 'images'}; run make_data.py first")
    detections: list[dict[str, Any]] = []
    model.eval()
    for first in range(0, len(paths), batch):
        outputs = _predict(model, paths[first : first + batch])
        for offset, output in enumerate(outputs):
            detections += _as_coco(suppress(output), first + offset)
    return _score(_ground_truth(paths), detections)


def suppress(output: Tensor) -> NDArray[np.float32]:
    """Return (n, 6) rows x1, y1, x2, y2, score, class of one image after class-aware NMS.

    `output` is YOLOv8's decoded head output (4 + classes, anchors), boxes as cx, cy, w, h. A box
    counts once for each class whose score is above `MIN_CONFIDENCE`.
    """
    raw = output.float().cpu().numpy().T
    rows, classes = np.nonzero(raw[:, 4:] > MIN_CONFIDENCE)
    scores = raw[rows, 4 + classes]
    order = np.argsort(-scores, kind="stable")[:30000]
    rows, classes, scores = rows[order], classes[order], scores[order]
    centre, size = raw[rows, :2], raw[rows, 2:4]
    boxes = np.hstack([centre - size / 2, centre + size / 2])
    keep = _nms(boxes + classes[:, None] * 4096.0)
    return np.column_stack([boxes[keep], scores[keep], classes[keep]]).astype(np.float32)


def _nms(boxes: NDArray[np.float32]) -> list[int]:
    """Return the indices that survive; `boxes` are x1, y1, x2, y2, best first."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left = np.arange(len(boxes))
    keep: list[int] = []
    while left.size and len(keep) < MAX_DETECTIONS:
        best, rest = left[0], left[1:]
        keep.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        left = rest[shared <= NMS_IOU * (area[best] + area[rest] - shared)]
    return keep


@torch.inference_mode()
def _predict(model: nn.Module, paths: list[Path]) -> Iterator[Tensor]:
    images = np.stack([_read(path)[..., ::-1] for path in paths])
    tensor = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255
    output = model(tensor)
    yield from output[0] if isinstance(output, (tuple, list)) else output


def _read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not a picture that OpenCV reads; run make_data.py again")
    return image.astype(np.uint8)


def _as_coco(rows: NDArray[np.float32], image_id: int) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image_id,
            "category_id": int(cls),
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(score),
        }
        for x1, y1, x2, y2, score, cls in rows
    ]


def _ground_truth(paths: list[Path]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, path in enumerate(paths):
        height, width = _read(path).shape[:2]
        images.append({"id": image_id, "width": width, "height": height, "file_name": path.name})
        for line in (path.parent.parent / "labels" / f"{path.stem}.txt").read_text().splitlines():
            cls, cx, cy, w, h = (float(field) for field in line.split())
            box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(cls),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": cls, "name": str(cls)} for cls in range(10)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _score(truth: dict[str, Any], detections: list[dict[str, Any]]) -> dict[str, float]:
    if not detections:
        return dict.fromkeys(_METRICS, 0.0)
    truth_api = COCO(truth)
    scorer = COCOeval_faster(truth_api, truth_api.loadRes(detections), "bbox", print_function=_mute)
    scorer.params.maxDets = [1, 10, MAX_DETECTIONS]
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    return {name: float(scorer.stats[row]) for name, row in _METRICS.items()}


def _mute(*_: object) -> None:
    """Take COCO's printout and drop it."""


def main() -> None:
    """Print a checkpoint's COCO metrics, computed in float32."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path, help="Ultralytics checkpoint (a pickle: trust it)")
    parser.add_argument("--data", type=Path, default=FOLDER / "data" / "evaluation")
    arguments = parser.parse_args()
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    model = torch.load(arguments.weights, map_location="cpu", weights_only=False)["model"]
    for name, value in evaluate(model.float(), arguments.data).items():
        print(f"{name:10} {value:.4f}")


if __name__ == "__main__":
    main()
