"""MLflow as far as publishing asks it, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from release.records import MlflowEntry
from release.registry.trouble import Forbidden
from release.steps import publish as step
from release.tags import make_tag


class MlflowDouble:
    """What `release.registry.mlflow.Store` offers."""

    def __init__(self) -> None:
        self.tracking_uri = "sqlite:///mlflow.db"
        self.versions: dict[str, dict[str, int]] = {}
        """Registered model to release to version."""
        self.files: set[str] = set()
        """Releases whose files are there."""
        self.aliases: dict[str, dict[str, int]] = {}
        """Registered model to alias to version."""
        self.forbids = False
        """Whether nobody may ask for a model that is not there, nor for `others`."""
        self.others: set[str] = set()
        """Registered models that this user may not ask for."""

    def version_of(self, registered_model: str, release: str) -> int | None:
        return self.versions.get(registered_model, {}).get(release)

    def entry(self, recorded: MlflowEntry, release: str) -> MlflowEntry | None:
        return recorded if self.version_of(recorded.registered_model, release) else None

    def has_files(self, submission: Any) -> bool:
        return submission.release in self.files

    def done_again(self, submission: Any) -> str:
        return ""

    def publish(self, submission: Any) -> MlflowEntry:
        held = self.versions.setdefault(submission.registered_model, {})
        version = held.setdefault(submission.release, len(held) + 1)
        self.files.add(submission.release)
        return MlflowEntry(
            tracking_uri=self.tracking_uri,
            experiment="jetrail/meter",
            run_id=f"{version}a",
            registered_model=submission.registered_model,
            version=version,
        )

    def page(self, of: Iterable[str]) -> str:
        return "#/experiments/1/runs" if [*of] else "#/experiments"

    def release_at(self, registered_model: str, alias: str, *, perhaps_new: bool = False) -> str:
        theirs = registered_model in self.others or registered_model not in self.versions
        if self.forbids and theirs and not perhaps_new:
            raise Forbidden(f"{registered_model} is forbidden")
        version = self.aliases.get(registered_model, {}).get(alias)
        held = self.versions.get(registered_model, {})
        return next((release for release, one in held.items() if one == version), "")

    def deleted_run(self, registered_model: str, release: str) -> str:
        return ""

    def point_alias(self, registered_model: str, alias: str, version: int) -> None:
        assert version in self.versions[registered_model].values()
        self.aliases.setdefault(registered_model, {})[alias] = version

    def drop_alias(self, registered_model: str, alias: str) -> bool:
        return self.aliases.get(registered_model, {}).pop(alias, None) is not None


def put_in_place(patch: pytest.MonkeyPatch) -> MlflowDouble:
    """Let publishing find a new one in place of MLflow."""
    store = MlflowDouble()

    @contextmanager
    def opened(root: Any) -> Iterator[MlflowDouble]:
        yield store

    def described(workspace: Any, judged: Any, draw: Any) -> SimpleNamespace:
        name = f"{judged.manifest.model}.{judged.manifest.target}"
        return SimpleNamespace(registered_model=name, release=make_tag(judged.manifest).name)

    patch.setattr(step, "open_store", opened)
    patch.setattr(step, "describe", described)
    return store
