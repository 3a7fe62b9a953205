"""What NVIDIA's parser does not take, in words. test_tensorrt.py has the parser itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backends.tensorrt.parse import SHOWN, parser_errors


def error(
    description: str, number: int = -1, name: str | None = None, operator: str | None = None
) -> SimpleNamespace:
    """As TensorRT 10 and later give it; without the two methods where nothing is given, as 8.6."""
    said = SimpleNamespace(desc=lambda: description, node=lambda: number)
    if name is not None:
        said.node_name = lambda: name
    if operator is not None:
        said.node_operator = lambda: operator
    return said


@pytest.fixture
def content(tiny_onnx: Path) -> bytes:
    return tiny_onnx.read_bytes()


def test_one_operator_that_is_not_known_with_all_of_its_nodes(content: bytes) -> None:
    errors = [error("false", number, f"/layer.{number}/Det", "Det") for number in range(7)]
    assert parser_errors(errors, content) == (
        "Det (nodes /layer.0/Det, /layer.1/Det, /layer.2/Det, /layer.3/Det, /layer.4/Det, "
        "and 2 more): TensorRT has no such operator"
    )


def test_several_operators_each_with_its_own_words(content: bytes) -> None:
    errors = [
        error("false", 0, "/a/Det", "Det"),
        error('creator && "Plugin not found, are the name and version correct?"', 1, "/b", "Mine"),
        error("Assertion failed: (nchan == -1):\n  does not fit", 2, "/c/Conv", "Conv"),
        error("false", 3, "/d/Det", "Det"),
    ]
    assert parser_errors(errors, content) == (
        "Det (nodes /a/Det, /d/Det): TensorRT has no such operator; "
        "Mine (node /b): TensorRT has no such operator; "
        "Conv (node /c/Conv): Assertion failed: (nchan == -1): does not fit"
    )


def test_8_6_gives_the_number_of_the_node_alone(content: bytes) -> None:
    """The tiny network's first node has a name, the second has none."""
    assert parser_errors([error("first", 0), error("second", 1)], content) == (
        "Conv (node stem): first; Sigmoid (node without name, of g): second"
    )


def test_an_error_of_the_whole_file(content: bytes) -> None:
    for about in (error("Failed to parse", -1, "", ""), error("Failed to parse", 99)):
        assert parser_errors([about], content) == "the file: Failed to parse"
    assert parser_errors([error("Failed to parse", 0)], b"\x08\x01 no graph") == (
        "the file: Failed to parse"
    )
    assert parser_errors([], content) == ""


ERRORS = st.builds(
    error,
    st.text(max_size=400),
    st.integers(-2, 30),
    st.none() | st.text(max_size=30),
    st.none() | st.text(max_size=30),
)


@given(st.lists(ERRORS, max_size=30))
def test_any_errors(tiny_onnx: Path, errors: list[Any]) -> None:
    said = parser_errors(errors, tiny_onnx.read_bytes())
    assert bool(said) == bool(errors)
    assert len(said) <= SHOWN * (200 + (SHOWN + 1) * 60)
