"""Three GET routes, for the kubelet and for Prometheus, within bounds.

A pod is asked by whoever reaches its port. So a request has so many bytes and so many seconds in
all, there are so many connections at once, and nobody sends a body.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

MAX_HEADER_BYTES = 8192
"""Of the request line and all headers."""
MAX_REQUEST_S = 5.0
"""From the connection to the last byte of the headers; an answer has as long again."""
MAX_CONNECTIONS = 32


@dataclass(frozen=True, kw_only=True)
class Response:
    """The answer to a GET."""

    status: HTTPStatus
    content_type: str
    body: bytes


Route = Callable[[], Response]


class Server(ThreadingMixIn, TCPServer):
    """Answers GET on a few paths, each by a function.

    No HTTPServer of the standard library: that one asks for its own name when it starts, and in a
    pod that may ask nobody it would wait for a name server.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        routes: Mapping[str, Route],
        *,
        seconds: float = MAX_REQUEST_S,
    ) -> None:
        """`seconds` bounds a request, and its answer as well. An empty host: every address of this
        machine, of IPv6 and of IPv4, since a cluster has either or both."""
        self.routes = dict(routes)
        self.seconds = seconds
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        if not address[0] and socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Both families on one socket, whatever the node's `bindv6only` says."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own; one connection too many is closed at once."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Frees the place of the connection at the end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """On stderr, but for a client that went away, which is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection (HTTP/1.0), so nobody holds a thread by doing nothing."""

    server: Server

    def version_string(self) -> str:
        """Not which Python this is."""
        return "jetrail"

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Bounded(self.connection, self.server.seconds))

    def do_GET(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "No body is taken")
            return
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is " + ", ".join(self.server.routes))
            return
        self._answer(route())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe every few seconds would be all of the log."""

    def _answer(self, response: Response) -> None:
        self.connection.settimeout(self.server.seconds)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(response.body)


class _Bounded(io.RawIOBase):
    """Reads a connection for so long and so many bytes, and then raises TimeoutError."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._end = time.monotonic() + seconds
        self._left = MAX_HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError("the request took too long or was too large")
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count
