"""What the report says of layers and processors."""

from __future__ import annotations

from factories.records import manifest

from engines.records.manifest import Manifest, OpenVINOBlob
from pipeline.report.ran import what_ran


def built(engine: str, isa: tuple[str, ...], left: tuple[str, ...], **blob: object) -> Manifest:
    fitted = OpenVINOBlob.model_validate({"processor_kind": "vnni", "isa": left, **blob})
    device = manifest().device.model_copy(update={"name": "AMD EPYC", "isa": isa})
    layers = {"int8": 77, "bf16": 41}
    changes = {"engine": engine, "device": device, "openvino": fitted, "executed_layers": layers}
    return manifest().model_copy(update=changes)


def test_each_engine_s_layers_and_the_processor_once() -> None:
    isa = ("avx2", "avx512_vnni")
    assert what_ran(
        [
            built("m-int8", isa, isa, folded=52, weight_bits=8),
            built("m-fp16", isa, isa, folded=0, weight_bits=None),
        ]
    ) == [
        "m-int8: layers: int8 77, bf16 41; 52 Q/DQ chains folded, weights of 8 bits",
        "m-fp16: layers: int8 77, bf16 41",
        "AMD EPYC: avx2 avx512_vnni; OpenVINO's kind vnni",
    ]


def test_what_a_cap_took_away() -> None:
    isa = ("avx2", "avx512_vnni")
    (_, said) = what_ran([built("m-int8", isa, ("avx2",), folded=52, weight_bits=7)])
    assert said == "AMD EPYC: avx2 avx512_vnni; OpenVINO's kind vnni without avx512_vnni"


def test_another_backend() -> None:
    assert what_ran([manifest()]) == [
        "m-fp16: layers: bf16 60",
        "cpu: no instruction set that matters",
    ]
