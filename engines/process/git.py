"""Git as a child: in the repository of the folder that it is run in, and in English."""

from __future__ import annotations

import os
from collections.abc import Mapping

_OF_ANOTHER_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"),
    }
)
"""What git sets for its hooks: in one of them these would lead to another repository or index."""


def git_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For `git`, whose words are looked at."""
    theirs = {
        name: value for name, value in environment.items() if name not in _OF_ANOTHER_REPOSITORY
    }
    return theirs | {"LC_ALL": "C"}
