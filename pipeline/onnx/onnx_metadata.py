"""What must be known of an ONNX file before it is built from, without the package `onnx`, which a
device does not have: its metadata, and that it reads no other file.

An ONNX file is one protobuf message, whose fields are walked. Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engines.errors import InputError

METADATA_PROPS = 14
EXTERNAL_DATA = 13
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Messages, and which of their fields lead to tensors."""

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


def check_self_contained(path: Path) -> None:
    """Raise InputError when a tensor of the model lies in another file.

    `pipeline export` and `quantize` keep all tensors inside, and a path in a model file would make
    the builder read whatever file of this device it names.
    """
    with path.open("rb") as file:
        if _refers_elsewhere(file, "model"):
            raise InputError(
                f"Expected {path} to hold all of its tensors itself, but it takes some from "
                "another file (external data). Make it again with `pipeline export MODEL` and "
                "`pipeline quantize MODEL`."
            )


def _refers_elsewhere(message: BinaryIO, kind: str) -> bool:
    for number, content in _fields(message):
        if kind == "tensor" and number == EXTERNAL_DATA:
            return True
        inner = NESTED.get(kind, {}).get(number)
        if inner and _refers_elsewhere(io.BytesIO(content), inner):
            return True
    return False


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
