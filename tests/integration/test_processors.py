"""The same engine on every kind of processor: a child process for each that this one can stand for.

Which ran is in the tests' names. What the processor at hand lacks has no test here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.files import sha256_file
from engines.machine.processor import read_processor
from pipeline.accuracy.coco import accuracy, in_pixels, read_set_labels
from pipeline.intake.dataset import load_sets
from pipeline.onnx.inference import decode_raw, prepare_all, spread
from pipeline.onnx.session import OnnxModel
from pipeline.steps.export import export
from pipeline.steps.quantize import quantize

ROOT = Path(__file__).parents[2]
MODEL = "meter-yolov8n"
PICTURES = 320
"""All that there are. On 64 of them, mAP50-95 of engines that were right moved by up to 0.006."""
NEEDS = {
    "AVX2": "avx2",
    "AVX512_CORE": "avx512bw",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE_VNNI": "avx512_vnni",
}
"""Kind of processor, as ONEDNN_MAX_CPU_ISA calls it, to the flag that the processor must have."""
HERE = read_processor(Path("/")).isa
CAPS = [cap for cap, flag in NEEDS.items() if flag in HERE]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The sample model at its own size, quantized with the ranges of fewer pictures."""
    workspace = Workspace(root=tmp_path_factory.mktemp("sample"))
    folder = workspace.model(MODEL)
    folder.mkdir(parents=True)
    for file in ("model.yaml", "weights.pt"):
        shutil.copyfile(ROOT / "models" / MODEL / file, folder / file)
    (folder / "data").symlink_to(ROOT / "models" / MODEL / "data")
    (workspace.root / "dvc.yaml").touch()
    params = (ROOT / "params.yaml").read_text().replace("_images: 512", "_images: 24")
    (workspace.root / "params.yaml").write_text(
        params.replace("range_images: 12", "range_images: 2")
    )
    export(workspace, MODEL)
    quantize(workspace, MODEL)
    return workspace


@pytest.fixture(scope="module")
def pictures(sample: Workspace) -> Any:
    """Letterboxed pictures of the evaluation set, their labels, and the names of the classes."""
    model = load_model(sample, MODEL)
    samples = spread(load_sets(sample.model(MODEL), model)["evaluation"], PICTURES)
    images = prepare_all(samples, model.imgsz, "letterbox")
    labels = read_set_labels(samples, len(model.classes))
    truth = in_pixels(labels, {one.name: one.size for one in images})
    return images, truth, model.classes


@pytest.fixture(scope="module")
def expected(sample: Workspace, pictures: Any) -> Any:
    """What ONNX Runtime makes of model.int8.onnx."""
    onnx = OnnxModel((sample.model_out(MODEL) / "model.int8.onnx").read_bytes())
    return np.concatenate([onnx.run(one.pixels[None]) for one in pictures[0]])


def test_this_processor_stands_for_one_kind_at_least() -> None:
    assert CAPS or "asimd" in HERE


def test_one_processor_quantizes_as_two(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """At this size ONNX Runtime cuts the work of two threads otherwise than that of one: the scales
    of the INT8 file are rounded and hide it, the figures in quantize.json do not."""
    folder = sample.model_out(MODEL)
    before = {path.name: sha256_file(path) for path in folder.iterdir()}
    for module in ("pipeline.onnx.inference", "pipeline.onnx.range_search"):
        monkeypatch.setattr(f"{module}.usable_processors", lambda: 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    quantize(sample, MODEL)
    assert {path.name: sha256_file(path) for path in folder.iterdir()} == before


@pytest.mark.parametrize("cap", CAPS)
def test_an_int8_engine_computes_what_its_onnx_file_says(
    sample: Workspace, pictures: Any, expected: Any, cap: str, tmp_path: Path
) -> None:
    images, truth, classes = pictures
    np.save(tmp_path / "pictures.npy", np.stack([one.pixels for one in images]))
    onnx = sample.model_out(MODEL) / "model.int8.onnx"
    done = subprocess.run(
        [sys.executable, __file__, str(onnx), str(tmp_path)],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": cap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["vnni" if "VNNI" in cap else "no-vnni", "int8"]
    found = np.load(tmp_path / "found.npy")
    seen = np.maximum(found, expected)[:, 4:] >= 0.25
    assert np.abs(found - expected)[:, 4:][seen].mean() < 0.04
    came, wanted = (_map50_95(raw, images, truth, classes) for raw in (found, expected))
    assert wanted > 0.5
    assert came == pytest.approx(wanted, abs=0.002)


def _map50_95(raw: Any, images: Any, truth: Any, classes: Any) -> float:
    decoded = zip(images, raw, strict=True)
    found = {image.name: decode_raw(one, image.placement) for image, one in decoded}
    return accuracy(truth, found, classes).map50_95


def main(onnx: Path, folder: Path) -> None:
    """In a child: build the engine, and write what it makes of `pictures.npy` to `found.npy`."""
    from engines.backends import BuildRequest
    from engines.backends.openvino.backend import OpenVINO
    from engines.backends.openvino.options import OpenVINOOptions
    from engines.machine.fingerprint import read_fingerprint
    from engines.records.manifest import Batch, Manifest

    pictures = np.load(folder / "pictures.npy")
    request = BuildRequest(
        onnx=onnx,
        precision="int8",
        batch=Batch(min=1, opt=1, max=1),
        imgsz=pictures.shape[1:3],
        device=read_fingerprint(),
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    built = OpenVINO().build(request, folder / "engine.blob")
    assert built.openvino is not None
    manifest = Manifest.model_construct(
        precision="int8", batch=request.batch, openvino=built.openvino
    )
    session = OpenVINO().load(folder / "engine.blob", manifest, in_flight=1)
    found = []
    for picture in pictures:
        session.input(0, 1)[:] = picture
        session.start(0)
        found.append(session.wait(0)[0].copy())
    session.close()
    np.save(folder / "found.npy", np.stack(found))
    print(built.openvino.processor_kind, built.executed_precision)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
