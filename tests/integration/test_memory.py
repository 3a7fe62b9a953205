"""A small address space, for real (`ulimit -v`): each command ends with a sentence, and changes
nothing."""

from __future__ import annotations

import re
import resource
import subprocess

import pytest

from engines.files import TEMPORARY_PREFIX
from tests.integration.conftest import BIN, MODEL, Clone, files

pytestmark = pytest.mark.integration

ENGINE = f"{MODEL}-fp16"
COMMANDS = {
    "export": ("pipeline", "export", MODEL),
    "verify": ("pipeline", "verify", MODEL),
    "quantize": ("pipeline", "quantize", MODEL),
    "build": ("pipeline", "build", ENGINE),
    "benchmark": ("pipeline", "benchmark", ENGINE),
    "evaluate": ("pipeline", "evaluate", ENGINE),
    "status": ("release", "status"),
    "publish": ("release", "publish"),
}
MIB = {300: COMMANDS.keys(), 450: {"quantize", "benchmark", "status"}}
"""Too few for each of them, which fail at different places then."""


def test_little_address_space(finished: Clone) -> None:
    before = kept(finished)
    for mib, names in MIB.items():
        for name in names:
            done = limited(finished, COMMANDS[name], mib)
            said = f"{name} with {mib} MiB: {done.returncode}\n{done.stderr}"
            assert done.returncode == 2, said
            assert "Traceback" not in done.stderr, said
            errors = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
            assert len(errors) == 1, said
            assert "Expected enough memory for this command" in errors[0], said
            assert "`ulimit -v`" in errors[0], said
    assert kept(finished) == before


def kept(clone: Clone) -> dict[str, str]:
    """Every file but locks, what Python compiled, and git's index, into which it writes what it
    knows of the files."""
    index = str(clone.root / ".git/index")
    return {
        path: sha
        for path, sha in files(clone).items()
        if TEMPORARY_PREFIX not in path and "__pycache__" not in path and path != index
    }


def limited(clone: Clone, words: tuple[str, ...], mib: int) -> subprocess.CompletedProcess[str]:
    size = mib << 20
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=clone.root,
        env=clone.environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )
