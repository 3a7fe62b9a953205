"""Data sets whose files are links, sockets or pipes, and places where no file can be.

`add` adds the cases to the table of `data_sets`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.pipeline.intake.data_sets import (
    CASES,
    PLAIN,
    case,
    label,
    labelled,
    plain,
    yaml,
)


def add() -> None:
    """Add all of them."""
    _places()
    _links()


def _places() -> None:
    for key in ("val", "train", "test", "path"):
        for name, value in (("with_nul", '"a\\0b"'), ("of_5000_letters", "a" * 5000)):
            kept = [one for one in PLAIN.splitlines() if not one.startswith(f"{key}:")]
            text = "\n".join([*kept, f"{key}: {value}", ""])
            yaml(f"{key}_{name}", text, "data.yaml: expected the path of a file or folder")

    @case()
    def whole_paths_whatever_path_says(folder: Path) -> None:
        whole = PLAIN.replace("images/", f"{folder}/images/")
        plain(folder, f"path: /nowhere/at/all\n{whole}")

    for value in ("false", "0", "{}"):
        yaml(
            f"test_{value}", PLAIN + f"test: {value}\n", f"`test` as a path.*got '{value.title()}'"
        )

    @case("val.txt: expected the path of a file or folder, got './aaaa")
    def line_of_5000_letters(folder: Path) -> None:
        plain(folder, PLAIN.replace("images/val", "val.txt"))
        label(folder / "val.txt", "./" + "a" * 5000 + ".png\n")


def _links() -> None:
    def circle(folder: Path) -> None:
        (folder / "images").mkdir()
        (folder / "images/circle").symlink_to("circle")

    @case("got 'images/circle'")
    def split_in_a_circle(folder: Path) -> None:
        circle(folder)
        plain(folder, PLAIN.replace("images/val", "images/circle"))

    @case("got 'images/circle'")
    def path_in_a_circle(folder: Path) -> None:
        circle(folder)
        plain(folder, "path: images/circle\n" + PLAIN)

    for name, leads in (("itself", "site"), ("a_share_that_is_gone", "/nowhere/nas/images")):

        def lost(folder: Path, leads: str = leads) -> None:
            plain(folder)
            (folder / "images/val/site").symlink_to(leads)

        CASES[f"link_to_{name}"] = (lost, f"site is a link to {leads}, which is not there")

    @case()
    def data_yaml_in_a_store(folder: Path) -> None:
        """As DVC links files into its cache: the pictures are beside the link."""
        plain(folder)
        plain(folder / "store")
        labelled(folder / "images/val/z.png", folder / "labels/val/z.txt")
        (folder / "data.yaml").unlink()
        (folder / "data.yaml").symlink_to("store/data.yaml")

    @case()
    def everything_in_a_store(folder: Path) -> None:
        plain(folder)
        for number, file in enumerate(sorted(folder.rglob("*.*"))):
            if file.is_file():
                file.rename(folder / f"{number}")
                file.symlink_to(folder / f"{number}")

    @case()
    def a_pipe_among_pictures(folder: Path) -> None:
        plain(folder)
        os.mkfifo(folder / "images/val/pipe")
