"""The server answers three paths, and nobody can hold it up."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from runtime import server as server_module
from runtime.server import (
    MAX_CONNECTIONS,
    MAX_HEADER_BYTES,
    MAX_REQUEST_S,
    Response,
    Server,
)

MUCH = 16 << 20
"""Bytes: more than the buffers of a connection hold."""


def answer() -> Response:
    return Response(status=HTTPStatus.OK, content_type="text/plain", body=b"well\n")


def fail() -> Response:
    raise RuntimeError("a route that fails")


def much() -> Response:
    return Response(status=HTTPStatus.OK, content_type="text/plain", body=bytes(MUCH))


ROUTES = {"/well": answer, "/broken": fail, "/much": much}


@pytest.fixture
def server() -> Iterator[Server]:
    """With more time for a request than a busy machine takes."""
    yield from running(Server(("127.0.0.1", 0), ROUTES, seconds=60))


@pytest.fixture
def hasty() -> Iterator[Server]:
    """For clients that it cuts off."""
    yield from running(Server(("127.0.0.1", 0), ROUTES, seconds=0.5))


def running(made: Server) -> Iterator[Server]:
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


def test_the_bounds_are_those_of_the_docs() -> None:
    assert (MAX_HEADER_BYTES, MAX_REQUEST_S, MAX_CONNECTIONS) == (8192, 5.0, 32)
    assert Server.request_queue_size == MAX_CONNECTIONS
    made = Server(("127.0.0.1", 0), ROUTES)
    made.server_close()
    assert made.seconds == MAX_REQUEST_S


def say(server: Server, *pieces: bytes) -> bytes:
    """What comes back for these bytes, until the connection is closed; b"" where it is cut."""
    with connect(server) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.002 * (len(pieces) > 1))  # so that they arrive by themselves
            found = b""
            while more := client.recv(1 << 16):
                found += more
        except ConnectionError:
            return b""
        return found


def test_what_an_answer_says_of_itself(server: Server) -> None:
    found = say(server, b"GET /well HTTP/1.1\r\n\r\n")
    headers = {line.partition(b":")[0] for line in found.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
    assert headers == {b"Server", b"Date", b"Content-Type", b"Content-Length", b"Cache-Control"}
    assert b"\r\nCache-Control: no-store\r\n" in found
    assert b"\r\nContent-Type: text/plain\r\n" in found
    assert b"\r\nContent-Length: 5\r\n" in found


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_either_family_of_addresses(host: str) -> None:
    """A cluster has IPv4, IPv6 or both; an empty host is all addresses."""
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6; run this test on one that has it")
    for server in running(Server(("", 0), ROUTES)):
        with socket.create_connection((host, server.port), timeout=30) as client:
            client.sendall(b"GET /well HTTP/1.1\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.0 200")


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module.socket, "has_dualstack_ipv6", lambda: False)
    for server in running(Server(("", 0), ROUTES)):
        assert server.socket.family == socket.AF_INET
        assert ask(server, "/well")[0] == 200


def test_nobody_is_asked_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod may ask no name server, and would wait for it before it is ready."""

    def refuse(*_: object) -> str:
        raise AssertionError("a name was asked for")

    for name in ("getfqdn", "gethostbyaddr", "gethostname"):
        monkeypatch.setattr(socket, name, refuse)
    for server in running(Server(("", 0), ROUTES)):
        assert ask(server, "/well")[0] == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://127.0.0.1/well HTTP/1.1", 404),
        (b"GET /w%65ll HTTP/1.1", 404),
        (b"GET /%2e%2e/well HTTP/1.1", 404),
        (b"GET /x/../well HTTP/1.1", 404),
        (b"GET /well/ HTTP/1.1", 404),
        (b"GET /well\0 HTTP/1.1", 404),
        (b"GET /WELL HTTP/1.1", 404),
        (b"GET well HTTP/1.1", 404),
        (b"GET * HTTP/1.1", 404),
        (b"GET /well#a HTTP/1.1", 404),
        (b"GET /well HTTP/2.0", 505),
        (b"GET /well HTTP/1", 400),
        (b"GET /well HTTP/1.1 more", 400),
        (b"OPTIONS * HTTP/1.1", 501),
        (b"CONNECT a.example:443 HTTP/1.1", 501),
        (b"get /well HTTP/1.1", 501),
        (b"\0", 400),
    ],
    ids=lambda one: one.decode() if isinstance(one, bytes) else "",
)
def test_other_ways_to_ask(server: Server, line: bytes, status: int) -> None:
    found = say(server, line + b"\r\n\r\n")
    assert b" %d " % status in found.partition(b"\r\n")[0] or b"Error code: %d" % status in found
    assert b"well\n" not in found


def test_one_answer_a_connection(server: Server) -> None:
    """Requests one behind the other, and one that wants the connection kept."""
    one = b"GET /well HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
    with connect(server) as client:
        client.sendall(one)
        assert client.makefile("rb").read().count(b"HTTP/1.0 200") == 1
    assert say(server, one * 3).count(b"HTTP/1.0 200") <= 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_only_get(server: Server, method: str) -> None:
    assert ask(server, "/well", method)[0] == 501


def test_no_body_is_taken(server: Server) -> None:
    headers = {"Content-Length": str(1 << 40)}
    assert ask(server, "/well", **headers)[0] == 413
    assert ask(server, "/well", **{"Transfer-Encoding": "chunked"})[0] == 413
    assert ask(server, "/well", **{"Content-Length": "-1"})[0] == 413
    assert ask(server, "/well", **{"Content-Length": "0"})[0] == 200


def request_of(size: int) -> bytes:
    head, end = b"GET /well HTTP/1.1\r\nA: ", b"\r\n\r\n"
    return head + b"b" * (size - len(head) - len(end)) + end


def test_so_many_bytes_and_no_more(server: Server) -> None:
    assert say(server, request_of(MAX_HEADER_BYTES)).startswith(b"HTTP/1.0 200")
    assert say(server, request_of(MAX_HEADER_BYTES + 1)) == b""


def test_so_many_bytes_in_small_pieces(server: Server) -> None:
    for size, answered in ((MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
        whole = request_of(size)
        pieces = (whole[at : at + 500] for at in range(0, size, 500))
        assert say(server, *pieces).startswith(b"HTTP/1.0 200") is answered


def test_headers_are_bounded(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /well HTTP/1.1\r\n")
        try:
            client.sendall(b"A: " + b"b" * (2 * MAX_HEADER_BYTES) + b"\r\n\r\n")
            assert client.recv(4096) == b""
        except ConnectionError:
            pass  # it was cut off while we sent
    assert ask(server, "/well")[0] == 200


def test_a_request_drop_by_drop_is_cut_off(hasty: Server) -> None:
    began = time.monotonic()
    with connect(hasty) as client, pytest.raises(ConnectionError):
        for letter in b"GET /well HTTP/1.1\r\n" + b"A" * 10_000:
            client.sendall(bytes([letter]))
            time.sleep(0.02)
    assert time.monotonic() - began < 60


def test_who_does_not_take_the_answer_is_cut_off(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def hurry() -> Response:
        server.seconds = 0.5  # for the answer, once the request is here
        return much()

    server.routes["/much"] = hurry
    with connect(server) as client:
        client.sendall(b"GET /much HTTP/1.1\r\n\r\n")
        client.recv(1, socket.MSG_PEEK)
        wait_until_idle()  # with the client still there
        client.settimeout(30)
        found = 0
        with contextlib.suppress(ConnectionError):
            while more := client.recv(1 << 20):
                found += len(more)
        assert 0 < found < MUCH
    assert capsys.readouterr().err == ""


def test_an_answer_has_as_long_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked slowly is not hurried."""
    real, given = socket.socket.settimeout, []

    def settimeout(self: socket.socket, seconds: float) -> None:
        if self.getsockname()[1] == server.port:
            given.append(seconds)
        real(self, seconds)

    monkeypatch.setattr(socket.socket, "settimeout", settimeout)
    with connect(server) as client:
        client.sendall(b"GET /much HTTP/1.1\r\n\r\n")
        found = 0
        while more := client.recv(1 << 20):
            found += len(more)
    assert found > MUCH
    *asked, answered = given
    assert all(0 < seconds < server.seconds for seconds in asked)
    assert answered == server.seconds


def test_the_port_is_free_at_once() -> None:
    """A pod that was ended leaves connections behind, for which the kernel waits a minute."""
    for server in running(Server(("127.0.0.1", 0), ROUTES)):
        port = server.port
        assert ask(server, "/well")[0] == 200
    for server in running(Server(("127.0.0.1", port), ROUTES)):
        assert ask(server, "/well")[0] == 200


def test_its_end_waits_for_nobody() -> None:
    server = Server(("127.0.0.1", 0), ROUTES, seconds=60)
    began = time.monotonic()
    for _ in running(server):
        held = connect(server)
        held.sendall(b"GET /well")
        end = time.monotonic() + 30
        while not any("process_request_thread" in one.name for one in threading.enumerate()):
            assert time.monotonic() < end
    assert time.monotonic() - began < 45
    held.close()


def test_who_goes_away_is_no_news(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    client = connect(server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sendall(b"GET /much HTTP/1.1\r\n\r\n")
    client.recv(1)
    client.close()
    wait_until_idle()
    assert ask(server, "/well")[0] == 200
    assert capsys.readouterr().err == ""


def wait_until_idle() -> None:
    """Until no connection is served."""
    end = time.monotonic() + 30
    while any("process_request_thread" in one.name for one in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_thread_to_be_had(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free again, and the next one is served."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(MAX_CONNECTIONS + 1):
        with connect(server) as client, contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    monkeypatch.setattr(threading.Thread, "start", start)
    assert ask(server, "/well") == (200, b"well\n")


def test_a_connection_that_says_nothing_is_closed(hasty: Server) -> None:
    with connect(hasty) as client:
        assert client.recv(1) == b""


def test_so_many_connections_and_no_more(server: Server) -> None:
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
