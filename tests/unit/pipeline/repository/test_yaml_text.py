"""Edits of people's YAML: what is not the edit stays byte for byte."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engines.errors import InputError
from pipeline.repository.yaml_edit import edited_yaml
from pipeline.repository.yaml_text import (
    edited,
    with_entry,
    with_item,
    with_text,
    without_entry,
    without_item,
    write_all,
)

ROW = {"model": "b", "precision": "fp16"}

LISTS = {
    "indented": ("models:\n  - a\n", "models:\n  - a\n  - b\n"),
    "flush left": ("models:\n- a\nx: 1\n", "models:\n- a\n- b\nx: 1\n"),
    "comments": (
        "# top\nmodels:  # ours\n  # the first\n  - a  # beside\n\n# below\nx: [1,  2]\n",
        "# top\nmodels:  # ours\n  # the first\n  - a  # beside\n  - b\n\n# below\nx: [1,  2]\n",
    ),
    "line ends": ("models:\r\n- a\r\nx: 1\r\n", "models:\r\n- a\r\n- b\r\nx: 1\r\n"),
    "no end": ("models:\n - a", "models:\n - a\n - b\n"),
    "flow": ("models: [a]  # ours\n", "models: [a, b]  # ours\n"),
    "empty": ("models: []  # none\n", "models: [b]  # none\n"),
    "quotes": ("models:\n- 'a'\n", "models:\n- 'a'\n- b\n"),
    "mark": ("\ufeffmodels:\n- a\n", "\ufeffmodels:\n- a\n- b\n"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_an_item_comes_and_goes(tmp_path: Path, kind: str) -> None:
    before, after = LISTS[kind]
    path = written(tmp_path, before)
    write_all({path: edited(path, with_item(("models",), "b"))})
    assert read(path) == after
    assert edited(path, with_item(("models",), "b")) == after.encode()
    write_all({path: edited(path, without_item(("models",), "b"))})
    assert read(path) in (before, before + "\n")
    assert edited(path, without_item(("models",), "b")) == path.read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models:\n- b  # theirs\n- c\n", "models:\n- c\n"),
        ("models:  # ours\n  # which\n  - b\nx: 1\n", "models: []  # ours\n  # which\nx: 1\n"),
        ("models: [b, c]\n", "models: [c]\n"),
        ("models: [a, b, c]\n", "models: [a, c]\n"),
        ("models: [b]\n", "models: []\n"),
        ("models: [a,\n  b,\n  c]\n", "models: [a,\n  c]\n"),
    ],
)
def test_an_item_goes(tmp_path: Path, before: str, after: str) -> None:
    path = written(tmp_path, before)
    assert edited(path, without_item(("models",), "b")).decode() == after


ENTRIES = {
    "block": (
        "engines:\n  a-fp16:\n    model: a\n    precision: fp16  # half\n\n# end\nx: 1\n",
        "engines:\n  a-fp16:\n    model: a\n    precision: fp16  # half\n"
        "  b-fp16:\n    model: b\n    precision: fp16\n\n# end\nx: 1\n",
    ),
    "wide": (
        "engines:\n    a-fp16:\n        model: a\n        precision: fp16\n",
        "engines:\n    a-fp16:\n        model: a\n        precision: fp16\n"
        "    b-fp16:\n        model: b\n        precision: fp16\n",
    ),
    "line ends": (
        "engines:\r\n  a-fp16: {model: a, precision: fp16}\r\n",
        "engines:\r\n  a-fp16: {model: a, precision: fp16}\r\n"
        "  b-fp16:\r\n    model: b\r\n    precision: fp16\r\n",
    ),
    "flow": (
        "engines: {a-fp16: {model: a, precision: fp16}}\n",
        "engines: {a-fp16: {model: a, precision: fp16}, b-fp16: {model: b, precision: fp16}}\n",
    ),
    "empty": (
        "engines: {}  # none yet\nx: 1\n",
        "engines:  # none yet\n  b-fp16:\n    model: b\n    precision: fp16\nx: 1\n",
    ),
    "nothing": (
        "engines:\nx: 1\n",
        "engines:\n  b-fp16:\n    model: b\n    precision: fp16\nx: 1\n",
    ),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_an_entry_comes_and_goes(tmp_path: Path, kind: str) -> None:
    before, after = ENTRIES[kind]
    path = written(tmp_path, before)
    write_all({path: edited(path, with_entry(("engines",), "b-fp16", ROW))})
    assert read(path) == after
    assert edited(path, with_entry(("engines",), "b-fp16", ROW)) == after.encode()
    removed = edited(path, without_entry(("engines",), "b-fp16")).decode()
    assert removed == before.replace(
        "engines:\n", "engines: {}\n" if kind == "nothing" else "engines:\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('version: "1.0"  # ours\n', 'version: "1.1"  # ours\n'),
        ("version: '1.0'\n", "version: '1.1'\n"),
        ("version: 1.0\n", 'version: "1.1"\n'),
        ("version: v1\n", 'version: "1.1"\n'),
    ],
)
def test_a_text_in_the_quotes_that_are_there(tmp_path: Path, before: str, after: str) -> None:
    path = written(tmp_path, before)
    assert edited(path, with_text(("version",), "1.1")).decode() == after


@pytest.mark.parametrize(
    "content",
    ["models: &m [a]\nothers: *m\n", "x: 1\n", "models: [a\n", "- models\n", ""],
)
def test_what_cannot_be_edited_is_refused(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    if "&m" in content:  # the alias has the new item too, which nobody asked for
        assert edited(path, with_item(("models",), "b"))
        return
    with pytest.raises(InputError, match=r"params\.yaml"):
        edited(path, with_item(("models",), "b"))


def test_mode_and_link_of_a_file_stay(tmp_path: Path) -> None:
    real = written(tmp_path, "models:\n- a\n")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(real.name)
    write_all({link: edited(link, with_item(("models",), "b"))})
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read(real) == "models:\n- a\n- b\n"


def test_lists_written_flush_left_stay_so(tmp_path: Path) -> None:
    text = "models:\n- a\nquantize:\n  methods:\n  - minmax\n  x: 1\n"
    path = written(tmp_path, text)
    with edited_yaml(path) as content:
        content["quantize"]["x"] = 2
    assert read(path) == text.replace("x: 1", "x: 2")


names = st.lists(
    st.text("abcxyz-", min_size=1, max_size=6).filter(
        lambda one: isinstance(YAML(typ="safe", pure=True).load(one), str)
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(
    names,
    st.sampled_from(["  - {}{}", "- {}{}", "    -   {}{}"]),
    st.sampled_from(["", "  # mine", " "]),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
def test_any_item_of_any_list(
    names: list[str], form: str, comment: str, end: str, data: Any
) -> None:
    lines = ["# top", "models:", *(form.format(name, comment) for name in names), "# end", "x: 1"]
    text = end.join([*lines, ""])
    gone = data.draw(st.sampled_from(names))
    after = without_item(("models",), gone)(text)
    left = [name for name in names if name != gone]
    assert YAML(typ="safe", pure=True).load(after.replace("\r", "")) == {"models": left, "x": 1}
    kept = [line for line in lines if line != form.format(gone, comment)]
    if left:
        assert after == end.join([*kept, ""])
    assert after.count("\r") == (after.count("\n") if "\r" in end else 0)


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text.encode())
    return path


def read(path: Path) -> str:
    return path.read_bytes().decode()
