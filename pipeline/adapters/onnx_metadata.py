"""The metadata of an ONNX file without the package `onnx`, which a device does not have.

An ONNX file is one protobuf message; its fields are walked and the big ones skipped over, so the
weights are never read. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto,
`ModelProto`; the encoding: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engines.errors import InputError

METADATA_PROPS = 14
KEY, VALUE = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_metadata(path: Path) -> dict[str, str]:
    """`metadata_props` of the model in `path`. Raises InputError when it is not a protobuf."""
    try:
        with path.open("rb") as file:
            props = [dict(_fields(io.BytesIO(one))) for one in _values(file, METADATA_PROPS)]
        return {prop[KEY].decode(): prop.get(VALUE, b"").decode() for prop in props}
    except (ValueError, KeyError) as error:
        raise InputError(
            f"Expected an ONNX file in {path}, but it is damaged or of another kind ({error}). "
            "Make it again with `pipeline export MODEL` and `pipeline quantize MODEL`."
        ) from error


def _values(file: BinaryIO, wanted: int) -> list[bytes]:
    return [value for number, value in _fields(file, only=wanted) if number == wanted]


def _fields(file: BinaryIO, *, only: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and content of each length-delimited field; with `only`, others are skipped."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    while file.tell() < end:
        key = _varint(file)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _varint(file)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind) if kind != BYTES else _varint(file)
        if size is None or file.tell() + size > end:
            raise ValueError(f"field {number} does not fit at byte {file.tell()}")
        if kind == BYTES and only in (None, number):
            yield number, file.read(size)
        else:
            file.seek(size, io.SEEK_CUR)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("it holds a number of more than 64 bits")
