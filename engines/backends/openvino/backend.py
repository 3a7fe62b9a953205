"""Building a blob, and loading it."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from engines.backends import INPUT, OUTPUT, BuildResult
from engines.backends.layers import main_precision
from engines.backends.openvino.executed import computing_layers
from engines.backends.openvino.fold import fit_to_processor
from engines.backends.openvino.graph import read_graph, with_preprocessing
from engines.backends.openvino.isa import CAP, processor_kind, usable_isa
from engines.backends.openvino.messages import translated
from engines.backends.openvino.options import Request
from engines.backends.openvino.session import OpenVINOSession
from engines.backends.openvino.settings import DEVICE, core, latency_config, precision_config
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.packages import extra_command
from engines.records.manifest import Manifest, Preprocess, Tensor
from engines.records.record import Precision

if TYPE_CHECKING:
    import openvino as ov


IN_ENGINE = ("NHWC to NCHW", "uint8 to float", "BGR to RGB", "divide by 255")


class OpenVINO:
    """Builds and loads engines for x86 and ARM CPUs."""

    def __init__(self, package: str = "openvino") -> None:
        self._package = package

    def version(self) -> str:
        """Version of OpenVINO that is installed. Raises InputError when it is missing."""
        try:
            return version(self._package)
        except PackageNotFoundError as error:
            raise InputError(
                "Expected the package openvino, which the backend `openvino` runs on, but it is "
                f"not installed. Install it with {extra_command('device')}."
            ) from error

    def onnx_precision(self, precision: Precision) -> Precision:
        """Every precision has an ONNX file of its own."""
        return precision

    def build(self, request: Request, engine: Path) -> BuildResult:
        """Compile the ONNX file for this CPU and write the blob to `engine`.

        Raises InputError when OpenVINO does not take the file.
        """
        with translated(InputError, f"Expected an ONNX file that OpenVINO takes: {request.onnx}"):
            graph = read_graph(core(), request)
            isa = usable_isa(request.device.isa)
            fitted = fit_to_processor(graph, processor_kind(isa), isa)
            model = with_preprocessing(graph)
            config = latency_config() | precision_config(request.precision)
            compiled = core().compile_model(model, DEVICE, config)
            engine.write_bytes(_export(compiled))
            layers = computing_layers(compiled)
        height, width = request.imgsz
        channels, anchors = (int(side) for side in compiled.output(0).shape[1:])
        return BuildResult(
            executed_precision=main_precision(layers),
            executed_layers=dict(Counter(precision for _, precision in layers).most_common()),
            inputs=(Tensor(name=INPUT, dtype="uint8", shape=(None, height, width, 3)),),
            outputs=(Tensor(name=OUTPUT, dtype="float32", shape=(None, channels, anchors)),),
            preprocess=Preprocess(in_engine=IN_ENGINE),
            openvino=fitted,
        )

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> OpenVINOSession:
        """Load an engine whose manifest was checked.

        With `in_flight` 1 all processors work on one frame; with more, so many frames run side by
        side on streams of their own. Raises WrongEngine when OpenVINO does not take the
        blob, or when it was made for another kind of processor.
        """
        check_processor(manifest, usable_isa(read_fingerprint().isa))
        return OpenVINOSession(engine, manifest, in_flight=in_flight)


def check_processor(manifest: Manifest, isa: tuple[str, ...]) -> None:
    """Refuse a blob that was made for another kind of processor, or under another cap: its Q/DQ
    would be computed wrongly, or in another type. So is one whose manifest does not say it.

    `isa`: the flags that OpenVINO may use here. Raises WrongEngine.
    """
    blob = manifest.openvino
    if blob is None:
        raise WrongEngine(
            f"Engine {manifest.engine} is refused: expected `openvino` in its manifest, which says "
            "for what kind of processor it was built, but there is none. Build it again with "
            f"`pipeline build {manifest.engine} --target {manifest.target}`."
        )
    if blob.isa == isa:
        return
    lacks = ", ".join(sorted(set(blob.isa) - set(isa))) or "nothing"
    more = ", ".join(sorted(set(isa) - set(blob.isa))) or "nothing"
    raise WrongEngine(
        f"Engine {manifest.engine} is refused: it was built for a processor of the kind "
        f"{blob.processor_kind}, and OpenVINO may use one of the kind {processor_kind(isa)} here, "
        f"which lacks {lacks} and has {more} more. Set {CAP} as it was for the build (or not at "
        f"all), or build it with `pipeline build {manifest.engine} --target {manifest.target}`."
    )


def _export(compiled: ov.CompiledModel) -> bytes:
    blob = compiled.export_model()
    return blob if isinstance(blob, bytes) else bytes(blob.getbuffer())
