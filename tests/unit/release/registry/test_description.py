"""What people read in MLflow: plain text stays plain, whatever a class is called."""

from __future__ import annotations

import pytest

from release.registry.description import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("open", "open"),
        ("<script>alert(1)</script>", "\\<script\\>alert\\(1\\)\\</script\\>"),
        ("a\nb | c", "a b \\| c"),
        ("*bold* [x](y)", "\\*bold\\* \\[x\\]\\(y\\)"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown
