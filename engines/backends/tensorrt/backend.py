"""TensorRT and TensorRT-RTX on NVIDIA GPUs: builds raw plans, through Polygraphy.

The engine takes uint8 NHWC BGR (`engines.backends.tensorrt.uint8_input`). Precision is the ONNX
file's own: the network is strongly typed, but where TensorRT is too old for it (8.6) or has a DLA
run untyped networks only (before 11): there the builder's flags decide.

The builder works in a process of its own (`engines.backends.tensorrt.build`). On a small Jetson the
kernel may end it when memory runs out, and then somebody must be left to say so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from engines.backends import BuildResult
from engines.backends.tensorrt.build import Job, build
from engines.backends.tensorrt.options import Request
from engines.backends.tensorrt.out_of_memory import out_of_memory
from engines.backends.tensorrt.sdk import is_rtx
from engines.backends.tensorrt.session import TensorRTSession
from engines.errors import InputError, JetrailError
from engines.packages import installed_version
from engines.process.child import ChildEnded, run_in_child, tell
from engines.records.manifest import Manifest
from engines.records.record import Precision


class TensorRT:
    """Builds and loads engines for NVIDIA GPUs."""

    def __init__(self, package: str = "tensorrt") -> None:
        self._package = package

    def version(self) -> str:
        """Version of the package that is installed. Raises InputError when it is missing."""
        found = installed_version(self._package)
        if found is None:
            raise InputError(
                f"Expected the package {self._package}, which the backend `tensorrt` runs on, but "
                "it is not installed. Run `pipeline doctor`: it says how to install it here."
            )
        return found

    def onnx_precision(self, precision: Precision) -> Precision:
        """TensorRT 8.6 takes the float32 file for float16, and its builder decides."""
        old = not is_rtx(self._package) and Version(self.version()).major < 10
        return "fp32" if old and precision == "fp16" else precision

    def build(self, request: Request, engine: Path) -> BuildResult:
        """Build the plan in a process of its own and write it to `engine`, nothing before it.

        Raises InputError when TensorRT does not take the ONNX file, the profile or an option, or
        when memory runs out, WrongEngine when TensorRT cannot be imported, and JetrailError when
        the builder crashes.
        """
        job = Job(request=replace(request, progress=tell), package=self._package, engine=engine)
        try:
            return run_in_child(build, job, request.progress)
        except MemoryError as error:
            raise out_of_memory(request, str(error) or "the builder got no more of it") from error
        except ChildEnded as error:
            if error.killed:
                raise out_of_memory(request, f"the builder's process is gone, {error}") from error
            raise JetrailError(
                f"Expected {self._package} to build {request.onnx}, but its process crashed: "
                f"{error}. Run it again. If memory may be short, lower `builder.workspace_mib` in "
                "the target's params.yaml; if it is the same again, report it with the ONNX file "
                "and what `pipeline doctor` says."
            ) from error

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> TensorRTSession:
        """Deserialise an engine whose manifest was checked, with `in_flight` sets of buffers.

        Raises WrongEngine where there is no GPU, or TensorRT does not take the plan.
        """
        return TensorRTSession(engine, manifest, in_flight=in_flight)
