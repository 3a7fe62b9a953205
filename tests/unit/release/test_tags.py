"""The grammar of tags."""

from __future__ import annotations

import re

import pytest
from factories.records import manifest
from hypothesis import given
from hypothesis import strategies as st

from engines.config.names import NAME_PATTERN, VERSION_PATTERN
from engines.errors import InputError
from release.tags import Tag, make_tag, parse_tag

OCI_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests"""

hexes = st.text("0123456789abcdef", min_size=12, max_size=12)
digests = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
tags = st.builds(
    Tag,
    version=st.from_regex(VERSION_PATTERN, fullmatch=True),
    target=st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 40),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    engine=hexes,
    digest=digests,
)


@given(tags)
def test_round_trip(tag: Tag) -> None:
    assert parse_tag(str(tag)) == tag
    assert OCI_TAG.fullmatch(tag.name)


def test_the_longest_tag_that_registries_take() -> None:
    rest = len("v1.0--fp16-3f2a91c04b7e")
    longest = f"v1.0-{'a' * (128 - rest)}-fp16-3f2a91c04b7e"
    assert len(parse_tag(longest).name) == 128
    with pytest.raises(InputError, match="at most 128 characters"):
        parse_tag(longest.replace("-a", "-aa"))


def test_target_may_look_like_the_rest() -> None:
    tag = parse_tag("v1.2.3-box-fp16-0123456789ab-int8-ba9876543210")
    assert tag.version == "1.2.3"
    assert tag.target == "box-fp16-0123456789ab"
    assert tag.precision == "int8"
    assert tag.engine == "ba9876543210"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "1.0-x86-openvino-fp16-3f2a91c04b7e",
        "v1.0.0.0-x86-openvino-fp16-3f2a91c04b7e",
        "v1.0-x86-openvino-bf16-3f2a91c04b7e",
        "v1.0-x86-openvino-fp16-3f2a91c04b7",
        "v1.0-x86-openvino-fp16-3F2A91C04B7E",
        "v1.0-x86_openvino-fp16-3f2a91c04b7e",
        "v1.0-x86-openvino-fp16-3f2a91c04b7e\n",
        "v1.0-x86-openvino-fp16-3f2a91c04b7e@sha256:abc",
        "v1.0-x86-openvino-fp16-3f2a91c04b7e@",
        f"v1.0-{'a' * 120}-fp16-3f2a91c04b7e",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="tag"):
        parse_tag(text)


def test_a_manifest_s_tag() -> None:
    assert make_tag(manifest()).name == "v1.0-t-fp16-" + 12 * "a"
