"""Which instructions OpenVINO may use here, and what they mean for INT8.

OpenVINO's kernels are oneDNN's, whose environment variable ONEDNN_MAX_CPU_ISA makes a processor
behave as a smaller one. So what is built, and what may be loaded, follows the variable too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from engines.records.manifest import ProcessorKind

CAP = "ONEDNN_MAX_CPU_ISA"

_AVX = frozenset({"avx"})
_AVX2 = _AVX | {"avx2", "fma", "f16c"}
_AVX2_VNNI = _AVX2 | {"avx_vnni"}
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
_AVX512_VNNI = _AVX512 | {"avx512_vnni"}
_AVX512_BF16 = _AVX512_VNNI | {"avx512_bf16"}
_AVX10_1 = _AVX512_BF16 | {"avx_vnni", "avx512_fp16", "avx10"}
_AMX = _AVX10_1 | {"amx_tile", "amx_int8", "amx_bf16"}
_AMX_FP16 = _AMX | {"amx_fp16"}

LEFT_BY_CAP: Mapping[str, frozenset[str]] = {
    "SSE41": frozenset(),
    "AVX": _AVX,
    "AVX2": _AVX2,
    "AVX2_VNNI": _AVX2_VNNI,
    "AVX2_VNNI_2": _AVX2_VNNI | {"avx_vnni_int8", "avx_ne_convert"},
    "AVX512_CORE": _AVX512,
    "AVX512_CORE_VNNI": _AVX512_VNNI,
    "AVX512_CORE_BF16": _AVX512_BF16,
    "AVX10_1_512": _AVX10_1,
    "AVX512_CORE_FP16": _AVX10_1,
    "AVX10_1_512_AMX": _AMX,
    "AVX512_CORE_AMX": _AMX,
    "AVX10_1_512_AMX_FP16": _AMX_FP16,
    "AVX512_CORE_AMX_FP16": _AMX_FP16,
}
"""Value of the variable to the flags (`engines.machine.processor.KERNEL_FLAGS`) that it leaves, see
https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html. Any other value, such
as DEFAULT, leaves all."""


def usable_isa(
    isa: Collection[str], environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Those of a processor's flags that oneDNN may use, sorted."""
    left = LEFT_BY_CAP.get(environment.get(CAP, "").upper())
    return tuple(sorted(flag for flag in isa if left is None or flag in left))


def processor_kind(isa: Collection[str]) -> ProcessorKind:
    """What computes products of int8 on a processor with these usable flags."""
    if "asimd" in isa:
        return "arm"
    if "amx_int8" in isa:
        return "amx"
    vnni = {"avx512_vnni", "avx_vnni", "avx_vnni_int8"}
    return "vnni" if vnni.intersection(isa) else "no-vnni"
