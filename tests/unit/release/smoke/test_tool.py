"""What the container engine says is told as what it is."""

from __future__ import annotations

import pytest

from engines.errors import InputError, ServiceError
from release.smoke.tool import ask


@pytest.mark.parametrize(
    ("said", "kind"), [("no space left on device", InputError), ("no such image", ServiceError)]
)
def test_a_full_disk_is_this_machine_s(said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=said):
        ask("sh", "-c", f"echo Error: {said} >&2; exit 1")
