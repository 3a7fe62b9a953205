"""Runs in a child process: what Ultralytics finds in each data.yaml named on standard input.

torchvision is not imported: only the reading is used, not training.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.intake.checkpoint import ultralytics_module


def read(file: str) -> dict[str, Any]:
    """Names, and for each split the pictures with their rows; `error` where it gives up."""
    utils = ultralytics_module("ultralytics.data.utils")
    base = ultralytics_module("ultralytics.data.base").BaseDataset
    os.chdir(Path(file).parent)
    try:
        data = utils.check_det_dataset(file, autodownload=False)
        names = [data["names"][index] for index in range(len(data["names"]))]
        splits = {
            split: pictures(utils, base, data[split], len(names))
            for split in ("train", "val", "test")
            if data.get(split)
        }
    # Whatever it raises is its refusal, and it raises many kinds (also of PIL, NumPy and yaml): the
    # test compares that it refuses, and a fault of this script stands in the answer by its name.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}
    return {"names": names, "splits": splits}


def pictures(utils: Any, base: Any, place: Any, classes: int) -> dict[str, Any]:
    """By path the rows of class, cx, cy, w, h, and shape and sha256 of the pixels as training reads
    them; None where Ultralytics leaves the picture out."""
    imread = ultralytics_module("ultralytics.utils.patches").imread
    reader = base.__new__(base)
    reader.prefix, reader.fraction = "", 1.0
    files = reader.get_img_files(place)
    found: dict[str, Any] = {}
    for image, label in zip(files, utils.img2label_paths(files), strict=True):
        result = utils.verify_image_label((image, label, "", False, classes, 0, 0, False))
        place = os.path.normpath(Path.cwd() / image)
        pixels = None if result[0] is None else imread(image)
        found[place] = None if pixels is None else described(result[1], pixels)
    return found


def described(rows: Any, pixels: Any) -> dict[str, Any]:
    digest = sha256(pixels.tobytes()).hexdigest()
    return {"rows": rows.tolist(), "shape": pixels.shape, "pixels": digest}


if __name__ == "__main__":
    utils = ultralytics_module("ultralytics.data.utils")
    utils.check_font = lambda *_: None  # it would fetch a font
    answers = [read(line.strip()) for line in sys.stdin]
    Path(sys.argv[1]).write_text(json.dumps(answers))
