"""Python's search for garbage, which goes through all objects that there are."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """No search for garbage before the block ends: for one that makes very many objects which stay,
    as they grow in number Python goes through all of them again and again, which takes a sixth of
    the time of importing PyTorch."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
