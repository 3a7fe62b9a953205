"""`device.json`: which machine this is, as far as engines are tied to it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from engines.records.record import Record


class Fingerprint(Record):
    """What an engine is tied to: equal fingerprints may share an engine, others must not.

    Holds nothing that changes from boot to boot, and no serial number.
    """

    file: ClassVar[str] = "device.json"
    written_by: ClassVar[str] = "pipeline probe"

    kind: Literal["cpu", "dgpu", "jetson"]
    """What the machine computes with: processors alone, an NVIDIA card beside them, or a Jetson."""
    source: Literal["machine", "node", "cuda"] = "machine"
    """Who told of the GPU and the system: the machine's own files and drivers; a file of the node
    (`JETRAIL_DEVICE_FILE`), for a container; or CUDA, where a container sees nothing else of a
    Jetson and what it does not say is None."""
    name: str
    """The processor as it names itself, for example `Intel(R) Xeon(R) Gold 6430`."""
    architecture: str
    """`x86_64` or `aarch64`."""
    isa: tuple[str, ...]
    """Instruction sets that change what an engine holds, sorted (for example `amx_bf16`)."""
    cores: int = Field(ge=1)
    """Processors that this process may run on."""
    memory_gib: int = Field(ge=1)
    backends: dict[str, str]
    """Package that a backend runs on (`openvino`, `tensorrt`, `tensorrt_rtx`) to the version of it
    that is installed here."""
    gpu: str | None = None
    """As the driver names it, for example `Orin` or `NVIDIA L4`. From here on: None without one."""
    compute_capability: str | None = None
    """The GPU's SM version, for example `8.7`."""
    gpu_memory_gib: int | None = None
    """Memory of the GPU; on a Jetson that of the whole machine."""
    unified_memory: bool | None = None
    """Whether GPU and processors share one memory."""
    dla_cores: int | None = None
    driver: str | None = None
    """Version of NVIDIA's driver."""
    cuda: str | None = None
    """Version of CUDA that the driver takes, for example `12.6`."""
    family: str | None = None
    """Jetson family, for example `orin-nx`. From here on: None on any other machine."""
    module: str | None = None
    """Jetson module, for example `Jetson Orin NX 16GB`."""
    l4t: str | None = None
    """Jetson Linux, for example `36.4.3`."""
    jetpack: str | None = None
    """The JetPack that this Jetson Linux belongs to, for example `6.2`."""
