"""Adding a backend is one folder and one row: nothing else knows the backends by name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines import packages
from engines.backends.loading import load_engine
from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.detect.detector import Detector
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from engines.records.thresholds import Thresholds
from pipeline.steps.build import build
from pipeline.steps.probe import probe
from tests.unit.pipeline.steps.test_build import ENGINE, MODEL, REPOSITORY

FOLDER = {
    "options.py": """
from typing import Literal
from engines.backends import BuilderOptions

class ToyOptions(BuilderOptions):
    package: Literal["toy_runtime"] = "toy_runtime"
    threads: int
""",
    "backend.py": '''
import numpy as np
from engines.backends import BuildResult
from engines.records.manifest import Preprocess, Tensor

class Toy:
    """Runs the ONNX file as it is, through ONNX Runtime."""

    def __init__(self, package):
        assert package == "toy_runtime"

    def version(self):
        return "1.0"

    def onnx_precision(self, precision):
        return precision

    def build(self, request, engine):
        assert request.options.threads == 3
        engine.write_bytes(request.onnx.read_bytes())
        height, width = request.imgsz
        return BuildResult(
            executed_precision="fp32",
            executed_layers={"fp32": 1},
            inputs=(Tensor(name="images", dtype="uint8", shape=(None, height, width, 3)),),
            outputs=(Tensor(name="output0", dtype="float32", shape=(None, 7, 126)),),
            preprocess=Preprocess(in_engine=()),
        )

    def load(self, engine, manifest, *, in_flight):
        return ToySession(engine, manifest)

class ToySession:
    slots = 1
    waits = None

    def __init__(self, engine, manifest):
        import onnxruntime
        self.model = onnxruntime.InferenceSession(engine.read_bytes())
        self.pictures = np.zeros((manifest.batch.max, *manifest.imgsz, 3), np.uint8)

    def input(self, slot, batch):
        self.batch = batch
        return self.pictures[:batch]

    def start(self, slot):
        planes = self.pictures[: self.batch, ..., ::-1].transpose(0, 3, 1, 2) / np.float32(255)
        (self.raw,) = self.model.run(None, {"images": planes.astype(np.float32)})

    def wait(self, slot):
        return self.raw

    def gpu_times_ms(self, batch, rounds):
        return None

    def close(self):
        pass
''',
    "__init__.py": "",
}
ANYTHING = Thresholds(confidence=0, iou=0.7, max_detections=5)

ROW = packages.Package(
    name="toy_runtime",
    backend="toy",
    location="toy_backend.backend:Toy",
    options="toy_backend.options:ToyOptions",
    engine_file="engine.toy",
    distributions=("onnxruntime",),
    requirement="onnxruntime",
    gpu=False,
    tied_to=packages.PROCESSOR,
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder and the row."""
    folder = tmp_path / "packages" / "toy_backend"
    folder.mkdir(parents=True)
    for name, content in FOLDER.items():
        (folder / name).write_text(content)
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setitem(packages.PACKAGES, ROW.name, ROW)
    yield
    for name in [one for one in sys.modules if one.partition(".")[0] == "toy_backend"]:
        del sys.modules[name]


@pytest.fixture
def workspace(tmp_path: Path, tiny_onnx: Path) -> Workspace:
    """A repository with the tiny model, exported, and a target whose row says `backend: toy`."""
    made = Workspace(root=tmp_path / "repository")
    made.target("toys").mkdir(parents=True)
    made.model_out("tiny").mkdir(parents=True)
    (made.root / "dvc.yaml").touch()
    (made.model("tiny") / "model.yaml").write_text(MODEL)
    shutil.copy(tiny_onnx, made.model_out("tiny") / "model.fp32.onnx")
    row = (REPOSITORY / "engines/targets/x86-openvino/params.yaml").read_text()
    for old, new in {
        "target: x86-openvino": "target: toys",
        "backend: openvino": "backend: toy",
        "engine_file: engine.blob": "engine_file: engine.toy",
        "builder: {}": "builder: {threads: 3}",
    }.items():
        assert old in row
        row = row.replace(old, new)
    head = row[: row.index("\nengines:")]
    engines = f"\nengines:\n  {ENGINE}: {{model: tiny, precision: fp32}}\n"
    (made.target("toys") / "params.yaml").write_text(head + engines)
    return made


def test_its_engine_is_built_and_run(toy: None, workspace: Workspace) -> None:
    assert load_target(workspace, "toys").package is ROW
    assert "toy_runtime" in probe(workspace, "toys").backends
    manifest = build(workspace, "toys", ENGINE)
    assert (manifest.backend, manifest.backend_package) == ("toy", "toy_runtime")
    folder = workspace.engine("toys", ENGINE).path
    loaded, session = load_engine(folder, read_fingerprint())
    with Detector(session, loaded, thresholds=ANYTHING) as detector:
        (found,) = detector.detect([np.full((80, 100, 3), 90, np.uint8)])
    assert len(found) > 0


def test_its_options_are_read_strictly(toy: None, workspace: Workspace) -> None:
    path = workspace.target("toys") / "params.yaml"
    path.write_text(path.read_text().replace("threads: 3", "threads: many"))
    with pytest.raises(InputError, match=r"builder\.threads: .* got 'many'"):
        load_target(workspace, "toys")


def test_without_its_row_every_command_says_the_same(workspace: Workspace) -> None:
    said = set()
    for command in (load_target, probe, lambda *where: build(*where, ENGINE)):
        with pytest.raises(InputError, match="expected one of the backends") as raised:
            command(workspace, "toys")
        said.add(str(raised.value))
    assert len(said) == 1
    assert "backend: " in said.pop()
