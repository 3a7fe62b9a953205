"""pipeline.repository.dvc: DVC's own words reach whoever has to act on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import InputError
from pipeline.repository.dvc import dvc_add


def test_why_dvc_did_not_add_is_said(tmp_path: Path) -> None:
    """Without git: a folder that was unpacked from an archive, for example."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"weights")
    with pytest.raises(InputError, match="it said: ERROR: .* is not a git repository") as caught:
        dvc_add(tmp_path, [tmp_path / "weights.pt"])
    assert "\n" not in str(caught.value)
