"""Whose disk is full, where skopeo says that one is; and a skopeo that got no memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import InputError, ServiceError
from release.image.distribution import parse_repository
from release.image.skopeo import pull, push

REPOSITORY = parse_repository("localhost:5000/base")
SKOPEO = """\
#!/bin/sh
echo 'time="2026-11-29T16:53:46Z" level=fatal msg="write x: no space left on device"' >&2
exit 1
"""


def pulled(layout: Path) -> None:
    pull(REPOSITORY, f"sha256:{'d' * 64}", layout, None, lambda _: None)


def pushed(layout: Path) -> None:
    push(layout, "v1", REPOSITORY, None, lambda _: None)


@pytest.mark.parametrize(
    ("copy", "kind", "said"),
    [
        (pulled, InputError, "no space left on device. Free some space there (the disk at /"),
        (pushed, ServiceError, "no space left on device"),  # the registry's, it may be
    ],
)
def test_a_full_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: Callable[[Path], None],
    kind: type[Exception],
    said: str,
) -> None:
    (tmp_path / "skopeo").write_text(SKOPEO)
    (tmp_path / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kind) as raised:
        copy(tmp_path / "layout")
    assert said in str(raised.value)


def test_without_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `ulimit -v 400000` it was tried six times, and the registry was to blame."""
    said = "fatal error: failed to reserve page summary memory"
    stack = "runtime.rt0_go()\\n\\truntime/asm_amd64.s:345 +0x11c"
    (tmp_path / "skopeo").write_text(f'#!/bin/sh\nprintf "{said}\\n\\n{stack}\\n" >&2\nexit 2\n')
    (tmp_path / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=f"broke off with `{said}`, as for lack of memory"):
        pushed(tmp_path / "layout")
