"""TensorRT's timings of algorithms, kept between builds: on a Jetson they save minutes.

One file a package, its version and a device, below the user's cache folder. TensorRT-RTX takes and
gives such files too, but times nothing when it builds.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from engines.backends.tensorrt.sdk import Messages, trt
from engines.errors import InputError
from engines.files import write_atomic
from engines.records.fingerprint import Fingerprint

Use = Literal["off", "new", "used", "ignored"]


def file_of(device: Fingerprint, package: str) -> Path:
    """Where the timings of this device lie, or will."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parts = (
        package,
        trt.__version__,
        device.gpu or "no-gpu",
        device.compute_capability,
        device.l4t,
    )
    name = "_".join(re.sub(r"[^\w.]+", "-", part) for part in parts if part)
    return home / "jetrail" / "timing" / f"{name}.cache"


def prepared(device: Fingerprint, package: str, wanted: bool) -> Path | None:
    """`file_of`, in a folder that is there; None where none is wanted.

    Raises InputError when the folder cannot be written: better now than after minutes of building.
    """
    if not wanted:
        return None
    path = file_of(device, package)
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(folder, "no permission")
    return path


def _not_writable(folder: Path, reason: str) -> InputError:
    return InputError(
        f"Expected to keep TensorRT's timings in {folder}, but it cannot be written: {reason}. Set "
        "XDG_CACHE_HOME to a folder of yours, or `builder.timing_cache: false` in the target's "
        "params.yaml."
    )


def use_of(path: Path | None, messages: Messages) -> Use:
    """What became of the file that the builder was given; `messages` has what TensorRT then said.

    It says so when a file is damaged, or of another TensorRT or GPU, and goes on without it ("The
    timing cache will not be used!", in 8.6 as in RTX 1.7: NVIDIA/TensorRT#3566). TensorRT-RTX
    cannot read its own either where there is no GPU.
    """
    if path is None:
        return "off"
    if not path.is_file():
        return "new"
    return "ignored" if any("timing cache" in line.lower() for line in messages.all()) else "used"


def save(config: trt.IBuilderConfig, path: Path) -> None:
    """Write the builder's timings, those that it was given included."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    write_atomic(path, bytes(cache.serialize()))
