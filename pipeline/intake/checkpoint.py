"""YOLOv8 checkpoints: checked, loaded without running anything in them, and traced to ONNX.

The only module that imports torch and Ultralytics.
"""

from __future__ import annotations

import atexit
import copy
import hashlib
import importlib
import io
import os
import pickle
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, lacks_memory, says_lack_of_threads
from engines.files import temporary_folder
from engines.process.garbage import collected_later
from pipeline.intake.checkpoint_file import check_archive, read_file
from pipeline.intake.checkpoint_scan import (
    NAMESPACE,
    OLD_NAMES,
    TORCH_LAYERS,
    ULTRALYTICS_LAYERS,
    OtherNumbers,
    Refused,
    scan,
)
from pipeline.intake.foreign import not_ours
from pipeline.intake.memory import bounded_memory
from pipeline.intake.network import (
    check_fused,
    check_kind,
    check_numbers,
    check_runs,
    check_size,
    class_names,
    strides,
)
from pipeline.intake.saved_anew import unwrapped
from pipeline.intake.stand_ins import NUMBER_KINDS, STAND_INS
from pipeline.intake.training import left_out, trained_imgsz, trained_with, unfinished
from pipeline.progress import note

OPSET = 17
"""The newest that TensorRT 8.6 of JetPack 6.0 documents; ONNX Runtime's quantizer takes <= 20."""

INPUT, OUTPUT = "images", "output0"

_BUILT_WRONG = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_MEMORY = (512 << 20) + (16 << 20) * (os.cpu_count() or 1)
"""Bytes that reading may take besides four times the file, which are its bytes, what is unpacked of
it, and float32 of float16; the stacks of torch's threads are in it."""

_NEWEST_PROTOCOL = 3
"""Of pickles that torch reads without running them; torch.save writes 2."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """What a checkpoint says of itself."""

    sha256: str
    classes: tuple[str, ...]
    """Names in the order of the network's outputs."""
    strides: tuple[int, ...]
    """Pixels per cell of each detection level."""
    single_cls: bool
    """Trained with `single_cls`: every object is of one class."""
    imgsz: tuple[int, int] | None
    """Height and width that it was trained at, in pixels; None where it does not say."""
    left_out: tuple[str, ...]
    """Classes whose objects its training passed over (`classes`)."""
    unfinished: int | None
    """Epochs that were done when it was saved while it trained; None of best.pt from the end."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint: its facts, and the network in float32 for inference."""

    facts: CheckpointFacts
    network: Any
    """`ultralytics.nn.tasks.DetectionModel`, not fused."""

    def forward(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw head output, shape (n, 4 + classes, anchors): boxes in pixels, scores 0 to 1.

        `images`: letterboxed uint8 BGR, shape (n, height, width, 3).
        """
        torch = _torch()
        planes = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2))
        with torch.inference_mode():
            raw = self.network(torch.from_numpy(planes).float() / 255)
        return np.asarray((raw[0] if isinstance(raw, tuple) else raw).numpy(), dtype=np.float32)

    def forward_noise(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """As `forward`, on one picture of noise, `shape` pixels high and wide; always the same."""
        noise = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8)
        return self.forward(noise)


def inspect_checkpoint(path: Path) -> CheckpointFacts:
    """The facts of a checkpoint. Raises InputError as `load_checkpoint` does, and where its layers
    do not compute the same once they are fused, as an export fuses them. Says where it was saved
    while it trained."""
    facts = _read(path, None, fused_too=True).facts
    if facts.unfinished is not None:
        note(
            f"Note: {path} was saved while it trained, after {facts.unfinished} epoch(s); the "
            "best.pt from the end of the training may find more."
        )
    return facts


def load_checkpoint(path: Path, sha256: str | None = None) -> Checkpoint:
    """Check and load a YOLOv8 detect checkpoint, without running anything in it.

    Raises InputError when the file is missing, damaged, not a checkpoint, has another `sha256`
    than given, names or does anything that a YOLOv8 detect checkpoint does not, or holds another
    network. The file is read once, so what was checked is what is loaded.
    """
    return _read(path, sha256, fused_too=False)


def _read(path: Path, sha256: str | None, *, fused_too: bool) -> Checkpoint:
    data = read_file(path, sha256)
    digest = hashlib.sha256(data).hexdigest()
    check_archive(path, data)
    ultralytics_module("ultralytics.nn.tasks")  # before the memory is bounded
    with quiet(), collected_later(), bounded_memory(path, 4 * len(data) + _MEMORY):
        checkpoint = _loaded(path, data, digest)
        levels, classes = checkpoint.facts.strides, len(checkpoint.facts.classes)
        raw = check_runs(path, checkpoint.forward_noise, levels, classes)
        if fused_too:
            check_fused(path, raw, lambda: _fused(checkpoint).forward_noise)
        return checkpoint


def _loaded(path: Path, data: bytes, digest: str) -> Checkpoint:
    _check_pickle(path, data)
    content = _load(path, data)
    try:
        network = _network(path, content)
        names = class_names(path, network)
        facts = CheckpointFacts(
            sha256=digest,
            classes=names,
            strides=strides(path, network),
            single_cls=trained_with(content).get("single_cls") is True,
            imgsz=trained_imgsz(content),
            left_out=left_out(content, names),
            unfinished=unfinished(content),
        )
    except _BUILT_WRONG as error:
        raise InputError(
            f"Expected a YOLOv8 detect network in {path}, but it is not put together as one "
            f"({type(error).__name__}: {error}). Give the best.pt of the training."
        ) from error
    return Checkpoint(facts=facts, network=network)


def _fused(checkpoint: Checkpoint) -> Checkpoint:
    """With the same network, its layers fused as Ultralytics' exporter does; not as it was then."""
    network = checkpoint.network.fuse(verbose=False)
    for layer in network.modules():
        if type(layer).__name__ == "C2f":
            layer.forward = layer.forward_split
    return Checkpoint(facts=checkpoint.facts, network=network)


def export_onnx(
    checkpoint: Checkpoint, path: Path, imgsz: tuple[int, int], *, opset: int = OPSET
) -> None:
    """Trace the network to `path` at batch 1: input `images`, output `output0`, no NMS.

    `imgsz` is height and width in pixels. Prepares a copy of the network as Ultralytics' exporter
    does. Raises InputError where PyTorch has no ONNX for a layer, or cannot fuse it.
    """
    try:
        with quiet():
            _export(_fused(copy.deepcopy(checkpoint)).network, path, imgsz, opset)
    except _BUILT_WRONG as error:
        if lacks_memory(error) or says_lack_of_threads(str(error)):
            raise  # neither the checkpoint nor PyTorch is to blame
        raise InputError(
            "Expected a network that PyTorch exports to ONNX, but it does not "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}). Give the best.pt of "
            "the training to `pipeline update-model`."
        ) from error


def _export(network: Any, path: Path, imgsz: tuple[int, int], opset: int) -> None:
    torch = _torch()
    head = network.model[-1]
    head.dynamic, head.export, head.format, head.shape = False, True, "onnx", None
    image = torch.zeros(1, 3, *imgsz)
    with torch.inference_mode():
        network(image)  # computes the anchors, which the trace then holds as constants
    torch.onnx.export(
        network,
        (image,),
        str(path),
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamo=False,  # the other exporter needs onnxscript and takes ten times as long
    )


def versions() -> dict[str, str]:
    """Versions of the packages that trace: `torch` and `ultralytics`."""
    ultralytics = ultralytics_module("ultralytics")
    return {"torch": str(_torch().__version__), "ultralytics": str(ultralytics.__version__)}


# --- before loading ----------------------------------------------------------------------------


def _check_pickle(path: Path, data: bytes) -> None:
    """Refuse a pickle that names or does what no YOLOv8 detect checkpoint does."""
    try:
        # Read through torch: another reader of archives might see another file of the same name.
        reader = _torch()._C.PyTorchFileReader(io.BytesIO(data))
        pickled = reader.get_record("data.pkl")
        found = scan(pickled)
    except OtherNumbers as error:
        raise InputError(
            f"Expected weights as floating-point numbers in {path}, got {error}. Give the best.pt "
            "of the training; `pipeline quantize` makes INT8 from it."
        ) from error
    except Refused as error:
        raise InputError(
            f"Refused to load {path}: {error}, and no checkpoint needs that. Nothing in it was "
            "run. Get the weights again from whom you have them, and tell them."
        ) from error
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise InputError(
            f"Expected a PyTorch checkpoint in {path}, but its pickle cannot be read ({error}). "
            "Fetch it again."
        ) from error
    if found.foreign:
        raise InputError(not_ours(path, found))
    if pickled[:1] == b"\x80" and pickled[1] > _NEWEST_PROTOCOL:
        raise InputError(
            f"Expected a checkpoint in the pickle protocol 2, as torch.save writes it, in {path}, "
            f"got {pickled[1]}. Save it again without `pickle_protocol`."
        )


# --- loading -----------------------------------------------------------------------------------


def _load(path: Path, data: bytes) -> dict[str, Any]:
    torch = _torch()
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, *_BUILT_WRONG) as error:
        raise InputError(
            f"Expected a whole PyTorch checkpoint in {path}, but torch cannot load it "
            f"({_reason(error)}). Fetch it again."
        ) from error
    if not isinstance(content, dict):
        kind = type(content)
        alone = kind is ultralytics_module("ultralytics.nn.tasks").DetectionModel
        put = f"put the network into one (`{unwrapped(path)}`), and give plain.pt"
        raise InputError(
            f"Expected Ultralytics' dictionary with a model in {path}, got {kind.__name__}. Give "
            f"the .pt that Ultralytics saves{f', or {put}' if alone else ''}."
        )
    return content


def _reason(error: Exception) -> str:
    """What torch found, without its advice to load the file unchecked."""
    said = str(error).rpartition("WeightsUnpickler error: ")[2].strip().splitlines()
    return said[0] if said else type(error).__name__


def _safe_globals() -> list[Any]:
    """Every class of the list, with the names that checkpoints use for it."""
    classes = {
        name: _named(ultralytics_module(name.rpartition(".")[0]), name)
        for name in (*TORCH_LAYERS, *ULTRALYTICS_LAYERS, NAMESPACE)
    }
    old = {old: classes[new] for old, new in OLD_NAMES.items()}
    return [*((value, name) for name, value in (classes | old | STAND_INS).items()), *NUMBER_KINDS]


def _named(module: Any, name: str) -> Any:
    return getattr(module, name.rpartition(".")[2])


def _network(path: Path, content: dict[str, Any]) -> Any:
    """The averaged weights where there are some, as Ultralytics prefers them."""
    tasks = ultralytics_module("ultralytics.nn.tasks")
    heads = ultralytics_module("ultralytics.nn.modules.head")
    network: Any = content.get("ema") or content.get("model")
    if type(network) is not tasks.DetectionModel:
        raise InputError(
            f"Expected a YOLOv8 detect network under `model` or `ema` in {path}, got "
            f"{'none' if network is None else type(network).__name__}. Give the .pt that "
            "Ultralytics saves, not a state_dict."
        )
    head = network.model[-1]
    if type(head) is not heads.Detect:
        raise InputError(
            f"Expected YOLOv8's Detect head in {path}, got {type(head).__name__}. Jetrail serves "
            "YOLOv8 detect."
        )
    if type(head.dfl) is not ultralytics_module("ultralytics.nn.modules.block").DFL:
        raise InputError(
            f"Expected YOLOv8's Detect head in {path}, got one without DFL, as YOLO26 has (its "
            "`reg_max` is 1). Jetrail serves YOLOv8 detect."
        )
    if getattr(head, "one2one_cv2", None) is not None:
        raise InputError(
            f"Expected YOLOv8's Detect head in {path}, got one with a second branch, which is "
            "trained with `end2end`. Jetrail serves YOLOv8 detect; train without it."
        )
    if content.get("modelopt"):
        raise InputError(
            f"Expected float weights, got a network trained for quantization in {path}. "
            "Give the checkpoint before that; `pipeline quantize` makes INT8 from it."
        )
    check_size(path, network)
    check_kind(path, network)
    network = network.float().eval().requires_grad_(False)
    for layer in network.modules():
        if type(layer).__name__ == "Upsample" and not hasattr(layer, "recompute_scale_factor"):
            layer.recompute_scale_factor = None  # checkpoints of torch before 1.11 lack it
    check_numbers(path, network)
    return network


# --- imports -----------------------------------------------------------------------------------


class quiet(warnings.catch_warnings):  # noqa: N801  # a context manager, named as such
    """Without the warnings of torch's tracer, which users can do nothing about."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered


def _torch() -> Any:
    return importlib.import_module("torch")


def ultralytics_module(module: str) -> Any:
    """Import a module of torch or Ultralytics; the latter kept from network and home folder."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        until_the_end = ExitStack()
        atexit.register(until_the_end.close)
        os.environ["YOLO_CONFIG_DIR"] = str(until_the_end.enter_context(temporary_folder()))
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    with collected_later():
        return importlib.import_module(module)
