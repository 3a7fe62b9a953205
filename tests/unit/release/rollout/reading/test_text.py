"""YAML as Fleet reads it: every expectation here was checked against goyaml v2 itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from release.rollout.reading.text import NotYaml, parse_document, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("~", None),
        ("010", 8),
        ("08", 8.0),
        ("0o7", 7),
        ("-0b11", -3),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("123456789012345678901", 123456789012345678901.0),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("!mine x", "x"),
        ("-", "-"),
    ],
)
def test_words(text: str, value: Any) -> None:
    if text == "-":
        assert resolve(text) == value
        return
    assert parse_document(f"a: {text}\n").value == {"a": value}
    assert type(parse_document(f"a: {text}\n").value["a"]) is type(value)


def test_keys_are_texts() -> None:
    assert parse_document("{yes: 1, 010: 2, 1.5: 3}").value == {"true": 1, "8": 2, "1.5": 3}


def test_of_equal_keys_the_last_one_wins() -> None:
    document = parse_document("a: {x: 1}\nb: 2\na: {z: 1}\n")
    assert document.value == {"a": {"z": 1}, "b": 2}
    assert document.duplicates == [(("a",), 3)]
    assert document.line("a", "x") == 3


def test_numbers_that_people_read_otherwise_are_kept() -> None:
    document = parse_document("a: 010\nb: 07\nc: '010'\nd: [1, -012]\ne: 0o10\nf: 08\n")
    assert document.value == {"a": 8, "b": 7, "c": "010", "d": [1, -10], "e": 8, "f": 8.0}
    assert document.octal == [("010", 8, 1), ("-012", -10, 4)]


def test_a_merge_takes_effect_where_it_stands() -> None:
    text = "base: &b {x: 1, w: 1}\none: {x: 2, <<: *b}\ntwo: {<<: [*b, {x: 9, z: 3}], w: 2}\n"
    assert parse_document(text).value["one"] == {"x": 1, "w": 1}
    assert parse_document(text).value["two"] == {"x": 1, "w": 2, "z": 3}


def test_only_the_first_document_counts() -> None:
    document = parse_document("a: 1\n---\nb: [\n")
    assert (document.value, document.documents) == ({"a": 1}, 2)


def test_lines_and_crlf() -> None:
    document = parse_document("# c\r\na:\r\n  - b: 1\r\n")
    assert document.value == {"a": [{"b": 1}]}
    assert document.line("a", 0, "b") == 3
    assert document.line("a", 7, "nothing") == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "~"])
def test_nothing(text: str) -> None:
    assert parse_document(text).value is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n\tb: 2\n", 2),
        ("a: [1\n", 2),
        ("a: *nobody\n", 1),
        ("a: &x [*x]\n", 1),
        ("a: .inf\n", 1),
        ("[a]: 1\n", 1),
        ("~: 1\n", 1),
        ("x: 1\n<<: 2\n", 2),
    ],
)
def test_what_does_not_parse(text: str, line: int) -> None:
    with pytest.raises(NotYaml) as error:
        parse_document(text)
    assert error.value.line == line


def test_aliases_that_grow_without_end_are_refused() -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(NotYaml, match="aliases"):
        parse_document("\n".join(rows))


def test_depth_is_refused() -> None:
    with pytest.raises(NotYaml, match="levels"):
        parse_document("[" * 500 + "]" * 500)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_parses_or_says_where_it_does_not(text: str) -> None:
    lines = []
    try:
        parse_document(text)
    except NotYaml as error:
        lines.append(error.line)
    assert all(line >= 1 for line in lines)
