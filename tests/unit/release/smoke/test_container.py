"""How podman is called: what the chart forbids the pod is forbidden here too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.errors import ServiceError
from release.smoke import container
from release.smoke.container import Done, Run

WANTED = Run(
    image="0a1b", command=("runtime", "check", "/models"), keys=Path("/tmp/keys"), memory_mib=700
)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What podman was called with; it says nothing and ends well."""
    calls: list[list[str]] = []

    def call(words: Any, seconds: float) -> Done:
        calls.append(list(words))
        return Done(0, "", "")

    monkeypatch.setattr(container, "_call", call)
    return calls


def test_the_pod_may_do_nothing_but_its_work(called: list[list[str]]) -> None:
    container.run(WANTED)
    (words,) = called
    line = " ".join(words)
    for part in (
        *("--network none", "--user 1000:1000", "--read-only ", "--read-only-tmpfs=false"),
        *("--cap-drop all", "--security-opt no-new-privileges", "--memory 700m", "--pull never"),
        "--volume /tmp/keys:/etc/jetrail/keys:ro",
    ):
        assert part in line
    assert words[-4:] == ["0a1b", "runtime", "check", "/models"]
    assert "--mount" not in words


def test_an_image_on_no_base_is_mounted(called: list[list[str]]) -> None:
    container.run(
        Run(image="r", command=("x",), keys=Path("/k"), memory_mib=1, mounted="an-engine")
    )
    assert "type=image,source=an-engine,destination=/release" in called[0]


@pytest.mark.parametrize("code", [125, 126, 127])
def test_podman_s_own_failures_are_a_service_s(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    said = Done(code, "", "a warning\nError: no such image.\n")
    monkeypatch.setattr(container, "_call", lambda words, seconds: said)
    with pytest.raises(ServiceError, match="it says: no such image. Try"):
        container.run(WANTED)


def test_without_podman(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not container.installed()
    with pytest.raises(ServiceError, match="Expected podman on this machine"):
        container.version()
