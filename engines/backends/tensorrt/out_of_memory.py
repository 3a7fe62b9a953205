"""What TensorRT says when memory runs out, and what to change then.

The phrases are those of TensorRT 8.6 to 10 in NVIDIA/TensorRT#4258 and what users posted like it,
of TensorRT-RTX 1.7 as tried (Myelin's check of a pointer fails where the address space is used up),
and of the system's loader and allocator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from engines.backends.tensorrt.options import Request
from engines.errors import InputError

REFUSED = re.compile(
    r"could not be allocated|cannot allocate|bad_alloc|cuda runtime \(out of memory|alloc failed",
    re.IGNORECASE,
)
"""The system had no more."""
WORKSPACE = re.compile(
    r"insufficient workspace|workspace limit|increas\w+ the workspace", re.IGNORECASE
)
"""The row allows too little."""
REQUESTED = re.compile(r"requested size was (\d+) bytes", re.IGNORECASE)
"""Either. In TensorRT-RTX 1.7 the size is that of workspace and weights together."""
OTHERS = re.compile(
    r"out ?of ?memory|allocation failed|insuff?icient memory|memory is insufficient"
    r"|not enough (free )?memory|failed to map segment|myelin_tensor\.h:\d+: CHECK\(p\) failed",
    re.IGNORECASE,
)
PHRASES = (REFUSED, WORKSPACE, REQUESTED, OTHERS)
MIB = 1 << 20


def about_memory(lines: Iterable[str]) -> str:
    """The last of these lines that says that memory ran out; empty where none does."""
    found = [line for line in lines if any(one.search(line) for one in PHRASES)]
    return " ".join(found[-1].split())[:400] if found else ""


def lack_of_memory(errors: Sequence[str], warnings: Sequence[str]) -> str:
    """What TensorRT said of memory when it failed; empty where that was not the matter.

    It warns of each algorithm that memory is too short for. That counts where it then found none at
    all, or an error is of memory too.
    """
    error, warning = about_memory(errors), about_memory(warnings)
    none_left = any("could not find any implementation" in line.lower() for line in errors)
    return " | ".join(filter(None, (warning, error))) if error or none_left else ""


def out_of_memory(request: Request, reason: str) -> InputError:
    """The sentence for a builder that got no more memory, with the keys of the row to change."""
    options, device = request.options, request.device
    now = f"`builder.workspace_mib` (now {options.workspace_mib})"
    others = (
        f"`batch.max` (now {request.batch.max}) or `builder.optimization_level` (now "
        f"{options.optimization_level})"
    )
    if _row_allows_too_little(request, reason):
        advice = f"raise {now} where the device has more memory free; otherwise lower {others}"
    else:
        advice = f"lower {now}, then {others}; or stop other programs"
    return InputError(
        f"Expected enough memory to build {request.onnx} on {device.gpu or device.name}, but it "
        f"ran out: {reason}. In the target's params.yaml {advice}."
    )


def _row_allows_too_little(request: Request, reason: str) -> bool:
    """Whether the row's limit was the matter: TensorRT says so, or asked for no more than half of
    the device's memory."""
    if REFUSED.search(reason):
        return False
    if WORKSPACE.search(reason):
        return True
    requested = REQUESTED.search(reason)
    memory_gib = request.device.gpu_memory_gib or request.device.memory_gib
    return requested is not None and int(requested[1]) <= memory_gib * 1024 * MIB / 2
