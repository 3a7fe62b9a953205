"""A stand-in for a chat's webhook and for GitLab's API, as far as they are asked."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Server(HTTPServer):
    """Takes what is posted. No real GitLab confirmed what it answers."""

    posted: list[tuple[str, dict[str, Any]]]
    status = 201

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status < 400:
            self.server.posted.append((self.path, content))
        self._answer({"id": 1, "iid": 7, "web_url": f"{self.server.address}/7"})

    def do_GET(self) -> None:
        self._answer(
            [{**one, "web_url": f"{self.server.address}/7"} for _, one in self.server.posted]
        )

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(self.server.status if self.command == "POST" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
