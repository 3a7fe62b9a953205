"""A real registry (Debian's docker-registry) on the loopback, and a proxy in front of it that does
what networks and busy registries do."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHUNK = 1 << 16
INSTALL = "install it to run this test: apt-get install {}"
CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def need(program: str, package: str | None = None) -> str:
    """The program's path; the test is skipped where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not here; {INSTALL.format(package or program)}")
    return path


_held: list[socket.socket] = []


def free_port() -> int:
    """Stays bound, so that nobody else on this machine is given it before its server comes: that
    may take it by SO_REUSEADDR, as servers do. Until then nobody answers there."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    _held.append(one)
    port: int = one.getsockname()[1]
    return port


@dataclass
class Registry:
    """The registry, by its address."""

    host: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_registry(folder: Path, *, htpasswd: str | None = None) -> Iterator[Registry]:
    """A registry that keeps its blobs in `folder`, and lets in only who is in `htpasswd`."""
    program, port = need("docker-registry"), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(storage=folder / "storage", port=port)
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        config += f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}\n"
    (folder / "config.yml").write_text(config)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        _wait_for(port, process, folder / "log")
        yield Registry(f"127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"docker-registry does not start: {log.read_text()}")


@dataclass(kw_only=True)
class Fault:
    """What happens to the requests that match, `times` of them after the first `after`."""

    method: str = "."
    path: str = "."
    """Regular expressions."""
    times: int = 1
    after: int = 0
    status: int | None = None
    """Answered without asking the registry."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the answer, in the place of the registry's."""
    cut_request: bool = False
    """The connection ends when half of what is sent has arrived."""
    cut_answer: bool = False
    slow_seconds: float = 0
    """Before the answer."""
    body: bytes | None = None
    """In the place of the registry's, under its status."""


class Proxy:
    """In front of a registry: counts what is sent, and does the faults that it was told."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.sent_bytes = 0
        """Of the bodies of all requests."""
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and status."""
        self.authorizations: list[str] = []
        self.on_request: Callable[[str], object] = lambda _: None
        """Told of each request before the registry is, as `PUT /v2/…`."""
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, sent_bytes: int) -> None:
        with self._lock:  # layers are sent side by side
            self.sent_bytes += sent_bytes

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if not (re.search(fault.method, method) and re.search(fault.path, path)):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def statuses(self, method: str, path: str = ".") -> list[int]:
        """Of the requests that match."""
        return [
            status
            for one, where, status in self.requests
            if one == method and re.search(path, where)
        ]


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        proxy, fault = self.proxy, self.proxy.fault_for(self.command, self.path) or Fault()
        proxy.on_request(f"{self.command} {self.path}")
        if word := self.headers.get("Authorization"):
            proxy.authorizations.append(word)
        if fault.cut_request:
            self._read_half()
            self._note(0)
            self._drop()
            return
        body = b"".join(self._body())
        proxy.count(len(body))
        time.sleep(fault.slow_seconds)
        if fault.status is not None:
            self._answer(fault.status, fault.headers, b"")
            return
        status, headers, content = self._ask(body)
        headers.update(fault.headers)
        if fault.body is not None:
            content = fault.body
            headers["Content-Length"] = str(len(content))
        self._answer(status, headers, content, cut=fault.cut_answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().strip() or b"0", 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read(min(left, CHUNK))):
            left -= len(piece)
            yield piece

    def _read_half(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            size = int(self.rfile.readline().strip() or b"0", 16)
        else:
            size = int(self.headers.get("Content-Length", 0))
        self.rfile.read(size // 2)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        hop = {"connection", "transfer-encoding", "content-length"}
        headers = {  # some are sent more than once
            key: ", ".join(self.headers.get_all(key, []))
            for key in self.headers
            if key.lower() not in hop
        }
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            return 502, {}, b""
        finally:
            upstream.close()
        found = {key: value for key, value in answer.getheaders() if key.lower() not in hop}
        if self.command == "HEAD":
            found["Content-Length"] = answer.getheader("Content-Length", "0")
        return answer.status, found, content

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False
    ) -> None:
        self._note(status)
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.wfile.flush()
            self._drop()

    def _note(self, status: int) -> None:
        self.proxy.requests.append((self.command, self.path, status))

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
