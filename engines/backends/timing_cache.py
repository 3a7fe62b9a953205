"""TensorRT's timings of algorithms, kept between builds: on a Jetson they save minutes.

One file a package, its version and a device, below the user's cache folder. TensorRT-RTX takes and
gives such files too, but times nothing when it builds.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from engines.backends.tensorrt_sdk import Messages, trt
from engines.files import write_atomic
from engines.records import Fingerprint

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


def use_of(path: Path | None, messages: Messages) -> Use:
    """What became of the file that the builder was given; `messages` has what TensorRT then said.

    It says so when a file is damaged, or of another TensorRT or GPU, and goes on without it.
    """
    if path is None:
        return "off"
    if not path.is_file():
        return "new"
    said = (*messages.errors, *messages.warnings)
    return "ignored" if any("timing cache" in line.lower() for line in said) else "used"


def save(config: trt.IBuilderConfig, path: Path) -> None:
    """Write the builder's timings, those that it was given included."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, bytes(cache.serialize()))
