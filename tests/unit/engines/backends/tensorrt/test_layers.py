"""Layers of a plan, from documents (tests/documented/tensorrt) that nothing here recorded.

Those of a strongly typed network are tested with NVIDIA's builder in test_tensorrt.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backends.layers import main_precision
from engines.backends.tensorrt.build import Job, how_built, inspect_built
from engines.backends.tensorrt.layers import inspect_plan, inspected
from engines.errors import InputError, JetrailError
from tests.unit.engines.backends.tensorrt.test_options import ORIN, ask

DOCUMENTS = Path(__file__).parents[4] / "documented" / "tensorrt"


def document(name: str) -> str:
    return (DOCUMENTS / name).read_text()


def test_layers_of_an_int8_plan_of_8_6() -> None:
    """Casts, reformats and shuffles compute nothing; INT8 is in the weights, or the input."""
    found = inspected(document("layers.8.6.2.int8.json"))
    assert (found.untold, found.on_dla) == (0, 0)
    layers = found.layers
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
    found = inspected(document("layers.10.3.0.dla.json"))
    assert found.layers == [("dla", "fp16"), ("resize", "fp16")]
    assert main_precision(found.layers) == "fp16"
    assert (found.untold, found.on_dla) == (0, 1)


def test_layers_whose_shape_depends_on_the_batch() -> None:
    """Only weights tell a precision there; what has none is counted, not left out in silence."""
    found = inspected(document("layers.8.6.2.dynamic.json"))
    assert found.layers == [("convolution", "fp16")]
    assert (found.untold, found.on_dla) == (2, 0)


def test_layers_of_a_second_profile_are_the_same_network_again() -> None:
    conv = {"LayerType": "CaskConvolution", "Weights": {"Type": "Int8", "Count": 1}}
    names = ("conv1", "conv2", "conv1 [profile 1]", "conv2 [profile 1]")
    text = json.dumps({"Layers": [conv | {"Name": name} for name in names]})
    assert inspected(text).layers == 2 * [("convolution", "int8")]


def test_layers_by_name_alone_tell_nothing() -> None:
    assert inspected(document("layers.8.6.2.names-only.json")).layers == []


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
    found = inspected(json.dumps({"Layers": [layer]})).layers
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
    assert inspected(json.dumps({"Layers": [layer]})).layers == [(expected, "int8")]


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
    whole = inspected(json.dumps({"Layers": layers, "Bindings": ["images"]}))
    found = whole.layers
    assert 0 <= whole.on_dla <= len(found) + whole.untold
    assert len(found) + whole.untold <= sum(isinstance(layer, dict) for layer in layers)
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
    monkeypatch.setattr("engines.backends.tensorrt.layers.logger_for", lambda messages: None)
    with pytest.raises(JetrailError, match="engine inspector to tell the layers"):
        inspect_plan(b"plan")


# --- what the DLA took ---------------------------------------------------------------------------


@pytest.fixture
def dla_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """A function that makes a job whose plan, of 10.3, the inspector tells of with a document."""

    def make(told: str, **row: Any) -> Job:
        loaded = SimpleNamespace(
            create_engine_inspector=lambda: SimpleNamespace(
                get_engine_information=lambda _: document(told)
            )
        )
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: loaded, DLA_core=-1)
        stand_in = SimpleNamespace(
            __version__="10.3.0",
            Runtime=lambda _: runtime,
            LayerInformationFormat=SimpleNamespace(JSON="JSON"),
            used=runtime,
        )
        for module in ("layers", "build", "sdk"):
            monkeypatch.setattr(f"engines.backends.tensorrt.{module}.trt", stand_in)
        monkeypatch.setattr("engines.backends.tensorrt.layers.logger_for", lambda messages: None)
        request, _, package = ask(tmp_path / "model.onnx", ORIN, "fp16", (1, 1, 1), **row)
        return Job(request=request, package=package, engine=tmp_path / "engine.plan")

    return make


def test_a_dla_that_took_a_part(dla_job: Callable[..., Job]) -> None:
    job = dla_job("layers.10.3.0.dla.json", dla_core=1)
    found = inspect_built(job, b"plan")
    assert found is not None
    assert found.on_dla == 1
    how = how_built(job, {}, "off", found, tf32=True)
    assert (how.dla_core, how.dla_layers) == (1, 1)
    assert (how.layers_from, how.layers_untold) == ("engine inspector", 0)


def test_a_dla_that_took_nothing_is_refused(dla_job: Callable[..., Job]) -> None:
    """With GPU fallback TensorRT builds such a plan without a word."""
    job = dla_job("layers.8.6.2.int8.json", dla_core=0)
    with pytest.raises(InputError, match=r"DLA core 0 to run a part of .* all 6 layers run on the"):
        inspect_built(job, b"plan")
    assert not job.engine.exists()


def test_the_manifest_says_how_layers_were_counted(dla_job: Callable[..., Job]) -> None:
    typed = dla_job("layers.8.6.2.dynamic.json")
    assert inspect_built(typed, b"plan") is None, (
        "no GPU is asked where the network's types are the law"
    )
    how = how_built(typed, {}, "off", None, tf32=True)
    assert (how.layers_from, how.layers_untold, how.dla_layers) == ("network types", 0, None)
    untyped = dla_job("layers.8.6.2.dynamic.json", dla_core=None)
    untold = inspected(document("layers.8.6.2.dynamic.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engines.backends.tensorrt.build.is_strongly_typed", lambda job: False)
        how = how_built(untyped, {}, "off", untold, tf32=True)
    assert (how.layers_from, how.layers_untold) == ("engine inspector", 2)
