"""A repository with engines that were measured on paper: real files, no real engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from factories import paper

from engines.config.workspace import Workspace

RINGS = ("canary", "pilot", "production")

AddEngine = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with one model and one target, and no engine yet."""
    workspace = Workspace(root=tmp_path)
    paper.lay_out(workspace)
    for ring in RINGS:
        folder = workspace.ring("meter", paper.TARGET, ring)
        folder.mkdir(parents=True)
        (folder / "fleet.yaml").write_text("helm: {valuesFiles: [release.yaml]}  # ours\n")
    workspace.rings_file.write_text(
        "schema: 1\nrings:\n" + "".join(f"  - name: {ring}\n" for ring in RINGS)
    )
    return workspace


@pytest.fixture
def add_engine(workspace: Workspace) -> AddEngine:
    """Write the files of one engine, with single values changed; gives its sha256."""
    return partial(paper.add_engine, workspace)
