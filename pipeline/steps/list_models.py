"""`pipeline list`: the models, their engines and where they run."""

from __future__ import annotations

from engines.config.workspace import Workspace
from pipeline.repository.listing import ListedModel, listed_models


def list_models(workspace: Workspace) -> list[ListedModel]:
    """Every model that has a folder or is named somewhere. Raises InputError for a row that is not
    YAML."""
    return listed_models(workspace)
