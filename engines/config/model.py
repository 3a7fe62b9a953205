"""`models/<model>/model.yaml`: one model, its weights and its data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from engines.config.names import Name, Version
from engines.config.workspace import Workspace
from engines.config.yaml import load_named
from engines.records.record import Part, Sha256

STRIDE = 32
"""Largest stride of YOLOv8's detect heads P3 to P5, in pixels."""

MAX_SIDE = 8192
"""Pixels, far above what anybody trains with (P6: 1280): more is a slip, and fills the memory."""


class Weights(Part):
    path: Literal["weights.pt"]
    """Relative to the model's folder. Fixed, since the stages of dvc.yaml depend on it."""
    sha256: Sha256


class DataSets(Part):
    """Three disjoint folders, relative to the model's; each holds `images/` and `labels/`. Fixed,
    since the stages of dvc.yaml depend on them."""

    calibration: Literal["data/calibration"]
    tuning: Literal["data/tuning"]
    evaluation: Literal["data/evaluation"]


class ModelConfig(Part):
    """`model.yaml`: one model, its weights and its data."""

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    version: Version
    task: Literal["detect"]
    weights: Weights
    imgsz: tuple[int, int]
    """Height and width of the network's input, in pixels."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    data: DataSets

    @field_validator("classes")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(value):
            if name in value[:index]:
                raise ValueError(f"expected different names, but class {index} is {name!r} again")
        return value

    @field_validator("imgsz")
    @classmethod
    def _multiple_of_stride(cls, value: tuple[int, int]) -> tuple[int, int]:
        check_imgsz(value)
        return value


def check_imgsz(imgsz: tuple[int, int]) -> None:
    """Raise ValueError unless height and width are multiples of the stride from it to MAX_SIDE."""
    for side in imgsz:
        if side > MAX_SIDE:
            raise ValueError(
                f"expected height and width of at most {MAX_SIDE} pixels, got {list(imgsz)}; take "
                "the size of the training, for most models 640"
            )
        if side <= 0 or side % STRIDE:
            nearest = max(STRIDE, round(side / STRIDE) * STRIDE)
            raise ValueError(
                f"expected height and width as multiples of {STRIDE} pixels, got {list(imgsz)}; "
                f"for {side} take {nearest}"
            )


def load_model(workspace: Workspace, name: str) -> ModelConfig:
    """Read `models/<name>/model.yaml`. Raises InputError."""
    return load_named(
        ModelConfig,
        workspace.models,
        name,
        file="model.yaml",
        key="name",
        bring="Bring a new one with `pipeline add-model NAME --weights FILE --data DATA_YAML`.",
    )
