"""Fixtures and rules for all tests."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest

from engines.process.git import OF_ANOTHER_REPOSITORY

# PyTorch's threads wait for each other in a loop that takes the processor from whatever else runs:
# where two parts of the tests, or tests and other work, share two cores, three times as much of it.
# For what tests start too, and before PyTorch is imported, which reads it once.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

OF_USERS = (
    *("JETRAIL_SIGNING_KEY", "JETRAIL_KEY_PASSPHRASE", "MLFLOW_TRACKING_URI"),
    *("FORCE_COLOR", "NO_COLOR", "COLUMNS"),
)

try:
    from hypothesis import settings
except ImportError:  # a device, which has what tests/gpu needs and no more
    pass
else:
    # How long an example takes says nothing of the code on a machine that others use too.
    settings.register_profile("no-deadline", deadline=None)
    settings.load_profile("no-deadline")


@pytest.fixture(scope="session", autouse=True)
def _own_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The lock of the device lies in the folder for temporary files: with one of their own, tests
    neither wait for other work on this machine nor hold it up."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("tmp"))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _nobody_s_settings() -> Iterator[None]:
    """Tests are the same for everybody: for who signs each commit, has hooks of his own for all
    repositories or a key for releases in the environment, and in a hook of git."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*OF_ANOTHER_REPOSITORY, *OF_USERS):
            patch.delenv(name, raising=False)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_counts() -> Iterator[None]:
    """For tests and what they start: under nohup, and in the background of a script, SIGINT is
    ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def hang_up_counts() -> Iterator[None]:
    """SIGHUP, for one test only: `nohup make test` shall outlive its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """In CI a skipped test is a failed one, since it would hide a missing tool."""
    report = yield
    if os.environ.get("CI") and report.skipped and "gpu" not in item.keywords:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
