"""The options of a row that not every TensorRT or device has: refused with a reason before a build.

Sources: TensorRT's developer guide, chapters "Version Compatibility", "Hardware Compatibility",
"Working with DLA" and "Strongly Typed Networks for DLA" (11.3.0 and 11.4.1: 10.7 was the last
release with DLA, and 11.4.1 has it again); TensorRT-RTX's support matrix.
"""

from __future__ import annotations

from engines.backends.tensorrt.options import Request, TensorRTOptions
from engines.backends.tensorrt.sdk import is_rtx, release, trt
from engines.errors import InputError

LEVELS = {"ampere+": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
"""Names in the row to TensorRT's."""


def check_options(request: Request, options: TensorRTOptions, package: str) -> None:
    """Raise InputError for an option that this TensorRT or this device cannot do."""
    for key, reason in (
        ("workspace_mib", _workspace(request, options)),
        ("version_compatible", _version(options, package)),
        ("hardware_compatibility", _hardware(request, options, package)),
        ("dla_core", _dla(request, options, package)),
    ):
        if reason:
            raise InputError(
                f"Expected for `builder.{key}` what {package} {trt.__version__} can do on "
                f"{request.device.gpu or request.device.name}, came {getattr(options, key)}: "
                f"{reason}. Mend the target's params.yaml."
            )


def hardware_level(options: TensorRTOptions) -> trt.HardwareCompatibilityLevel | None:
    """TensorRT's word for the row's; None for plans of this GPU alone."""
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
        return f"it knows {', '.join(trt.HardwareCompatibilityLevel.__members__)} alone"
    return ""


def _dla(request: Request, options: TensorRTOptions, package: str) -> str:
    cores = request.device.dla_cores or 0
    if options.dla_core is None:
        return ""
    if is_rtx(package) or not cores:
        return "there is no DLA here"
    if (10, 8) <= release() < (11, 4, 1):
        return "TensorRT has no DLA from 10.8 until 11.4.1"
    if options.dla_core >= cores:
        return f"the DLA cores here are 0 to {cores - 1}"
    if request.precision == "fp32":
        return "a DLA computes in fp16 and int8 alone; give fp32 engines a target without it"
    if request.precision == "int8" and release() < (11, 0):
        return "before TensorRT 11 a DLA takes no Q/DQ; give int8 engines a target without it"
    return ""
