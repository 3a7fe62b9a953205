"""A machine with a stand-in for its GPU and TensorRT, and a folder with an engine for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engines.backends.loading import load_engine
from engines.backends.tensorrt import backend as tensorrt
from engines.backends.tensorrt import sdk
from engines.backends.tensorrt.cuda import driver as cuda
from engines.backends.tensorrt.session import TensorRTSession
from engines.backends.tensorrt.uint8_input import with_uint8_input
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Manifest, Profile, TensorRTPlan

IMGSZ = (64, 96)
PLAN = TensorRTPlan(
    profile={"images": Profile(min=(1, *IMGSZ, 3), opt=(2, *IMGSZ, 3), max=(4, *IMGSZ, 3))},
    single={"images": Profile(min=(1, *IMGSZ, 3), opt=(1, *IMGSZ, 3), max=(1, *IMGSZ, 3))},
    strongly_typed=True,
    workspace_mib=256,
    optimization_level=3,
    version_compatible=False,
    hardware_compatibility="none",
    dla_core=None,
    timing_cache="off",
)


class Machine:
    """Of one TensorRT; `folder` is for its engine, whose manifest is made from `manifest`."""

    def __init__(
        self,
        fake: ModuleType,
        trt: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        onnx: Path,
        manifest: Manifest,
        flavour: tuple[str, str],
    ) -> None:
        self._trt = trt
        self.package, self.version = flavour
        self.plan = PLAN
        self.driver = fake.Driver()
        module = self._trt.make_module(
            self.driver, fake.Refused, name=self.package, version=self.version
        )
        monkeypatch.setitem(sys.modules, self.package, module)
        monkeypatch.setitem(vars(sdk.trt), "package", self.package)
        monkeypatch.setattr(cuda, "driver", lambda: self.driver)
        monkeypatch.setattr(tensorrt.TensorRT, "version", lambda backend: self.version)
        self.module, self.folder, self._onnx, self._manifest = module, folder, onnx, manifest

    @property
    def engines(self) -> set[Any]:
        """The stand-ins of all engines that are loaded now."""
        return set(self._trt.LOADED)

    def context(self, batch: int) -> Any:
        """The stand-in of the one execution context for that batch."""
        users = [one for engine in self.engines for one in engine.users]
        (found,) = [one for one in users if one.shape and one.shape[0] == batch]
        return found

    def build(self, onnx: Path | None = None, how: TensorRTPlan = PLAN, **facts: Any) -> Manifest:
        """Write the plan and its manifest; `facts` say what is special about the plan."""
        facts = {"version": self.version, **facts}
        plan = self._trt.make_plan(with_uint8_input(onnx or self._onnx, IMGSZ), (1, 4), **facts)
        path = self.folder / "engine.plan"
        path.write_bytes(plan)
        manifest = self._manifest.model_copy(
            update={
                "backend": "tensorrt",
                "backend_package": self.package,
                "backend_version": self.version,
                "engine_file": path.name,
                "engine_sha256": sha256_file(path),
                "engine_bytes": path.stat().st_size,
                "tensorrt": how,
            }
        )
        manifest.write(self.folder / "manifest.json")
        return manifest

    def load(self, in_flight: int = 1, **facts: Any) -> TensorRTSession:
        self.build(**facts)
        _, session = load_engine(self.folder, read_fingerprint(), in_flight=in_flight)
        assert isinstance(session, TensorRTSession)
        return session
