"""How to measure again what is INVALID, in commands to copy."""

from __future__ import annotations

from collections.abc import Sequence


def measure_again(target: str, engines: Sequence[str], *, bare: bool) -> str:
    """The commands, a line each, to run in the repository's root. The times are removed, since DVC
    would keep them, and with them the verdict.

    `bare`: whether `dvc repro` without a target is about this one, and publishes it.
    """
    folder = f"engines/targets/{target}"
    return "\n".join(
        [
            *(f"  rm {folder}/out/{engine}/benchmark.json" for engine in engines),
            "  dvc repro" if bare else f"  dvc repro {folder}/dvc.yaml",
        ]
    )
