"""Pictures in files: their size is looked at before they are decoded, all to the same pixels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError

MAX_PIXELS = 2**27
"""134 million, more than any camera for industry has; decoded it takes 400 MB."""
MAX_BYTES = 2**30
"""So many pixels of four channels of 16 bits. What follows a picture in its file is read too."""


def decode_picture(content: NDArray[np.uint8], ending: str) -> NDArray[np.uint8] | None:
    """Pixels, uint8 BGR, shape (height, width, 3), turned upright; None where OpenCV reads none.

    `content`: the bytes of a file whose name has this `ending`. A TIFF with colours is read as
    Ultralytics does it (`ultralytics.utils.patches.imread`).
    """
    import cv2

    try:
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
        if pixels is not None and ending.lower() in (".tif", ".tiff"):
            pixels = _as_ultralytics(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), pixels)
    except cv2.error:  # larger than OpenCV reads, too
        pixels = None
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


def _as_ultralytics(pixels: NDArray[Any] | None, converted: NDArray[Any]) -> NDArray[Any]:
    """The high byte of 16 bits, where OpenCV's conversion rounds; and without alpha."""
    if pixels is None or pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        return converted
    return (pixels >> 8 if pixels.dtype == np.uint16 else pixels)[..., :3]


def check_pixels(path: Path) -> None:
    """Raise InputError for a picture that is too large, as far as its header can be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise too_large(path, str(error)) from error
    except Exception:  # noqa: BLE001  # a damaged header may raise anything: the decoder says it
        return
    check_size(path, width, height)


def check_size(path: Path, width: int, height: int) -> None:
    """Raise InputError for more than MAX_PIXELS, or a file of more than MAX_BYTES."""
    if width * height > MAX_PIXELS:
        raise too_large(path, f"{width} x {height} pixels")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise too_large(path, f"{size / 2**30:.1f} GiB")


def too_large(path: Path, size: str) -> InputError:
    """The refusal of a picture of this `size`, in words."""
    return InputError(
        f"Expected pictures of at most {MAX_PIXELS // 10**6} million pixels and {MAX_BYTES >> 30} "
        f"GiB, since a larger one fills the memory, got {path} ({size}). Cut it into tiles or make "
        "it smaller."
    )
