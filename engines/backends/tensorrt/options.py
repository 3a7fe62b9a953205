"""`builder:` of a row with the backend `tensorrt`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engines.backends import BuilderOptions, BuildRequest
from engines.records.record import HardwareCompatibility

ComputeCapability = Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]
"""SM version of a GPU, in quotes: `"12.0"` without them is a number to YAML."""


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
    tf32: bool = True
    """Let float32 layers multiply in TF32 (10 bits of mantissa) on tensor cores, as TensorRT itself
    does unless it is told otherwise."""
    compute_capabilities: tuple[ComputeCapability, ...] = ()
    """GPUs that a plan of TensorRT-RTX is for, for example `["7.5"]`; none: those of its default,
    8.6, 8.9 and 12.0. A plan of TensorRT is for the GPU at hand."""


Request = BuildRequest[TensorRTOptions]
