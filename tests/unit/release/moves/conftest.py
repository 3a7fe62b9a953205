"""A GitOps repository in a folder, and the command `release` in a clone of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from factories.gitlab import Handler, Server
from factories.gitops import GitOpsRepository, environment, make_repository
from typer.testing import CliRunner, Result

from release.cli import commands
from tests.unit.release.publications import PUBLICATION


@pytest.fixture
def begun() -> str | None:
    """The day of the first commit, where a test has its own."""
    return None


@pytest.fixture
def repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str | None
) -> GitOpsRepository:
    """One model on one target, its release in the canary."""
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    for key in ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"):
        monkeypatch.delenv(key, raising=False)
    return make_repository(tmp_path, [PUBLICATION], begun=begun)


@pytest.fixture
def run(repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `release` in the clone."""

    def command(*arguments: str) -> Result:
        monkeypatch.chdir(repository.root)
        return CliRunner().invoke(commands, list(arguments))

    return command


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.posted = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def gitlab(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("CI_SERVER_URL", server.address)
    monkeypatch.setenv("CI_PROJECT_PATH", "vision/fleet")
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-secret")
    return server
