from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.intake.weights import called_otherwise


@pytest.mark.parametrize(
    ("names", "helps"),
    [
        (["hard hat", "vest"], True),
        (["vest", "helmet"], False),
        (["vest", "glove"], False),
        (["helmet", "vest", "glove"], False),
    ],
)
def test_a_checkpoint_is_renamed_only_where_no_class_becomes_another(
    names: list[str], helps: bool
) -> None:
    said = called_otherwise(Path("best.pt"), names, ["helmet", "vest"])
    assert ("best.pt named.pt 'hard hat' vest`), and give named.pt" in said) == helps
