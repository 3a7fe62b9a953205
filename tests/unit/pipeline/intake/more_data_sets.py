"""More data sets: how places are written, odd numbers, and pictures as cameras and tools save them.

Each function adds its cases to the table of `data_sets`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

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

LISTED = PLAIN.replace("images/val", "val.txt")


def add() -> None:
    """Add all of them."""
    _numbers()
    _places()
    _lists()
    _files()
    _pictures()


def _numbers() -> None:
    rows("trailing_blanks", "0 0.5 0.5 0.1 0.1   \n1 0.2 0.2 0.1 0.1\t\n")
    rows("no_end_of_line", "0 0.5 0.5 0.1 0.1")
    rows("scientific", "0 5.0e-01 5E-1 1e-01 1.0E-1\n")
    rows("class_in_scientific", "1e0 0.5 0.5 0.1 0.1\n")
    rows("class_with_zeros", "01 0.5 0.5 0.1 0.1\n")
    rows("class_zero_as_float", "0.0 0.5 0.5 0.1 0.1\n-0.0 0.2 0.5 0.1 0.1\n")
    rows("underscores", "0 0.5 0.5 0.1 0.1_0\n")
    rows("other_digits", "0 0.5 0.5 \u0660.\u0661 0.1\n")
    rows("no_break_spaces", "0\u00a00.5\u00a00.5\u00a00.1 0.1\n")
    rows("line_separators", "0 0.5 0.5 0.1 0.1\u20281 0.2 0.2 0.1 0.1\x851 0.7 0.2 0.1 0.1\n")
    rows("many_digits", "0 0.5000000000000000000001 0.5 0.1 0.09999999999999\n")
    rows("whole_picture", "0 0.5 0.5 1 1\n1 0.5 0.5 1.005 1.005\n")
    rows("slightly_above_one", "0 0.995 0.5 0.01 0.1\n0 1.0000001 0.5 0.1 0.1\n")
    rows("outside_within_tolerance", "0 1.01 0.5 0.001 0.1\n1 0.5 0.5 0.1 0.1\n")
    rows("polygon_of_four_points", "0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n")
    rows(
        "four_points_among_boxes",
        "0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n",
        "line 1",
    )
    rows(
        "polygon_of_negative_class_zero", "0 0.1 0.1 0.5 0.1 0.3 0.6\n-0 0.1 0.1 0.5 0.1 0.3 0.6\n"
    )
    rows("polygon_from_negative_zero", "0 0 0.1 0.5 0.1 0.3 0.6\n0 -0 0.1 0.5 0.1 0.3 0.6\n")
    rows("polygon_without_area", "0 0.1 0.1 0.5 0.1 0.3 0.1\n0 0.1 0.1 0.5 0.1 0.3 0.6\n")
    rows("polygon_and_two_points", "0 0.1 0.1 0.5 0.1 0.3 0.6\n0 0.1 0.1 0.5 0.6\n", "line 2")
    rows("infinite_in_words", "0 0.5 0.5 Infinity 0.1\n", "from 0 to 1")
    rows("nan_class", "nan 0.5 0.5 0.1 0.1\n", "expected a class")
    rows("hexadecimal", "0x1 0.5 0.5 0.1 0.1\n", "five numbers")
    rows("decimal_commas", "0 0,5 0,5 0,1 0,1\n", "five numbers")
    rows("comment", "# class x y w h\n0 0.5 0.5 0.1 0.1\n", "line 1")
    rows("null_bytes", "0 0.5 0.5 0.1 0.1\x00\n", "five numbers")
    rows("latin_1", "0 0.5 0.5 0.1 0.1 \xe9\n".encode("latin-1"), "UTF-8")


def _places() -> None:
    yaml("path_null", "path:\n" + PLAIN)
    yaml("path_false", "path: false\n" + PLAIN, "`path` as text")
    yaml("path_zero", "path: 0\n" + PLAIN, "`path` as text")
    yaml("nc_null_beside_names", PLAIN + "nc:\n", "`nc` as a number of classes, got None")
    yaml("names_of_imagenet", PLAIN.replace("[a, b, c]", "[n01440764, b, c]"), "code n01440764")
    yaml("names_like_imagenet", PLAIN.replace("[a, b, c]", "[n0t, n01440764x, c]"))
    yaml("path_number", "path: 2024\n" + PLAIN, "`path` as text")
    yaml("trailing_slash", PLAIN.replace("images/val", "images/val/"))
    yaml("dot_slash", PLAIN.replace("images/val", "./images/val"))
    yaml("up_and_down", PLAIN.replace("images/val", "images/train/../val"))
    yaml("picture_as_split", PLAIN.replace("images/val", "images/val/x.png"), "has none")
    yaml("glob", PLAIN.replace("images/val", "images/val/*.png"), "is not there")
    yaml("environment", PLAIN.replace("images/val", "$HOME/images"), "is not there")
    yaml("tilde", PLAIN.replace("images/val", "~/images-nowhere"), "is not there")
    yaml(
        "back_slashes",
        PLAIN.replace("images/val", "images\\val"),
        "is not there. Write the path with",
    )
    for name, path in (("drive", "C:/set/images/val"), ("drive_back", "C:\\set\\images\\val")):
        yaml(name, PLAIN.replace("images/val", path), "Write where they lie on this machine")
    yaml(
        "list_with_one_gone",
        PLAIN.replace("images/val", "[images/val, images/gone]"),
        "is not there",
    )
    yaml("folder_twice", PLAIN.replace("images/val", "[images/val, images/val/]"), None)
    yaml("list_in_a_list", PLAIN.replace("images/val", "[[images/val]]"), "a list of paths")
    yaml("empty_list", PLAIN.replace("images/val", "[]"), "keys `val`")
    yaml("test_empty", PLAIN + "test: ''\n")
    yaml("more_keys", PLAIN + "minival: images/val\ndownload: echo no\nlicense: x\n")
    yaml("anchors", "p: &p images/val\ntrain: images/train\nval: *p\nnames: {0: a, 1: b, 2: c}\n")
    yaml("names_as_text", PLAIN.replace("[a, b, c]", "abc"), "`names` as a list")
    yaml("names_as_lists", PLAIN.replace("[a, b, c]", "[[a], b, c]"), "`names` as a list")
    yaml("names_from_one", PLAIN.replace("[a, b, c]", "{1: a, 2: b, 3: c}"), "without gaps")
    yaml("nc_as_float", PLAIN.replace("names: [a, b, c]", "nc: 3.0"))
    yaml("unicode", PLAIN.replace("[a, b, c]", "[café, 部品, 🔩]"))
    yaml("tabs", "train:\timages/train\nval: images/val\nnames: [a, b, c]\n", "is not YAML")

    @case()
    def path_beside(folder: Path) -> None:
        plain(folder, "path: ../path_beside\n" + PLAIN)

    @case()
    def path_absolute(folder: Path) -> None:
        plain(folder, f"path: {folder}\n" + PLAIN)

    @case()
    def path_with_blanks(folder: Path) -> None:
        plain(folder, "path: my data (1)\n" + PLAIN)
        plain(folder / "my data (1)")

    @case()
    def brackets_in_the_path(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "'images/[val] *?'"))
        labelled(folder / "images/[val] *?/z.png", folder / "labels/[val] *?/z.txt")

    @case()
    def unicode_in_the_path(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "images/prüfung 検査"))
        labelled(folder / "images/prüfung 検査/é.png", folder / "labels/prüfung 検査/é.txt")


def _list(name: str, text: str, refusal: str | None = None) -> None:
    """A case whose `val` is the list `text`; in it `{here}` is the folder."""

    def make(folder: Path) -> None:
        plain(folder, LISTED)
        label(folder / "val.txt", text.replace("{here}", str(folder)))
        labelled(folder / "images/my val/a b.png", folder / "labels/my val/a b.txt")

    CASES[f"list_{name}"] = (make, refusal)


def _lists() -> None:
    _list("absolute", "{here}/images/val/x.png\n{here}/images/val/y.png\n")
    _list(
        "from_where_it_runs",
        "images/val/x.png\nimages/val/y.png\n",
        "line 1.*begins with `images/`",
    )
    _list("up_from_where_it_runs", "images/val/../../images/val/x.png\n")
    _list("blanks_in_names", "./images/my val/a b.png\n{here}/images/val/x.png\n")
    _list("blank_lines", "\n\n./images/val/x.png\n\n\n./images/val/y.png\n\n")
    _list("up_and_down", "./images/train/../val/x.png\n")
    _list("a_picture_twice", "./images/val/x.png\n./images/val/x.png\n")
    _list("other_lines", "version 1\n./images/val/x.png\n./images/val\n./labels/val/x.txt\n")
    _list("tab_before", "\t./images/val/x.png\n./images/val/y.png\n./images/val/x.png\n")
    _list("tab_within", "./images/val/x.png\n./images/val/\ty.png\n", "line 2|is not there")
    _list("labels_behind", "./images/val/x.png 1,2,3,4,0\n", "has none")
    _list(
        "of_cvat", "data/images/val/x.png\n", "is not there.*lines of the list .*`./images/a.jpg`"
    )
    _list("windows", ".\\images\\val\\x.png\n", "is not there")
    _list("drive", "C:\\data\\images\\val\\x.png\n", "is not there")
    _list("file_url", "file://{here}/images/val/x.png\n", "is not there")
    _list("tilde", "~/gone/images/val/x.png\n", "is not there")
    _list("quoted", "'./images/val/x.png'\n", "has none")
    _list("upper_case", "./images/val/X.PNG\n", "is not there")
    _list("empty", "", "has none")

    @case()
    def list_through_a_linked_folder(folder: Path) -> None:
        """`..` of a linked folder is where the link leads, and there is a picture here as well."""
        plain(folder, LISTED)
        labelled(folder / "nas/images/z.png", folder / "nas/labels/z.txt")
        (folder / "nas/images/day").mkdir()
        (folder / "images/val/linked").symlink_to(folder / "nas/images/day")
        label(folder / "nas/labels/day/z.txt", "")
        (folder / "labels/val/linked").symlink_to(folder / "nas/labels/day")
        labelled(folder / "images/val/z.png", folder / "labels/val/z.txt")
        label(folder / "labels/val/z.txt", "0 0.2 0.2 0.1 0.1\n")
        label(folder / "val.txt", "./images/val/linked/../z.png\n")

    @case("gone/../x.png is not there")
    def list_up_from_a_folder_that_is_gone(folder: Path) -> None:
        plain(folder, LISTED)
        label(folder / "val.txt", "./images/val/gone/../x.png\n")

    @case("in UTF-8")
    def list_in_utf_16(folder: Path) -> None:
        plain(folder, LISTED)
        label(folder / "val.txt", "./images/val/x.png\n".encode("utf-16"))


def _files() -> None:
    @case()
    def one_stem_with_two_endings(folder: Path) -> None:
        plain(folder)
        picture(folder / "images/val/x.jpg")

    @case()
    def endings_in_upper_case(folder: Path) -> None:
        plain(folder)
        for ending in ("PNG", "Jpeg", "TIF", "BMP", "WebP"):
            labelled(
                folder / f"images/val/u{ending}.{ending}", folder / f"labels/val/u{ending}.txt"
            )
        label(folder / "labels/val/y.TXT", "0 0.5 0.5 0.9 0.9\n")

    @case()
    def images_in_images(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "images/images"))
        labelled(folder / "images/images/z.png", folder / "images/labels/z.txt")
        label(folder / "labels/labels/z.txt", "0 0.1 0.1 0.1 0.1\n")

    @case()
    def images_as_a_part_of_a_name(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "my-images/images-val"))
        labelled(folder / "my-images/images-val/z.png", folder / "my-images/images-val/z.txt")

    @case()
    def picture_called_images(folder: Path) -> None:
        plain(folder)
        labelled(folder / "images/val/images.png", folder / "labels/val/images.txt")

    @case()
    def dots_and_blanks_in_names(folder: Path) -> None:
        plain(folder)
        for stem in ("a..b", " lead", "trail ", "1.2.3", "no_label.txt"):
            labelled(folder / f"images/val/{stem}.png", folder / f"labels/val/{stem}.txt")

    @case()
    def cache_of_a_training(folder: Path) -> None:
        plain(folder)
        (folder / "labels/val.cache").write_bytes(b"anything")

    @case()
    def folder_called_like_a_picture(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "images/all.png"))
        labelled(folder / "images/all.png/z.png", folder / "labels/all.png/z.txt")

    @case()
    def linked_labels(folder: Path) -> None:
        plain(folder)
        (folder / "labels/val").rename(folder / "elsewhere")
        (folder / "labels/val").symlink_to(folder / "elsewhere")

    @case()
    def two_names_of_a_file(folder: Path) -> None:
        plain(folder)
        os.link(folder / "images/val/x.png", folder / "images/val/z.png")

    @case("x.png is damaged")
    def empty_picture(folder: Path) -> None:
        plain(folder)
        (folder / "images/val/x.png").write_bytes(b"")

    @case("x.png is damaged")
    def text_as_picture(folder: Path) -> None:
        plain(folder)
        (folder / "images/val/x.png").write_text("<html>not found</html>")


def _saved(
    name: str, write: Callable[[Path], Any], ending: str, refusal: str | None = None
) -> None:
    """A case with a picture that `write` saves to a path with this ending."""

    def make(folder: Path) -> None:
        plain(folder)
        write(folder / f"images/val/z.{ending}")
        label(folder / "labels/val/z.txt", "2 0.5 0.5 0.1 0.1\n")

    CASES[f"picture_{name}"] = (make, refusal)


def _pictures() -> None:
    colours = np.random.default_rng(7).integers(0, 255, (24, 32, 4), np.uint8)
    deep = np.random.default_rng(8).integers(0, 65535, (24, 32, 3), np.uint16)
    whole, flat = Image.fromarray(colours[..., :3]), Image.fromarray(colours)
    for turn in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        for ending in ("jpg", "png", "webp", "tif"):
            _saved(f"turned_{turn}_{ending}", _save(whole, exif=exif), ending)
    _saved("16_bit_png", _encode(deep), "png")
    _saved("16_bit_grey_png", _encode(deep[..., 0]), "png")
    _saved("16_bit_tiff", _encode(deep), "tif")
    _saved("16_bit_grey_tiff", _encode(deep[..., 0]), "tif")
    _saved("alpha_16_bit_tiff", _encode(np.dstack([deep, deep[..., :1]])), "tiff")
    _saved("alpha_16_bit_png", _encode(np.dstack([deep, deep[..., :1]])), "png")
    for ending in ("png", "tif", "webp"):
        _saved(f"alpha_{ending}", _save(flat), ending)
    palette = whole.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    _saved("palette_with_transparency", _save(palette, transparency=3), "png")
    _saved("palette_bmp", _save(palette), "bmp")
    _saved("two_colours_png", _save(whole.convert("1")), "png")
    _saved("grey_with_alpha", _save(flat.convert("LA")), "png")
    _saved("grey_jpeg", _save(whole.convert("L")), "jpg")
    _saved("cmyk_jpeg", _save(whole.convert("CMYK")), "jpg")
    _saved("cmyk_tiff", _save(whole.convert("CMYK")), "tif")
    _saved("lab_tiff", _save(whole.convert("LAB")), "tif")
    _saved("progressive", _save(whole, progressive=True), "jpg")
    _saved("interlaced", _encode(colours[..., :3]), "png")
    _saved("floats", _encode(deep.astype(np.float32) / 65535), "tif", r"z\.tif is damaged")
    pages: dict[str, Any] = {
        "save_all": True,
        "append_images": [Image.fromarray(colours[::-1, :, :3])],
    }
    _saved("pages_tiff", _save(whole, **pages), "tif")
    _saved(
        "pages_grey_tiff",
        _save(whole.convert("L"), save_all=True, append_images=[whole.convert("L")]),
        "tif",
    )
    _saved("frames_webp", _save(whole, lossless=True, duration=100, **pages), "webp")
    _saved("frames_png", _save(whole, **pages), "png")
    _saved("frames_gif", _save(whole, format="GIF", **pages), "png", "GIF in")
    _saved("first_frame_png", _first_frame_in_a_corner, "png", r"z\.png is damaged")
    _saved("mpo", _save(whole, format="MPO", **pages), "mpo")
    _saved("mpo_as_jpg", _save(whole, format="MPO", **pages), "jpg")
    _saved("avif_as_jpg", _save(whole, format="AVIF"), "jpg", "AVIF in")
    _saved("jpeg_as_png", _save(whole, format="JPEG"), "png")
    _saved("jpeg_with_a_tail", _with_tail(whole), "jpg")
    _saved("jpeg_without_an_end", _without_end(whole), "jpg", r"z\.jpg is damaged")


def _save(image: Image.Image, **options: Any) -> Callable[[Path], Any]:
    return lambda path: image.save(path, **options)


def _encode(pixels: NDArray[Any]) -> Callable[[Path], Any]:
    return lambda path: cv2.imwrite(str(path), pixels)


def _with_tail(image: Image.Image) -> Callable[[Path], Any]:
    """As some cameras write it: zeros behind the end."""

    def write(path: Path) -> None:
        image.save(path)
        path.write_bytes(path.read_bytes() + bytes(64))

    return write


def _without_end(image: Image.Image) -> Callable[[Path], Any]:
    """Ultralytics repairs it: all of it is there but the end marker."""

    def write(path: Path) -> None:
        image.save(path)
        path.write_bytes(path.read_bytes()[:-2])

    return write


def _first_frame_in_a_corner(path: Path) -> None:
    """An animation that leaves most of its first picture open, which the format does not allow;
    OpenCV gives what was in the memory before."""
    first = Image.fromarray(np.zeros((24, 12, 3), np.uint8))
    first.save(
        path, save_all=True, append_images=[Image.fromarray(np.zeros((24, 32, 3), np.uint8))]
    )
