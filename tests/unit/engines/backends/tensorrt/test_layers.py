"""Layers of a plan, from documents (tests/documented/tensorrt) that nothing here recorded.

Those of a strongly typed network are tested with NVIDIA's builder in test_tensorrt.py.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backends.layers import main_precision
from engines.backends.tensorrt.layers import inspected_layers, plan_layers
from engines.errors import JetrailError

DOCUMENTS = Path(__file__).parents[4] / "documented" / "tensorrt"


def document(name: str) -> str:
    return (DOCUMENTS / name).read_text()


def test_layers_of_an_int8_plan_of_8_6() -> None:
    """Casts, reformats and shuffles compute nothing; INT8 is in the weights, or the input."""
    layers = inspected_layers(document("layers.8.6.2.int8.json"))
    assert layers == [
        ("convolution", "int8"),
        ("convolution", "int8"),
        ("pooling", "fp16"),
        ("convolution", "fp16"),
        ("pointwise", "fp32"),
        ("myelin", "fp32"),
    ]
    assert main_precision(layers) == "int8"


def test_layers_of_a_plan_on_a_dla() -> None:
    layers = inspected_layers(document("layers.10.3.0.dla.json"))
    assert layers == [("dla", "fp16"), ("resize", "fp16")]
    assert main_precision(layers) == "fp16"


def test_layers_by_name_alone_tell_nothing() -> None:
    assert inspected_layers(document("layers.8.6.2.names-only.json")) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Row major linear FP32", "fp32"),
        ("Row major linear UInt8 format", None),
        ("Row major INT8 format where column stride % 64 == 0", "int8"),
        ("Channel major BFloat16 format where channel % 8 == 0", "bf16"),
        ("Two wide channel vectorized row major FP16 format", "fp16"),
        ("Row major linear FP8 format", "fp8"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("Row major linear Int32", None),
        ("Row major linear BOOL", None),
        ("Unknown format", None),
        ("", None),
    ],
)
def test_names_of_formats(words: str, expected: str | None) -> None:
    layer = {"Name": "x", "LayerType": "PointWiseV2", "Inputs": [{"Format/Datatype": words}]}
    found = inspected_layers(json.dumps({"Layers": [layer]}))
    assert found == ([("pointwisev2", expected)] if expected else [])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("CaskConvolution", "convolution"),
        ("CaskConvActPool", "convolution"),
        ("CaskDeconvolution", "caskdeconvolution"),
    ],
)
def test_kinds_of_convolutions(kind: str, expected: str) -> None:
    layer = {"LayerType": kind, "Weights": {"Type": "Int8", "Count": 1}}
    assert inspected_layers(json.dumps({"Layers": [layer]})) == [(expected, "int8")]


WORDS = st.sampled_from(["Int8", "FP16", "Half", "FP32", "Float", "UInt8", "Int32", "x", ""])
TENSORS = st.fixed_dictionaries({}, optional={"Name": st.text(), "Format/Datatype": WORDS})
LAYERS = st.fixed_dictionaries(
    {},
    optional={
        "Name": st.text(),
        "LayerType": st.sampled_from(["CaskConvolution", "Reformat", "Myelin", "DLA", "NoOp"]),
        "ParameterType": st.sampled_from(["Convolution", "Reformat", "PointWise"]),
        "Inputs": st.lists(TENSORS, max_size=2),
        "Outputs": st.lists(TENSORS, max_size=2),
        "Weights": st.fixed_dictionaries({}, optional={"Type": WORDS, "Count": st.integers()}),
    },
)


@given(st.lists(LAYERS | st.text(), max_size=6))
def test_any_inspection(layers: list[Any]) -> None:
    found = inspected_layers(json.dumps({"Layers": layers, "Bindings": ["images"]}))
    assert len(found) <= sum(isinstance(layer, dict) for layer in layers)
    assert Counter(precision for _, precision in found).keys() <= {"int8", "fp16", "fp32"}
    assert not {kind for kind, _ in found} & {"reformat", "noop"}
    assert all(kind == kind.lower() for kind, _ in found)


@pytest.mark.parametrize("engine", [None, "names only"])
def test_a_plan_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, engine: str | None) -> None:
    """A stand-in for TensorRT's runtime, which cannot load a plan here."""
    told = SimpleNamespace(
        get_engine_information=lambda _: document("layers.8.6.2.names-only.json")
    )
    loaded = SimpleNamespace(create_engine_inspector=lambda: told) if engine else None
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: loaded)
    stand_in = SimpleNamespace(
        Runtime=lambda _: runtime, LayerInformationFormat=SimpleNamespace(JSON="JSON")
    )
    monkeypatch.setattr("engines.backends.tensorrt.layers.trt", stand_in)
    monkeypatch.setattr("engines.backends.tensorrt.layers.new_logger", lambda messages: None)
    with pytest.raises(JetrailError, match="engine inspector to tell the layers"):
        plan_layers(b"plan")
