"""Git as a child: in the repository of its folder, in English, without locks left in the way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

OF_ANOTHER_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"),
    }
)
"""What git sets for its hooks: in one of them these would lead to another repository or index."""

LEAVE_SECONDS = 5.0
"""How long git may take to end by SIGTERM."""


def run_git(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    input: bytes = b"",
    timeout: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """What `subprocess.run` gives for these words. Where git takes too long, or Ctrl-C or SIGTERM
    ends us, it is ended by SIGTERM, at which it takes its locks away; by SIGKILL, as there, an
    index.lock would stay, and every commit be refused.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env) as process:
        try:
            out, said = process.communicate(input, timeout)
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEAVE_SECONDS)
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, said)


def git_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For `git`, whose words are looked at."""
    theirs = {
        name: value for name, value in environment.items() if name not in OF_ANOTHER_REPOSITORY
    }
    # No lock for what git may do or leave: `git status` takes the index to write down what it saw.
    return theirs | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
