"""kill -9 at each moment at which keygen and sign write: nothing is half there, a rerun goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from factories.paper import add_engine, lay_out

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.attestation import verify_envelope
from engines.records.trusted_key import read_keys
from release.records import attestation_path
from release.signing.keys import private_file, read_private, trusted_keys, trying_key
from release.steps import keygen, sign
from tests.integration.conftest import BIN
from tests.integration.test_kill import SITECUSTOMIZE
from tests.unit.release.publications import publish_on_paper

pytestmark = pytest.mark.integration

A_FILE = 4
"""Moments: half written, before it is synced, before and after it gets its name."""


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path / "clone")
    lay_out(workspace)
    return workspace


def kill(workspace: Workspace, hook: Path, moment: int, *words: str) -> None:
    """Run the command in a process group of its own, until it is killed at that moment."""
    process = subprocess.Popen(
        [str(BIN / "release"), *words],
        cwd=workspace.root,
        env={**os.environ, "PYTHONPATH": str(hook), "KILL_AT": str(moment)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.wait(120) == -signal.SIGKILL, f"moment {moment} did not come"


@pytest.mark.parametrize("moment", range(1, 2 * A_FILE + 1))
def test_keygen(workspace: Workspace, hook: Path, moment: int) -> None:
    kill(workspace, hook, moment, "keygen", "ours")
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
def test_sign(workspace: Workspace, hook: Path, moment: int) -> None:
    """With the key for trying, whose two halves are written first."""
    add_engine(workspace, "fp16")
    release = publish_on_paper(workspace, "meter-fp16").release
    path = attestation_path(workspace, release)
    kill(workspace, hook, moment, "sign", release)
    before = path.read_bytes() if path.exists() else None
    sign.sign_release(workspace, release, None, None, lambda _: None)
    key = trying_key(workspace)
    assert key is not None
    assert len(read_keys(workspace.trust / "trying" / "keys")) == 1
    assert verify_envelope(path.read_bytes(), [key]).statement.predicate.release == release
    assert before in (None, path.read_bytes())
