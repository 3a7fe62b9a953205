"""What really ran, in words, so that the same engine on two machines can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from engines.records.manifest import Manifest


def what_ran(manifests: Sequence[Manifest]) -> list[str]:
    """A sentence for each engine, and one for each processor that they were built on."""
    processors = dict.fromkeys(_processor(manifest) for manifest in manifests)
    return [*(f"{one.engine}: {_layers(one)}" for one in manifests), *processors]


def _layers(manifest: Manifest) -> str:
    """For example `layers: int8 77, bf16 41, fp32 12; 52 Q/DQ chains folded, weights of 8 bits`."""
    counts = manifest.executed_layers.items()
    text = "layers: " + (", ".join(f"{precision} {count}" for precision, count in counts) or "none")
    blob = manifest.openvino
    if blob is None or blob.weight_bits is None:
        return text
    return f"{text}; {blob.folded} Q/DQ chains folded, weights of {blob.weight_bits} bits"


def _processor(manifest: Manifest) -> str:
    """The processor with its instructions, and what OpenVINO was left of them."""
    device, blob = manifest.device, manifest.openvino
    text = f"{device.name}: {' '.join(device.isa) or 'no instruction set that matters'}"
    if blob is None:
        return text
    capped = [flag for flag in device.isa if flag not in blob.isa]
    without = f" without {' '.join(capped)}" if capped else ""
    return f"{text}; OpenVINO's kind {blob.processor_kind}{without}"
