"""What MLflow is told, by a client that only notes it; the real one is in tests/integration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from release.registry.asked import Asked
from release.registry.mlflow import Store


class Ended(Exception):
    """So far, and no further."""


class NotingClient:
    """Knows nothing, and notes the first experiment that it is to make."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str, **facts: Any) -> str:
        self.made = {"name": name, **facts}
        raise Ended


def test_an_experiment_is_made_with_its_kind_and_its_words(tmp_path: Path) -> None:
    """Else MLflow opens it as GenAI's, until somebody publishes for a second time."""
    client: Any = NotingClient()
    submission: Any = SimpleNamespace(
        experiment="meter", descriptions=SimpleNamespace(experiment="What it is.")
    )
    store = Store(client, Asked(tracking="sqlite:///a.db"), "sqlite:///a.db", tmp_path / "files")
    with pytest.raises(Ended):
        store.publish(submission)
    assert client.made == {
        "name": "meter",
        "artifact_location": (tmp_path / "files" / "meter").as_uri(),
        "tags": {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": "What it is.",
        },
    }
