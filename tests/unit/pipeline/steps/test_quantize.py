"""The float16 and INT8 files, and the search for layers that must stay float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from pipeline.config import QuantizeConfig, load_quantize
from pipeline.onnx.golden import LEAST_SCORE, read_golden_outputs
from pipeline.onnx.head import find_head
from pipeline.onnx.quantizer import check_symmetric, conv_inputs, to_int8
from pipeline.onnx.reading import metadata
from pipeline.onnx.session import OnnxModel
from pipeline.records import Quantize
from pipeline.steps.quantize import Judgement, Search, Trial, quantize
from tests.unit.pipeline.conftest import IMGSZ, MODEL


def test_record_and_files(workspace: Workspace, exported: Path) -> None:
    record = quantize(workspace, MODEL)
    out = exported.parent
    assert Quantize.read(out / "quantize.json") == record
    assert [one.method for one in record.methods] == ["minmax", "entropy", "percentile"]
    best = min(record.methods, key=lambda one: one.error)
    assert record.method == best.method
    assert record.ranges[-1].error <= best.error
    assert record.range_images == 2
    assert (record.calibration_images, record.tuning_images) == (5, 5)
    assert [one.reason for one in record.float_layers] == ["head output"] * 6 + ["box decode"]
    assert record.within_budget
    check_float16(onnx.load(str(out / "model.fp16.onnx")))
    check_int8(onnx.load(str(out / "model.int8.onnx")), record)


def test_the_golden_frames_are_of_these_files(workspace: Workspace, exported: Path) -> None:
    (workspace.model(MODEL) / "data/tuning/labels/tuning-0.txt").write_text("")
    record = quantize(workspace, MODEL)
    path = workspace.golden(MODEL)
    assert record.golden_sha256 == sha256_file(path)
    golden = read_golden_outputs(path, MODEL)
    assert golden.frames.shape == (4, *IMGSZ, 3)  # as many as hold objects
    for precision, output in golden.outputs.items():
        model = OnnxModel((exported.parent / f"model.{precision}.onnx").read_bytes())
        raw = model.run(golden.frames)
        raw[:, 4:][raw[:, 4:] < LEAST_SCORE] = 0
        np.testing.assert_array_equal(output, raw)


def test_files_that_are_put_in_the_place_of_its_own_get_none_of_its_figures(
    workspace: Workspace, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = Path.replace, dict[str, str]()

    def put(self: Path, target: Path) -> Path:
        written[target.name] = sha256_file(self)
        moved = real(self, target)
        if target.suffix in (".onnx", ".npz"):
            target.write_bytes(b"another one")
        return moved

    monkeypatch.setattr(Path, "replace", put)
    record = quantize(workspace, MODEL)
    told = {one.file: one.sha256 for one in (record.fp16, record.int8)}
    assert written.items() >= (told | {"golden.npz": record.golden_sha256}).items()


def types(graph: Any) -> dict[str, int]:
    """Element type of each tensor that is not an initializer."""
    graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def check_float16(graph: Any) -> None:
    """Half weights and math up to the head's last convolutions, float32 around and after."""
    head, found = find_head(graph), types(graph)
    for node in graph.graph.node:
        if node.op_type != "Cast":
            half = node.name not in head.decode
            expected = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            assert {found[name] for name in node.output} == {expected}, node.name
    assert found["images"] == found["output0"] == TensorProto.FLOAT
    assert sum(node.op_type == "Cast" for node in graph.graph.node) == 7
    assert metadata(graph)["precision"] == "fp16"


def check_int8(graph: Any, record: Quantize) -> None:
    """Symmetric int8 with a scale for each channel, around convolutions outside the head only."""
    check_symmetric(graph)
    head = find_head(graph)
    producers = {name: node for node in graph.graph.node for name in node.output}
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.graph.initializer}
    quantized = 0
    for node in (node for node in graph.graph.node if node.op_type == "Conv"):
        weights = producers.get(node.input[1])
        if node.name not in head.body:
            assert weights is None, f"{node.name} must stay float"
            continue
        assert weights is not None
        assert producers[node.input[0]].op_type == "DequantizeLinear"
        assert values[weights.input[0]].dtype == np.int8
        assert values[weights.input[1]].shape == (values[weights.input[0]].shape[0],)
        quantized += 1
    assert quantized == record.quantized_layers
    assert metadata(graph)["precision"] == "int8"


def test_both_files_take_any_batch(workspace: Workspace, exported: Path) -> None:
    quantize(workspace, MODEL)
    images = np.random.default_rng(1).integers(0, 256, (3, *IMGSZ, 3), dtype=np.uint8)
    expected = OnnxModel(exported.read_bytes()).run(images)
    for name, limit in (("model.fp16.onnx", 1e-3), ("model.int8.onnx", 0.1)):
        model = OnnxModel((exported.parent / name).read_bytes())
        got = model.run(images)
        assert np.abs(got - expected)[:, 4:].mean() < limit, name
        alone = np.concatenate([model.run(image[None]) for image in images])
        np.testing.assert_allclose(got[:, 4:], alone[:, 4:], atol=1e-2, err_msg=name)


def test_twice_gives_the_same_files(workspace: Workspace, exported: Path) -> None:
    assert quantize(workspace, MODEL) == quantize(workspace, MODEL)


@pytest.mark.parametrize("number", [1, 3])
def test_the_number_of_processors_changes_no_file(
    workspace: Workspace, exported: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Bit for bit, with layers put back to float too, whose order is measured."""
    params = workspace.root / "params.yaml"
    params.write_text(params.read_text().replace("drop: 0.01", "drop: 0"))
    expected = quantize(workspace, MODEL)
    written = _files(exported.parent)
    for module in ("pipeline.onnx.inference", "pipeline.onnx.range_search"):
        monkeypatch.setattr(f"{module}.usable_processors", lambda: number)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(number)))
    assert quantize(workspace, MODEL) == expected
    assert _files(exported.parent) == written


def test_the_order_of_sums_of_another_processor_changes_no_file(
    workspace: Workspace, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for it, since ONNX Runtime's kernels cannot be capped: the level that lays
    convolutions out in blocks as wide as the processor's registers, which no file may come from."""
    quantize(workspace, MODEL)
    expected = (exported.parent / "model.int8.onnx").read_bytes()
    plain = OnnxModel.__init__

    def in_blocks(self: OnnxModel, model: bytes, **options: Any) -> None:
        plain(self, model, **options | {"portable": False})

    monkeypatch.setattr(OnnxModel, "__init__", in_blocks)
    quantize(workspace, MODEL)
    assert (exported.parent / "model.int8.onnx").read_bytes() == expected


def _files(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_head_is_found_by_shape(exported: Path) -> None:
    graph = onnx.load(str(exported))
    for number, node in enumerate(graph.graph.node):
        node.name = f"node{number}"
    head = find_head(graph)
    assert (len(head.outputs), len(head.distribution), len(head.body)) == (6, 1, 57)


def test_graph_without_such_a_head(exported: Path) -> None:
    graph = onnx.load(str(exported))
    for node in graph.graph.node:
        if node.op_type == "Softmax":
            node.op_type = "Sigmoid"
    with pytest.raises(InputError, match="Expected YOLOv8's detect head"):
        find_head(graph)


def test_uint8_quantization_is_refused(exported: Path) -> None:
    graph = onnx.load(str(exported))
    head = find_head(graph)
    int8 = to_int8(graph, dict.fromkeys(conv_inputs(graph, head.body).values(), 1.0), head.body)
    point = next(one for one in int8.graph.initializer if one.name.endswith("zero_point"))
    point.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.uint8), point.name))
    with pytest.raises(InputError, match="Expected int8 with a zero point"):
        check_symmetric(int8)


# --- layers back to float ----------------------------------------------------------------------


def search(
    exported: Path,
    accuracies: list[float],
    *,
    layers: int = 3,
    shifts: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
) -> tuple[Search, Trial]:
    """A search whose candidates have the given accuracies, in turn; float32 has 0.9."""
    graph = onnx.load(str(exported))
    head = find_head(graph)
    head = replace(head, body=head.body[:6])
    thresholds = dict.fromkeys(conv_inputs(graph, head.body).values(), 1.0)
    thresholds[conv_inputs(graph, head.body[:1])[head.body[0]]] = 0.01  # the first layer is bad
    config = QuantizeConfig(
        max_map50_95_drop=0.01,
        max_confidence_shift=0.02,
        max_float_layers=layers,
        methods=("minmax",),
        percentile=99,
        calibration_images=1,
        tuning_images=1,
        range_images=1,
        sensitivity_images=1,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (*IMGSZ, 3), dtype=np.uint8)
    judged = [
        Judgement(map50_95=one, confidence_shift=shift)
        for one, shift in zip(accuracies, shifts, strict=False)
    ]
    left: Iterator[Judgement] = iter(judged[1:])
    tuning: Any = SimpleNamespace(
        images=[SimpleNamespace(pixels=pixels)], judge=lambda graph, description: next(left)
    )
    int8 = to_int8(graph, thresholds, head.body)
    start = Trial(graph=int8, judged=judged[0])
    return Search(graph, head, thresholds, config, tuning, 0.9), start


def test_the_most_harmful_layer_goes_first(exported: Path) -> None:
    looking, start = search(exported, [0.5, 0.895])
    found = looking.run(start)
    assert looking.holds(found)
    (back,) = found.back
    assert (back.layer, back.reason, back.map50_95) == ("/model.0/conv/Conv", "accuracy", 0.895)
    assert looking.sensitivity[0].layer == back.layer
    assert len(looking.sensitivity) == 6
    errors = [one.error for one in looking.sensitivity]
    assert errors == sorted(errors, reverse=True)


def test_the_limit_of_float_layers(exported: Path) -> None:
    looking, start = search(exported, [0.5, 0.7, 0.8, 0.6])
    found = looking.run(start)
    assert not looking.holds(found)
    assert (found.judged.map50_95, len(found.back)) == (0.8, 2)


def test_confidences_alone_start_the_search(exported: Path) -> None:
    looking, start = search(exported, [0.9, 0.9, 0.9], shifts=(0.05, 0.03, 0.02))
    found = looking.run(start)
    assert looking.holds(found)
    assert not looking.holds(start)
    assert [one.confidence_shift for one in found.back] == [0.03, 0.02]


def test_nothing_to_put_back(exported: Path) -> None:
    looking, start = search(exported, [0.5], layers=0)
    assert looking.run(start) is start
    looking, start = search(exported, [0.9])
    assert looking.run(start) is start
    assert looking.sensitivity == []


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["calibration", "tuning"])
def test_without_images(workspace: Workspace, exported: Path, purpose: str) -> None:
    for image in (workspace.model(MODEL) / "data" / purpose / "images").iterdir():
        image.unlink()
    refused(workspace, f"{purpose} set, got none. Images are never replaced by random data")


def test_without_an_export(workspace: Workspace) -> None:
    refused(workspace, "pipeline export")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("max_map50_95_drop: 0.01", "max_map50_95_drop: -1", "quantize.max_map50_95_drop"),
        ("max_confidence_shift: 0.05", "max_confidence_shift: -1", "quantize.max_confidence_shift"),
        ("percentile: 99.9", "percentile: 101", "quantize.percentile"),
        ("[minmax, entropy, percentile]", "[]", "quantize.methods"),
        ("[minmax, entropy, percentile]", "[guess]", "quantize.methods.0"),
        (
            "tuning_images: 8",
            "tuning: 8",
            "tuning_images: Field required, got the key 'tuning' in its",
        ),
        ("quantize:", "quantise:", "expected the key `quantize`"),
    ],
)
def test_bad_parameters(workspace: Workspace, old: str, new: str, text: str) -> None:
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=text):
        load_quantize(workspace)


def test_the_projects_own_parameters() -> None:
    load_quantize(Workspace(root=Path(__file__).parents[4]))


def refused(workspace: Workspace, text: str) -> None:
    with pytest.raises(InputError, match=text):
        quantize(workspace, MODEL)
    left = {path.name for path in workspace.model_out(MODEL).glob("*")}
    assert left <= {"model.fp32.onnx"}
