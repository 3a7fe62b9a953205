"""pipeline.intake.dataset: data sets are checked before anything rests on them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engines.config.model import DataSets, ModelConfig, Weights
from engines.errors import InputError
from pipeline.intake.dataset import Sample, load_set, load_sets
from pipeline.intake.labels import MAX_BYTES, read_labels
from pipeline.intake.pictures import read_picture


def put_image(
    folder: Path, name: str, seed: int, label: str | None = "0 0.5 0.5 0.5 0.5\n"
) -> Path:
    """A picture of noise, and its label file unless `label` is None."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), np.uint8)
    image = folder / "images" / name
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), pixels)
    if label is not None:
        path = folder / "labels" / Path(name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(label)
    return image


def labels_of(tmp_path: Path, text: str, classes: int = 2) -> Sample:
    put_image(tmp_path, "a.png", 0, text)
    return load_set(tmp_path, "evaluation")[0]


def test_labels_come_back_in_pixels(tmp_path: Path) -> None:
    sample = labels_of(tmp_path, "1 0.5 0.25 0.5 0.5\n\n0 0.25 0.5 0.5 1.0\n")
    labels = sample.read_labels(classes=2)
    assert labels.classes.tolist() == [1, 0]
    assert sample.read_image().shape == (32, 48, 3)
    assert labels.pixels(32, 48).tolist() == [[12, 0, 36, 16], [0, 0, 24, 32]]


def test_a_polygon_counts_as_its_bounding_box(tmp_path: Path) -> None:
    sample = labels_of(tmp_path, "0 0.1 0.2 0.5 0.2 0.3 0.6\n")
    assert np.allclose(sample.read_labels(classes=1).boxes, [[0.3, 0.4, 0.4, 0.4]])


def test_rounding_at_the_edge_is_clipped_and_no_area_is_no_object(tmp_path: Path) -> None:
    sample = labels_of(tmp_path, "0 0.5 0.5 1.0000001 1\n0 0.5 0.5 0 0.1\n1 -0.001 0.5 0.1 0.1\n")
    labels = sample.read_labels(classes=2)
    # As detections are clipped: the part inside the picture, not the centre moved into it.
    assert np.allclose(labels.boxes, [[0.5, 0.5, 1.0, 1.0], [0.0245, 0.5, 0.049, 0.1]])
    assert (labels.pixels(32, 48) >= 0).all()
    assert labels.empty == 1


def test_a_label_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    sample = labels_of(tmp_path, "")
    sample.label.write_bytes("0 0.5 0.5 0.1 0.1".encode("utf-16"))
    with pytest.raises(InputError, match="UTF-8 text"):
        sample.read_labels(classes=2)


def test_a_label_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    sample = labels_of(tmp_path, "")
    with sample.label.open("wb") as file:
        file.truncate(MAX_BYTES + (1 << 20))
    with pytest.raises(InputError, match=r"of at most 16 MiB, got 17 MiB in .*a\.txt"):
        sample.read_labels(classes=2)


def test_no_label_file_means_no_objects(tmp_path: Path) -> None:
    put_image(tmp_path, "a.png", 0, label=None)
    assert len(load_set(tmp_path, "tuning")[0].read_labels(classes=2).classes) == 0


def test_labels_that_may_not_be_seen_are_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that may not be entered, where Path.is_file says no from Python 3.14 on."""

    def denied(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", denied)
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(PermissionError, match="a.txt"):
        read_labels(tmp_path / "labels" / "a.txt", 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.1 0.1", "expected a class from 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "expected a class from 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", "expected a class from 0 to 1"),
        ("0 0.5 0.5 0.1", "five numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "five numbers"),
        ("cat 0.5 0.5 0.1 0.1", "five numbers"),
        ("0 160 120 40 40", "parts of the image"),
        ("0 0.5 0.5 1.02 0.1", "parts of the image"),
        ("0 nan 0.5 0.1 0.1", "parts of the image"),
        ("nan 0.5 0.5 0.1 0.1", "class"),
        ("inf 0.5 0.5 0.1 0.1", "class"),
    ],
)
def test_a_bad_label_is_refused_by_line(tmp_path: Path, line: str, said: str) -> None:
    sample = labels_of(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(InputError, match=said) as refused:
        sample.read_labels(classes=2)
    assert "a.txt, line 2" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut off"])
def test_an_unreadable_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    image = put_image(tmp_path, "a.png", 0)
    image.write_bytes(content)
    with pytest.raises(InputError, match=r"image that OpenCV can read.*a\.png"):
        load_set(tmp_path, "evaluation")[0].read_image()


@pytest.mark.parametrize("reads", ["read_bytes", "open"])
def test_a_broken_disk_is_no_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    """NumPy would give whatever was in memory in place of the pixels."""
    image = put_image(tmp_path, "a.png", 0)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path if reads == "read_bytes" else Image, reads, fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_picture(image)


def test_pictures_in_sub_folders_have_the_labels_of_their_sub_folder(tmp_path: Path) -> None:
    for site, label in (("a", "0"), ("b/day", "1")):
        put_image(tmp_path, f"{site}/x.png", ord(site[0]), None)
        file = tmp_path / "labels" / site / "x.txt"
        file.parent.mkdir(parents=True)
        file.write_text(f"{label} 0.5 0.5 0.5 0.5\n")
    found = load_set(tmp_path, "evaluation")
    classes = {one.name: one.read_labels(classes=2).classes.tolist() for one in found}
    assert classes == {"a/x.png": [0], "b/day/x.png": [1]}


def test_a_missing_or_empty_set_is_refused_by_purpose(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected the calibration set in"):
        load_set(tmp_path, "calibration")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="calibration set, got none.*never replaced by random"):
        load_set(tmp_path, "calibration")


def model() -> ModelConfig:
    return ModelConfig(
        schema_=1,
        name="m",
        version="1",
        task="detect",
        weights=Weights(path="weights.pt", sha256="0" * 64),
        imgsz=(32, 32),
        classes=("one",),
        data=DataSets(
            calibration="data/calibration", tuning="data/tuning", evaluation="data/evaluation"
        ),
    )


def test_three_disjoint_sets_are_read(tmp_path: Path) -> None:
    for seed, purpose in enumerate(("calibration", "tuning", "evaluation")):
        put_image(tmp_path / "data" / purpose, "same-name.png", seed)
    assert [len(samples) for samples in load_sets(tmp_path, model()).values()] == [1, 1, 1]


def test_a_picture_that_is_another_by_the_time_it_is_read(tmp_path: Path) -> None:
    """`update-model --data` puts its sets there while DVC is asked, and takes them back where DVC
    is busy with a stage: that stage's figures were of pictures of both."""
    for seed, purpose in enumerate(("calibration", "tuning", "evaluation")):
        put_image(tmp_path / "data" / purpose, "a.png", seed)
    sample = load_sets(tmp_path, model())["evaluation"][0]
    before = sample.image.read_bytes()
    put_image(tmp_path / "data" / "evaluation", "a.png", 7)
    with pytest.raises(InputError, match=r"to stay as they are .*a\.png was changed meanwhile"):
        sample.read_image()
    sample.image.write_bytes(before)
    assert sample.read_image().shape == (32, 48, 3)


def test_a_picture_in_two_sets_is_found_under_any_name(tmp_path: Path) -> None:
    for seed, purpose in enumerate(("calibration", "tuning", "evaluation")):
        put_image(tmp_path / "data" / purpose, "a.png", seed)
    put_image(tmp_path / "data" / "calibration", "other.png", 2)
    with pytest.raises(InputError, match="calibration and evaluation sets to be disjoint, but 1 "):
        load_sets(tmp_path, model())
