"""A data set means what Ultralytics says it means, or is refused by name.

Each case makes a data set; Ultralytics' own reading of all of them, in one child process, is
compared with ours. Documented differences: pictures that are equal count once, boxes are clipped to
the picture, and a box without area there is no object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from engines.errors import InputError
from pipeline.intake.data_yaml import DataYaml, read_data_yaml
from pipeline.intake.pictures import ENDINGS, REFUSED, check_picture, read_picture
from tests.unit.pipeline.intake import links_and_places, more_data_sets
from tests.unit.pipeline.intake.data_sets import (
    CASES,
    PLAIN,
    case,
    label,
    labelled,
    picture,
    plain,
    rows,
    yaml,
)

rows("crlf", "0 0.5 0.5 0.1 0.1\r\n1 0.2 0.2 0.1 0.1\r\n")
rows("old_mac_ends", "0 0.5 0.5 0.1 0.1\r1 0.2 0.2 0.1 0.1\r")
rows("bom", b"\xef\xbb\xbf0 0.5 0.5 0.1 0.1\n")
rows("utf16", "0 0.5 0.5 0.1 0.1\n".encode("utf-16"), "x.txt as UTF-8")
rows("blank_lines_and_tabs", "\n\n0\t0.5  0.5 0.1 0.1 \n\n\n")
rows("form_feed", "0 0.5 0.5 0.1 0.1\x0c1 0.2 0.2 0.1 0.1\n")
rows("empty", "")
rows("polygons", "0 0.1 0.1 0.5 0.1 0.3 0.6\n1 0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4\n")
rows("polygons_of_one_box", "0 0.1 0.1 0.5 0.1 0.5 0.6\n0 0.1 0.1 0.1 0.6 0.5 0.6\n")
rows("polygon_twice", "0 0.1 0.1 0.5 0.1 0.3 0.6\n0 0.1 0.1 0.5 0.1 0.3 0.6\n")
rows("polygon_over_the_border", "0 -0.3 0.1 0.5 0.1 0.3 0.6\n")
rows("polygons_and_boxes", "0 0.1 0.1 0.5 0.1 0.3 0.6\n0 0.5 0.5 0.1 0.1\n", "x.txt, line 2.*poly")
rows("even_polygon", "0 0.1 0.1 0.5 0.1 0.3 0.6 0.7\n", "x.txt, line 1")
rows("six_columns", "0 0.5 0.5 0.1 0.1 0.9\n", "x.txt, line 1: expected five numbers")
rows("four_columns", "0 0.5 0.5 0.1\n", "x.txt, line 1")
rows("exponents_and_signs", "+0 5e-1 +0.5 1e-1 .1\n")
rows("negative_zero", "-0 -0.0 0.5 0.1 0.1\n0 0 0.5 0.1 0.1\n")
rows("class_as_float", "1.0 0.5 0.5 0.1 0.1\n")
rows("class_between", "1.5 0.5 0.5 0.1 0.1\n", "line 1: expected a class")
rows("class_too_large", "3 0.5 0.5 0.1 0.1\n", "expected a class from 0 to 2")
rows("class_negative", "-1 0.5 0.5 0.1 0.1\n", "expected a class")
rows("nan", "0 nan 0.5 0.1 0.1\n", "from 0 to 1")
rows("inf", "0 0.5 0.5 inf 0.1\n", "from 0 to 1")
rows("huge", "0 0.5 0.5 1e300 0.1\n", "from 0 to 1")
rows("pixels", "0 100 100 30 30\n", "from 0 to 1")
rows("words", "cat 0.5 0.5 0.1 0.1\n", "five numbers")
rows("commas", "0,0.5,0.5,0.1,0.1\n", "five numbers")
rows("within_tolerance", "0 1.005 0.5 0.1 0.1\n1 -0.005 0.5 0.1 0.1\n")
rows("at_tolerance", "0 1.01 0.5 0.1 0.1\n1 -0.01 0.5 0.1 0.1\n")
rows("beyond_tolerance", "0 1.011 0.5 0.1 0.1\n", "from 0 to 1")
rows("over_the_border", "0 0.9 0.5 0.4 0.5\n")
rows("no_area", "0 0.5 0.5 0 0.1\n0 0.5 0.5 0.1 0.1\n")
rows("negative_width", "0 0.5 0.5 -0.005 0.1\n", "from 0 to 1")
rows("equal", "0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n0 0.50 0.5 0.1 1e-1\n")
rows("equal_as_float32", "0 0.5 0.5 0.1 0.1\n0 0.500000001 0.5 0.1 0.1\n")

yaml("names_of_yaml_1_1", PLAIN.replace("[a, b, c]", "[yes, no, 010, 12:30, 1e3, ~, 2020-01-02]"))
yaml("quoted_keys", PLAIN.replace("[a, b, c]", "{'1': b, '0': a, 2: c}"))
yaml("nc_without_names", PLAIN.replace("names: [a, b, c]", "nc: 3"))
yaml("nc_as_text", PLAIN.replace("names: [a, b, c]", "nc: '3'"))
yaml("nc_between", PLAIN.replace("names: [a, b, c]", "nc: 2.5"), "data.yaml: expected `nc`")
yaml("nc_other_than_names", PLAIN + "nc: 4\n", "3 names and `nc: 4`")
yaml("gap", PLAIN.replace("[a, b, c]", "{0: a, 1: b, 3: c}"), "without gaps")
yaml("neither", PLAIN.replace("names: [a, b, c]", ""), "keys `val` and `names`")
yaml("key_twice", PLAIN + "names: [c, b, a]\n")
yaml("validation", PLAIN.replace("val:", "validation:"))
yaml("none_in_words", PLAIN + "test: None\n")
yaml("bom", "\ufeff" + PLAIN)
yaml("crlf", PLAIN.replace("\n", "\r\n"))
yaml("path_here", "path: .\n" + PLAIN)
yaml("path_of_another_machine", "path: /nowhere/theirs\n" + PLAIN, "`path: /nowhere/theirs`")
yaml("path_nowhere", "path: nowhere/theirs\n" + PLAIN, "folder at `path: nowhere/theirs`")
yaml("path_to_a_file", "path: data.yaml\n" + PLAIN, "folder at `path: data.yaml`")
yaml("empty_path", "path:\n" + PLAIN)
yaml("roboflow", PLAIN.replace("images/", "../images/"))
yaml("list_of_folders", PLAIN.replace("val: images/val", "val: [images/val, images/train]"))
yaml("missing", PLAIN.replace("images/val", "images/nowhere"), "nowhere is not there")
yaml("number_as_path", PLAIN.replace("images/val", "2024"), "`val` as a path")
yaml("not_yaml", PLAIN + "a: [", "is not YAML")
yaml("text", "just words\n", "keys `val` and `names`.*got no keys")
yaml(
    "of_cvat_s_subsets",
    PLAIN.replace("train:", "Train:").replace("val:", "Validation:"),
    "keys `val` and `names`.*got the keys Train, Validation, names",
)


@case()
def hidden_and_mac_files(folder: Path) -> None:
    plain(folder)
    (folder / "images/val/._x.png").write_bytes(b"\x00\x05\x16\x07")
    (folder / "images/val/.DS_Store").write_bytes(b"\x00")
    picture(folder / "images/val/.thumbs/x.png")
    (folder / "images/val/__MACOSX").mkdir()
    (folder / "images/val/__MACOSX/._x.jpg").write_bytes(b"\x00")


@case()
def nested(folder: Path) -> None:
    plain(folder)
    labelled(folder / "images/val/site/day/z.png", folder / "labels/val/site/day/z.txt")


@case()
def images_twice_in_the_path(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "images/set/images"))
    labelled(folder / "images/set/images/z.png", folder / "images/set/labels/z.txt")


@case()
def beside_each_other(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "flat"))
    labelled(folder / "flat/z.png", folder / "flat/z.txt")


@case()
def split_first(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "valid/images"))
    labelled(folder / "valid/images/a.b.c.png", folder / "valid/labels/a.b.c.txt")


@case()
def linked_folder_below(folder: Path) -> None:
    plain(folder)
    labelled(folder / "nas/images/z.png", folder / "nas/labels/z.txt")
    (folder / "images/val/site").symlink_to(folder / "nas/images")
    (folder / "labels/val/site").symlink_to(folder / "nas/labels")


@case()
def linked_split(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "images/linked"))
    labelled(folder / "nas/images/z.png", folder / "nas/labels/z.txt")
    (folder / "images/linked").symlink_to(folder / "nas/images")


@case()
def linked_files(folder: Path) -> None:
    plain(folder)
    (folder / "images/val/z.png").symlink_to(picture(folder / "store/17.png"))
    label(folder / "labels/val/z.txt", "2 0.5 0.5 0.1 0.1\n")


@case("val/up is a link")
def link_that_leads_back(folder: Path) -> None:
    plain(folder)
    (folder / "images/val/up").symlink_to(folder / "images/val")


@case()
def list_of_files(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "val.txt"))
    label(folder / "val.txt", b"\xef\xbb\xbf./images/val/x.png\r\n\r\n# y\r\nsite/images/y.png\r\n")
    labelled(folder / "site/images/y.png", folder / "site/labels/y.txt")


@case()
def lists_of_lists(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "[one.txt, lists/two.txt]"))
    label(folder / "one.txt", "./images/val/x.png\n")
    label(folder / "lists/two.txt", f"{folder}/images/val/y.png")


@case("val.txt, line 1")
def list_with_blanks(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "val.txt"))
    label(folder / "val.txt", "./images/val/x.png \n./images/val/y.png\n")


@case("gone.png is not there")
def list_with_a_gap(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "val.txt"))
    label(folder / "val.txt", "./images/val/x.png\n./images/val/gone.png\n")


@case()
def no_label_files(folder: Path) -> None:
    plain(folder)
    (folder / "labels/val/x.txt").unlink()


@case()
def label_is_a_folder(folder: Path) -> None:
    plain(folder)
    (folder / "labels/val/x.txt").unlink()
    (folder / "labels/val/x.txt").mkdir()


@case()
def other_kinds_of_files(folder: Path) -> None:
    plain(folder)
    for ending in ("gif", "ppm", "pfm", "hdr", "txt", "json"):
        (folder / f"images/val/z.{ending}").write_bytes(b"anything")


@case(r"gifs has none\. Bring files that end in bmp, .*, webp, or fix the path")
def pictures_of_no_kind_that_is_taken(folder: Path) -> None:
    plain(folder, PLAIN.replace("images/val", "gifs"))
    picture(folder / "gifs/a.gif")


@case("small.png")
def tiny(folder: Path) -> None:
    plain(folder)
    cv2.imwrite(str(folder / "images/val/small.png"), np.zeros((9, 40, 3), np.uint8))


@case("damaged")
def cut_png(folder: Path) -> None:
    plain(folder)
    path = folder / "images/val/x.png"
    path.write_bytes(path.read_bytes()[:-600])


@case("cut.jpg is damaged")
def cut_jpeg(folder: Path) -> None:
    plain(folder)
    path = picture(folder / "images/val/cut.jpg")
    path.write_bytes(path.read_bytes()[:-300])


@case("GIF in .*really.png")
def gif_by_another_name(folder: Path) -> None:
    plain(folder)
    picture(folder / "images/val/really.png", format="GIF")


@case("z.png is not there")
def broken_link(folder: Path) -> None:
    plain(folder)
    (folder / "images/val/z.png").symlink_to(folder / "nowhere.png")


@case()
def upper_case(folder: Path) -> None:
    plain(folder)
    labelled(folder / "images/val/Z.JPG", folder / "labels/val/Z.txt")


def kinds() -> None:
    """A case for every ending of Ultralytics' list, and for pixel formats."""
    formats = {"jp2": "JPEG2000", "dng": "TIFF", "heic": "PNG", "heif": "PNG"}
    for ending in [
        "avif",
        "bmp",
        "dng",
        "heic",
        "heif",
        "jp2",
        "jpeg",
        "jpg",
        "mpo",
        "png",
        "tif",
        "tiff",
        "webp",
    ]:
        refusal = rf"z\.{ending}" if f".{ending}" in REFUSED else None

        def make(folder: Path, ending: str = ending) -> None:
            plain(folder)
            options = {"format": formats[ending]} if ending in formats else {}
            picture(folder / f"images/val/z.{ending}", **options)
            label(folder / "labels/val/z.txt", "2 0.5 0.5 0.1 0.1\n")

        CASES[f"ending_{ending}"] = (make, refusal)
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I", "F"):

        def converted(folder: Path, mode: str = mode) -> None:
            plain(folder)
            with Image.open(folder / "images/val/x.png") as image:
                image.convert(mode).save(folder / "images/val/z.tif")

        CASES[f"pixels_{mode}"] = (converted, r"z\.tif is damaged" if mode in "IF" else None)


kinds()
more_data_sets.add()
links_and_places.add()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every data set's data.yaml, and what Ultralytics finds in it."""
    root = tmp_path_factory.mktemp("sets")
    files = {name: root / name / "data.yaml" for name in CASES}
    for name, (make, _) in CASES.items():
        files[name].parent.mkdir()
        make(files[name].parent)
    script, answer = Path(__file__).with_name("ultralytics_reads.py"), root / "found.json"
    subprocess.run(
        [sys.executable, script, answer],
        input="".join(f"{file}\n" for file in files.values()),
        text=True,
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = json.loads(answer.read_text())
    return {name: (files[name], one) for name, one in zip(files, found, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_both_find_the_same_or_ours_refuses_by_name(
    name: str, both: dict[str, tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, theirs = both[name]
    refusal = CASES[name][1]
    monkeypatch.chdir(file.parent)
    if refusal is not None:
        with pytest.raises(InputError, match=refusal):
            found(read_data_yaml(file))
        return
    assert "error" not in theirs, theirs
    data = read_data_yaml(file)
    assert list(data.names) == theirs["names"]
    ours = found(data)
    assert ours.keys() == theirs["splits"].keys()
    for split, pictures in theirs["splits"].items():
        assert ours[split].keys() == pictures.keys()
        for path, read in pictures.items():
            assert read is not None, f"Ultralytics leaves out {path}"
            np.testing.assert_allclose(ours[split][path], expected(read["rows"]), atol=1e-6)
            pixels = read_picture(Path(path))
            assert list(pixels.shape) == read["shape"], path
            assert sha256(pixels.tobytes()).hexdigest() == read["pixels"], path


def test_a_whole_path_is_no_second_place(tmp_path: Path) -> None:
    """`val` was said to be both here and beside the file, of which it is in neither or both."""
    plain(tmp_path, "path: .\n" + PLAIN.replace("images/val", f"{tmp_path}/images/val"))
    data = read_data_yaml(tmp_path / "data.yaml")
    assert [len(data.splits[split]) for split in ("train", "val")] == [2, 2]


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("data.yaml", 5 << 20, r"at most 4 MiB in .*data\.yaml, got 5 MiB"),
        ("val.txt", 300 << 20, r"at most 256 MiB in .*val\.txt, got 300 MiB"),
    ],
)
def test_a_text_that_fills_the_memory(tmp_path: Path, name: str, size: int, said: str) -> None:
    plain(tmp_path, PLAIN.replace("images/val", "val.txt"))
    with (tmp_path / name).open("ab") as file:
        file.truncate(size)
    with pytest.raises(InputError, match=said):
        read_data_yaml(tmp_path / "data.yaml")


def found(data: DataYaml) -> dict[str, dict[str, Any]]:
    """Sorted rows of class, cx, cy, w, h of each picture, checked as `add-model` does."""
    result: dict[str, dict[str, Any]] = {}
    for split, samples in data.splits.items():
        for sample in samples:
            check_picture(sample.image)
            labels = sample.read_labels(len(data.names))
            table = np.column_stack([labels.classes, labels.boxes]).reshape(-1, 5)
            result.setdefault(split, {})[os.path.normpath(sample.image)] = in_order(table)
    return result


def expected(table: list[list[float]]) -> np.ndarray:
    """Ultralytics' rows with the documented difference: clipped, and without those of no area."""
    rows = np.array(table, dtype=np.float64).reshape(-1, 5)
    low = (rows[:, 1:3] - rows[:, 3:] / 2).clip(0, 1)
    high = (rows[:, 1:3] + rows[:, 3:] / 2).clip(0, 1)
    clipped = np.column_stack([rows[:, :1], (low + high) / 2, high - low])
    return in_order(clipped[(high - low > 0).all(axis=1)])


def in_order(table: np.ndarray) -> np.ndarray:
    return table[np.lexsort(table.round(5).T[::-1])] if len(table) else table.reshape(0, 5)


def test_ours_knows_every_ending_of_theirs() -> None:
    from pipeline.intake.checkpoint import ultralytics_module

    formats = ultralytics_module("ultralytics.data.utils").IMG_FORMATS
    assert {f".{one}" for one in formats} == ENDINGS


def test_a_pipe_called_like_a_picture_is_not_waited_for(tmp_path: Path) -> None:
    """Ultralytics waits for what nobody writes, so it is not asked."""
    plain(tmp_path)
    os.mkfifo(tmp_path / "images/val/pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is a pipe, a socket or a device"):
        read_data_yaml(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", r"got the folder .*Give .*/data\.yaml\."),
        (
            "images",
            r"got the folder .*/images\. .*/images has none\. Write a data\.yaml: `train:` and ",
        ),
        ("two", r"got the folder .*/two\. Give .*/two/data\.yaml, or another of its 2\."),
        ("coco.json", r"got .*/coco\.json\. Write a data\.yaml: .*of annotations in JSON \(COCO\)"),
        ("a set.ndjson", r"got .*/a set\.ndjson, .*`python -c .* '\S*/a set'`\. Give that data"),
        ("obj.names", r"got .*/obj\.names\. Write a data\.yaml"),
        ("set.zip", r"got the archive .*set\.zip\. Unpack it"),
        ("set.tar.gz", r"got the archive .*set\.tar\.gz\. Unpack it"),
        ("gone.zip", "no file is there. Give .*/data.yaml."),
        ("images/data.yaml", "no file is there. .*/images has none. Write a data.yaml: `train:`"),
        ("clone/data.yaml", "no file is there. .*/clone has none. Write a data.yaml: `train:`"),
        ("clone/args.yaml", "arguments of a training. .* that it names: /sets/yard.yaml"),
    ],
)
def test_what_is_given_in_place_of_a_data_yaml(tmp_path: Path, name: str, said: str) -> None:
    plain(tmp_path)
    for archive in ("set.zip", "set.tar.gz"):
        (tmp_path / archive).write_bytes(b"PK")
    (tmp_path / "clone").mkdir()
    for other in (".gitlab-ci.yml", "dvc.yaml", "args.yaml"):  # the last is of a training
        text = "mode: train\ndata: /sets/yard.yaml\nval: true\nname: train\n"
        (tmp_path / "clone" / other).write_text(text)
    for other in ("coco.json", "a set.ndjson", "obj.names", "two/data.yaml", "two/other.yml"):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text('{"val": "images/val", "names": ["a", "b", "c"]}')
    (tmp_path / "two/other.yml").write_text("validation: images/val\nnc: 3\n")
    with pytest.raises(InputError, match=said):
        read_data_yaml(tmp_path / name)


def test_a_data_yaml_in_utf_16(tmp_path: Path) -> None:
    """As editors of Windows may save it."""
    plain(tmp_path)
    path = tmp_path / "data.yaml"
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(InputError, match=r"data\.yaml is not YAML: .*Save the file as UTF-8"):
        read_data_yaml(path)
