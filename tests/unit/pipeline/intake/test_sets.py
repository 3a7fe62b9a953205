"""pipeline.intake.split and .sets: copies, counts, and what a small evaluation is worth."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from engines.errors import InputError
from pipeline.accuracy.worth import crowded, doubted, worth
from pipeline.intake.brought import Brought
from pipeline.intake.data_yaml import read_data_yaml
from pipeline.intake.dataset import load_set
from pipeline.intake.labels import read_labels
from pipeline.intake.pictures import find_pictures
from pipeline.intake.sets import copy_set
from pipeline.intake.split import Split, split
from pipeline.terminal.added import print_sets
from tests.unit.pipeline.intake.test_dataset import put_image

BOX = "0 0.5 0.5 0.5 0.5\n"


def make(folder: Path) -> Path:
    """Six pictures to train on and three to validate on."""
    for index in range(9):
        name = "train" if index < 6 else "val"
        put_image(folder, f"{name}/{index}.png", index, BOX)
    path = folder / "data.yaml"
    path.write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    return path


def test_hidden_pictures_that_a_list_names_are_in_the_set(tmp_path: Path) -> None:
    put_image(tmp_path, "val/.a.png", 1, BOX)
    put_image(tmp_path, "val/_.a.png", 2, BOX)
    (tmp_path / "val.txt").write_text("./images/val/.a.png\n./images/val/_.a.png\n")
    (tmp_path / "data.yaml").write_text("val: val.txt\nnames: [a]\n")
    samples = read_data_yaml(tmp_path / "data.yaml").splits["val"]
    assert copy_set(tmp_path / "set", samples, "evaluation", 1).pictures == 2
    assert len(load_set(tmp_path / "set", "evaluation")) == 2


@pytest.mark.parametrize("name", ["a_first.png", "z_last.png"])
def test_a_copy_without_labels_never_wins(tmp_path: Path, name: str) -> None:
    data = make(tmp_path)
    shutil.copyfile(tmp_path / "images/val/7.png", tmp_path / "images/val" / name)
    divided = split(read_data_yaml(data))
    assert [one.image.name for one in divided.sets["evaluation"]].count("7.png") == 1
    assert len(divided.sets["evaluation"]) == 3
    assert divided.copies == {"train": 0, "val": 1, "test": 0}


def test_a_copy_in_another_split_has_the_labels(tmp_path: Path) -> None:
    data = make(tmp_path)
    shutil.copyfile(tmp_path / "images/train/1.png", tmp_path / "images/val/w.png")
    evaluation = split(read_data_yaml(data)).sets["evaluation"]
    assert all(len(one.read_labels(2).classes) == 1 for one in evaluation)


def test_pictures_of_the_evaluation_that_training_saw_are_counted(tmp_path: Path) -> None:
    data = make(tmp_path)
    assert split(read_data_yaml(data)).seen == {"evaluation": 0}
    for name in ("1.png", "2.png"):
        shutil.copyfile(tmp_path / f"images/train/{name}", tmp_path / f"images/val/of_{name}")
    assert split(read_data_yaml(data)).seen == {"evaluation": 2}
    for index in range(9, 12):
        put_image(tmp_path, f"test/{index}.png", index, BOX)
    data.write_text(f"{data.read_text()}test: images/test\n")
    assert split(read_data_yaml(data)).seen == {"evaluation": 0, "tuning": 2}


@pytest.mark.parametrize(("text", "refused"), [("0 0.50 0.5 0.5 0.5", False), ("", True)])
def test_copies_labelled_differently_are_refused(tmp_path: Path, text: str, refused: bool) -> None:
    data = make(tmp_path)
    shutil.copyfile(tmp_path / "images/val/7.png", tmp_path / "images/val/z.png")
    (tmp_path / "labels/val/z.txt").write_text(text)
    if refused:
        with pytest.raises(InputError, match=r"7\.png and .*z\.png are one picture"):
            split(read_data_yaml(data))
    else:
        assert len(split(read_data_yaml(data)).sets["evaluation"]) == 3


def test_a_copied_set_reads_as_the_first_did_and_is_counted(tmp_path: Path) -> None:
    polygons = "1.0 0.1 0.1 0.5 0.1 0.5 0.6\n1 0.1 0.1 0.1 0.6 0.5 0.6\n"
    put_image(tmp_path, "a.png", 0, BOX + BOX + "1 0.2 0.2 0 0.1\n")
    put_image(tmp_path, "b.png", 1, polygons)
    put_image(tmp_path, "c.png", 2, None)
    put_image(tmp_path, "d.png", 3, "")
    samples = load_set(tmp_path, "evaluation")
    facts = copy_set(tmp_path / "copy", samples, "evaluation", 2)
    assert (facts.pictures, facts.objects) == (4, (1, 2))
    assert (facts.background, facts.equal, facts.empty) == (2, 1, 1)
    assert facts.unlabelled == {tmp_path / "labels": 1}
    for one, copy in zip(samples, load_set(tmp_path / "copy", "evaluation"), strict=True):
        first, second = one.read_labels(2), copy.read_labels(2)
        assert first.boxes.tolist() == second.boxes.tolist()
        assert first.classes.tolist() == second.classes.tolist()
        assert (second.equal, second.empty) == (0, 0)


def test_pictures_in_sub_folders_of_a_set_are_read_under_names_of_their_own(tmp_path: Path) -> None:
    for name in ("x.png", "day/x.png", "day/images/x.png"):
        put_image(tmp_path, name, len(name), BOX)
    samples = load_set(tmp_path, "evaluation")
    assert {one.name for one in samples} == {"x.png", "day/x.png", "day/images/x.png"}
    assert all(len(one.read_labels(1).classes) == 1 for one in samples)


def test_the_table_says_what_feeds_what_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(tmp_path, "a.png", 0, BOX + BOX)
    put_image(tmp_path, "b.png", 1, None)
    samples = load_set(tmp_path, "evaluation")
    purposes = ("calibration", "evaluation")
    facts = {one: copy_set(tmp_path / "copy" / one, samples, one, 1) for one in purposes}
    seen = {"evaluation": 2, "tuning": 0}
    sources = dict.fromkeys(purposes, "val")
    divided = Split(sets={}, sources=sources, copies={"val": 4}, seen=seen)
    capsys.readouterr()
    brought = Brought(split=divided, facts=facts, classes=("a",), left_out=("a",))
    print_sets(brought, Console(width=80))
    said = capsys.readouterr().out
    assert "evaluation  │ val" in said
    assert "2 label row(s) dropped" in said
    assert "calibration: only 2 picture(s) (better 100 or more) for the ranges of INT8" in said
    assert f"1 picture(s) have no label file in {tmp_path / 'labels'}" in said
    assert "val: 4 picture(s) left out" in said
    assert "evaluation: 2 picture(s) are in train too; training saw them" in said
    assert "trained without the objects of a (`classes`); its 1 count as missed" in said
    assert "tuning:" not in said
    assert "Only 2 evaluation pictures" in said
    assert max(map(len, said.splitlines()[:5])) <= 80


def test_what_takes_minutes_of_large_sets_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split(read_data_yaml(make(tmp_path)))
    said = capsys.readouterr().err
    assert "look for copies in train: 6 images\nlook for copies in val: 3 images\n" in said
    assert "in test" not in said


def test_a_small_evaluation_says_what_it_is_worth() -> None:
    assert worth(100, {"a": 30}) == ()
    (pictures,) = worth(50, {"a": 30})
    assert "Only 50 evaluation pictures" in pictures
    assert "0.020" in pictures
    (objects,) = worth(100, {"a": 30, "b": 12})
    assert "of b (12):" in objects
    assert "±0.28" in objects


def test_of_a_class_without_evaluation_objects_nothing_is_known() -> None:
    """It counted as one object, and set the figure of the others."""
    none, few = worth(100, {"a": 30, "b": 12, "c": 0})
    assert none == "No evaluation objects of c, which the accuracy leaves out."
    assert "of b (12): the share found of 12 object(s) is known to about ±0.28" in few


def test_a_checkpoint_that_is_nearly_always_wrong_is_doubted() -> None:
    """With two columns of the labels swapped its mAP is 0, and no engine can lose a hundredth."""
    assert doubted(0.05) == ()
    (said,) = doubted(0.0041)
    assert "a mAP50-95 of only 0.004 on the evaluation pictures" in said
    assert "the drop says nothing" in said


def test_a_picture_with_more_objects_than_a_pod_reports_is_named() -> None:
    assert crowded({"a.jpg": 300, "b.jpg": 2}, 300) == ()
    (said,) = crowded({"b.jpg": 2, "a.jpg": 301}, 300)
    assert said.startswith(
        "The picture a.jpg has 301 labelled objects, but a pod reports at most 300"
    )
    assert "`evaluate.max_detections`" in said


def test_a_link_that_became_a_text_file_is_refused(tmp_path: Path) -> None:
    """As git does where it may not make links, and archives do."""
    (tmp_path / "my nas" / "images").mkdir(parents=True)
    images = tmp_path / "images" / "val"
    images.mkdir(parents=True)
    (images / "notes.txt").write_text("../../my nas/images")
    (images / "README").write_text("a folder of pictures\n")
    (images / "README.md").write_text("a line that is longer than a name may be " * 20)
    assert find_pictures(images) == []
    (images / "site_b").write_text("../../my nas/images\n")
    with pytest.raises(
        InputError, match=r"that holds the path.*`ln -sfn '\.\./\.\./my nas/images' "
    ):
        find_pictures(images)


def test_what_would_be_waited_for_forever_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "camera.jpg")
    with pytest.raises(InputError, match=r"camera\.jpg is a pipe, a socket or a device"):
        find_pictures(tmp_path)


def test_a_file_that_cannot_be_read_and_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    """Of the kernel's, some say so of no more than their own bytes."""
    (tmp_path / "mem").symlink_to("/proc/self/mem")  # 0 bytes long, and an error when they are read
    assert find_pictures(tmp_path) == []


def test_every_object_of_one_class(tmp_path: Path) -> None:
    """An object labelled under two classes is one, as whoever reads the copied set finds it."""
    label = tmp_path / "a.txt"
    label.write_text("7 0.5 0.5 0.2 0.2\n3 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n")
    labels = read_labels(label, 1, single_class=True)
    assert (labels.classes.tolist(), labels.equal) == ([0, 0], 1)
    assert labels.rows == ("0 0.5 0.5 0.2 0.2", "0 0.2 0.2 0.1 0.1")
    label.write_text("1.5 0.5 0.5 0.2 0.2\n")
    with pytest.raises(InputError, match="expected a class from 0 to 0"):
        read_labels(label, 1, single_class=True)


@pytest.mark.parametrize("shared", [True, False])
def test_pictures_for_training_that_are_those_for_evaluation(tmp_path: Path, shared: bool) -> None:
    data = make(tmp_path)
    if shared:
        data.write_text(data.read_text().replace("images/val", "images/train"))
    else:
        for index in range(1, 6):
            (tmp_path / f"images/train/{index}.png").unlink()
    said = (
        "train 6, val 6, test 0; 6 of train are in val too.*take `train` out: the accuracy is then"
        if shared
        else (r"\(pictures: train 1, val 3, test 0\). Add `train` or more")
    )
    with pytest.raises(InputError, match=said):
        split(read_data_yaml(data))


def test_taking_out_what_the_sentence_says_leads_on(tmp_path: Path) -> None:
    """One folder for all three: without `train` it is `test` that is another split's."""
    data = make(tmp_path)
    content = {"names": ["a", "b"], **dict.fromkeys(("train", "val", "test"), "images/train")}
    while True:
        data.write_text(json.dumps(content))
        try:
            divided = split(read_data_yaml(data))
            break
        except InputError as error:
            (doubled,) = re.findall("take `(.*)` out", str(error))
            del content[doubled]
    assert set(content) == {"names", "val"}
    assert [len(one) for one in divided.sets.values()] == [1, 1, 4]


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_split_that_must_be_is_not_to_be_taken_out(tmp_path: Path, name: str) -> None:
    data = make(tmp_path)
    shutil.rmtree(tmp_path / "images" / name)
    with pytest.raises(InputError, match="Fix the path") as refused:
        read_data_yaml(data)
    assert ("take `train` out" in str(refused.value)) == (name == "train")
