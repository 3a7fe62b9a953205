"""What a step goes by stays as it was read until the step ends, or the step is refused.

DVC notes what a stage depends on when its command ends (`Stage.run` in dvc/stage/__init__.py). So
what was made by a params.yaml or ONNX file that was changed meanwhile would count as made by the
new one, and `dvc repro` would leave it as it is.
"""

from __future__ import annotations

from engines.errors import InputError


def check_steady(before: object, now: object) -> None:
    """Raise InputError unless what a step went by is what the files are `now`, when it ends."""
    if now != before:
        raise InputError(
            "Expected model.yaml, params.yaml and the ONNX file to stay as they are until this "
            "command ends, but one was changed meanwhile, and it went by what that was before. Run "
            "it again, or `dvc repro`."
        )
