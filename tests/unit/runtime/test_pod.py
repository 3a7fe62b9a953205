"""The pod as a process: ready after its check, and ended by SIGTERM whatever the engine does."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories import served
from standins.registry import free_port

from runtime.trust import ExpectedRelease

WEDGED = """\
import sys, threading
from engines.detect.detector import Detector
from runtime import check
from runtime.cli import main
detect, looks = Detector.detect, []
def wedged(self, frames):
    looks.append(1)
    return detect(self, frames) if len(looks) <= 3 else threading.Event().wait()
Detector.detect = wedged
sys.argv = ["runtime", *sys.argv[1:]]
main()
"""
"""An engine that never returns once the pod is through its check."""


@contextmanager
def pod(wanted: ExpectedRelease, *words: str, script: str = "") -> Iterator[tuple[Any, int]]:
    """`runtime serve` in a process of its own, with its port, once it says that it serves."""
    command = ["-c", script] if script else ["-m", "runtime.cli"]
    arguments = ["serve", str(wanted.folder), "--keys", str(wanted.keys), "--port", "0", *words]
    process = subprocess.Popen(
        [sys.executable, *command, *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.search(r"serves on port (\d+)", said)
        assert match, said + process.stderr.read()
        yield process, int(match[1])
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def end(process: Any) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    return code, process.stderr.read()


def test_it_serves_and_ends_in_order(wanted: ExpectedRelease) -> None:
    with pod(wanted, "--expected", "1.0", "--deadline-ms", "30000") as (process, port):
        assert get(port, "/health/live") == (200, "alive\n")
        status, body = get(port, "/health/inference")
        assert status == 200
        health = json.loads(body)
        assert health["healthy"] is True
        assert health["objects"] == 1
        assert health["latency_ms"] > 0
        status, text = get(port, "/metrics")
        assert status == 200
        assert f'model_version{{release="{served.RELEASE}",version="1.0"}} 1.0' in text
        assert 'model_version_expected{version="1.0"} 1.0' in text
        assert "inference_latency_seconds_count 1.0" in text
        assert end(process) == (0, "runtime: ended\n")
        with pytest.raises(ConnectionError):
            get(port, "/health/live")


def test_a_wedged_engine_is_seen_and_keeps_nobody_from_ending_it(wanted: ExpectedRelease) -> None:
    with pod(wanted, "--deadline-ms", "200", script=WEDGED) as (process, port):
        status, body = get(port, "/health/inference")
        assert status == 503
        assert json.loads(body)["cause"] == "late"
        assert get(port, "/health/live")[0] == 200
        assert 'inference_errors_total{cause="late"} 1.0' in get(port, "/metrics")[1]
        code, said = end(process)
        assert code == 0
        assert "the engine did not answer, and is left to the system" in said


def test_what_may_not_run_opens_no_port(wanted: ExpectedRelease, tmp_path: Path) -> None:
    (wanted.folder / "engine.blob").write_bytes(b"another")
    port = free_port()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "runtime.cli", "serve", str(wanted.folder)),
            *("--keys", str(wanted.keys), "--port", str(port)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "engine.blob was altered" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(ConnectionError):
        get(port, "/health/live")


def test_a_port_that_is_taken(wanted: ExpectedRelease) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "runtime.cli", "serve", str(wanted.folder)),
                *("--keys", str(wanted.keys), "--port", str(port)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"Expected port {port} to be free" in done.stderr


def test_sigterm_before_it_is_ready_ends_it(wanted: ExpectedRelease) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.cli", "serve", str(wanted.folder)),
            *("--keys", str(wanted.keys), "--port", "0"),
        ],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
