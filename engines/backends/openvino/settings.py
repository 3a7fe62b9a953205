"""How OpenVINO is told to run: its core, streams, and the type that it computes in."""

from __future__ import annotations

import os
from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engines.backends.openvino.isa import usable_isa
from engines.machine.fingerprint import read_fingerprint
from engines.machine.sensors.quota import usable_processors
from engines.records.record import Precision

if TYPE_CHECKING:
    import openvino as ov

DEVICE = "CPU"

Config = dict[str, Any]


@lru_cache(maxsize=1)
def core() -> ov.Core:
    """The one that this process has.

    Each core's CPU plugin gives the thread a stack for signals (sigaltstack), and the one before it
    back when it ends. Two cores that overlap, as for a latency and a throughput session, leave the
    thread a stack that is freed by then: Ctrl-C, SIGTERM and SIGALRM crashed the process.
    """
    import openvino as ov

    return ov.Core()


def latency_config() -> Config:
    """All processors on one frame."""
    return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", **_threads()}


def streams_config(frames: int) -> Config:
    """A processor for each frame, as far as they go."""
    streams = str(min(frames, usable_processors()))
    return {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams, **_threads()}


def compute_type(precision: Precision, isa: Container[str]) -> str:
    """OpenVINO's type for all that the ONNX file does not quantize, by instruction set.

    OpenVINO also offers bf16 where it must emulate it, which is slower than f32; so the processor's
    flags decide and not its list of capabilities.
    """
    if precision == "fp32":
        return "f32"
    if "amx_bf16" in isa or "avx512_bf16" in isa:
        return "bf16"
    if "avx512_fp16" in isa or "asimdhp" in isa:
        return "f16"
    return "f32"


def precision_config(precision: Precision) -> Config:
    """OpenVINO's word for what an engine of that precision computes in on this processor."""
    return {"INFERENCE_PRECISION_HINT": compute_type(precision, usable_isa(read_fingerprint().isa))}


def _threads() -> Config:
    """As many as a container's quota allows: with more, OpenVINO would use the quota up in a part
    of each period and stand still for the rest. Without a quota OpenVINO chooses."""
    allowed = usable_processors()
    whole = len(os.sched_getaffinity(0))
    return {} if allowed == whole else {"INFERENCE_NUM_THREADS": str(allowed)}
