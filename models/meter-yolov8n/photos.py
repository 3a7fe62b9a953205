"""The photographs that the digits are laid upon, and which set may use which.

Every file lies inside an installed package, so nothing is downloaded. The evaluation photographs
are used by no other set. Sources and licences: README.md, "Photographs".
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

SetName = Literal["train", "calibration", "tuning", "evaluation"]
Image = NDArray[np.uint8]

# Rows of "<package>:<file inside it>".
_SKIMAGE, _SKLEARN, _ULTRALYTICS = (
    "skimage:data/",
    "sklearn:datasets/images/",
    "ultralytics:assets/",
)

_CALIBRATION = (
    _SKIMAGE + "astronaut.png",
    _SKIMAGE + "coins.png",
    _SKIMAGE + "grass.png",
    _SKIMAGE + "hubble_deep_field.jpg",
    _SKLEARN + "china.jpg",
)
_TUNING = (
    _SKIMAGE + "camera.png",
    _SKIMAGE + "gravel.png",
    _SKIMAGE + "ihc.png",
    _SKIMAGE + "retina.jpg",
)
# bus.jpg and zidane.jpg are in no set that we publish: their own terms are not stated.
_TRAIN_ONLY = (
    _SKIMAGE + "cell.png",
    _ULTRALYTICS + "bus.jpg",
    _ULTRALYTICS + "zidane.jpg",
)
_EVALUATION = (
    _SKIMAGE + "brick.png",
    _SKIMAGE + "chelsea.png",
    _SKIMAGE + "clock_motion.png",
    _SKIMAGE + "coffee.png",
    _SKIMAGE + "rocket.jpg",
    _SKLEARN + "flower.jpg",
)

PHOTOS: dict[SetName, tuple[str, ...]] = {
    "train": _CALIBRATION + _TUNING + _TRAIN_ONLY,
    "calibration": _CALIBRATION,
    "tuning": _TUNING,
    "evaluation": _EVALUATION,
}


def load_photos(set_name: SetName, *, longest_side: int = 800) -> list[Image]:
    """Return the set's photographs as BGR uint8, scaled down to `longest_side` pixels at most."""
    return [_load_photo(name, longest_side) for name in PHOTOS[set_name]]


def _load_photo(name: str, longest_side: int) -> Image:
    path = _path_of(name)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"expected a photograph at {path}; reinstall {name.split(':')[0]}")
    scale = longest_side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image.astype(np.uint8)


def _path_of(name: str) -> Path:
    # find_spec does not run the package, so ultralytics is not imported for two files.
    package, _, inside = name.partition(":")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"package {package} is not installed: pip install it")
    return Path(spec.origin).parent / inside
