"""A pytest plugin: tests/gpu/test_driver.py on the stand-in for the driver, its kernel in NumPy."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from engines.backends.tensorrt.cuda import driver as cuda


def halve(driver: Any, params: int) -> Callable[[], None]:
    """What the PTX there does."""
    source, result, count = (ctypes.c_uint64 * 3).from_address(params)
    begin, end = (ctypes.c_uint64.from_address(one).value for one in (source, result))
    numbers = ctypes.c_uint32.from_address(count).value

    def run() -> None:
        values = driver.at(begin, numbers).astype(np.float32) / 2 + 1
        driver.at(end, 4 * numbers)[:] = values.view(np.uint8)

    return run


def _driver() -> Any:
    spec = spec_from_file_location("standin_cuda_driver", Path(__file__).parent / "cuda_driver.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    made = module.Driver()
    made.kernels[b"halve"] = halve
    return made


_THE_DRIVER = _driver()


def pytest_configure() -> None:
    """For the whole run."""
    cuda.driver = lambda: _THE_DRIVER  # type: ignore[assignment]
