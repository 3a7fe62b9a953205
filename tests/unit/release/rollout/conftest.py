"""The repository that lint looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.release.rollout.folders import make_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one folder that is in order, and the chart."""
    return make_root(tmp_path)
