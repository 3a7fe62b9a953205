"""The options of a row that not every TensorRT or device has: refused with a reason before a build.

Sources: TensorRT's developer guide, chapters "Version Compatibility", "Hardware Compatibility",
"Working with DLA" and "Strongly Typed Networks for DLA" of 11.3.0 and 11.4.1 (10.7 was the last
release with DLA, 11.4.0 had it on Windows on ARM only, 11.4.1 has it again, of Jetsons on AGX Orin
only, with JetPack 7.2.2 and later); "DLA Supported Layers and Restrictions" (a profile's min, opt
and max must be equal); TensorRT-RTX's support matrix.
"""

from __future__ import annotations

from typing import Any

from engines.backends.tensorrt.options import Request, TensorRTOptions
from engines.backends.tensorrt.sdk import is_rtx, release, trt
from engines.errors import InputError
from engines.machine.fingerprint import NODE_FILE

LEVELS = {"ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
"""Names in the row to TensorRT's."""


def check_options(request: Request, options: TensorRTOptions, package: str) -> None:
    """Raise InputError for an option that this TensorRT or this device cannot do."""
    for key, reason in (
        ("workspace_mib", _workspace(request, options)),
        ("version_compatible", _version(options, package)),
        ("hardware_compatibility", _hardware(request, options, package)),
        ("dla_core", _dla(request, options, package)),
        ("compute_capabilities", _compute_capabilities(options, package)),
    ):
        if reason:
            raise InputError(
                f"Expected for `builder.{key}` what {package} {trt.__version__} can do on "
                f"{request.device.gpu or request.device.name}, got {getattr(options, key)}: "
                f"{reason}. Fix the target's params.yaml."
            )


def compute_capability(sm: str) -> Any:
    """TensorRT-RTX's word for an SM version such as `8.9`; None where it has none."""
    known: Any = trt
    return known.ComputeCapability.__members__.get(f"SM{sm.replace('.', '')}")


def known_compute_capabilities() -> str:
    """The SM versions that this TensorRT-RTX builds for, in words."""
    package: Any = trt
    members = package.ComputeCapability.__members__
    versions = [name.removeprefix("SM") for name in members if name.startswith("SM")]
    return ", ".join(f"{one[:-1]}.{one[-1]}" for one in versions)


def _compute_capabilities(options: TensorRTOptions, package: str) -> str:
    if not options.compute_capabilities:
        return ""
    if not is_rtx(package):
        return "its plans are for the GPU that builds them; leave the key out"
    unknown = [sm for sm in options.compute_capabilities if compute_capability(sm) is None]
    if unknown:
        return (
            f"it builds for SM {known_compute_capabilities()}, not for {', '.join(unknown)}; give "
            "other GPUs a target with the package tensorrt, as dgpu-x86"
        )
    return ""


def hardware_level(options: TensorRTOptions) -> trt.HardwareCompatibilityLevel | None:
    """TensorRT's word for the row's; None for plans of only this GPU."""
    name = LEVELS.get(options.hardware_compatibility)
    return getattr(trt.HardwareCompatibilityLevel, name) if name else None


def _workspace(request: Request, options: TensorRTOptions) -> str:
    device = request.device
    memory_gib = device.gpu_memory_gib or device.memory_gib
    if options.workspace_mib <= memory_gib * 1024:
        return ""
    shared = ", which the whole machine shares," if device.unified_memory else ""
    return f"the device has {memory_gib * 1024} MiB{shared} in all"


def _version(options: TensorRTOptions, package: str) -> str:
    if not options.version_compatible:
        return ""
    if is_rtx(package):
        return "its plans are for one version of TensorRT-RTX"
    return "" if hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE") else "it is too old"


def _hardware(request: Request, options: TensorRTOptions, package: str) -> str:
    name = LEVELS.get(options.hardware_compatibility)
    if name is None:
        return ""
    if is_rtx(package):
        return "its plans run on RTX GPUs from Ampere on as they are"
    if request.device.kind == "jetson":
        return "TensorRT has no hardware compatibility on JetPack"
    if not hasattr(trt.HardwareCompatibilityLevel, name):
        return f"it knows only {', '.join(trt.HardwareCompatibilityLevel.__members__)}"
    return ""


def _dla(request: Request, options: TensorRTOptions, package: str) -> str:
    cores, batch = request.device.dla_cores, request.batch
    if options.dla_core is None:
        return ""
    if cores is None and request.device.kind == "jetson":
        return (
            "which Jetson this is cannot be told, and so not whether it has a DLA; in a container "
            f"hand in the node's device.json ({NODE_FILE})"
        )
    if is_rtx(package) or not cores:
        return "there is no DLA here"
    if no_dla := _version_without_dla(request.device.family):
        return no_dla
    if options.dla_core >= cores:
        return f"the DLA cores here are 0 to {cores - 1}"
    if request.precision == "fp32":
        return "a DLA computes in fp16 and int8 only; give fp32 engines a target without it"
    if request.precision == "int8" and release() < (11, 0):
        return "before TensorRT 11 a DLA takes no Q/DQ; give int8 engines a target without it"
    if not batch.min == batch.opt == batch.max:
        return (
            "a DLA takes one batch size, so min, opt and max of `batch:` must be equal, but the "
            f"row has {batch.min}, {batch.opt} and {batch.max}; set each to 1, or give the engine "
            "a target without it"
        )
    return ""


def _version_without_dla(family: str | None) -> str:
    """Why this TensorRT has no DLA on a Jetson of that family; empty where it has one."""
    found = release()
    if (10, 8) <= found < (11, 4, 1):
        return "TensorRT has no DLA on a Jetson from 10.8 until 11.4.1"
    if found >= (11, 4, 1) and family != "agx-orin":
        return (
            "from TensorRT 11.4.1 on (JetPack 7.2.2) NVIDIA supports the DLA of Jetson AGX Orin "
            f"only, and this is a Jetson of the family {family or 'unknown'}; stay with TensorRT "
            "10.7 or older (JetPack 6), or set `builder.dla_core: null`"
        )
    return ""
