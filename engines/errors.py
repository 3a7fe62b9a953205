"""Every failure that a user can cause, one class a cause, one exit code a class.

    JetrailError                 1  unexpected
    ├── InputError               2  bad input or configuration
    ├── GateFailed               3  an engine misses a budget, or a release what its ring asks
    ├── GateInvalid              4  a measurement cannot be trusted
    ├── WrongEngine              5  wrong device or engine, or an untrusted one
    ├── ServiceError             6  an outside service failed
    └── Conflict                 7  somebody else moved the ring

A message says what was expected, what was got, and what to do next.
"""

from __future__ import annotations

import re

OTHERS_COMMAND = re.compile(r"(`|^  )(dvc|git|rm|pip install --constraint) ", re.MULTILINE)
"""In a message: ours find the repository from any folder of it, these read paths from where they
are run."""


class JetrailError(Exception):
    """Base of all errors that Jetrail raises on purpose; the text is shown to the user as it is."""

    exit_code = 1


class InputError(JetrailError):
    """Bad input or configuration."""

    exit_code = 2


class GateFailed(JetrailError):
    """An engine misses a budget of its target, or a release what a ring asks."""

    exit_code = 3


class GateInvalid(JetrailError):
    """A measurement cannot be trusted, so nothing is said of the engine."""

    exit_code = 4


class WrongEngine(JetrailError):
    """This device is not the target's, the engine was built for another one, or its files were
    altered."""

    exit_code = 5


class ServiceError(JetrailError):
    """An outside service (MLflow, a registry, a git remote) did not do its part."""

    exit_code = 6


class Conflict(JetrailError):
    """Somebody else changed what this command was about to change."""

    exit_code = 7


# --- errors of others ----------------------------------------------------------------------------

_LACKING = (
    "can't alloc",
    "cannot allocate memory",
    "failed to map segment",
    "not enough memory",
    "bad_alloc",
    "memoryerror",
)
"""What torch, OpenVINO, the linker and the system say in errors of their own kinds."""


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that there is no more memory."""
    while error is not None:
        if isinstance(error, MemoryError) or says_lack_of_memory(str(error)):
            return True
        error = error.__cause__
    return False


def says_lack_of_memory(text: str) -> bool:
    """Whether words of a library, or of a process of it, are of memory that it did not get."""
    lower = text.lower()
    return any(one in lower for one in _LACKING)


_NO_THREAD = ("can't start new thread", "resource temporarily unavailable")
"""What Python, and libraries in the system's words (EAGAIN), say where no thread could be begun."""


def says_lack_of_threads(text: str) -> bool:
    """Whether words say that the system begins no more threads or processes: too many run, or there
    is no memory for a stack."""
    lower = text.lower()
    return any(one in lower for one in _NO_THREAD)
