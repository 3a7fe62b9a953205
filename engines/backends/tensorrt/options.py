"""`builder:` of a row with the backend `tensorrt`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engines.backends import BuilderOptions, BuildRequest
from engines.records.record import HardwareCompatibility


class TensorRTOptions(BuilderOptions):
    """What the TensorRT builder is told; what the TensorRT at hand cannot do is refused."""

    package: Literal["tensorrt", "tensorrt_rtx"]
    """The system's TensorRT, or TensorRT-RTX from the package index."""
    workspace_mib: Annotated[int, Field(gt=0)]
    """The most memory that one layer's algorithm may take."""
    optimization_level: Annotated[int, Field(ge=0, le=5)]
    timing_cache: bool
    """Keep the timings of algorithms, by device and TensorRT version, for the next build."""
    version_compatible: bool
    """Build a plan that later versions of TensorRT load too."""
    hardware_compatibility: HardwareCompatibility
    """Build a plan that other GPUs run too."""
    dla_core: Annotated[int, Field(ge=0)] | None
    """Run on this DLA core what can run there, and the rest on the GPU."""


Request = BuildRequest[TensorRTOptions]
