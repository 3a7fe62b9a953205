"""A folder as a pod has it under /models, made once, and the key that signed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import served
from factories.signed import Signer

from runtime.trust import ExpectedRelease


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer("ours")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    """Not to be changed; see `models`."""
    folder = tmp_path_factory.mktemp("pod") / "models"
    served.build(folder)
    return served.judge_and_sign(folder, signer)


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return served.copy(made, tmp_path / "models")


@pytest.fixture
def keys(tmp_path: Path, signer: Signer) -> Path:
    return served.write_keys(tmp_path / "keys", signer)


@pytest.fixture
def wanted(models: Path, keys: Path) -> ExpectedRelease:
    return ExpectedRelease(folder=models, keys=keys, version=served.VERSION)
