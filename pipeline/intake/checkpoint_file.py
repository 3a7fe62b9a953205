"""The file of a checkpoint: whole, an archive as torch.save writes it, and of bounded size."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from engines.errors import InputError
from pipeline.intake.checkpoint_scan import MAX_BYTES
from pipeline.intake.way_back import way_back

MAX_PICKLE = 4 << 20
"""Bytes. YOLOv8x's has 0.2 MB; objects take many times the space of their pickle."""

_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""A pickle of torch's old magic number (`torch.serialization.MAGIC_NUMBER`)."""

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"(\xb5/\xfd", b"Rar!")
"""First bytes of gzip, bzip2, xz, 7-Zip, Zstandard and RAR."""


def read_file(path: Path, sha256: str | None = None) -> bytes:
    """The bytes of a checkpoint. Raises InputError when it is missing, too large, or has another
    `sha256` than given."""
    if not path.is_file():
        raise InputError(
            f"Expected a checkpoint in {path}, but there is no such file. "
            f"Bring it back with {way_back(path)}, or give it to `pipeline update-model`."
        )
    if (size := path.stat().st_size) > MAX_BYTES:
        raise too_large(path, size)
    data = path.read_bytes()
    if sha256 is not None and (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise InputError(
            f"Expected {path} with sha256 {sha256}, as model.yaml says, got {digest}. "
            f"Bring that file back with {way_back(path)}, or, if these weights are meant, give "
            "them to `pipeline update-model`."
        )
    return data


def too_large(path: Path, size: int) -> InputError:
    """The refusal of a checkpoint that takes `size` bytes, packed or unpacked."""
    return InputError(
        f"Expected a checkpoint of at most {MAX_BYTES >> 30} GiB, got {size / (1 << 30):.1f} GiB in"
        f" {path}. Save it stripped (best.pt at the end of a training run), or do not trust it."
    )


def check_archive(path: Path, data: bytes) -> None:
    """Raise InputError unless it is a whole archive as torch.save writes it, of bounded size."""
    if not data.startswith(b"PK"):
        raise InputError(f"Expected a PyTorch checkpoint in {path}, got {_kind_of(data)}.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_sizes(path, archive)
            damaged = archive.testzip()
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist())
            pickles = [name for name in archive.namelist() if name.lower().endswith(".pkl")]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"Expected a whole PyTorch checkpoint in {path}, but it is truncated or damaged "
            f"({error}; {len(data)} bytes). Fetch it again."
        ) from error
    if damaged:
        raise InputError(
            f"{path} is damaged: its part {damaged} has another checksum. Fetch again."
        )
    if len(pickles) != 1 or pickles[0].count("/") != 1 or not pickles[0].endswith("/data.pkl"):
        raise InputError(
            f"Expected one pickle, data.pkl, in the checkpoint {path}, got "
            f"{', '.join(pickles[:3]) or 'none'}. Give the .pt that Ultralytics saves (not "
            "TorchScript, not an archive around it)."
        )
    if packed:
        raise InputError(
            f"Expected a checkpoint as torch.save writes it, uncompressed, got {path} with "
            "compressed parts. Give the .pt that Ultralytics saves."
        )


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Before anything is unpacked."""
    parts = archive.infolist()
    if (size := sum(part.file_size for part in parts)) > MAX_BYTES:
        raise too_large(path, size)
    for part in parts:
        if part.filename.endswith(".pkl") and part.file_size > MAX_PICKLE:
            raise InputError(
                f"Expected a pickle of at most {MAX_PICKLE >> 20} MiB in {path}, got "
                f"{part.file_size >> 20} MiB. Save it stripped (best.pt), or do not trust it."
            )


def _kind_of(data: bytes) -> str:
    """What a file is that is no archive of torch.save, by its first bytes, and the way on."""
    if not data:
        return "an empty file; fetch it again"
    if data.startswith(_BEFORE_1_6):
        return (
            "the format of PyTorch before 1.6, which is not loaded here. Save it again with a "
            "current Ultralytics (`YOLO(FILE).save(NEW)`)"
        )
    if data.startswith(b"\x80"):
        return "a bare pickle, which is not loaded here. Give the .pt that Ultralytics saves"
    if data.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer. Fetch the file itself with `git lfs pull`"
    if data[:99].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "a page of HTML or XML, as where a download wants a login. Fetch the file itself"
    if data.startswith(_ARCHIVES) or data[257:262] == b"ustar":
        return "an archive. Unpack it, and give the .pt in it"
    if exported := _exported(data):
        return f"{exported}. Give the .pt that it was made from, as training saves it"
    return f"a file that starts with {data[:8]!r}. Give the .pt that Ultralytics saves"


def _exported(data: bytes) -> str | None:
    if data[:1] == b"\x08" and data[2:3] in (b"\x12", b"\x3a"):  # IR version; producer or graph
        return "an ONNX file"
    if _begins_with_json(data, 8):
        return "a safetensors file, which has weights and no network"
    if _begins_with_json(data, 4) or data[:4] in (b"ftrt", b"ptrt"):  # of Ultralytics, or plain
        return "an engine of TensorRT"
    return "a TensorFlow Lite file" if data[4:8] == b"TFL3" else None


def _begins_with_json(data: bytes, at: int) -> bool:
    """Whether metadata follow, as JSON, after their length in `at` bytes."""
    return data[at : at + 1] == b"{" and int.from_bytes(data[:at], "little") < len(data)
