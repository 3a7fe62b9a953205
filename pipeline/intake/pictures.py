"""Pictures on the disk: found as Ultralytics finds them, looked at before they are decoded.

Of Ultralytics' kinds (`ultralytics.data.utils.IMG_FORMATS`) those are read that OpenCV decodes to
the same pixels everywhere. AVIF, DNG, HEIC and HEIF, which need decoders that not every device has,
are refused by name.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.detect.pictures import check_size, decode_picture, too_large
from engines.disks import DISK_ERRNOS
from engines.errors import InputError

READ = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"})
REFUSED = frozenset({".avif", ".dng", ".heic", ".heif"})
ENDINGS = READ | REFUSED
"""Every ending that Ultralytics takes for a picture."""

FORMATS = frozenset({"BMP", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP"})
"""Pillow's names of what may be inside, whatever the ending says."""

LEAST_SIDE = 10
"""Ultralytics leaves smaller pictures out (`check_image`)."""

_BROKEN = (OSError, ValueError, LookupError, SyntaxError, EOFError, ArithmeticError, ImportError)
"""What Pillow raises on a damaged header. ImportError: where Ultralytics is loaded, it has replaced
`Image.open` by one that asks for a HEIF reader."""


class Size(NamedTuple):
    """Of a picture, in pixels, once it is turned upright."""

    height: int
    width: int


def is_picture(path: Path) -> bool:
    """Whether Ultralytics takes the file for a picture, by its ending."""
    return path.suffix.lower() in ENDINGS


PATH_MAX = 4096
"""Bytes of the longest path on Linux."""


def find_pictures(folder: Path) -> list[Path]:
    """The pictures below a folder, through linked folders, without hidden files and folders, as
    Ultralytics' glob finds them; sorted. Raises InputError where a link leads back up."""
    return sorted(_walk(folder, (folder.resolve(),)))


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            real = path.resolve()
            if real in above:
                raise InputError(
                    f"Expected folders of pictures, but {path} is a link to {real}, which holds it,"
                    " so its pictures would count again and again. Remove the link."
                )
            yield from _walk(path, (*above, real))
        elif is_picture(path):
            _refuse_what_is_no_file(path)
            yield path
        else:
            _refuse_lost_link(path)


def _refuse_what_is_no_file(path: Path) -> None:
    """Raise InputError for a pipe or socket by a picture's name: reading it would wait forever."""
    if path.exists() and not path.is_file():
        raise InputError(
            f"Expected pictures in {path.parent}, but {path} is a pipe, a socket or a device. "
            "Remove it, or take it elsewhere."
        )


def _refuse_lost_link(path: Path) -> None:
    """Raise InputError for a link to nothing, such as a share that is not mounted, and for a text
    file that holds the path of a folder: git makes one of a link where it may not make links, as do
    archives. The pictures behind it would be left out."""
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"Expected pictures in {path.parent}, but {path} is a link to {path.readlink()}, which "
            "is not there. Mount or bring what it leads to, or remove the link to leave it out."
        )
    if path.suffix.lower() in (".txt", ".yaml", ".json", ".xml") or not path.is_file():
        return  # a pipe or socket would be waited for
    if path.stat().st_size > PATH_MAX:
        return
    try:
        text = path.read_bytes().decode("utf-8", errors="replace").strip()
        leads = text and "\n" not in text and "\0" not in text and (path.parent / text).is_dir()
    except OSError:
        return  # what cannot be read, or is too long for a name, holds no path for us
    if leads:
        again = shlex.join(["ln", "-sfn", text, str(path)])
        raise InputError(
            f"Expected pictures in {path.parent}, but {path} is a text file that holds the path "
            f"{text!r}: a link to a folder that became a file on its way here. Make the link again "
            f"(`{again}`), or remove the file to leave those pictures out."
        )


def read_picture(path: Path, sha256: str | None = None) -> NDArray[np.uint8]:
    """Pixels, uint8 BGR, shape (height, width, 3), turned upright.

    Raises InputError when it is damaged, of another kind or too large, or with `sha256` another
    file than that; the size is looked at before anything is decoded.
    """
    _check_header(path)
    # On a broken disk np.fromfile gives what happened to be in memory, and no error.
    content = path.read_bytes()
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise InputError(
            f"Expected the pictures to stay as they are while they are read, but {path} was changed"
            " meanwhile, as by another command. Run again when that has ended."
        )
    pixels = decode_picture(np.frombuffer(content, dtype=np.uint8), path.suffix)
    if pixels is None:
        raise _unreadable(path)
    return pixels


def check_picture(path: Path) -> None:
    """Raise InputError for a picture that Ultralytics would leave out, or that is not read here."""
    _check_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            height, width = _verified(path)
    except _BROKEN as error:
        raise _what_is_wrong(path, error) from error
    if min(height, width) < LEAST_SIDE:
        raise InputError(
            f"Expected pictures of at least {LEAST_SIDE} pixels a side, as Ultralytics does, got "
            f"{width} x {height} in {path}. Take it out of the data set."
        )
    read_picture(path)


def _verified(path: Path) -> Size:
    """Size of a picture whose parts are all there, as far as Pillow's kind of it tells."""
    from PIL import Image

    with Image.open(path) as image:
        size, kind = Size(image.height, image.width), image.format
        image.verify()
    if kind in ("JPEG", "MPO") and not _ends_whole(path):
        with Image.open(path) as image:
            image.load()
    return size


def _check_header(path: Path) -> None:
    from PIL import Image

    if path.suffix.lower() in REFUSED:
        raise InputError(
            f"Expected pictures as {', '.join(sorted(one[1:] for one in READ))}, got {path}. "
            "Convert it to PNG under the same name, then its labels still fit."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF too, which nobody here needs
            with Image.open(path) as image:
                size, kind, shown = image.size, image.format, image.info.get("bbox")
    except Image.DecompressionBombError as error:
        raise too_large(path, str(error)) from error
    except _BROKEN as error:
        raise _what_is_wrong(path, error) from error
    if kind not in FORMATS:
        raise InputError(
            f"Expected a picture of the kinds {', '.join(sorted(FORMATS))}, got {kind} in {path}. "
            "Convert it to PNG."
        )
    check_size(path, *size)
    if kind == "PNG" and shown not in (None, (0, 0, *size)):
        raise _unreadable(path)  # an animation whose first frame leaves pixels open


def _what_is_wrong(path: Path, error: Exception) -> Exception:
    """With a picture, or with the disk that it is on."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return OSError(error.errno, error.strerror, str(path))
    return _unreadable(path)


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"Expected an image that OpenCV can read, but {path} is damaged or of another kind. "
        "Replace it or take it out (of a data set together with its label file)."
    )


def _ends_whole(path: Path) -> bool:
    """Whether a JPEG ends with its end marker; Ultralytics decodes and repairs one that does not,
    or leaves it out where it cannot."""
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read() == b"\xff\xd9"
