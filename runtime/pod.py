"""The pod's life: checked, serving, and ended by SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http import HTTPStatus

from engines.errors import InputError
from runtime.check import Admitted, admit
from runtime.health import Examiner
from runtime.metrics import Metrics
from runtime.server import Response, Route, Server
from runtime.trust import ExpectedRelease
from runtime.worker import Worker

CLOSE_S = 5.0
"""For the engine to end what it does and be freed; a wedged one is left to the system."""


def serve(wanted: ExpectedRelease, *, port: int, deadline_s: float) -> None:
    """Check the engine, then answer on `port` (0: any that is free) until SIGTERM or SIGINT.

    `deadline_s` is what a health inference may take. Raises what `admit` raises, and InputError
    where the port is taken.
    """
    start = time.perf_counter()
    admitted = admit(wanted)
    worker = Worker(admitted.detector)
    server = _server(port, _routes(admitted, worker, wanted, deadline_s))
    stop = _on_signal()
    accepting = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    accepting.start()
    report, seconds = admitted.report, time.perf_counter() - start
    _say(f"{report.release} serves on port {server.port}, {seconds:.2f} s after its start")
    stop.wait()
    _end(server, worker)


def _routes(
    admitted: Admitted, worker: Worker, wanted: ExpectedRelease, deadline_s: float
) -> dict[str, Route]:
    metrics = Metrics(
        version=admitted.report.model_version,
        release=admitted.report.release,
        expected_version=wanted.version,
        gpu=admitted.detector.waits is not None,
    )
    manifest = admitted.detector.manifest
    examiner = Examiner(
        worker,
        admitted.golden,
        metrics,
        confidence=manifest.thresholds.confidences(manifest.classes),
        deadline_s=deadline_s,
    )
    return {
        "/health/live": lambda: _text("alive\n"),
        "/health/inference": lambda: _health(examiner),
        "/metrics": lambda: Response(
            status=HTTPStatus.OK,
            content_type="text/plain; version=0.0.4; charset=utf-8",
            body=metrics.text(),
        ),
    }


def _health(examiner: Examiner) -> Response:
    health = examiner.examine()
    return Response(
        status=HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE,
        content_type="application/json",
        body=(health.model_dump_json(exclude_none=True) + "\n").encode(),
    )


def _text(text: str) -> Response:
    return Response(
        status=HTTPStatus.OK, content_type="text/plain; charset=utf-8", body=text.encode()
    )


def _server(port: int, routes: dict[str, Route]) -> Server:
    try:
        return Server(("", port), routes)
    except OSError as error:
        raise InputError(
            f"Expected port {port} to be free, but the system says: {error.strerror}. Stop what "
            "uses it, or give another one with --port."
        ) from error


def _on_signal() -> threading.Event:
    """Set by SIGTERM, which the kubelet sends, and by Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _end(server: Server, worker: Worker) -> None:
    """No new connection, answers to those that are there, then the engine."""
    server.shutdown()
    server.server_close()
    if worker.close(CLOSE_S):
        _say("ended")
        return
    _say("ended; the engine did not answer, and is left to the system")
    # Python would wait for its SDK's own threads.
    sys.stderr.flush()
    os._exit(0)


def _say(text: str) -> None:
    print(f"runtime: {text}", file=sys.stderr, flush=True)
