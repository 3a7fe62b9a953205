"""A clone that makes the bundle of a site."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories.airgapped import lay_out_site, run

from engines.config.workspace import Workspace


@pytest.fixture
def site(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A site whose ring has a release that is packed here, and a key that people trust."""
    monkeypatch.chdir(workspace.root)
    for name in ("JETRAIL_SIGNING_KEY", "JETRAIL_KEY_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    lay_out_site(workspace)
    return workspace


@pytest.fixture
def bundle(site: Workspace) -> Path:
    result = run("bundle", "--site", "dock-7")
    assert result.exit_code == 0, result.output
    return site.root / "jetrail-dock-7.tar"
