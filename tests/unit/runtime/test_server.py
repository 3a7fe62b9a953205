"""The server answers three paths, and nobody can hold it up."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from runtime.server import MAX_CONNECTIONS, MAX_HEADER_BYTES, Response, Server


def answer() -> Response:
    return Response(status=HTTPStatus.OK, content_type="text/plain", body=b"well\n")


def fail() -> Response:
    raise RuntimeError("a route that fails")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), {"/well": answer, "/broken": fail}, seconds=0.5)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def test_what_is_there(server: Server) -> None:
    assert ask(server, "/well") == (200, b"well\n")
    assert ask(server, "/well?a=b") == (200, b"well\n")
    status, body = ask(server, "/other")
    assert status == 404
    assert b"There is /well, /broken" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_only_get(server: Server, method: str) -> None:
    assert ask(server, "/well", method)[0] == 501


def test_no_body_is_taken(server: Server) -> None:
    headers = {"Content-Length": str(1 << 40)}
    assert ask(server, "/well", **headers)[0] == 413
    assert ask(server, "/well", **{"Transfer-Encoding": "chunked"})[0] == 413


def test_headers_are_bounded(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /well HTTP/1.1\r\n")
        try:
            client.sendall(b"A: " + b"b" * (2 * MAX_HEADER_BYTES) + b"\r\n\r\n")
            assert client.recv(4096) == b""
        except ConnectionError:
            pass  # it was cut off while we sent
    assert ask(server, "/well")[0] == 200


def test_a_request_drop_by_drop_is_cut_off(server: Server) -> None:
    began = time.monotonic()
    with connect(server) as client, pytest.raises(ConnectionError):
        for letter in b"GET /well HTTP/1.1\r\n" + b"A" * 10_000:
            client.sendall(bytes([letter]))
            time.sleep(0.02)
    assert time.monotonic() - began < 60


def test_a_connection_that_says_nothing_is_closed(server: Server) -> None:
    with connect(server) as client:
        assert client.recv(1) == b""


def test_so_many_connections_and_no_more(server: Server) -> None:
    server.seconds = 30
    held = [connect(server) for _ in range(MAX_CONNECTIONS)]
    for client in held:
        client.sendall(b"GET /well HTTP/1.1\r\n")
    with connect(server) as more:
        assert more.recv(1) == b""
    held[0].sendall(b"\r\n")
    assert held[0].recv(4096).startswith(b"HTTP/1.0 200")
    for client in held:
        client.close()
    end = time.monotonic() + 30
    while True:
        try:
            assert ask(server, "/well") == (200, b"well\n")
            break
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < end


def test_a_route_that_fails_takes_nothing_with_it(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(server, "/broken")
    assert ask(server, "/well")[0] == 200
    assert "RuntimeError: a route that fails" in capsys.readouterr().err


def test_it_says_nothing_of_what_it_is_made_of(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /well HTTP/1.1\r\n\r\n")
        assert b"\r\nServer: jetrail\r\n" in client.recv(4096)
