"""Which instructions OpenVINO may use, and the kind of processor that they make."""

from __future__ import annotations

import pytest

from engines.backends.openvino.backend import check_processor
from engines.backends.openvino.isa import CAP, LEFT_BY_CAP, processor_kind, usable_isa
from engines.errors import WrongEngine
from engines.machine.processor import KERNEL_FLAGS
from engines.records.manifest import Manifest, OpenVINOBlob

SAPPHIRE_RAPIDS = (
    *("amx_bf16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16"),
    *("avx512_vnni", "avx512bw", "avx512dq", "avx512f", "avx512vl", "avx_vnni", "f16c", "fma"),
)
AVX512_VNNI = (
    *("avx", "avx2", "avx512_bf16", "avx512_vnni", "avx512bw", "avx512dq", "avx512f"),
    *("avx512vl", "f16c", "fma"),
)
HASWELL = ("avx", "avx2", "f16c", "fma")


@pytest.mark.parametrize(
    ("isa", "cap", "kind"),
    [
        (SAPPHIRE_RAPIDS, None, "amx"),
        (SAPPHIRE_RAPIDS, "DEFAULT", "amx"),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_AMX", "amx"),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_VNNI", "vnni"),
        (SAPPHIRE_RAPIDS, "avx512_core_vnni", "vnni"),
        (SAPPHIRE_RAPIDS, "AVX2_VNNI", "vnni"),
        (SAPPHIRE_RAPIDS, "AVX512_CORE", "no-vnni"),
        (SAPPHIRE_RAPIDS, "AVX2", "no-vnni"),
        (HASWELL, None, "no-vnni"),
        (HASWELL, "AVX512_CORE_VNNI", "no-vnni"),
        ((*HASWELL, "avx_vnni"), None, "vnni"),
        (("asimd", "asimddp", "i8mm"), None, "arm"),
    ],
)
def test_the_kind_follows_the_cap(isa: tuple[str, ...], cap: str | None, kind: str) -> None:
    assert processor_kind(usable_isa(isa, {CAP: cap} if cap else {})) == kind


def test_a_cap_names_only_flags_that_a_fingerprint_has() -> None:
    assert frozenset().union(*LEFT_BY_CAP.values()) <= KERNEL_FLAGS


def test_an_engine_is_bound_to_the_instructions_that_it_was_built_with() -> None:
    blob = OpenVINOBlob(processor_kind="no-vnni", isa=HASWELL, folded=52, weight_bits=7)
    manifest = Manifest.model_construct(
        engine="m-int8", target="x86-openvino", openvino=blob, backend="openvino"
    )
    check_processor(manifest, HASWELL)
    with pytest.raises(WrongEngine, match=r"kind no-vnni, .* kind vnni here.* has avx_vnni more"):
        check_processor(manifest, (*HASWELL, "avx_vnni"))


def test_an_engine_is_bound_to_its_instructions_within_a_kind_too() -> None:
    """With bf16 or without, a VNNI processor is of one kind, and what is not INT8 is computed in
    another type."""
    without = tuple(flag for flag in AVX512_VNNI if flag != "avx512_bf16")
    assert processor_kind(without) == processor_kind(AVX512_VNNI) == "vnni"
    blob = OpenVINOBlob(processor_kind="vnni", isa=AVX512_VNNI, folded=52, weight_bits=8)
    manifest = Manifest.model_construct(
        engine="m-int8", target="x86-openvino", openvino=blob, backend="openvino"
    )
    check_processor(manifest, AVX512_VNNI)
    with pytest.raises(WrongEngine, match="lacks avx512_bf16 and has nothing more"):
        check_processor(manifest, without)


def test_an_engine_that_does_not_say_for_which_processor_is_refused() -> None:
    manifest = Manifest.model_construct(
        engine="m-int8", target="x86-openvino", openvino=None, backend="openvino"
    )
    with pytest.raises(WrongEngine, match="expected `openvino` in its manifest.*pipeline build"):
        check_processor(manifest, HASWELL)
