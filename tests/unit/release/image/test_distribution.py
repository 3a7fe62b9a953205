"""A registry by HTTP: tokens, and to whom they are sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from engines.errors import InputError, ServiceError
from release.image import retry
from release.image.credentials import Credentials
from release.image.distribution import PLACEHOLDER, Client, parse_repository
from release.image.oci import MANIFEST, digest_of
from release.image.retry import LONGEST_SECONDS, TRIES, Temporary, retried

OURS = Credentials("robot", "p4ss")


class Service:
    """A registry that wants a token, which it gives to OURS; keeps what it is given."""

    def __init__(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                status, headers, body = service.answer(
                    self.command,
                    self.path,
                    self.headers.get("Authorization"),
                    self.rfile.read(length),
                )
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.realm = f"http://{self.host}/token"
        self.upload = f"http://{self.host}/v2/jetrail/meter/upload?state=1"
        self.seen: list[tuple[str, str, str | None]] = []
        self.kept: dict[str, bytes] = {}

    def answer(
        self, method: str, path: str, who: str | None, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.seen.append((method, path, who))
        if path.startswith("/token"):
            good = who == f"Basic {OURS.basic}"
            return (200, {}, b'{"token": "abc"}') if good else (401, {}, b"")
        if who != "Bearer abc":
            challenge = f'Bearer realm="{self.realm}",service="here",scope="x"'
            return 401, {"WWW-Authenticate": challenge}, b""
        if method == "POST":
            return 202, {"Location": self.upload}, b""
        if method == "PUT":
            self.kept[path] = body
            return 201, {}, b""
        found = self.kept.get(path)
        return (200, {}, b"" if method == "HEAD" else found) if found else (404, {}, b"")


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.server.shutdown()
    service.server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.01)


def client(service: Service, credentials: Credentials | None = OURS) -> Client:
    repository = parse_repository(f"{service.host}/jetrail/meter")
    return Client(repository=repository, credentials=credentials, say=lambda _: None)


def test_with_a_token(service: Service) -> None:
    one = client(service)
    assert one.manifest("v1") is None
    one.put_manifest("v1", b"{}", MANIFEST)
    assert one.manifest("v1") == b"{}"
    assert one.put_blob(b"a blob") == digest_of(b"a blob")
    assert b"a blob" in service.kept.values()
    tokens = [path for _, path, _ in service.seen if path.startswith("/token")]
    assert len(tokens) == 1
    assert "scope=repository%3Ajetrail%2Fmeter%3Apull%2Cpush" in tokens[0]


@pytest.mark.parametrize("credentials", [None, Credentials("robot", "wrong")])
def test_without_the_right_password(service: Service, credentials: Credentials | None) -> None:
    with pytest.raises(ServiceError, match="answers 401") as raised:
        client(service, credentials).manifest("v1")
    assert "Log in with" in str(raised.value)
    assert "wrong" not in str(raised.value)


def test_no_token_goes_to_another_host(service: Service) -> None:
    elsewhere = Service()
    service.upload = f"http://{elsewhere.host}/anything"
    with pytest.raises(ServiceError):
        client(service).put_blob(b"a blob")
    assert {who for _, _, who in elsewhere.seen} == {None}
    elsewhere.server.shutdown()


def test_the_templates_registry_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has it, so trying again later, which was the advice, leads nowhere."""

    def unknown(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests.Session, "request", unknown)
    one = Client(repository=parse_repository(f"{PLACEHOLDER}/a"), credentials=None, say=pytest.fail)
    with pytest.raises(InputError, match=r"Put yours in its place: `grep .* sed .*HOST,'`"):
        one.manifest("v1")


def test_no_password_goes_by_plain_http(service: Service) -> None:
    one = client(service)
    one.repository = parse_repository("registry.example.com/jetrail/meter")
    with pytest.raises(ServiceError, match="Nothing was sent there"):
        one._sign_in(f'Bearer realm="{service.realm}",service="x"')
    assert service.seen == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.1/a/b", True),
        ("[::1]:5000/a", True),
        ("registry.example.com/a/b-c_d.e", False),
        ("localhost.example.com/a", False),
    ],
)
def test_tls_everywhere_but_here(text: str, plain: bool) -> None:
    repository = parse_repository(text)
    assert str(repository) == text
    assert repository.plain == plain


@pytest.mark.parametrize(
    "text", ["", "a", "https://a/b", "a/B", "a/b:tag", "u:p@a/b", "a/b@sha256:0", "a/../b", "a/b?c"]
)
def test_no_repository(text: str) -> None:
    with pytest.raises(InputError, match="Expected a repository"):
        parse_repository(text)


def test_pauses_grow_and_end() -> None:
    paused: list[float] = []
    tries = []

    def work() -> None:
        tries.append(1)
        raise Temporary("it is busy", 7.0 if len(tries) == 2 else None)

    with pytest.raises(ServiceError, match=f"after {TRIES} tries"):
        retried(work, "somebody to listen", lambda _: None, sleep=paused.append)
    assert len(tries) == TRIES
    assert paused[1] == 7.0
    assert paused[2] < paused[4] <= LONGEST_SECONDS


def test_a_registry_that_asks_for_years() -> None:
    paused: list[float] = []

    def work() -> str:
        if not paused:
            raise Temporary("it is busy", 1e9)
        return "done"

    assert retried(work, "somebody", lambda _: None, sleep=paused.append) == "done"
    assert paused == [LONGEST_SECONDS]
