"""What the chart renders, run by podman: a bad release replaces nothing.

The way of a good one, from its engine on, is in test_whole_way.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import served
from factories.paper import edit
from factories.pods import Pods
from factories.signed import Signer

from engines.records.manifest import Manifest

pytestmark = pytest.mark.integration


def _copy(models: Path, to: Path) -> Path:
    return Path(shutil.copytree(models, to))


def _altered(folder: Path, signer: Signer) -> None:
    path = folder / "engine.blob"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _of_another_device(folder: Path, signer: Signer) -> None:
    edit(folder / Manifest.file, lambda one: one["device"].update(isa=["sve2"]))
    served.judge_and_sign(folder, signer)


def _with_other_boxes(folder: Path, signer: Signer) -> None:
    golden = (folder / "golden.npz").read_bytes()
    shutil.rmtree(folder)
    served.build(folder, box=(2.0, 7.0, 22.0, 37.0))
    (folder / "golden.npz").write_bytes(golden)
    served.judge_and_sign(folder, signer)


def _by_another_key(folder: Path, signer: Signer) -> None:
    served.sign(folder, Signer("theirs"))


BAD: dict[str, tuple[Callable[[Path, Signer], None], str]] = {
    "altered": (_altered, "engine.blob was altered"),
    "otherdevice": (_of_another_device, "it was built for another device"),
    "otherboxes": (_with_other_boxes, "3 of them are missing and 3 others are there"),
    "otherkey": (_by_another_key, "which is none of the trusted keys"),
}


def test_a_bad_release_replaces_nothing(
    play: Pods, models: Path, signer: Signer, tmp_path: Path
) -> None:
    """The old pod serves beside each new one that never gets ready, and until a good one is."""
    old = play("old", models)
    old.wait_until_healthy()
    for name, (spoil, said) in BAD.items():
        folder = _copy(models, tmp_path / name)
        spoil(folder, signer)
        new = play(name, folder)
        new.wait_until_it_said(said)
        assert new.get("/health/live") is None, name
        assert (old.get("/health/inference") or (0,))[0] == 200, name
    wrong = play("wrongversion", models, version="2.1")
    wrong.wait_until_it_said("Expected the model version 2.1, got 1.0")
    good = play("new", models)
    good.wait_until_healthy()
    assert (old.get("/health/inference") or (0,))[0] == 200
