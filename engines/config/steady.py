"""What people write stays as it was read until a step ends, or the step is refused.

DVC notes what a stage depends on when its command ends (`Stage.run` in dvc/stage/__init__.py). So
what was made by a params.yaml that somebody edited meanwhile would count as made by the new one,
and `dvc repro` would leave it as it is.
"""

from __future__ import annotations

from engines.errors import InputError


def check_steady(before: object, now: object) -> None:
    """Raise InputError unless what a step went by is what the files say `now`, when it ends."""
    if now != before:
        raise InputError(
            "Expected model.yaml and params.yaml to say the same until this command ends, but they "
            "were changed meanwhile, and it went by what they said before. Run it again, or `dvc "
            "repro`."
        )
