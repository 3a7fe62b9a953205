"""What is loaded from a checkpoint, and what is refused before anything in it could run."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import re
import shlex
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from engines.errors import InputError
from pipeline.intake import checkpoint as adapter
from pipeline.intake.checkpoint import inspect_checkpoint, load_checkpoint
from pipeline.onnx.session import OnnxModel
from tests.unit.pipeline.conftest import CLASSES, IMGSZ, build_network, rewritten, save


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def refused(path: Path, text: str) -> str:
    with pytest.raises(InputError, match=text) as error:
        load_checkpoint(path)
    return str(error.value)


def test_facts(checkpoint: Path) -> None:
    facts = inspect_checkpoint(checkpoint)
    assert facts.classes == CLASSES
    assert facts.strides == (8, 16, 32)
    assert facts.imgsz == (96, 96)


def test_forward_gives_boxes_and_scores(checkpoint: Path) -> None:
    raw = load_checkpoint(checkpoint).forward(np.zeros((2, *IMGSZ, 3), np.uint8))
    assert raw.shape == (2, 4 + len(CLASSES), 8 * 12 + 4 * 6 + 2 * 3)
    assert raw.dtype == np.float32
    assert 0 <= raw[:, 4:].min() <= raw[:, 4:].max() <= 1


@pytest.mark.parametrize(
    ("config", "strides"), [("yolov8-p2", (4, 8, 16, 32)), ("yolov8-p6", (8, 16, 32, 64))]
)
def test_yolov8_of_four_levels_is_exported_as_it_computes(
    tmp_path: Path, config: str, strides: tuple[int, ...]
) -> None:
    """P6 is built of a layer more, C2."""
    path = save(tmp_path / "weights.pt", build_network(config=config))
    assert inspect_checkpoint(path).strides == strides
    loaded, imgsz = load_checkpoint(path), (128, 192)
    adapter.export_onnx(loaded, tmp_path / "model.onnx", imgsz)
    session = OnnxModel((tmp_path / "model.onnx").read_bytes(), threads=1)
    images = np.random.default_rng(1).integers(0, 256, (1, *imgsz, 3), dtype=np.uint8)
    expected = loaded.forward(images)
    assert expected.shape[-1] == sum(128 // one * (192 // one) for one in strides)
    np.testing.assert_allclose(session.run(images), expected, rtol=1e-4, atol=1e-2)


def test_unstripped_training_checkpoint_gives_its_average(tmp_path: Path) -> None:
    from ultralytics.utils import IterableSimpleNamespace

    network, average = build_network(), build_network()
    average.args = IterableSimpleNamespace(imgsz=64)
    average.names = {0: "average", 1: "of it"}
    path = save(
        tmp_path / "last.pt",
        network,
        ema=average,
        optimizer={"state": {}, "param_groups": [{"lr": 0.1}]},
        train_metrics={"metrics/mAP50(B)": np.float64(0.5), "epochs": np.int64(3)},
        best_fitness=np.float32(0.4),
    )
    assert inspect_checkpoint(path).classes == ("average", "of it")


@pytest.mark.parametrize(("epoch", "said"), [(-1, False), (None, False), (0, True), (9, True)])
def test_saved_in_the_middle_of_a_training(
    tmp_path: Path, epoch: int | None, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect_checkpoint(save(tmp_path / "epoch9.pt", build_network(), epoch=epoch))
    told = "epoch9.pt was saved while it trained, after"
    assert (told in capsys.readouterr().err) is said


def test_names_of_early_ultralytics(checkpoint: Path, tmp_path: Path) -> None:
    new, old = b"ultralytics.nn.modules.conv\nConv\n", b"ultralytics.nn.modules\nConv\n"
    assert new in zipfile.ZipFile(checkpoint).read("weights/data.pkl")
    path = rewritten(checkpoint, tmp_path / "old.pt", lambda pickled: pickled.replace(new, old))
    assert inspect_checkpoint(path).classes == CLASSES


# --- not a whole checkpoint --------------------------------------------------------------------


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    assert f"`git checkout -- {path}`" in refused_as(path, "0" * 64)
    path.with_name("weights.pt.dvc").touch()
    assert "`pipeline pull`" in refused_as(path, "0" * 64)


@pytest.mark.parametrize("kept", [10, 1000, -1000, -1])
def test_truncated(checkpoint: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(checkpoint.read_bytes()[:kept])
    refused(path, "truncated or damaged")


def test_altered_content(checkpoint: Path, tmp_path: Path) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "weights.pt"
    path.write_bytes(data)
    refused(path, "damaged")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "an empty file"),
        (b"hello, I am not a checkpoint", "starts with b'hello"),
        (b"map {}, no engine", "starts with b'map {"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (pickle.dumps({"model": 1}, protocol=2), "a bare pickle"),
        (b"\n<!DOCTYPE html><html>", "a page of HTML or XML"),
        (gzip.compress(b"weights"), "an archive. Unpack it"),
        (bytes(257) + b"ustar\x0000", "an archive. Unpack it"),
        (b"\x08\x08\x12\x07pytorch", "an ONNX file. Give the .pt that it was made from"),
        (b"\x10" + bytes(7) + b'{"a":{"dtype":"F16"}}', "a safetensors file"),
        (b"\x14" + bytes(3) + b'{"description": "Ultralytics', "an engine of TensorRT"),
        (b"\x1c" + bytes(3) + b"TFL3", "a TensorFlow Lite file"),
    ],
)
def test_another_kind_of_file(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    refused(path, text)


def test_format_before_torch_1_6(tmp_path: Path) -> None:
    import torch

    torch.save({"model": None}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", r"PyTorch before 1\.6")


@pytest.mark.parametrize("protocol", [4, 5])
def test_another_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    import torch

    path = tmp_path / "weights.pt"
    torch.save({"model": build_network()}, path, pickle_protocol=protocol)
    refused(path, f"pickle protocol 2, as torch.save.*got {protocol}. Save it again without")


def test_torchscript(tmp_path: Path) -> None:
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(tmp_path / "script.pt"))
    refused(tmp_path / "script.pt", "TorchScript")


def test_zip_without_a_pickle(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    refused(tmp_path / "weights.pt", "got none")


def test_state_dict_only(tmp_path: Path) -> None:
    import torch

    torch.save(build_network().state_dict(), tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt", "not a state_dict")


def test_another_sha256_is_refused_before_loading(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "check_archive", pytest.fail)
    with pytest.raises(InputError, match=r"Expected .* with sha256 0{64}.*, got [0-9a-f]{64}"):
        load_checkpoint(checkpoint, "0" * 64)


@pytest.mark.parametrize("tracked", [True, False])
def test_the_way_back_to_the_weights_of_model_yaml(
    checkpoint: Path, tmp_path: Path, tracked: bool
) -> None:
    """After `git revert` of new ones: only DVC can bring back what git does not hold."""
    path = tmp_path / "a folder/weights.pt"
    path.parent.mkdir()
    path.write_bytes(checkpoint.read_bytes())
    if tracked:
        path.with_name("weights.pt.dvc").write_text("outs: []\n")
    dvc = f"'{path}.dvc'"
    said = refused_as(path, "0" * 64)
    if tracked:
        there = f"`git checkout -- {dvc}` and `dvc checkout --force {dvc}`, or with `pipeline pull`"
        assert there in said
    else:
        assert f"back with `git checkout -- '{path}'`, or, if these weights are meant" in said


def refused_as(path: Path, sha256: str) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, sha256)
    return str(caught.value)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    network = build_network()
    network.model[0].conv.weight.data[0] = float("nan")
    refused(save(tmp_path / "weights.pt", network), "finite weights.*model.0.conv.weight")


def test_too_few_class_names(tmp_path: Path) -> None:
    network = build_network()
    network.names = {0: "bolt"}
    refused(save(tmp_path / "weights.pt", network), "names for the classes 0 to 1")


def test_class_names_with_a_gap(tmp_path: Path) -> None:
    network = build_network()
    network.names = {0: "bolt", 2: "nut"}
    refused(save(tmp_path / "weights.pt", network), "got 2 names, for 0, 2. ")


@pytest.mark.parametrize("names", [{"bolt", "nut"}, "bn"])
def test_class_names_without_an_order(tmp_path: Path, names: Any) -> None:
    """Those of a set come in another order each time."""
    network = build_network()
    network.names = names
    refused(save(tmp_path / "weights.pt", network), "by number or in a list.*got them as s")


def test_network_that_is_not_put_together(tmp_path: Path) -> None:
    network = build_network()
    del network.names
    refused(save(tmp_path / "weights.pt", network), "not put together")


# --- other networks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("segment", "yolov8n-seg"),
        ("pose", "yolov8n-pose"),
        ("classify", "yolov8n-cls"),
        ("obb", "yolov8n-obb"),
    ],
)
def test_other_tasks(tmp_path: Path, task: str, config: str) -> None:
    path = save(tmp_path / "weights.pt", build_network(task, config))
    refused(path, f"Expected a checkpoint for detect, got one for {task}")


@pytest.mark.parametrize(("config", "layer"), [("yolov5n", "C3"), ("yolo11n", "C3k2")])
def test_other_generations(tmp_path: Path, config: str, layer: str) -> None:
    path = save(tmp_path / "weights.pt", build_network(config=config))
    message = refused(path, "Expected a YOLOv8 detect checkpoint.*got another network")
    assert re.search(rf"\b{layer}\b|PSABlock|C2PSA", message)


def of_8_3(network: Any) -> None:
    """The head of YOLO11, with which Ultralytics 8.3.0 to 8.3.8 and more built YOLOv8 too."""
    head = network.model[-1]
    widths = [branch[0].conv.in_channels for branch in head.cv3]
    with mock.patch.object(type(head), "legacy", False):
        other = type(head)(nc=head.nc, ch=widths)
    assert type(other.cv3[0][0][0]).__name__ == "DWConv"
    head.cv3 = other.cv3.half().eval()


def of_8_4(network: Any) -> None:
    """The SPPF of YOLO26, with which Ultralytics 8.4.0 to 8.4.90 and more built YOLOv8 too."""
    import torch

    (pooling,) = (one for one in network.modules() if type(one).__name__ == "SPPF")
    pooling.cv1.act = torch.nn.Identity()


@pytest.mark.parametrize("changed", [of_8_3, of_8_4])
def test_yolov8_as_other_ultralytics_built_it_is_exported_as_it_computes(
    tmp_path: Path, changed: Callable[[Any], None]
) -> None:
    network = build_network()
    changed(network)
    path = save(tmp_path / "weights.pt", network)
    assert inspect_checkpoint(path).classes == CLASSES
    loaded = load_checkpoint(path)
    adapter.export_onnx(loaded, tmp_path / "model.onnx", IMGSZ)
    session = OnnxModel((tmp_path / "model.onnx").read_bytes(), threads=1)
    images = np.random.default_rng(1).integers(0, 256, (1, *IMGSZ, 3), dtype=np.uint8)
    expected = loaded.forward(images)
    np.testing.assert_allclose(session.run(images), expected, rtol=1e-4, atol=1e-2)


def test_a_head_without_dfl(tmp_path: Path) -> None:
    import torch

    network = build_network()
    network.model[-1].dfl = torch.nn.Identity()
    refused(save(tmp_path / "weights.pt", network), "without DFL, as YOLO26")


def with_its_loss(network: Any) -> Any:
    """As many an Ultralytics saves last.pt and epoch10.pt while it trains."""
    network.criterion = network.init_criterion()
    return network


def test_saved_while_it_trained(tmp_path: Path) -> None:
    network = with_its_loss(build_network())
    path = save(tmp_path / "my last.pt", None, ema=network)
    message = refused(path, "which was saved while it trained, with its loss")
    (command,) = re.findall(r"`(.*)`", message)
    finished = subprocess.run(
        shlex.split(command.replace("python", sys.executable, 1)), cwd=tmp_path, timeout=60
    )
    assert finished.returncode == 0
    assert inspect_checkpoint(tmp_path / "plain.pt").classes == CLASSES


def test_of_the_first_weeks_of_ultralytics(tmp_path: Path) -> None:
    """Its training arguments are in `model` too, and stripping leaves them there."""
    network = build_network()
    place = "omegaconf.dictconfig"
    kind = type("DictConfig", (dict,), {"__module__": place})
    network.args = kind(imgsz=96, single_cls=True, hydra=kind(run=kind(dir=".")))
    theirs = {"omegaconf": mock.Mock(), place: mock.Mock(DictConfig=kind)}
    with mock.patch.dict(sys.modules, theirs):
        path = save(tmp_path / "best.pt", network)
    message = refused(path, "objects of omegaconf, as Ultralytics 8.0.0 to 8.0.16 saved them")
    assert "`pip install omegaconf`" in message
    assert message.endswith(f"{path} plain.pt`), and give plain.pt; else train anew.")


def test_another_generation_saved_while_it_trained(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", with_its_loss(build_network(config="yolov5n")))
    message = refused(path, "got another network")
    assert "C3, which" in message


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("models.yolo", "Model", "of Ultralytics' own layers, got models.yolo.Model.*YOLOv5"),
        ("yolov5.models.yolo", "DetectionModel", "got yolov5.models.yolo.DetectionModel"),
        ("__main__", "C2f_v2", "got __main__.C2f_v2.*changed by a script, as by pruning"),
        ("ultralytics.models.yolo.model", "YOLO", "all of a YOLO object.*best.pt.*`python -c"),
        ("ultralytics.yolo.engine.model", "YOLO", "all of a YOLO object"),
        ("models_of_theirs", "Model", "could run code"),
    ],
)
def test_classes_of_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, said: str
) -> None:
    kind = type(name, (), {"__module__": module})
    above = module.split(".")
    for place in (".".join(above[: depth + 1]) for depth in range(len(above))):
        if place == module or place not in sys.modules:
            monkeypatch.setitem(sys.modules, place, types.ModuleType(place))
    setattr(sys.modules[module], name, kind)
    message = refused(save(tmp_path / "weights.pt", kind()), said)
    assert "Nothing in it was run" in message


def test_an_end_to_end_branch(tmp_path: Path) -> None:
    network = build_network()
    network.model[-1].one2one_cv2 = network.model[-1].cv2
    refused(save(tmp_path / "weights.pt", network), "a second branch.*`end2end`")


def test_a_generation_of_layers_that_yolov8_has_too(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build_network(config="yolov3"))
    refused(path, "Expected a YOLOv8 detect checkpoint.*no layer C2f.*YOLOv3")


# --- hostile pickles: nothing in them may run --------------------------------------------------


def marker_code(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


@pytest.mark.parametrize("protocol", [2, 4])
def test_call_of_a_system_function(tmp_path: Path, protocol: int) -> None:
    import torch

    marker = tmp_path / "ran"
    content = {"model": build_network(), "train_args": Calls(eval, marker_code(marker))}
    torch.save(content, tmp_path / "weights.pt", pickle_protocol=protocol)
    message = refused(tmp_path / "weights.pt", r"names (__builtin__|builtins)\.eval")
    assert "Nothing in it was run" in message
    assert not marker.exists()


def test_call_that_fails_while_it_is_scanned(tmp_path: Path) -> None:
    import torch

    torch.save([Calls(getattr, Calls(dict), "pop"), "x"], tmp_path / "weights.pt")
    refused(tmp_path / "weights.pt", "getattr")


def evil_network(marker: Path) -> Calls:
    """Python in the `activation` of a network's configuration, which Ultralytics evaluates."""
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    return Calls(
        DetectionModel, {**yaml_model_load("yolov8n.yaml"), "activation": marker_code(marker)}
    )


def test_call_of_an_allowed_class(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = save(tmp_path / "weights.pt", build_network(), train_args=evil_network(marker))
    refused(path, "calls ultralytics.nn.tasks.DetectionModel, which could run code")
    assert not marker.exists()


def test_safe_globals_alone_would_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why there is a scan at all: once this fails, it may be time to drop it."""
    import torch
    from ultralytics.nn.modules.conv import Conv
    from ultralytics.nn.tasks import DetectionModel

    monkeypatch.setattr(Conv, "default_act", Conv.default_act)  # the network changes it
    marker = tmp_path / "ran"
    torch.save({"train_args": evil_network(marker)}, tmp_path / "weights.pt")
    with torch.serialization.safe_globals([DetectionModel]), contextlib.suppress(TypeError):
        torch.load(tmp_path / "weights.pt", weights_only=True)
    assert marker.exists()


def test_class_kept_for_later(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import DetectionModel

    network = build_network()
    network.forward = DetectionModel
    refused(
        save(tmp_path / "weights.pt", network),
        "keeps ultralytics.nn.tasks.DetectionModel as a value",
    )


def test_second_pickle_in_the_archive(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(checkpoint.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/other/data.pkl", pickle.dumps(Calls(eval, "1")))
    refused(path, "Expected one pickle")


def test_damaged_pickle(checkpoint: Path, tmp_path: Path) -> None:
    path = rewritten(checkpoint, tmp_path / "weights.pt", lambda pickled: pickled[:-200])
    refused(path, "its pickle cannot be read")


# --- what a later step would refuse, and what would fill the memory ----------------------------


def test_paths_among_the_training_arguments_are_text(tmp_path: Path) -> None:
    arguments = {"imgsz": 96, "project": Path("runs") / "detect", "single_cls": True}
    path = save(tmp_path / "weights.pt", build_network(), train_args=arguments)
    facts = inspect_checkpoint(path)
    assert (facts.imgsz, facts.single_cls) == ((96, 96), True)


def test_a_device_among_the_training_arguments(tmp_path: Path) -> None:
    """As of `train(device=torch.device("cuda"))`, which best.pt keeps."""
    import torch

    arguments = {"imgsz": 96, "device": torch.device("cuda:0")}
    assert inspect_checkpoint(save(tmp_path / "a.pt", build_network(), train_args=arguments))


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        *((None, ()), ([0], ("nut",)), (1, ("bolt",)), ([1, 0], ()), ("0", ()), ([0.0], ())),
        *((True, ()), (range(1), ("nut",)), (range(1 << 60), ())),
    ],
)
def test_classes_that_the_training_passed_over(
    tmp_path: Path, given: Any, left_out: tuple[str, ...]
) -> None:
    path = save(tmp_path / "weights.pt", build_network(), train_args={"classes": given})
    assert inspect_checkpoint(path).left_out == left_out


def test_a_path_kept_as_a_class_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build_network(), train_args={"project": type(Path())})
    refused(path, "keeps pathlib.*as a value")


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u200b"])
def test_blank_class_names(tmp_path: Path, name: str) -> None:
    """They would be nothing in every table, plot and alert."""
    network = build_network()
    network.names = {0: "bolt", 1: name}
    refused(save(tmp_path / "weights.pt", network), "names that can be read .* for class 1: ")


def test_equal_class_names(tmp_path: Path) -> None:
    network = build_network()
    network.names = {0: "bolt", 1: "bolt"}
    refused(save(tmp_path / "weights.pt", network), "different names.*'bolt' more than once. Give")


@pytest.mark.parametrize("other", ["bolté ", "bolt\u00e9\u200b", "bolte\u0301"])
def test_class_names_that_look_equal(tmp_path: Path, other: str) -> None:
    network = build_network()
    network.names = {0: "bolt\u00e9", 1: other}
    said = refused(save(tmp_path / "weights.pt", network), "different names.*more than once, as")
    assert ascii(other) in said


def test_class_names_that_differ_by_case(tmp_path: Path) -> None:
    """As letters do, on a plate."""
    network = build_network()
    network.names = {0: "a", 1: "A"}
    assert inspect_checkpoint(save(tmp_path / "weights.pt", network)).classes == ("a", "A")


def test_grey_pictures(tmp_path: Path) -> None:
    network = build_network()
    network.model[0].conv.in_channels = 1
    refused(save(tmp_path / "weights.pt", network), "3 channels.*one for 1")


def test_saved_after_fusing(tmp_path: Path) -> None:
    network = build_network().float().fuse(verbose=False)
    refused(save(tmp_path / "weights.pt", network), "saved after fusing")


def test_a_layer_fused_by_hand(tmp_path: Path) -> None:
    network = build_network()
    del network.model[0].bn
    refused(save(tmp_path / "weights.pt", network), "saved after fusing its layers")


def shares_a_convolution(network: Any) -> None:
    first, second = network.model[4].m
    second.cv1.conv = first.cv1.conv


def norms_without_statistics(network: Any) -> None:
    norm = network.model[0].bn
    norm.running_mean = norm.running_var = None


def width_as_a_float(network: Any) -> None:
    network.model[2].c = float(network.model[2].c)


def nearest_exact(network: Any) -> None:
    network.model[10].mode = "nearest-exact"


def scale_computed_anew(network: Any) -> None:
    network.model[10].recompute_scale_factor = True


def size_of_its_own(network: Any) -> None:
    network.model[10].scale_factor, network.model[10].size = None, (4, 4)


def scale(factor: float) -> Callable[[Any], None]:
    def change(network: Any) -> None:
        network.model[10].scale_factor = network.model[13].scale_factor = factor

    return change


def pools_in_steps(network: Any) -> None:
    """Of two cells it makes two; of three it makes two as well."""
    network.model[9].m.stride, network.model[9].m.ceil_mode = 2, True
    network.model[9].m.kernel_size = 3
    network.model[9].m.padding = 1


def steps_with_a_border(network: Any) -> None:
    """Of two cells it makes two, and three of three."""
    network.model[21].m[0].cv1.conv.stride = (2, 2)
    network.model[21].m[0].cv1.conv.padding = (2, 2)
    network.model[21].m[0].add = False


def activation_in(layer: int) -> Callable[[Any], None]:
    def change(network: Any) -> None:
        import torch

        one = network.model[layer]
        if layer == 9:
            one.m = torch.nn.SiLU()
        else:
            one.m[0] = torch.nn.SiLU()

    return change


def loud(network: Any) -> None:
    """Nothing of a black picture, and beyond any number of another."""
    weight = network.model[0].conv.weight
    weight.data = weight.data.float().fill_(1e38)


def corners(network: Any) -> None:
    network.model[-1].xyxy = True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (corners, "boxes as centre and size.*got one with `xyxy`"),
        (shares_a_convolution, "same boxes once its layers are fused.*share their weights"),
        (norms_without_statistics, "layers that can be fused.*TypeError"),
        (width_as_a_float, "layers that can be fused.*TypeError"),
        (nearest_exact, "mode `nearest`.*got the mode 'nearest-exact', which no export takes"),
        (scale_computed_anew, "mode `nearest`.*got its scale computed anew, which no export"),
        (size_of_its_own, r"mode `nearest`.*got the size \(4, 4\), which no export"),
        (scale(2.2), "mode `nearest`.*got the scale 2.2, which no export"),
        (pools_in_steps, "to run, but it does not"),
        (steps_with_a_border, "to run, but it does not"),
        (activation_in(9), "activations as YOLOv8 has them.*as layer model.9.m, which alters"),
        (activation_in(12), "activations as YOLOv8 has them.*as layer model.12.m.0, which alters"),
        (loud, "finite numbers.*a picture of noise"),
    ],
)
def test_a_network_that_runs_and_cannot_be_exported(
    tmp_path: Path, change: Callable[[Any], None], said: str
) -> None:
    """add-model refuses it: with these, export ended in a traceback, or verify found others."""
    network = build_network()
    change(network)
    with pytest.raises(InputError, match=said):
        inspect_checkpoint(save(tmp_path / "weights.pt", network))


def test_one_activation_for_all_convolutions_is_taken(tmp_path: Path) -> None:
    """As Ultralytics makes them: the default is one object."""
    import torch

    network, one = build_network(), torch.nn.SiLU()
    for layer in network.modules():
        if hasattr(layer, "bn"):
            layer.act = one
    network.model[4].m[1].cv1 = network.model[4].m[0].cv1
    assert inspect_checkpoint(save(tmp_path / "weights.pt", network)).classes == CLASSES


def test_an_export_that_pytorch_does_not_know_is_a_sentence(
    checkpoint: Path, tmp_path: Path
) -> None:
    loaded = load_checkpoint(checkpoint)
    loaded.network.model[10].mode = "area"
    with pytest.raises(InputError, match="that PyTorch exports to ONNX.*pipeline update-model"):
        adapter.export_onnx(loaded, tmp_path / "model.onnx", IMGSZ, opset=9)


def test_a_small_storage_shown_as_a_huge_tensor(tmp_path: Path) -> None:
    import torch

    network = build_network()
    network.model[0].conv.weight = torch.nn.Parameter(
        torch.zeros(1).half().expand(1 << 31), requires_grad=False
    )
    refused(save(tmp_path / "weights.pt", network), "at most 2 GiB, got 8")


def test_a_storage_that_says_it_is_huge(checkpoint: Path, tmp_path: Path) -> None:
    def grow(pickled: bytes) -> bytes:
        at = pickled.index(b"cpu")
        kind, size = pickled.index(b"K", at), b"\x8a\x05" + (1 << 33).to_bytes(5, "little")
        return pickled[:kind] + size + pickled[kind + 2 :]

    path = rewritten(checkpoint, tmp_path / "weights.pt", grow)
    refused(path, "tensors take more than 2 GiB")


def test_parts_that_grow_when_unpacked(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(checkpoint) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to:
        for name in old.namelist():
            to.writestr(name, old.read(name))
    refused(path, "uncompressed")


def test_too_large_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pt"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # a hole: it takes no space
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    refused(path, "at most 2 GiB, got 3.0 GiB")


def test_too_large_when_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in (("w/data.pkl", 5), ("w/data/0", 1)):
            archive.writestr(name, bytes(size << 20))
    refused(path, "a pickle of at most 4 MiB.*got 5 MiB")
