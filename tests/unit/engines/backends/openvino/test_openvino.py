from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends import Session, open_backend
from engines.backends.loading import load_engine
from engines.backends.openvino.backend import OpenVINO
from engines.backends.openvino.graph import keep_box_decode_exact
from engines.backends.openvino.isa import CAP
from engines.backends.openvino.settings import compute_type, core
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Batch

IMGSZ = (64, 96)
BATCH = Batch(min=1, opt=2, max=4)


def _reference(onnx: Path, pictures: Any) -> Any:
    """ONNX Runtime on the same pictures, with the preprocessing written out."""
    import onnxruntime

    planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": planes})[0]


def _run(session: Session, slot: int, pictures: Any) -> Any:
    session.input(slot, len(pictures))[:] = pictures
    session.start(slot)
    return session.wait(slot).copy()


def test_is_listed() -> None:
    assert isinstance(open_backend("openvino"), OpenVINO)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_same_numbers_as_onnx_runtime_for_every_batch(
    built_engine: Path, tiny_onnx: Path, pictures: Any, in_flight: int
) -> None:
    expected = _reference(tiny_onnx, pictures)
    _, session = load_engine(built_engine, read_fingerprint(), in_flight=in_flight)
    assert session.slots == in_flight
    for slot in range(in_flight):
        for batch in (1, 4, 2, 1, 3):
            found = _run(session, slot, pictures[:batch])
            assert found.shape == (batch, 7, 96)
            np.testing.assert_allclose(found, expected[:batch], rtol=1e-4, atol=1e-4)
    session.close()


INTERRUPTED = """
import gc, signal, sys
from pathlib import Path

from engines.backends.loading import load_engine
from engines.machine.fingerprint import read_fingerprint

one, more = (load_engine(Path(sys.argv[1]), read_fingerprint(), in_flight=n)[1] for n in (1, 3))
one.close()
del one
gc.collect()
more.close()
del more
gc.collect()
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"ended in order by {number}"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_after_two_sessions_is_a_signal(built_engine: Path) -> None:
    """It crashed the process: each core of OpenVINO gives the thread a stack for signals."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(built_engine)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.strip()) == (1, "ended in order by 15")


def test_slots_do_not_disturb_each_other(
    built_engine: Path, tiny_onnx: Path, pictures: Any
) -> None:
    expected = _reference(tiny_onnx, pictures)
    _, session = load_engine(built_engine, read_fingerprint(), in_flight=4)
    for slot in range(4):
        session.input(slot, 2)[:] = pictures[2 * slot : 2 * slot + 2]
        session.start(slot)
    for slot in reversed(range(4)):
        found = session.wait(slot)
        np.testing.assert_allclose(found, expected[2 * slot : 2 * slot + 2], rtol=1e-4, atol=1e-4)
    session.close()


def test_an_inference_that_fails_is_a_sentence(
    built_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of this version's kernels for a large network, told by ONEDNN_VERBOSE to print."""
    import openvino

    _, session = load_engine(built_engine, read_fingerprint())
    session.input(0, 1)
    session.start(0)
    session.wait(0)

    def fails(_: object) -> None:
        raise RuntimeError("Node could not execute a primitive")

    monkeypatch.setattr(openvino.InferRequest, "wait", fails)
    said = "Expected an engine that OpenVINO runs here.*could not execute a primitive."
    with pytest.raises(WrongEngine, match=said):
        session.wait(0)


def test_buffers_are_the_same_from_frame_to_frame(built_engine: Path) -> None:
    _, session = load_engine(built_engine, read_fingerprint())
    first = session.input(0, 1)
    session.start(0)
    output = session.wait(0)
    assert np.shares_memory(first, session.input(0, 4))
    session.start(0)
    assert np.shares_memory(output, session.wait(0))
    session.close()


@pytest.mark.parametrize("batch", [0, 5])
def test_a_batch_outside_the_profile(built_engine: Path, batch: int) -> None:
    _, session = load_engine(built_engine, read_fingerprint())
    with pytest.raises(InputError, match="batch from 1 to 4"):
        session.input(0, batch)
    session.close()


def test_an_engine_of_another_processor_is_not_loaded(
    built_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By fingerprint it is this device's: that says nothing of what OpenVINO may use."""
    load_engine(built_engine, read_fingerprint())[1].close()
    monkeypatch.setenv(CAP, "SSE41")
    with pytest.raises(WrongEngine, match=f"built for a processor of the kind .* Set {CAP} as it"):
        load_engine(built_engine, read_fingerprint())


def test_says_what_really_ran(tiny_onnx: Path, tmp_path: Path, make_request: Any) -> None:
    isa = read_fingerprint().isa
    for precision, expected in (
        ("fp32", "fp32"),
        ("fp16", {"bf16": "bf16", "f16": "fp16", "f32": "fp32"}[compute_type("fp16", isa)]),
    ):
        request = make_request(tiny_onnx, precision=precision)
        result = OpenVINO().build(request, tmp_path / "engine.blob")
        assert result.executed_precision == expected
        assert expected in result.executed_layers
        assert "int8" not in result.executed_layers
        assert result.inputs[0].shape == (None, 64, 96, 3)
        assert result.outputs[0].shape == (None, 7, 96)


@pytest.mark.parametrize(
    ("precision", "isa", "expected"),
    [
        ("fp32", ("amx_bf16",), "f32"),
        ("fp16", ("amx_bf16", "avx512_fp16"), "bf16"),
        ("fp16", ("avx512_bf16",), "bf16"),
        ("fp16", ("avx512_fp16",), "f16"),
        ("fp16", ("asimd", "asimdhp"), "f16"),
        ("fp16", ("avx2", "avx512f"), "f32"),
        ("int8", ("amx_bf16",), "bf16"),
        ("int8", ("avx2",), "f32"),
    ],
)
def test_chooses_what_the_processor_has(
    precision: Any, isa: tuple[str, ...], expected: str
) -> None:
    assert compute_type(precision, isa) == expected


def test_the_box_decode_is_rewritten_without_a_change(tiny_onnx: Path, pictures: Any) -> None:
    model = core().read_model(tiny_onnx)
    assert keep_box_decode_exact(model) == 1
    kinds = [op.get_type_name() for op in model.get_ordered_ops()]
    assert kinds.count("Convolution") == 3
    planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    found = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(planes)[0]
    np.testing.assert_allclose(found, _reference(tiny_onnx, pictures), rtol=1e-4, atol=1e-4)


def test_the_box_decode_of_a_built_engine_runs_in_float32(
    tiny_onnx: Path, tmp_path: Path, make_request: Any
) -> None:
    """Even in bf16, which this asks for on processors without it too."""
    engine = tmp_path / "engine.blob"
    OpenVINO().build(make_request(tiny_onnx, precision="fp16"), engine)
    bf16 = {"INFERENCE_PRECISION_HINT": "bf16"}
    compiled = core().import_model(engine.read_bytes(), "CPU", bf16)
    layers = [
        (_info(op, "layerType"), _info(op, "runtimePrecision"))
        for op in compiled.get_runtime_model().get_ops()
    ]
    assert [precision for kind, precision in layers if kind == "Softmax"] == ["f32"]


def _info(op: Any, key: str) -> str:
    value = op.get_rt_info()[key]
    return str(getattr(value, "value", value))


class TestRefusesToBuild:
    @pytest.fixture(autouse=True)
    def _requests(self, make_request: Any) -> None:
        self.request = make_request

    def build(self, onnx: Path, tmp_path: Path, imgsz: tuple[int, int] = IMGSZ) -> None:
        OpenVINO().build(self.request(onnx, imgsz=imgsz), tmp_path / "engine.blob")

    def test_another_image_size(self, tiny_onnx: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected the input images as"):
            self.build(tiny_onnx, tmp_path, imgsz=(96, 96))

    def test_another_input(self, make_tiny_network: Callable[..., Path], tmp_path: Path) -> None:
        onnx = make_tiny_network(tmp_path / "other.onnx", input_name="x")
        with pytest.raises(InputError, match="expected one input named images, got x"):
            self.build(onnx, tmp_path)

    def test_a_file_that_is_not_onnx(self, tmp_path: Path) -> None:
        onnx = tmp_path / "model.fp32.onnx"
        onnx.write_bytes(b"\x08\x01 this is not a graph")
        with pytest.raises(InputError, match="that OpenVINO takes"):
            self.build(onnx, tmp_path)
        assert not (tmp_path / "engine.blob").exists()
