"""The rule `image`: the registry has what the clusters will be told to pull."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from factories.gitops import GitOpsRepository
from typer.testing import Result

from release.packed import image_path
from release.rollout.release_yaml import dump, release_file, values_of
from tests.unit.release.publications import IMAGE, PUBLICATION, TARGET, record

Run = Callable[..., Result]
RINGS = "schema: 1\nrings: [{name: canary}, {name: pilot, rules: [{rule: image}]}]\n"
MANIFEST = b'{"schemaVersion": 2}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
PROMOTE = ("promote", "meter", "--target", TARGET, "--to", "pilot")


class _Registry(BaseHTTPRequestHandler):
    content = MANIFEST

    def do_GET(self) -> None:
        there = self.path == f"/v2/jetrail/meter/manifests/{DIGEST}"
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", str(len(self.content) if there else 0))
        self.end_headers()
        if there:
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(repository: GitOpsRepository) -> Iterator[str]:
    """Serves one image; pilot's fleet.yaml names it."""
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}/jetrail/meter"
    repository.workspace.rings_file.write_text(RINGS)
    fleet = repository.workspace.ring("meter", TARGET, "pilot") / "fleet.yaml"
    fleet.write_text(f"helm: {{values: {{image: {{repository: '{address}'}}}}}}\n")
    yield address
    server.shutdown()
    server.server_close()


def packed(repository: GitOpsRepository, digest: str | None) -> None:
    path = release_file(repository.workspace, "meter", TARGET, "canary")
    path.write_text(dump(values_of(PUBLICATION, digest)))
    repository.push("Packed")


def test_the_registry_has_it(repository: GitOpsRepository, run: Run, registry: str) -> None:
    packed(repository, DIGEST)
    result = run(*PROMOTE)
    assert result.exit_code == 0, result.output
    assert f"image      holds: {registry} has the image {DIGEST}" in result.stdout


def test_the_registry_has_another(repository: GitOpsRepository, run: Run, registry: str) -> None:
    other = f"sha256:{'0' * 64}"
    packed(repository, other)
    result = run(*PROMOTE)
    assert result.exit_code == 3
    assert f"image: {registry} has no image {other}; push it with `release push v" in result.stderr


def test_the_registry_has_it_but_it_is_of_another_release(
    repository: GitOpsRepository, run: Run, registry: str
) -> None:
    """Somebody wrote the digest by hand: the tag is not what was signed."""
    IMAGE.write(image_path(repository.workspace, PUBLICATION.release))
    packed(repository, DIGEST)
    result = run(*PROMOTE)
    assert result.exit_code == 3
    assert f"the image that was packed and signed is {IMAGE.digest}" in result.stderr
    record(repository.workspace, PUBLICATION)
    assert run("write", "--push").exit_code == 0
    assert f"has no image {IMAGE.digest}" in run(*PROMOTE).stderr


def test_no_digest(repository: GitOpsRepository, run: Run, registry: str) -> None:
    packed(repository, None)
    assert "image: the tag has no digest" in run(*PROMOTE).stderr


@pytest.mark.parametrize("trouble", ["down", "lies"])
def test_a_registry_that_cannot_be_trusted(
    repository: GitOpsRepository,
    run: Run,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    monkeypatch.setattr("release.image.retry.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("release.image.retry.time.sleep", lambda _: None)
    packed(repository, DIGEST)
    if trouble == "lies":
        monkeypatch.setattr(_Registry, "content", b"{}")
    else:
        fleet = repository.workspace.ring("meter", TARGET, "pilot") / "fleet.yaml"
        fleet.write_text("helm: {values: {image: {repository: '127.0.0.1:9/jetrail/meter'}}}\n")
        repository.push("Elsewhere")
    result = run(*PROMOTE)
    assert result.exit_code == 3
    assert "The ring refuses the promotion. image: " in result.stderr


def test_a_registry_that_nobody_waits_for(
    repository: GitOpsRepository, run: Run, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Registry, "do_GET", lambda _: pytest.fail("it was asked"))
    packed(repository, DIGEST)
    result = run(*PROMOTE, "--override", "all", "--why", "the registry is down")
    assert result.exit_code == 0, result.output
    assert "image      overridden: the registry was not asked" in result.stdout
