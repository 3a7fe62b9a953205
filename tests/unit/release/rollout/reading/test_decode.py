"""fleet.yaml decoded as Fleet's own code decodes it; each case was given to that code."""

from __future__ import annotations

from typing import Any

import pytest

from release.rollout.reading.decode import decode
from release.rollout.reading.text import parse_document, resolve
from release.rollout.reading.version import parse_version


def wrong(text: str) -> list[str]:
    """The places of what fails the file."""
    found = decode(parse_document(text).value, parse_version(None))
    return [".".join(map(str, path)) for path, _ in found.wrong]


@pytest.mark.parametrize(
    "text",
    [
        *("name: 5", "labels: {a: 1.5}", "annotations: {a: true}", "Labels: {a: 1}"),
        *("namespace: 5", "uid: 3", "Generation: x", "finalizers: a", "resourceVersion: 12"),
    ],
)
def test_numbers_where_an_object_has_texts_fail_the_file(text: str) -> None:
    assert len(wrong(text)) == 1


@pytest.mark.parametrize(
    "text",
    ["labels: {1: x}", "generation: 2", "uid: a-b", "overrideTargets: [{clusterName: 5}]"],
)
def test_what_an_object_has_and_a_bundle_drops_is_fine(text: str) -> None:
    assert wrong(text) == []


def test_a_long_s_is_an_s_in_a_key() -> None:
    found = decode({"helm": {"value\u017f": {"a": 1}}}, parse_version(None))
    assert found.value == {"helm": {"values": {"a": 1}}}


def test_a_key_in_two_spellings_is_filled_in_twice() -> None:
    text = "helm: {chart: x}\nHelm: {chart: y, repo: z}\n"
    found = decode(parse_document(text).value, parse_version(None))
    assert found.value == {"helm": {"chart": "x", "repo": "z"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: 1e400", "1e400"), ("a: 1e300", 1e300), ("a: !!binary aGVsbG8=", "hello")],
)
def test_words_as_values(text: str, expected: Any) -> None:
    assert parse_document(text).value == {"a": expected}


def test_a_number_too_large_is_a_word() -> None:
    assert resolve("-1e999") == "-1e999"
