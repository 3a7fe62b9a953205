from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from engines.process.garbage import collected_later


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


def test_garbage_is_searched_for_again_after_an_error() -> None:
    gc.enable()
    with pytest.raises(ValueError, match="inside"), collected_later():
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()


def test_who_wants_no_search_has_none_afterwards() -> None:
    gc.disable()
    with collected_later():
        assert not gc.isenabled()
    assert not gc.isenabled()
