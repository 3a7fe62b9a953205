"""Options of a row that not every TensorRT or device has.

Of TensorRT itself, which cannot be installed here, stands a stand-in with the few names that the
checks look at, as NVIDIA's documents give them for each version: no real TensorRT confirmed it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from engines.backends import BuildRequest
from engines.backends.tensorrt.build import Job, config_of, has_tf32, is_strongly_typed
from engines.backends.tensorrt.options import TensorRTOptions
from engines.backends.tensorrt.sdk import POLYGRAPHY_SWITCH
from engines.backends.tensorrt.supported import check_options, hardware_level
from engines.errors import InputError
from engines.process.child import run_in_child
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch
from engines.records.record import Precision

ROW: dict[str, Any] = {
    **{"package": "tensorrt", "workspace_mib": 2048, "optimization_level": 3},
    **{"timing_cache": False, "version_compatible": False, "hardware_compatibility": "none"},
    "dla_core": None,
}
ORIN = Fingerprint(
    **{"kind": "jetson", "name": "ARM Cortex-A78AE", "architecture": "aarch64", "isa": ()},
    **{"cores": 8, "memory_gib": 15, "backends": {"tensorrt": "10.3.0"}, "gpu": "Orin"},
    **{"compute_capability": "8.7", "gpu_memory_gib": 15, "unified_memory": True, "dla_cores": 2},
    **{"family": "orin-nx", "l4t": "36.4.3", "jetpack": "6.2"},
)
AGX = ORIN.model_copy(update={"family": "agx-orin"})
NANO = ORIN.model_copy(update={"family": "orin-nano", "dla_cores": 0})
CARD = Fingerprint(
    **{"kind": "dgpu", "name": "Xeon", "architecture": "x86_64", "isa": (), "cores": 8},
    **{"memory_gib": 128, "backends": {}, "gpu": "NVIDIA L4", "compute_capability": "8.9"},
    **{"gpu_memory_gib": 24, "unified_memory": False, "dla_cores": 0},
)
CPU = CARD.model_copy(
    update={"kind": "cpu", "gpu": None, "gpu_memory_gib": None, "unified_memory": None}
)


def stand_in(version: str) -> SimpleNamespace:
    """The module `tensorrt` of a version, as far as it matters here."""
    release = tuple(int(part) for part in version.split(".")[:2])
    levels = ["NONE", "AMPERE_PLUS"] + ["SAME_COMPUTE_CAPABILITY"] * (release >= (10, 9))
    flags = ["FP16", "INT8", "TF32"] + ["VERSION_COMPATIBLE"] * (release >= (8, 6))
    return SimpleNamespace(
        __version__=version,
        HardwareCompatibilityLevel=Enum("HardwareCompatibilityLevel", levels),
        BuilderFlag=Enum("BuilderFlag", flags),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        PreviewFeature=SimpleNamespace(PROFILE_SHARING_0806="profile sharing"),
        ComputeCapability=Enum("ComputeCapability", ["NONE", "CURRENT", "SM75", "SM89", "SM120"]),
    )


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts a version of the stand-in in TensorRT's place."""

    def make(version: str) -> None:
        for module in ("supported", "build", "sdk"):
            name = f"engines.backends.tensorrt.{module}.trt"
            monkeypatch.setattr(name, stand_in(version))

    return make


def ask(
    onnx: Path,
    device: Fingerprint,
    precision: Precision = "fp16",
    batch: tuple[int, int, int] = (1, 4, 4),
    **row: Any,
) -> tuple[BuildRequest, TensorRTOptions, str]:
    """What check_options wants."""
    options = TensorRTOptions(**(ROW | row))
    request = BuildRequest(
        onnx=onnx,
        precision=precision,
        batch=Batch(min=batch[0], opt=batch[1], max=batch[2]),
        imgsz=(64, 96),
        device=device,
        options=options,
        progress=lambda phase, done, total: None,
    )
    return request, options, options.package


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row, where it is built, and a part of why that cannot be; empty where it can."""

    version: str = "10.3.0"
    device: Fingerprint = ORIN
    precision: Precision = "fp16"
    batch: tuple[int, int, int] = (1, 1, 1)
    row: dict[str, Any]
    said: str = ""


RTX: dict[str, Any] = {"package": "tensorrt_rtx"}
CASES = {
    "workspace as large as the memory": Case(row={"workspace_mib": 15 * 1024}),
    "workspace larger than shared memory": Case(
        row={"workspace_mib": 15 * 1024 + 1},
        said="what tensorrt 10.3.0 can do on Orin, got 15361: the device has 15360 MiB, which the "
        "whole machine shares, in all",
    ),
    "workspace larger than the card's": Case(
        device=CARD, row={"workspace_mib": 32 * 1024}, said="the device has 24576 MiB in all"
    ),
    "workspace larger than the builder's machine": Case(
        version="1.7.1.116",
        device=CPU,
        row=RTX | {"workspace_mib": 256 * 1024},
        said="what tensorrt_rtx 1.7.1.116 can do on Xeon, got 262144: the device has 131072 MiB",
    ),
    "version compatible": Case(row={"version_compatible": True}),
    "version compatible with 8.6": Case(version="8.6.2", row={"version_compatible": True}),
    "version compatible, too old": Case(
        version="8.5.2", row={"version_compatible": True}, said="got True: it is too old"
    ),
    "version compatible with RTX": Case(
        version="1.7.1",
        row=RTX | {"version_compatible": True},
        said="`builder.version_compatible`",
    ),
    "hardware compatible": Case(device=CARD, row={"hardware_compatibility": "ampere+"}),
    "hardware compatible with JetPack": Case(
        row={"hardware_compatibility": "ampere+"}, said="no hardware compatibility on JetPack"
    ),
    "hardware compatible with RTX": Case(
        version="1.7.1",
        device=CARD,
        row=RTX | {"hardware_compatibility": "ampere+"},
        said="run on RTX GPUs from Ampere on as they are",
    ),
    "hardware level": Case(
        version="10.9.0", device=CARD, row={"hardware_compatibility": "same-compute-capability"}
    ),
    "hardware level that is not known yet": Case(
        device=CARD,
        row={"hardware_compatibility": "same-compute-capability"},
        said="it knows only NONE, AMPERE_PLUS",
    ),
    "GPUs by name": Case(
        version="1.7.1", device=CARD, row=RTX | {"compute_capabilities": ("7.5", "12.0")}
    ),
    "a GPU that RTX does not build for": Case(
        version="1.7.1",
        device=CARD,
        row=RTX | {"compute_capabilities": ("9.0", "8.9", "10.0")},
        said="it builds for SM 7.5, 8.9, 12.0, not for 9.0, 10.0; give other GPUs a target with",
    ),
    "GPUs by name with TensorRT": Case(
        device=CARD,
        row={"compute_capabilities": ("8.9",)},
        said="`builder.compute_capabilities` what tensorrt 10.3.0 can do",
    ),
    "DLA": Case(row={"dla_core": 1}),
    "DLA core beyond the last": Case(row={"dla_core": 2}, said="the DLA cores here are 0 to 1"),
    "DLA where there is none": Case(
        device=NANO, row={"dla_core": 0}, said="got 0: there is no DLA here"
    ),
    "DLA on a card": Case(device=CARD, row={"dla_core": 0}, said="there is no DLA here"),
    "DLA with RTX": Case(version="1.7.1", row=RTX | {"dla_core": 0}, said="there is no DLA here"),
    "DLA with the last 10 that has it": Case(version="10.7.0", row={"dla_core": 0}),
    "DLA with JetPack 7.2": Case(
        version="10.16.0",
        device=AGX,
        row={"dla_core": 0},
        said="no DLA on a Jetson from 10.8 until",
    ),
    "DLA with 11.4.0": Case(
        version="11.4.0", device=AGX, row={"dla_core": 0}, said="from 10.8 until 11.4.1"
    ),
    "DLA of an Orin NX with 11.4.0": Case(
        version="11.4.0", row={"dla_core": 0}, said="no DLA on a Jetson from 10.8 until 11.4.1"
    ),
    "DLA of an Orin Nano with 11.4.0": Case(
        version="11.4.0", device=NANO, row={"dla_core": 0}, said="there is no DLA here"
    ),
    "DLA of an AGX Orin with 11.4.1": Case(version="11.4.1", device=AGX, row={"dla_core": 0}),
    "DLA of an Orin NX with 11.4.1": Case(
        version="11.4.1",
        row={"dla_core": 0},
        said="supports the DLA of Jetson AGX Orin only, and this is a Jetson of the family orin-nx",
    ),
    "DLA of an unknown Jetson with 11.5": Case(
        version="11.5.0",
        device=ORIN.model_copy(update={"family": None}),
        row={"dla_core": 0},
        said="of the family unknown",
    ),
    "DLA in a container that does not see which Jetson it is on": Case(
        device=ORIN.model_copy(update={"family": None, "dla_cores": None, "source": "cuda"}),
        row={"dla_core": 0},
        said="which Jetson this is cannot be told, and so not whether it has a DLA; in a container",
    ),
    "DLA with a range of batches": Case(
        batch=(1, 4, 4),
        row={"dla_core": 0},
        said="min, opt and max of `batch:` must be equal, but the row has 1, 4 and 4",
    ),
    "DLA with a batch whose least differs": Case(
        batch=(2, 4, 4), row={"dla_core": 0}, said="must be equal"
    ),
    "DLA with batches of four only": Case(batch=(4, 4, 4), row={"dla_core": 0}),
    "a range of batches without a DLA": Case(batch=(1, 4, 4), row={}),
    "DLA in float32": Case(
        precision="fp32", row={"dla_core": 0}, said="a DLA computes in fp16 and int8 only"
    ),
    "DLA in int8": Case(precision="int8", row={"dla_core": 0}, said="a DLA takes no Q/DQ"),
    "DLA in int8 with 11": Case(
        version="11.4.1", device=AGX, precision="int8", row={"dla_core": 0}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_options(use: Callable[[str], None], tmp_path: Path, name: str) -> None:
    case = CASES[name]
    use(case.version)
    arguments = ask(tmp_path / "model.onnx", case.device, case.precision, case.batch, **case.row)
    if not case.said:
        check_options(*arguments)
        return
    with pytest.raises(InputError) as raised:
        check_options(*arguments)
    assert case.said in str(raised.value)
    assert str(raised.value).endswith("Fix the target's params.yaml.")


@pytest.mark.parametrize("sm", ["8.6.0", "sm_86", "86", "", 8.6])
def test_a_compute_capability_is_written_in_quotes(sm: object) -> None:
    with pytest.raises(ValidationError, match="compute_capabilities"):
        TensorRTOptions(**(ROW | {"compute_capabilities": [sm]}))


# --- the flags of the configuration, set by Polygraphy itself -------------------------------------


class Config:
    """A stand-in for IBuilderConfig: what is on in a new one is TensorRT's default."""

    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.DLA_core = -1
        self.preview: dict[object, bool] = {}
        self.set_preview_feature = self.preview.__setitem__

    def set_flag(self, flag: Enum) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Enum) -> None:
        self.flags.discard(flag.name)

    def get_flag(self, flag: Enum) -> bool:
        return flag.name in self.flags

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


class Network(tuple[Any, ...]):
    """A stand-in for a network without layers, through which Polygraphy looks."""

    num_inputs = num_outputs = 0
    num_layers = 0


def flags_on_a_stand_in(jobs: Sequence[Job]) -> list[set[str]]:
    """In the child: what Polygraphy makes of our calls, with a stand-in as `tensorrt`, of the
    version that the plans are named by."""
    module: Any = ModuleType("tensorrt")
    vars(module).update(vars(stand_in(jobs[0].engine.name)))
    module.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    module.IProgressMonitor = type("IProgressMonitor", (), {"__init__": lambda self: None})
    module.Builder = module.INetworkDefinition = module.IBuilderConfig = object
    sys.modules["tensorrt"] = module
    builder: Any = SimpleNamespace(
        create_builder_config=Config, create_optimization_profile=lambda: "a profile"
    )
    network: Any = Network()
    configs: list[Any] = [config_of(builder, network, job, {}, None) for job in jobs]
    assert all(has_tf32(config) == ("TF32" in config.flags) for config in configs)
    return [config.flags for config in configs]


@pytest.mark.parametrize("version", ["8.6.2", "10.3.0", "11.4.1"])
def test_tf32_is_on_unless_the_row_says_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """What the configuration holds in the end, not what Polygraphy was told: its own default is
    off, and then it clears TensorRT's."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[5]))
    monkeypatch.delenv(POLYGRAPHY_SWITCH, raising=False)  # this process may have used RTX
    asked: list[tuple[Precision, bool]] = list(product(("fp32", "fp16", "int8"), (True, False)))
    jobs = []
    for precision, tf32 in asked:
        request, _, package = ask(tmp_path / "model.onnx", ORIN, precision, tf32=tf32)
        request = replace(request, progress=print)
        jobs.append(Job(request=request, package=package, engine=tmp_path / version))
    found = run_in_child(flags_on_a_stand_in, tuple(jobs), print)
    for (precision, tf32), flags in zip(asked, found, strict=True):
        untyped = version.startswith("8")
        assert ("TF32" in flags) == tf32
        assert ("FP16" in flags) == (untyped and precision != "fp32")
        assert ("INT8" in flags) == (untyped and precision == "int8")


# --- what the builder is told --------------------------------------------------------------------


class Told:
    """Takes the place of Polygraphy's CreateConfig and keeps what it was given."""

    def __init__(self, **given: Any) -> None:
        Told.last = given

    last: dict[str, Any]

    def __call__(self, builder: object, network: object) -> SimpleNamespace:
        preview: dict[str, bool] = {}
        return SimpleNamespace(DLA_core=0, preview=preview, set_preview_feature=preview.__setitem__)


@pytest.fixture
def told(
    use: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """A function that says what Polygraphy is told for a version, a precision and a row."""

    def ask_config(version: str, precision: Precision, **row: Any) -> dict[str, Any]:
        use(version)
        monkeypatch.setattr("polygraphy.backend.trt.CreateConfig", Told)
        request, _, package = ask(tmp_path / "model.onnx", ORIN, precision, **row)
        job = Job(request=request, package=package, engine=tmp_path / "engine.plan")
        config = config_of(None, None, job, {}, None)  # type: ignore[arg-type]
        rest = {"DLA_core": config.DLA_core, "preview": config.preview}
        return Told.last | {"typed": is_strongly_typed(job)} | rest

    return ask_config


@pytest.mark.parametrize(
    ("version", "precision", "typed", "fp16", "int8"),
    [
        ("8.6.2", "fp32", False, False, False),
        ("8.6.2", "fp16", False, True, False),
        ("8.6.2", "int8", False, True, True),
        ("10.3.0", "fp16", True, False, False),
        ("10.3.0", "int8", True, False, False),
        ("11.4.1", "int8", True, False, False),
    ],
)
def test_flags_where_the_types_of_the_file_are_not_the_law(
    told: Callable[..., dict[str, Any]],
    version: str,
    precision: Precision,
    typed: bool,
    fp16: bool,
    int8: bool,
) -> None:
    found = told(version, precision)
    assert (found["typed"], found["fp16"], found["int8"]) == (typed, fp16, int8)
    assert found["memory_pool_limits"] == {"workspace": 2048 << 20}
    assert found["builder_optimization_level"] == 3


@pytest.mark.parametrize(
    ("version", "told_so"), [("8.6.2", {"profile sharing": True}), ("10.3.0", {})]
)
def test_contexts_may_share_the_profile(
    told: Callable[..., dict[str, Any]], version: str, told_so: dict[str, bool]
) -> None:
    """A session has one for each batch; without it TensorRT 8.6 refuses the second."""
    assert told(version, "fp16")["preview"] == told_so


@pytest.mark.parametrize(("version", "typed"), [("10.3.0", False), ("11.4.1", True)])
def test_a_dla_with_the_gpu_for_what_it_cannot_run(
    told: Callable[..., dict[str, Any]], version: str, typed: bool
) -> None:
    found = told(version, "fp16", dla_core=1)
    assert found["use_dla"] is True
    assert found["allow_gpu_fallback"] is True
    assert found["DLA_core"] == 1
    assert found["typed"] is typed
    assert found["fp16"] is not typed


def test_without_a_dla_there_is_no_fallback(told: Callable[..., dict[str, Any]]) -> None:
    found = told("10.3.0", "fp16")
    assert (found["use_dla"], found["allow_gpu_fallback"], found["DLA_core"]) == (False, False, 0)


def test_levels_of_hardware_compatibility(use: Callable[[str], None], tmp_path: Path) -> None:
    use("10.9.0")
    for name, expected in (
        ("none", None),
        ("ampere+", "AMPERE_PLUS"),
        ("same-compute-capability", "SAME_COMPUTE_CAPABILITY"),
    ):
        level = hardware_level(ask(tmp_path, CARD, hardware_compatibility=name)[1])
        assert (level and level.name) == expected
