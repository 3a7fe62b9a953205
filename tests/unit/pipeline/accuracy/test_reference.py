"""reference.npz: bound to the pictures and labels of the evaluation set by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.detect.detections import Detections
from engines.errors import InputError
from pipeline.accuracy.reference import (
    Reference,
    check_same_pictures,
    read_reference,
    write_reference,
)
from pipeline.intake.contents import ContentHashes, changes, contents, set_sha256
from pipeline.intake.dataset import load_set

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation set of three pictures; c.png has no label file."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / name), pixels)
    for name in ("a", "b"):
        (tmp_path / "labels" / f"{name}.txt").write_text(f"0 0.5 0.5 0.{ord(name) % 7 + 1} 0.5\n")
    return tmp_path


def seen(folder: Path) -> Reference:
    """A reference of the set as it is, with nothing found."""
    held = contents(load_set(folder, "evaluation"))
    return Reference(detections=dict.fromkeys(held, Detections.empty()), contents=held)


def one_byte(folder: Path) -> None:
    """In the last bytes of a PNG, which no decoder looks at."""
    path = folder / "images" / "a.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def turned(folder: Path) -> None:
    path = str(folder / "images" / "b.png")
    cv2.imwrite(path, cv2.rotate(cv2.imread(path), cv2.ROTATE_180))


def swapped(folder: Path) -> None:
    a, b = (folder / "images" / name for name in NAMES[:2])
    a.rename(folder / "kept")
    b.rename(a)
    (folder / "kept").rename(b)


def added_and_removed(folder: Path) -> None:
    """As many pictures as before, all of them known."""
    (folder / "images" / "a.png").rename(folder / "images" / "z.png")


def labelled(folder: Path) -> None:
    (folder / "labels" / "c.txt").write_text("0 0.5 0.5 0.5 0.5\n")


def label_removed(folder: Path) -> None:
    (folder / "labels" / "a.txt").unlink()


def labels_swapped(folder: Path) -> None:
    a, b = (folder / "labels" / f"{name}.txt" for name in "ab")
    texts = a.read_text(), b.read_text()
    b.write_text(texts[0])
    a.write_text(texts[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_byte, "pictures of it differ now: 1 changed (a.png). Run"),
        (turned, "1 changed (b.png)"),
        (swapped, "2 changed (a.png, …)"),
        (added_and_removed, "1 added (z.png), 1 removed (a.png)"),
        (labelled, "1 with other labels (c.png)"),
        (label_removed, "1 with other labels (a.png)"),
        (labels_swapped, "2 with other labels (a.png, …)"),
    ],
)
def test_what_was_changed_since_is_named(
    folder: Path, change: Callable[[Path], None], said: str
) -> None:
    before = seen(folder)
    check_same_pictures(before, load_set(folder, "evaluation"), "parts")
    sha256 = set_sha256(before.contents)
    change(folder)
    with pytest.raises(InputError) as raised:
        check_same_pictures(before, load_set(folder, "evaluation"), "parts")
    assert said in str(raised.value)
    assert "Run `pipeline verify parts` again" in str(raised.value)
    assert set_sha256(contents(load_set(folder, "evaluation"))) != sha256


def test_no_label_file_is_as_an_empty_one(folder: Path) -> None:
    before = seen(folder)
    (folder / "labels" / "c.txt").write_text("")
    check_same_pictures(before, load_set(folder, "evaluation"), "parts")


def test_the_order_of_a_set_says_nothing(folder: Path) -> None:
    held = contents(load_set(folder, "evaluation"))
    turned_round = dict(reversed(held.items()))
    assert list(turned_round) != list(held)
    assert set_sha256(turned_round) == set_sha256(held)
    assert changes(held, turned_round) == ""


def test_it_survives_a_file(tmp_path: Path) -> None:
    one = Detections(
        boxes=np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
        confidences=np.array([0.9, 0.1], np.float32),
        classes=np.array([3, 0]),
    )
    path = tmp_path / "reference.npz"
    held = {
        name: ContentHashes(picture=name[0] * 64, labels="0" * 64) for name in ("a.jpg", "none.jpg")
    }
    found = {"a.jpg": one, "none.jpg": Detections.empty()}
    write_reference(path, Reference(detections=found, contents=held))
    back = read_reference(path, "parts")
    assert back.contents == held
    assert list(back.detections) == ["a.jpg", "none.jpg"]
    assert np.array_equal(back.detections["a.jpg"].boxes, one.boxes)
    assert back.detections["a.jpg"].classes.tolist() == [3, 0]
    assert len(back.detections["none.jpg"]) == 0


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all"])
def test_a_damaged_one_says_how_to_make_it_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reference.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="pipeline verify parts"):
        read_reference(path, "parts")


def test_one_that_is_older_than_the_contents_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    np.savez(path, names=np.array([], np.str_), counts=np.array([], np.int64))
    with pytest.raises(InputError, match="pipeline verify parts"):
        read_reference(path, "parts")
