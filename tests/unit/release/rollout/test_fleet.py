"""fleet.yaml: one tag changes, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engines.errors import InputError
from release.rollout.fleet import Place, set_tag

TESTS = Path(__file__).parents[3]
REPOSITORY = TESTS.parent
SCHEMA = json.loads((TESTS / "documented" / "fleet.yaml.schema.json").read_text())

PLACE = Place(device="x86-openvino", ring="canary", model="meter-yolov8n")
OTHER = Place(device="jetson-agx", ring="canary", model="meter-yolov8n")
TAG = "v1.0-x86-openvino-fp16-3f2a91c04b7e"
OLD = "v0.1-x86-openvino-fp32-000000000000"
SELECTOR = "clusterSelector: {matchLabels: {device: x86-openvino, ring: canary}}"


fewer = settings(max_examples=30, deadline=None)
"""Reading YAML in pure Python takes its time."""


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def check_schema(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(load(text))


# --- whole files -------------------------------------------------------------------------------


def test_golden() -> None:
    before = (TESTS / "golden" / "fleet.before.yaml").read_text()
    after = set_tag(before, PLACE, TAG)
    assert after == (TESTS / "golden" / "fleet.after.yaml").read_text()
    assert set_tag(after, PLACE, TAG) == after
    check_schema(after)


def test_the_file_of_the_repository() -> None:
    text = (REPOSITORY / "release" / "fleet" / "inference" / "fleet.yaml").read_text()
    check_schema(text)
    written = set_tag(text, PLACE, TAG)
    check_schema(written)
    assert [line for line in written.splitlines() if line not in text.splitlines()] == [
        f'            tag: "{TAG}"'
    ]


# --- generated files ---------------------------------------------------------------------------

# Text that needs no quotes, and is no number or other value to any reader of YAML.
words = st.from_regex(r"[a-z]{3}(-[a-z]{1,5}){0,2}", fullmatch=True)
comments = st.just("") | words.map("  # {}".format)
fillers = st.sampled_from(["", "", "\n", "# tag: x\n", "   # further in\n", "\n\n# last\n\n"])


def _printed(draw: st.DrawFn, value: Any, column: int) -> str:
    """A value as YAML, in one of the many ways in which people write it, after a key or a dash."""
    if isinstance(value, str):
        quoted = draw(st.sampled_from(["{}", "'{}'", '"{}"'])).format(value)
        return f" {quoted}{draw(comments)}\n"
    if not value or draw(st.integers(0, 3)) == 0:
        return f" {draw(st.sampled_from(['{}', ' {} ']))}\n".format(_flow(value))
    if isinstance(value, list):
        dash = column + draw(st.sampled_from([0, 2, 4]))
        lines = [" " * dash + "-" + _item(draw, item, dash) + draw(fillers) for item in value]
        return draw(comments) + "\n" + "".join(lines)
    inner = column + draw(st.sampled_from([1, 2, 4]))
    return draw(comments) + "\n" + _mapping(draw, value, inner)


def _item(draw: st.DrawFn, item: Any, dash: int) -> str:
    if isinstance(item, dict) and item:
        space = draw(st.sampled_from([1, 3]))
        return " " * space + _mapping(draw, item, dash + 1 + space).lstrip(" ")
    return _printed(draw, item, dash + 1)


def _mapping(draw: st.DrawFn, value: dict[str, Any], column: int) -> str:
    lines = []
    for number, (key, item) in enumerate(value.items()):
        filler = draw(fillers) if number else ""
        lines.append(f"{filler}{' ' * column}{key}:{_printed(draw, item, column)}")
    return "".join(lines)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_flow, value)) + "]" if isinstance(value, list) else str(value)


values = st.recursive(
    words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def _merged(draw: st.DrawFn, needed: dict[str, Any]) -> dict[str, Any]:
    """`needed` among other keys, in any order."""
    items = list({**draw(st.dictionaries(words, values, max_size=2)), **needed}.items())
    return dict(draw(st.permutations(items)))


@st.composite
def fleet_files(draw: st.DrawFn, old: str | None = OLD) -> str:
    """A fleet.yaml with the entry of PLACE, whose tag is `old`, among others."""
    labels = draw(st.permutations(list(PLACE.labels.items())))
    images: dict[str, Any] = {PLACE.model: _merged(draw, {} if old is None else {"tag": old})}
    helm = _merged(draw, {"values": _merged(draw, {"images": _merged(draw, images)})})
    entry = _merged(draw, {"clusterSelector": {"matchLabels": dict(labels)}, "helm": helm})
    entries = draw(st.lists(st.dictionaries(words, values, min_size=1, max_size=3), max_size=2))
    entries.insert(draw(st.integers(0, len(entries))), entry)
    return _mapping(draw, _merged(draw, {"targetCustomizations": entries}), 0)


@fewer
@given(fleet_files())
def test_only_the_tag_changes(text: str) -> None:
    assert set_tag(text, PLACE, OLD) == text
    assert set_tag(text, PLACE, TAG) == text.replace(OLD, TAG)


@fewer
@given(fleet_files())
def test_windows_line_ends_stay(text: str) -> None:
    windows = text.replace("\n", "\r\n")
    assert set_tag(windows, PLACE, TAG) == windows.replace(OLD, TAG)


@fewer
@given(fleet_files(old=None))
def test_missing_tag_is_added(text: str) -> None:
    written = set_tag(text, PLACE, TAG)
    assert written.replace(TAG, "").count("tag:") == text.count("tag:") + 1
    assert _is_subsequence(text, written)
    assert set_tag(written, PLACE, TAG) == written


@fewer
@given(fleet_files())
def test_missing_entry_is_added(text: str) -> None:
    written = set_tag(text, OTHER, TAG)
    assert _is_subsequence(text, written)
    added = load(written)["targetCustomizations"]
    assert added[:-1] == load(text)["targetCustomizations"]
    assert added[-1]["name"] == "jetson-agx-canary"
    assert set_tag(written, OTHER, TAG) == written


def _is_subsequence(text: str, longer: str) -> bool:
    rest = iter(longer)
    return all(letter in rest for letter in text)


# --- where there is nothing yet ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "helm: {}",
        "targetCustomizations:",
        "targetCustomizations:  # none yet\n\n# the end\npaused: false\n",
        "targetCustomizations: []\npaused: false\n",
        "targetCustomizations: ~\n",
        "targetCustomizations:\n- name: other\n",
        "targetCustomizations:\n  - name: other",
        '{"targetCustomizations": [{"name": "other"}]}',
    ],
)
def test_first_entry(text: str) -> None:
    written = set_tag(text, PLACE, TAG)
    check_schema(written)
    entry = load(written)["targetCustomizations"][-1]
    assert entry["clusterSelector"] == {"matchLabels": PLACE.labels}
    assert entry["helm"]["values"]["images"]["meter-yolov8n"] == {"tag": TAG}
    for line in text.splitlines():
        assert line.rstrip("]}~ ") in written


IMAGES = "  helm:\n    values:\n      images:\n"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "  helm:\n",
        "  helm:  # later\n  name: x\n",
        "  helm: {}\n",
        "  helm: {chart: x,\n    atomic: true, }\n",
        "  helm:\n    values:\n      a: 1\n\n# next\n",
        "  helm:\n    values:\n      text: |\n        a\n        # b\n  name: x\n",
        f"{IMAGES}        other: {{tag: x}}\n        # ours\n",
        f"{IMAGES}        meter-yolov8n: {{tag: }}\n",
        f"{IMAGES}        meter-yolov8n:\n          tag:\n  name: x\n",
        f"{IMAGES}        meter-yolov8n:\n          tag: >-\n            a\n  name: x\n",
    ],
)
def test_entry_without_a_tag(rest: str) -> None:
    written = set_tag(f"targetCustomizations:\n- {SELECTOR}\n{rest}", PLACE, TAG)
    check_schema(written)
    entry = load(written)["targetCustomizations"][0]
    assert entry["helm"]["values"]["images"]["meter-yolov8n"]["tag"] == TAG


def test_block_is_written_like_its_neighbours() -> None:
    text = f"targetCustomizations:\n  - {SELECTOR}\n    # of the entry\n\n# of the file\n"
    assert set_tag(text, PLACE, TAG) == (
        f"targetCustomizations:\n  - {SELECTOR}\n"
        "    helm:\n"
        "      values:\n"
        "        images:\n"
        "          meter-yolov8n:\n"
        f"            tag: {TAG}\n"
        "    # of the entry\n\n# of the file\n"
    )


def test_names_that_are_numbers_are_quoted() -> None:
    written = set_tag("", Place(device="on", ring="canary", model="123"), TAG)
    assert '"123":' in written
    assert 'device: "on"' in written


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: [", "is not YAML"),
        ("a: 1\na: 2\n", "is not YAML"),
        ("--- {}\n--- {}\n", "is not YAML"),
        ("- a\n", "Expected a mapping"),
        ("just text", "Expected a mapping"),
        ("kind: Pod\napiVersion: v1\n", "Kubernetes object"),
        ("targetCustomizations: {a: 1}", "Expected a list"),
        ("targetCustomizations: text", "Expected a list"),
        ("targetCustomizations: [text]", "Expected a list"),
        (f"targetCustomizations:\n- {SELECTOR}\n  helm: text\n", "a mapping at `helm:`"),
        (
            f"targetCustomizations:\n- {SELECTOR}\n"
            "  helm: {values: {images: {meter-yolov8n: {tag: [x]}}}}\n",
            "Expected a tag",
        ),
        (f"targetCustomizations:\n- {SELECTOR}\n- {SELECTOR}\n", "numbers 1, 2"),
        (
            "targetCustomizations:\n- name: x86-openvino-canary\n",
            "Expected the entry x86-openvino-canary",
        ),
        (
            f"x: &v {{a: b}}\ntargetCustomizations:\n- {SELECTOR}\n  helm: {{values: *v}}\n",
            "an anchor",
        ),
        (
            "x: &v {images: {other: {tag: x}}}\n"
            f"targetCustomizations:\n- {SELECTOR}\n  helm:\n    values:\n      <<: *v\n",
            "an anchor",
        ),
    ],
)
def test_refused(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        set_tag(text, PLACE, TAG)


def test_an_anchor_elsewhere_is_fine() -> None:
    text = (
        "x: &v {a: b}\ntargetCustomizations:\n"
        f"- {SELECTOR}\n  helm: {{values: {{images: {{meter-yolov8n: {{tag: {OLD}}}}}}}}}\n"
        "- name: other\n  helm: {values: *v}\n"
    )
    assert set_tag(text, PLACE, TAG) == text.replace(OLD, TAG)
    assert set_tag(text, OTHER, TAG).startswith(text)


@example("device")
@given(st.sampled_from(["clusterName", "clusterGroup"]))
def test_entry_of_single_clusters_is_left_alone(key: str) -> None:
    text = f"targetCustomizations:\n- {SELECTOR}\n  {key}: one\n"
    if key == "device":
        text = text.replace("ring: canary}", "ring: canary, site: a}").replace(
            "  device: one\n", ""
        )
    assert set_tag(text, PLACE, TAG).startswith(text)
