"""rings.yaml and the default target, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.config.default import target_or_default
from engines.config.rings import load_rings
from engines.config.target import target_names
from engines.config.workspace import Workspace
from engines.errors import InputError

REPOSITORY = Workspace(root=Path(__file__).parents[4])


def test_the_rings_of_the_repository() -> None:
    assert load_rings(REPOSITORY).names == ("canary", "pilot", "production")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "it is not there"),
        ("schema: 1\nrings: []\n", "rings: "),
        ("schema: 2\nrings: [{name: a}]\n", "schema: "),
        ("schema: 1\nrings: [{name: a}, {name: b}, {name: a}]\n", "ring 2 is 'a' again"),
        ("schema: 1\nrings: [{name: Canary}]\n", "rings.0.name"),
        ("schema: 1\nrings: [{name: a, soak_hours: 24}]\n", "rings.0.soak_hours"),
        ("schema: 1\nrings: [{name: a}]\npromotion: manual\n", "promotion"),
        (
            "schema: 1\nrings: [{name: a, rules: [{rule: agee}]}]\n",
            r"rings\.0\.rules\.0: Key 'rule' should be one of 'age', .*'who', got 'agee' ",
        ),
        ("schema: 1\nrings: [{name: a, rules: [{hours: 1}]}]\n", "Key 'rule' is missing "),
    ],
)
def test_other_rings_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    (tmp_path / "release").mkdir()
    if text is not None:
        (tmp_path / "release" / "rings.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"rings\.yaml.*{said}"):
        load_rings(Workspace(root=tmp_path))


def test_the_default_target_is_one() -> None:
    assert target_or_default(REPOSITORY, None) in target_names(REPOSITORY)
    assert target_or_default(REPOSITORY, "jetson-thor") == "jetson-thor"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no such file"),
        ("models: []\n", "target: Field required"),
        ("target: [a]\n", "target: "),
    ],
)
def test_no_default_target(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"params\.yaml.*{said}"):
        target_or_default(Workspace(root=tmp_path), None)
    assert target_or_default(Workspace(root=tmp_path), "line-4") == "line-4"
