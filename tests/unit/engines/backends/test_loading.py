from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.backends.loading import check_engine, device_differences, load_engine
from engines.backends.openvino.backend import OpenVINO
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest, TensorRTPlan


@pytest.fixture
def device() -> Fingerprint:
    return read_fingerprint()


@pytest.fixture
def never_deserialised() -> Any:
    """Fails the test when the backend is given the engine."""
    with patch.object(OpenVINO, "load", side_effect=AssertionError("deserialised")) as load:
        yield load


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    Manifest.read(path).model_copy(update=changes).write(path)


def test_loads_what_build_wrote(engine_folder: Path, device: Fingerprint) -> None:
    manifest, session = load_engine(engine_folder, device)
    assert manifest.engine == "tiny-fp32"
    assert session.slots == 1
    session.close()


def _plan(version_compatible: bool = False, hardware: Any = "none") -> TensorRTPlan:
    return TensorRTPlan(
        profile={},
        strongly_typed=True,
        workspace_mib=1,
        optimization_level=3,
        version_compatible=version_compatible,
        hardware_compatibility=hardware,
        dla_core=None,
        timing_cache="off",
    )


class TestCompatiblePlans:
    """What a plan is tied to is less where it was built so."""

    @pytest.fixture
    def card(self, device: Fingerprint) -> Fingerprint:
        facts = {"kind": "dgpu", "gpu": "NVIDIA L4", "compute_capability": "8.9", "driver": "560"}
        return device.model_copy(update={**facts, "cuda": "12.6"})

    @pytest.mark.parametrize(
        ("plan", "free"),
        [
            (_plan(), set()),
            (_plan(hardware="same-compute-capability"), {"gpu", "driver", "cuda"}),
            (_plan(hardware="ampere+"), {"gpu", "compute_capability", "driver", "cuda"}),
            (_plan(version_compatible=True), {"driver", "cuda", "l4t", "jetpack"}),
            (
                _plan(version_compatible=True, hardware="ampere+"),
                {"gpu", "compute_capability", "driver", "cuda", "l4t", "jetpack"},
            ),
        ],
    )
    def test_device(
        self, engine_folder: Path, card: Fingerprint, plan: TensorRTPlan, free: set[str]
    ) -> None:
        changes = {"device": card, "backend_package": "tensorrt", "tensorrt": plan}
        manifest = Manifest.read(engine_folder / "manifest.json").model_copy(update=changes)
        for field in ("gpu", "compute_capability", "driver", "cuda", "l4t", "jetpack", "family"):
            other = card.model_copy(update={field: "other"})
            assert bool(device_differences(manifest, other)) == (field not in free)

    @pytest.mark.parametrize(
        ("built", "installed", "compatible", "takes"),
        [
            ("10.3.0", "10.3.0", False, True),
            ("10.3.0", "10.7.0", False, False),
            ("10.3.0", "10.3.0", True, True),
            ("10.3.0", "10.7.0", True, True),
            ("10.7.0", "10.16.0", True, True),
            ("10.7.0", "10.3.0", True, False),
            ("10.3.0", "11.4.1", True, False),
            ("10.3.0", "10.3.0.post1", True, True),
            ("10.3.0", "unknown", True, False),
        ],
    )
    def test_version(
        self, engine_folder: Path, built: str, installed: str, compatible: bool, takes: bool
    ) -> None:
        plan = _plan(version_compatible=compatible)
        _edit(engine_folder, backend_version=built, tensorrt=plan)
        manifest = Manifest.read(engine_folder / "manifest.json")
        with patch.object(OpenVINO, "version", return_value=installed):
            if takes:
                check_engine(engine_folder, manifest, manifest.device)
                return
            with pytest.raises(WrongEngine, match=f"{built}, here is {installed}"):
                check_engine(engine_folder, manifest, manifest.device)

    @pytest.mark.parametrize(
        ("built_for", "here", "takes"),
        [
            ((), "9.0", True),  # TensorRT-RTX's default, whose GPUs its documents do not agree on
            (("7.5",), "7.5", True),
            (("8.6", "8.9"), None, True),
            (("8.6", "8.9"), "9.0", False),
        ],
    )
    def test_gpus_by_name(
        self,
        engine_folder: Path,
        device: Fingerprint,
        built_for: tuple[str, ...],
        here: str | None,
        takes: bool,
    ) -> None:
        plan = _plan().model_copy(update={"compute_capabilities": built_for})
        _edit(engine_folder, tensorrt=plan)
        manifest = Manifest.read(engine_folder / "manifest.json")
        card = {"gpu": "NVIDIA H100", "compute_capability": here}
        device = device.model_copy(update=card)
        if takes:
            check_engine(engine_folder, manifest, device)
            return
        with pytest.raises(WrongEngine) as raised:
            check_engine(engine_folder, manifest, device)
        assert "built for GPUs of SM 8.6, 8.9, and NVIDIA H100 has SM 9.0" in str(raised.value)
        assert "Add '9.0' to `builder.compute_capabilities`" in str(raised.value)


@pytest.mark.usefixtures("never_deserialised")
class TestRefused:
    def refused(self, folder: Path, device: Fingerprint) -> str:
        with pytest.raises(WrongEngine) as raised:
            load_engine(folder, device)
        assert raised.value.exit_code == 5
        message = str(raised.value)
        assert "pipeline build tiny-fp32 --target x86-openvino" in message
        return message

    def test_truncated(self, engine_folder: Path, device: Fingerprint) -> None:
        blob = engine_folder / "engine.blob"
        size = blob.stat().st_size
        blob.write_bytes(blob.read_bytes()[:-100])
        message = self.refused(engine_folder, device)
        assert f"engine_bytes: expected {size}" in message
        assert f"has {size - 100}" in message

    def test_missing(self, engine_folder: Path, device: Fingerprint) -> None:
        (engine_folder / "engine.blob").unlink()
        assert "engine.blob is not there" in self.refused(engine_folder, device)

    def test_outside_its_folder(self, engine_folder: Path, device: Fingerprint) -> None:
        (engine_folder / "engine.blob").rename(engine_folder.parent / "engine.blob")
        _edit(engine_folder, engine_file="../engine.blob")
        assert "engine_file" in self.refused(engine_folder, device)

    def test_another_engine(self, engine_folder: Path, device: Fingerprint) -> None:
        _edit(engine_folder, engine_sha256="a" * 64)
        assert f"engine_sha256: expected {'a' * 64}" in self.refused(engine_folder, device)

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("name", "AMD EPYC 9354", "device name: expected 'AMD EPYC 9354'"),
            ("architecture", "aarch64", "device architecture: expected 'aarch64'"),
            ("isa", ("avx10",), "device isa: this device lacks avx10"),
            ("cores", 999, "device cores: expected 999"),
        ],
    )
    def test_foreign_device(
        self, engine_folder: Path, device: Fingerprint, field: str, value: Any, said: str
    ) -> None:
        _edit(engine_folder, device=device.model_copy(update={field: value}))
        assert said in self.refused(engine_folder, device)

    def test_other_backend_version(self, engine_folder: Path, device: Fingerprint) -> None:
        _edit(engine_folder, backend_version="2024.6.0")
        message = self.refused(engine_folder, device)
        assert "backend_version: it was built with openvino 2024.6.0, here is" in message
        assert OpenVINO().version() in message
        assert "Run `pip install openvino==2024.6.0`, or build it here with `pipeline" in message

    def test_manifest_from_before_thresholds(
        self, engine_folder: Path, device: Fingerprint
    ) -> None:
        path = engine_folder / "manifest.json"
        content = json.loads(path.read_text())
        del content["thresholds"]
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match="thresholds: .*`dvc repro`"):
            load_engine(engine_folder, device)

    def test_unknown_backend(self, engine_folder: Path, device: Fingerprint) -> None:
        _edit(engine_folder, backend="tflite")
        assert "backend: expected one of openvino" in self.refused(engine_folder, device)

    def test_a_backend_on_a_package_that_is_another_ones(
        self, engine_folder: Path, device: Fingerprint
    ) -> None:
        _edit(engine_folder, backend_package="tensorrt")
        said = "the manifest says 'openvino' on 'tensorrt'"
        assert said in self.refused(engine_folder, device)

    def test_backend_that_is_not_installed(self, engine_folder: Path, device: Fingerprint) -> None:
        """As for whoever loads it from MLflow, and has no clone to build it in."""
        _edit(engine_folder, backend_version="2026.4.1")
        with patch.object(OpenVINO, "version", side_effect=InputError("not installed")):
            message = self.refused(engine_folder, device)
        assert "openvino is not installed here. Run `pip install openvino==2026.4.1`, or" in message


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_any_flipped_byte_is_refused(
    engine_folder: Path, device: Fingerprint, where: float, bits: int
) -> None:
    blob = engine_folder / "engine.blob"
    whole = blob.read_bytes()
    position = int(where * len(whole))
    blob.write_bytes(whole[:position] + bytes([whole[position] ^ bits]) + whole[position + 1 :])
    manifest = Manifest.read(engine_folder / "manifest.json")
    try:
        with pytest.raises(WrongEngine, match="engine_sha256"):
            check_engine(engine_folder, manifest, device)
    finally:
        blob.write_bytes(whole)


def test_memory_and_other_backends_may_differ(engine_folder: Path, device: Fingerprint) -> None:
    other = device.model_copy(update={"memory_gib": 999, "backends": {"tensorrt": "10.3.0"}})
    _edit(engine_folder, device=other)
    _, session = load_engine(engine_folder, device)
    session.close()


def test_without_a_manifest(engine_folder: Path, device: Fingerprint) -> None:
    (engine_folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="pipeline build"):
        load_engine(engine_folder, device)


def test_openvino_that_refuses_the_blob(engine_folder: Path, device: Fingerprint) -> None:
    # A file that is what its manifest says, and yet no engine.
    import hashlib

    content = b"not an engine"
    (engine_folder / "engine.blob").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    _edit(engine_folder, engine_sha256=digest, engine_bytes=len(content))
    with pytest.raises(WrongEngine, match="that OpenVINO can load"):
        load_engine(engine_folder, device)
