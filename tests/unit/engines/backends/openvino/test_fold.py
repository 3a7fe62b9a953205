"""Q/DQ is computed as the ONNX file says, whatever the processor has for int8.

Each instruction set runs in a process of its own, since oneDNN reads its variable once. A processor
has all of those below its own; what ran stands in the tests' names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.openvino.fold import fit_to_processor
from engines.backends.openvino.isa import CAP, LEFT_BY_CAP
from engines.machine.fingerprint import read_fingerprint

NEEDS = {
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512bw",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "DEFAULT": "",
}
"""Cap to a flag without which the processor does not reach it."""
ISA = read_fingerprint().isa
CAPS = [cap for cap, flag in NEEDS.items() if not flag or flag in ISA]

SIDE, CLASSES = 32, 3
ROOT = Path(__file__).parents[5]

RUN = """
import sys
from pathlib import Path
import numpy as np
from tests.unit.engines.conftest import build_request
from engines.backends.openvino import backend as module
from engines.backends.openvino.session import OpenVINOSession
from engines.records.manifest import Batch, Manifest

onnx, blob, pictures, output, fold = sys.argv[1:]
if fold == "no":
    from engines.records.manifest import OpenVINOBlob
    module.fit_to_processor = lambda graph, kind, isa: OpenVINOBlob(
        processor_kind=kind, isa=isa, folded=0, weight_bits=8
    )
request = build_request(Path(onnx), precision="int8", imgsz=(32, 32))
result = module.OpenVINO().build(request, Path(blob))
manifest = Manifest.model_construct(batch=Batch(min=1, opt=1, max=1), precision="int8")
session = OpenVINOSession(Path(blob), manifest, in_flight=1)
found = []
for picture in np.load(pictures):
    session.input(0, 1)[0] = picture
    session.start(0)
    found.append(session.wait(0)[0].copy())
np.save(output, np.array(found))
print(result.openvino.model_dump_json())
"""


def quantized_network(path: Path) -> None:
    """A 1x1 convolution behind a Concat of two signed int8 activations, which OpenVINO's kernels
    without AMX take wrongly (`engines.backends.openvino.fold`)."""
    random = np.random.default_rng(0)
    initializers, nodes = [], []

    def constant(name: str, value: np.ndarray) -> str:
        initializers.append(numpy_helper.from_array(value, name))
        return name

    def quantized(name: str, scale: float) -> str:
        pair = [constant(f"{name}_scale", np.float32(scale)), constant(f"{name}_zero", np.int8(0))]
        nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *pair], [f"{name}_dq"]))
        return f"{name}_dq"

    def convolution(name: str, source: str, out: int, inner: int, kernel: int) -> str:
        weights = random.integers(-127, 128, (out, inner, kernel, kernel)).astype(np.int8)
        scale = np.full(out, 1 / (127 * np.sqrt(inner) * kernel), np.float32)
        parts = [
            constant(f"{name}_w", weights),
            constant(f"{name}_ws", scale),
            constant(f"{name}_wz", np.zeros(out, np.int8)),
        ]
        nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}_wdq"], axis=0))
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [source, f"{name}_wdq"], [name], pads=pads))
        return name

    def silu(name: str) -> str:
        nodes.append(helper.make_node("Sigmoid", [name], [f"{name}_s"]))
        nodes.append(helper.make_node("Mul", [name, f"{name}_s"], [f"{name}_a"]))
        return f"{name}_a"

    image = quantized("images", 1 / 127)
    halves = [
        quantized(silu(convolution(f"conv{number}", image, 16, 3, 3)), 0.02) for number in (1, 2)
    ]
    nodes.append(helper.make_node("Concat", halves, ["both"], axis=1))
    head = convolution("head", "both", 4 + CLASSES, 32, 1)
    shape = constant("shape", np.array([0, 4 + CLASSES, SIDE * SIDE], np.int64))
    nodes.append(helper.make_node("Reshape", [head, shape], ["output0"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "quantized",
        [value("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [value("output0", TensorProto.FLOAT, ["batch", 4 + CLASSES, SIDE * SIDE])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / "model.int8.onnx"
    quantized_network(path)
    return path


@pytest.fixture(scope="module")
def pictures(network: Path) -> np.ndarray:
    random = np.random.default_rng(1)
    made = random.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    np.save(network.with_name("pictures.npy"), made)
    return made


@pytest.fixture(scope="module")
def expected(network: Path, pictures: np.ndarray) -> np.ndarray:
    """What the ONNX file says: ONNX Runtime computes its Q/DQ in float."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.asarray(session.run(None, {"images": planes})[0])


def computed(network: Path, cap: str, fold: str) -> tuple[np.ndarray, str]:
    """What OpenVINO computes with this cap, and what the manifest would say."""
    folder = network.parent
    script = folder / "run.py"
    script.write_text(RUN)
    files = (network, folder / "engine.blob", folder / "pictures.npy", folder / "output.npy")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, files), fold],
        env=os.environ
        | {CAP: cap, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.load(files[-1]), done.stdout


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean error, as a part of the mean magnitude."""
    return float(np.abs(found - expected).mean() / np.abs(expected).mean())


@pytest.mark.parametrize("cap", CAPS)
def test_the_engine_computes_what_the_onnx_file_says(
    network: Path, pictures: np.ndarray, expected: np.ndarray, cap: str
) -> None:
    found, said = computed(network, cap, "yes")
    assert error(found, expected) < 0.05
    if "amx_int8" not in ISA or cap in LEFT_BY_CAP:
        assert '"folded":3' in said


@pytest.mark.skipif("avx2" not in ISA, reason="the fault is of x86 processors: nothing to see here")
def test_unfolded_it_does_not(network: Path, pictures: np.ndarray, expected: np.ndarray) -> None:
    """The fault is still there in OpenVINO: once this fails, the fold may go."""
    found, _ = computed(network, "AVX2", "no")
    assert error(found, expected) > 0.2


def test_nothing_changes_for_a_processor_with_amx(tmp_path: Path) -> None:
    """No such processor is needed to see what would be compiled for it."""
    import openvino as ov

    quantized_network(tmp_path / "model.onnx")
    graph = ov.Core().read_model(tmp_path / "model.onnx")
    before = [(op.get_type_name(), op.get_friendly_name()) for op in graph.get_ordered_ops()]
    said = fit_to_processor(graph, "amx", ("amx_int8",))
    assert (said.processor_kind, said.folded, said.weight_bits) == ("amx", 0, 8)
    after = [(op.get_type_name(), op.get_friendly_name()) for op in graph.get_ordered_ops()]
    assert after == before
    assert fit_to_processor(graph, "vnni", ()).folded > 0
