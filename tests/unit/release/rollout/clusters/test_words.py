"""YAML of texts, against PyYAML's own loader."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from release.rollout.clusters.words import parse_words

A = {"k": "v", "l": "w"}
TEXTS = some.text(some.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
VALUES = some.recursive(
    TEXTS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, some.booleans())
def test_what_was_written_is_read(value: object, flow: bool) -> None:
    text = yaml.dump(value, allow_unicode=True, default_flow_style=flow)
    assert parse_words(text) == value == yaml.load(text, Loader=yaml.BaseLoader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 0010\nb: yes\nc:\nd: ~\n", {"a": "0010", "b": "yes", "c": "", "d": "~"}),
        ("a: &x {k: v}\nb: *x\n", {"a": {"k": "v"}, "b": {"k": "v"}}),
        ("a: &x [1]\nb: &x [2]\nc: *x\n", {"a": ["1"], "b": ["2"], "c": ["2"]}),
        ("a: 1\na: 2\n", "an error"),
        ("a: 1\n? a\n: 2\n", "an error"),
        ("a: &x {k: v, l: w}\nb: {<<: *x, l: z}\n", {"a": A, "b": {"k": "v", "l": "z"}}),
        ("a: &x {k: v, l: w}\nb: {<<: [{l: z}, *x]}\n", {"a": A, "b": {"k": "v", "l": "z"}}),
        ("a: {'<<': k}\nb: [<<]\nc: <<\n", {"a": {"<<": "k"}, "b": ["<<"], "c": "<<"}),
        ("a: {<<: k}\n", "an error"),
        ("- [a, {b: [c]}]\n- d\n", [["a", {"b": ["c"]}], "d"]),
        ("a: !!int 3\n---\n", "an error"),
        ("a: *x\n", "an error"),
        ("a: [\n", "an error"),
        ("? [a]\n: b\n", "an error"),
    ],
)
def test_what_people_write(text: str, expected: object) -> None:
    if expected == "an error":
        with pytest.raises(yaml.YAMLError):
            parse_words(text)
        return
    assert parse_words(text) == expected


def test_where_maps_stand() -> None:
    lines: dict[int, int] = {}
    found = parse_words("a:\n- k: v\n-\n  l: w\n", lines)
    assert [lines[id(one)] for one in (found, *found["a"])] == [1, 2, 4]
