"""The backend `tensorrt` with NVIDIA's own builder, which TensorRT-RTX has without a GPU too.

What wants a GPU (loading a plan) is in tests/gpu.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engines.backends import BuildRequest, BuildResult, open_backend
from engines.backends.tensorrt.backend import TensorRT
from engines.backends.tensorrt.build import Job
from engines.backends.tensorrt.build import build as build_here
from engines.backends.tensorrt.options import TensorRTOptions
from engines.backends.tensorrt.sdk import choose
from engines.errors import InputError, JetrailError, WrongEngine
from engines.process.child import run_in_child
from engines.records.manifest import Batch, Profile, Tensor
from engines.records.record import Precision

ROOT = Path(__file__).parents[5]
RTX = "tensorrt_rtx"
ROW: dict[str, Any] = {
    **{"tf32": True, "compute_capabilities": ()},
    **{"package": RTX, "workspace_mib": 512, "optimization_level": 3, "timing_cache": False},
    **{"version_compatible": False, "hardware_compatibility": "none", "dla_core": None},
}
CACHED = {"timing_cache": True}

Edit = Callable[[Any], None]
Build = Callable[..., BuildResult]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Timing caches go here and not to the user's; and children can import this file."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Where the plan goes."""
    return tmp_path / "engine.plan"


@pytest.fixture
def request_for(make_request: Callable[..., BuildRequest]) -> Callable[..., BuildRequest]:
    """A function that makes a request; it takes keys of the row and of the request."""

    def make(onnx: Path, **changes: Any) -> BuildRequest:
        row = {key: changes.pop(key) for key in list(changes) if key in ROW}
        return make_request(onnx, options=TensorRTOptions(**(ROW | row)), **changes)

    return make


@pytest.fixture
def build(request_for: Callable[..., BuildRequest], plan: Path) -> Build:
    """A function that builds an ONNX file to `plan`, with such changes."""
    return lambda onnx, **changes: TensorRT(RTX).build(request_for(onnx, **changes), plan)


def edited(source: Path, target: Path, edit: Edit) -> Path:
    """A copy of an ONNX file with a change."""
    import onnx

    model = onnx.load(str(source))
    edit(model)
    onnx.save(model, str(target))
    return target


def typed(source: Path, folder: Path, precision: Precision) -> Path:
    """The tiny network as `pipeline quantize` would write it."""
    from pipeline.onnx import onnx_file
    from pipeline.onnx.head import find_head
    from pipeline.onnx.quantizer import to_float16, to_int8

    model = onnx_file.read_onnx(source)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"/{node.op_type}_{number}"
    path = folder / f"model.{precision}.onnx"
    if precision == "fp16":
        model = to_float16(model, find_head(model))
    elif precision == "int8":
        model = to_float16(to_int8(model, {"images": 1.0}, ["stem"]), find_head(model))
    onnx_file.write_onnx(model, path)
    return path


# --- what comes out ------------------------------------------------------------------------------


def test_is_listed() -> None:
    for package in ("tensorrt", RTX):
        assert isinstance(open_backend(package), TensorRT)
    with pytest.raises(ValidationError, match="'tensorrt' or 'tensorrt_rtx'"):
        TensorRTOptions(**(ROW | {"package": "openvino"}))


def test_says_how_the_plan_was_built(build: Build, tiny_onnx: Path) -> None:
    result = build(tiny_onnx)
    assert result.inputs == (Tensor(name="images", dtype="uint8", shape=(None, 64, 96, 3)),)
    assert result.outputs == (Tensor(name="output0", dtype="float32", shape=(None, 7, 96)),)
    assert result.preprocess.in_engine[0] == "uint8 to float"
    said = result.tensorrt
    assert said is not None
    frame = (64, 96, 3)
    assert said.profile == {"images": Profile(min=(1, *frame), opt=(2, *frame), max=(4, *frame))}
    assert said.strongly_typed
    assert (said.workspace_mib, said.optimization_level) == (512, 3)
    assert (said.version_compatible, said.hardware_compatibility) == (False, "none")
    assert said.dla_core is None
    assert said.timing_cache == "off"


@pytest.mark.parametrize(
    ("precision", "layers"),
    [("fp32", {"fp32"}), ("fp16", {"fp16", "fp32"}), ("int8", {"int8", "fp16", "fp32"})],
)
def test_precision_is_the_files(
    build: Build, tiny_onnx: Path, tmp_path: Path, precision: Precision, layers: set[str]
) -> None:
    """The tiny network has three convolutions before the box decode: stem, box and score."""
    result = build(typed(tiny_onnx, tmp_path, precision), precision=precision)
    assert set(result.executed_layers) == layers
    assert result.executed_precision == ("fp32" if precision == "fp32" else "fp16")
    half = {"fp16": 3, "fp32": 1}
    convolutions = {"fp32": {"fp32": 4}, "fp16": half, "int8": {"int8": 1, "fp16": 2, "fp32": 1}}
    for name, count in convolutions[precision].items():
        assert result.executed_layers[name] >= count


def test_the_plan_has_no_header(build: Build, tiny_onnx: Path, plan: Path) -> None:
    """Ultralytics puts a length and JSON before its plans, so that trtexec refuses them."""
    build(tiny_onnx)
    content = plan.read_bytes()
    assert content[1:4] == b"trt"
    assert b'"' not in content[:16]


def test_progress_goes_on_in_each_phase(build: Build, tiny_onnx: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    build(tiny_onnx, progress=lambda *words: heard.append(words))
    whole = [(done, total) for phase, done, total in heard if phase == "Building engine"]
    assert whole == [(done, whole[0][1]) for done in range(len(whole))]
    assert len(whole) > 3
    assert len({phase for phase, _, _ in heard}) > 3
    assert all(0 <= done <= total for _, done, total in heard)


def test_any_batch_profile(build: Build, tiny_onnx: Path) -> None:
    said = build(tiny_onnx, batch=Batch(min=3, opt=3, max=3)).tensorrt
    assert said is not None
    assert {shape[0] for shape in vars(said.profile["images"]).values()} == {3}
    assert said.single is None


@pytest.mark.parametrize(
    ("batch", "has_one"), [((1, 4, 8), True), ((1, 1, 8), False), ((2, 4, 8), False)]
)
def test_a_second_profile_for_one_frame(
    build: Build, tiny_onnx: Path, batch: tuple[int, int, int], has_one: bool
) -> None:
    said = build(tiny_onnx, batch=Batch(min=batch[0], opt=batch[1], max=batch[2])).tensorrt
    assert said is not None
    assert (said.single is not None) == has_one
    if said.single is not None:
        assert {shape[0] for shape in vars(said.single["images"]).values()} == {1}
    assert said.profile["images"].opt[0] == batch[1]


# --- the configuration that TensorRT is given ----------------------------------------------------


def built_configuration(job: Job) -> dict[str, Any]:
    """In the child: the flags of the configuration that NVIDIA's builder holds in the end."""
    from engines.backends.tensorrt.build import config_of
    from engines.backends.tensorrt.sdk import Messages, logger_for, quiet_polygraphy, trt

    choose(job.package)
    quiet_polygraphy()
    real: Any = trt
    builder = real.Builder(logger_for(Messages()))
    network = builder.create_network(1 << int(real.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.add_input("images", real.uint8, (-1, 64, 96, 3))
    batch, frame = job.request.batch, (64, 96, 3)
    shapes = {key: (getattr(batch, key), *frame) for key in ("min", "opt", "max")}
    profile = {"images": Profile(**shapes)}
    config: Any = config_of(builder, network, job, profile, None)
    return {
        "profiles": config.num_optimization_profiles,
        "tf32": config.get_flag(real.BuilderFlag.TF32),
        "default": builder.create_builder_config().get_flag(real.BuilderFlag.TF32),
        "for": [
            config.get_compute_capability(index).name
            for index in range(config.num_compute_capabilities)
        ],
    }


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_the_rows(
    request_for: Callable[..., BuildRequest], tiny_onnx: Path, plan: Path, tf32: bool
) -> None:
    """Polygraphy clears TensorRT's own default where it is not told."""
    job = Job(request=request_for(tiny_onnx, tf32=tf32, progress=print), package=RTX, engine=plan)
    found = run_in_child(built_configuration, job, print)
    assert found == {"tf32": tf32, "default": True, "for": [], "profiles": 2}


def test_a_row_without_the_key_has_tf32(
    request_for: Callable[..., BuildRequest], tiny_onnx: Path, build: Build
) -> None:
    row = {key: value for key, value in ROW.items() if key not in ("tf32", "compute_capabilities")}
    assert TensorRTOptions(**row).tf32
    said = build(tiny_onnx).tensorrt
    assert said is not None
    assert (said.tf32, said.compute_capabilities) == (True, ())


def test_gpus_by_name(
    request_for: Callable[..., BuildRequest], tiny_onnx: Path, plan: Path, build: Build
) -> None:
    """NVIDIA's builder is told, and makes such a plan."""
    turing = {"compute_capabilities": ("7.5", "12.1")}
    job = Job(request=request_for(tiny_onnx, progress=print, **turing), package=RTX, engine=plan)
    assert run_in_child(built_configuration, job, print)["for"] == ["SM75", "SM121"]
    said = build(tiny_onnx, compute_capabilities=("7.5",), tf32=False).tensorrt
    assert said is not None
    assert (said.tf32, said.compute_capabilities) == (False, ("7.5",))
    assert plan.stat().st_size > 0


def test_a_gpu_for_which_it_does_not_build(build: Build, tiny_onnx: Path, plan: Path) -> None:
    with pytest.raises(InputError) as raised:
        build(tiny_onnx, compute_capabilities=("8.9", "9.0"))
    assert "it builds for SM 7.5, 8.0, 8.6, 8.9, 12.0, 12.1, not for 9.0" in str(raised.value)
    assert not plan.exists()


# --- the timing cache ----------------------------------------------------------------------------


def use_of_cache(result: BuildResult) -> str:
    assert result.tensorrt is not None
    return result.tensorrt.timing_cache


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.cache"))


def test_a_timing_cache_by_package_version_and_device(
    build: Build, request_for: Callable[..., BuildRequest], tiny_onnx: Path, cache: Path
) -> None:
    assert use_of_cache(build(tiny_onnx, **CACHED)) == "new"
    device = request_for(tiny_onnx).device
    orin = {"gpu": "Orin (nvgpu)", "compute_capability": "8.7", "l4t": "36.4.3"}
    build(tiny_onnx, device=device.model_copy(update=orin), **CACHED)
    build(tiny_onnx, device=device.model_copy(update=orin | {"l4t": "38.2.0"}), **CACHED)
    version = TensorRT(RTX).version()
    names = [path.name for path in files(cache) if "Orin" in path.name]
    assert names == [
        f"tensorrt_rtx_{version}_Orin-nvgpu-_8.7_36.4.3.cache",
        f"tensorrt_rtx_{version}_Orin-nvgpu-_8.7_38.2.0.cache",
    ]
    assert len(files(cache)) == 3


def test_a_damaged_timing_cache_is_ignored_and_replaced(
    build: Build, tiny_onnx: Path, cache: Path, plan: Path
) -> None:
    build(tiny_onnx, **CACHED)
    (path,) = files(cache)
    sound = path.read_bytes()
    path.write_bytes(b"of another version")
    plan.unlink()
    assert use_of_cache(build(tiny_onnx, **CACHED)) == "ignored"
    assert plan.stat().st_size > 0
    assert path.read_bytes()[:16] == sound[:16]


def build_that_fails(job: Job) -> BuildResult:
    """In the child: build with a builder that gives nothing and says nothing."""
    choose(job.package)  # before Polygraphy is imported
    import polygraphy.backend.trt
    from polygraphy.exception import PolygraphyException

    def fail(*_: object, **__: object) -> None:
        raise PolygraphyException("Invalid Engine.\nPlease ensure that it was built correctly")

    polygraphy.backend.trt.engine_bytes_from_network = fail
    return build_here(job)


def test_what_is_said_of_the_cache_is_not_the_reason_of_a_later_failure(
    build: Build, tiny_onnx: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tiny_onnx, **CACHED)
    files(cache)[0].write_bytes(b"of another version")
    monkeypatch.setattr("engines.backends.tensorrt.backend.build", build_that_fails)
    with pytest.raises(InputError) as raised:
        build(tiny_onnx, **CACHED)
    assert "but it says: Invalid Engine. Please ensure that it was" in str(raised.value)


def test_a_profile_that_tensorrt_does_not_take(build: Build, tiny_onnx: Path, plan: Path) -> None:
    """No row can have such a one; what TensorRT says is told all the same."""
    with pytest.raises(InputError, match="to build .*, but it says: .*[Pp]rofile"):
        build(tiny_onnx, batch=Batch(min=4, opt=2, max=1))
    assert not plan.exists()


def test_a_cache_folder_that_cannot_be_written(
    build: Build, tiny_onnx: Path, cache: Path, plan: Path
) -> None:
    (cache / "jetrail").mkdir(parents=True)
    (cache / "jetrail/timing").write_text("not a folder")
    with pytest.raises(InputError, match="XDG_CACHE_HOME.*`builder.timing_cache: false`"):
        build(tiny_onnx, **CACHED)
    assert not plan.exists()


# --- files that TensorRT does not take -----------------------------------------------------------


def shapes_with(model: Any, first: int, *names: str) -> None:
    """Set the batch in the constants of these Reshapes; 0 copies it from the input."""
    from onnx import numpy_helper

    for one in (one for one in model.graph.initializer if one.name in names):
        shape = numpy_helper.to_array(one).copy()
        shape[0] = first
        one.CopyFrom(numpy_helper.from_array(shape, one.name))


def fixed_inside(model: Any) -> None:
    shapes_with(model, 1, "all")


def free_anchors(model: Any) -> None:
    shapes_with(model, 1, "all", "four", "sides")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def unsupported(model: Any) -> None:
    for index, (operator, name) in {1: ("Det", "/one/Det"), 11: ("StringNormalizer", "")}.items():
        model.graph.node[index].op_type = operator
        model.graph.node[index].name = name


def fixed_batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_output_name(model: Any) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "boxes and scores"


def float16_output(model: Any) -> None:
    from onnx import TensorProto, helper

    model.graph.node[-1].output[0] = "wide"
    model.graph.node.append(helper.make_node("Cast", ["wide"], ["output0"], to=TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


REFUSED: dict[str, tuple[Edit, str]] = {
    "operators that it does not have": (
        unsupported,
        "Det (node /one/Det): TensorRT has no such operator; "
        "StringNormalizer (node without name, of c1): TensorRT has no such operator",
    ),
    "a batch that is not free": (fixed_batch, "for the profile 1, 2, 4 of the row, got one that"),
    "another output": (other_output_name, "one output named output0, got boxes and scores"),
    "an output in float16": (float16_output, "the output output0 in float32, got float16"),
    "a layer for one picture alone": (
        fixed_inside,
        "expected as many results as pictures, got 1 for any number",
    ),
    "any number of anchors": (
        free_anchors,
        "a fixed size of the output output0, got 7, any number after the batch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_a_file_with(build: Build, tiny_onnx: Path, tmp_path: Path, name: str) -> None:
    edit, said = REFUSED[name]
    onnx = edited(tiny_onnx, tmp_path / "model.fp16.onnx", edit)
    with pytest.raises(InputError) as raised:
        build(onnx)
    assert said in str(raised.value)
    assert str(onnx) in str(raised.value)
    assert "`pipeline export MODEL`" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x08\x01 this is not a graph", "cannot be read"), (None, "cannot be read")],
)
def test_refuses_what_is_no_onnx_file(
    build: Build, tmp_path: Path, content: bytes | None, said: str
) -> None:
    onnx = tmp_path / "model.fp16.onnx"
    if content is not None:
        onnx.write_bytes(content)
    with pytest.raises(InputError, match=said):
        build(onnx)


# --- memory --------------------------------------------------------------------------------------


def wide(source: Path, folder: Path, megabytes: int = 200) -> Path:
    """The tiny network with a convolution of so many megabytes between its stem and its head."""

    def edit(model: Any) -> None:
        from onnx import helper, numpy_helper

        channels = int((megabytes * 1e6 / 4) ** 0.5)
        sides = {"up": (channels, 16), "wide": (channels, channels), "down": (16, channels)}
        for name, side in sides.items():
            weights = np.full((*side, 1, 1), 1 / channels, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(weights, name))
        for node in list(model.graph.node)[3:]:
            node.input[:] = ["after down" if name == "f" else name for name in node.input]
        before = "f"
        for number, name in enumerate(sides):
            made = helper.make_node("Conv", [before, name], [f"after {name}"], name=name)
            model.graph.node.insert(3 + number, made)
            before = f"after {name}"

    return edited(source, folder / "wide.onnx", edit)


def build_with_little(job: Job) -> BuildResult:
    """In the child: build with so much address space less than it takes."""
    import tensorrt_rtx  # noqa: F401  # before the limit: what is loaded is not the matter here

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + int(os.environ["LITTLE_MIB"]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return build_here(job)


@pytest.mark.parametrize(
    ("mebibytes", "said", "tuned_for"),
    [
        (200, "", 2),  # while the file is read: Python's own MemoryError
        (300, "the ONNX file did not fit", 2),
        (450, "a copy of the ONNX file did not fit", 2),
        (600, "", 2),  # while it is parsed: std::bad_alloc, which pybind11 turns into MemoryError
        (780, "could not be allocated", 1),  # while it is built, in NVIDIA's words
        (780, "CHECK(p) failed", 2),  # likewise, with a second profile
    ],
)
def test_a_real_lack_of_memory(
    request_for: Callable[..., BuildRequest],
    tiny_onnx: Path,
    tmp_path: Path,
    plan: Path,
    monkeypatch: pytest.MonkeyPatch,
    mebibytes: int,
    said: str,
    tuned_for: int,
) -> None:
    batch = Batch(min=1, opt=tuned_for, max=4)
    request = request_for(wide(tiny_onnx, tmp_path), batch=batch)
    monkeypatch.setattr("engines.backends.tensorrt.backend.build", build_with_little)
    monkeypatch.setenv("LITTLE_MIB", str(mebibytes))
    with pytest.raises(InputError) as raised:
        TensorRT(RTX).build(request, plan)
    assert "but it ran out: " in str(raised.value)
    assert said in str(raised.value)
    assert "lower `builder.workspace_mib` (now 512), then `batch.max` (now 4)" in str(raised.value)
    assert not plan.exists()


@pytest.mark.parametrize(
    ("megabytes", "said"), [(4, "within workspace limit"), (100, "Requested size was")]
)
def test_too_small_a_workspace_is_to_be_raised(
    build: Build, tiny_onnx: Path, tmp_path: Path, plan: Path, megabytes: int, said: str
) -> None:
    batch = Batch(min=1, opt=256, max=256)
    with pytest.raises(InputError) as raised:
        build(wide(tiny_onnx, tmp_path, megabytes), workspace_mib=1, batch=batch)
    assert said in str(raised.value)
    assert "raise `builder.workspace_mib` (now 1) where" in str(raised.value)
    assert "lower `batch.max` (now 256)" in str(raised.value)
    assert not plan.exists()


# --- a builder that ends by itself ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (signal.SIGKILL, InputError, "it was killed (signal 9), as happens when memory runs"),
        (signal.SIGSEGV, JetrailError, "its process crashed: it ended by signal 11 (SIGSEGV)"),
        (signal.SIGABRT, JetrailError, "its process crashed: it ended by signal 6 (SIGABRT)"),
    ],
)
def test_a_builder_that_is_ended_by_a_signal(
    build: Build, tiny_onnx: Path, plan: Path, number: int, kind: type[JetrailError], said: str
) -> None:
    def end(*_: object) -> None:
        (child,) = multiprocessing.active_children()
        assert child.pid is not None
        os.kill(child.pid, number)

    with pytest.raises(kind) as raised:
        build(tiny_onnx, progress=end)
    assert raised.value.exit_code == kind.exit_code
    assert said in str(raised.value)
    assert "lower `builder.workspace_mib`" in str(raised.value)
    assert ("Expected enough memory" in str(raised.value)) == (number == signal.SIGKILL)
    assert not plan.exists()


# --- which TensorRT ------------------------------------------------------------------------------


def test_a_tensorrt_that_is_not_there(
    request_for: Callable[..., BuildRequest], tiny_onnx: Path, plan: Path
) -> None:
    with pytest.raises(InputError, match="the package tensorrt,.*Run `pipeline doctor`"):
        TensorRT("tensorrt").version()
    request = request_for(tiny_onnx, package="tensorrt")
    with pytest.raises(WrongEngine, match="No module named 'tensorrt'.*Run `pipeline doctor`"):
        TensorRT("tensorrt").build(request, plan)


@pytest.mark.parametrize(
    ("package", "version", "expected"),
    [
        ("tensorrt", "8.6.2", ("fp32", "fp32", "int8")),
        ("tensorrt", "10.3.0", ("fp32", "fp16", "int8")),
        ("tensorrt", "11.4.1", ("fp32", "fp16", "int8")),
        (RTX, "1.7.1.116", ("fp32", "fp16", "int8")),
    ],
)
def test_the_onnx_file_of_each_precision(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str, expected: tuple[Precision, ...]
) -> None:
    monkeypatch.setattr("engines.backends.tensorrt.backend.installed_version", lambda _: version)
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    assert tuple(map(TensorRT(package).onnx_precision, precisions)) == expected
