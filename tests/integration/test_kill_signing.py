"""kill -9 at each moment at which keygen and sign write: nothing is half there, a rerun goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.killed import Killed
from factories.paper import add_engine, lay_out

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.attestation import verify_envelope
from engines.records.trusted_key import read_keys
from release.records import attestation_path
from release.signing.keys import private_file, read_private, trusted_keys, trying_key
from release.steps import keygen, sign
from tests.unit.release.publications import publish_on_paper

pytestmark = pytest.mark.integration

A_FILE = 4
"""Moments: half written, before it is synced, before and after it gets its name."""


def say(_: str) -> None:
    pass


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path / "clone")
    lay_out(workspace)
    return workspace


def kill(work: Callable[[], object], moment: int) -> None:
    """Until it is killed at that moment."""
    assert Killed(work, at_moment=moment).wait() == -signal.SIGKILL, f"no moment {moment}"


@pytest.mark.parametrize("moment", range(1, 2 * A_FILE + 1))
def test_keygen(workspace: Workspace, moment: int) -> None:
    kill(lambda: keygen.keygen(workspace, "ours"), moment)
    private = private_file(workspace, "ours")
    before = private.read_bytes() if private.exists() else None
    try:
        keygen.keygen(workspace, "ours")
    except InputError:  # both halves were there already
        assert moment == 2 * A_FILE
    (record,) = trusted_keys(workspace)
    assert read_private(private, None)
    assert private.stat().st_mode & 0o777 == 0o600
    assert before in (None, private.read_bytes())
    assert record.name == "ours"


@pytest.mark.parametrize("moment", range(1, 3 * A_FILE + 1))
def test_sign(workspace: Workspace, moment: int) -> None:
    """With the key for trying, whose two halves are written first."""
    add_engine(workspace, "fp16")
    release = publish_on_paper(workspace, "meter-fp16").release
    path = attestation_path(workspace, release)
    kill(lambda: sign.sign_release(workspace, release, None, None, say), moment)
    before = path.read_bytes() if path.exists() else None
    sign.sign_release(workspace, release, None, None, say)
    key = trying_key(workspace)
    assert key is not None
    assert len(read_keys(workspace.trust / "trying" / "keys")) == 1
    assert verify_envelope(path.read_bytes(), [key]).statement.predicate.release == release
    assert before in (None, path.read_bytes())
