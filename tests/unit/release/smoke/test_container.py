"""How podman and docker are called: what the chart forbids the pod is forbidden here too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError, ServiceError
from release.smoke import container, tool
from release.smoke.container import Run, check_mountable
from release.smoke.tool import Done

WANTED = Run(
    image="0a1b", command=("runtime", "check", "/models"), keys=Path("/tmp/keys"), memory_mib=700
)


Called = list[list[str]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """What the engine was called with; it says nothing and ends well."""
    calls: Called = []

    def call(words: Any, seconds: float) -> Done:
        calls.append(list(words))
        return Done(0, "", "")

    monkeypatch.setattr(container, "call", call)
    return calls


def have(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Let these be installed, and no others."""
    monkeypatch.setattr(
        tool.shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None
    )


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_pod_may_do_nothing_but_its_work(
    called: Called, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    have(monkeypatch, engine)
    container.run(WANTED)
    (words,) = called
    line = " ".join(words)
    for part in (
        *(f"{engine} run --rm", "--network none", "--user 1000:1000", "--read-only "),
        *("--cap-drop all", "--security-opt no-new-privileges", "--memory 700m", "--pull never"),
        *("--memory-swap 700m", "--pids-limit 512"),
        "--volume /tmp/keys:/etc/jetrail/keys:ro",
    ):
        assert part in line
    assert ("--read-only-tmpfs=false" in words) == (engine == "podman")
    assert words[-4:] == ["0a1b", "runtime", "check", "/models"]
    assert "--mount" not in words


def test_podman_where_both_are(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "podman", "docker")
    container.run(WANTED)
    assert called[0][0] == "podman"


def test_an_image_on_no_base_is_mounted(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "podman")
    check_mountable()
    container.run(
        Run(image="r", command=("x",), keys=Path("/k"), memory_mib=1, mounted="an-engine")
    )
    assert "type=image,source=an-engine,destination=/release" in called[0]
    have(monkeypatch, "docker")
    with pytest.raises(InputError, match="got docker, which mounts no images. Install podman"):
        check_mountable()


@pytest.mark.parametrize("code", [125, 126, 127])
def test_an_engine_s_own_failures_are_a_service_s(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    have(monkeypatch, "docker")
    said = Done(code, "", "a warning\nError: no such image.\n")
    monkeypatch.setattr(container, "call", lambda words, seconds: said)
    with pytest.raises(ServiceError, match="it says: no such image. Try `docker info`"):
        container.run(WANTED)


def test_without_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool.installed() is None
    with pytest.raises(ServiceError, match="Expected podman or docker on this machine"):
        tool.version()
