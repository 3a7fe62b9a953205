"""pipeline.intake.pictures: a picture's size is looked at before anything is decoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.detect.pictures import MAX_BYTES, MAX_PIXELS, check_pixels
from engines.errors import InputError
from pipeline.intake.pictures import check_picture, read_picture


def png_of(path: Path, width: int, height: int) -> Path:
    """A PNG that declares a size; its data would be all zero."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("read", [read_picture, check_picture])
@pytest.mark.parametrize("side", [11_600, 30_000, 2**31 - 1])
def test_a_large_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, read: object, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    assert side**2 > MAX_PIXELS
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path = png_of(tmp_path / "wide.png", side, side)
    with pytest.raises(InputError, match=r"at most 134 million pixels.*wide\.png"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize("read", [read_picture, check_picture, check_pixels])
def test_a_picture_in_a_large_file_is_refused_unread(
    tmp_path: Path, read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the picture, as zeros that a broken download leaves, would be read as well."""
    path = tmp_path / "long.png"
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(path)
    with path.open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    with pytest.raises(InputError, match=r"at most .* 1 GiB, .*long\.png \(1\.0 GiB\)"):
        read(path)


def test_damaged_exif_is_nothing_to_be_warned_of(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # five entries, and none follows
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(path, exif=exif)
    recwarn.clear()
    check_picture(path)
    assert not recwarn.list
