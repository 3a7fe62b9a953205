"""The part of the root `params.yaml` that the model side reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from engines.config.target import NotNegative
from engines.config.workspace import Workspace
from engines.config.yaml import explain_in, parse_yaml
from engines.errors import InputError
from engines.records.record import Part
from pipeline.records import Method

_BACK = "Bring it back with `git checkout -- params.yaml`"


class QuantizeConfig(Part):
    """`quantize:` of params.yaml: how far INT8 may fall, and how hard to try."""

    max_map50_95_drop: NotNegative
    """Largest loss of tuning mAP50-95 against float32."""
    max_confidence_shift: NotNegative
    """Largest mean change of the confidences of found objects, on the tuning set."""
    max_float_layers: Annotated[int, Field(ge=0)]
    """Most convolutions to put back to float to keep within both."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    percentile: Annotated[float, Field(gt=50, le=100)]
    """Part of the activations' magnitudes, in percent, that the percentile method keeps."""
    calibration_images: Annotated[int, Field(ge=1)]
    tuning_images: Annotated[int, Field(ge=1)]
    range_images: Annotated[int, Field(ge=1)]
    """Of the tuning set, so many images judge the ranges of activations."""
    sensitivity_images: Annotated[int, Field(ge=1)]
    """Of a larger set, so many evenly spread images are used."""


def load_quantize(workspace: Workspace) -> QuantizeConfig:
    """Read `quantize:` of the root params.yaml. Raises InputError."""
    path = workspace.root / "params.yaml"
    if not path.is_file():
        raise InputError(f"Expected the parameters in {path}, but there is no such file. {_BACK}.")
    text = path.read_bytes()
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict) or "quantize" not in content:
        raise InputError(f"{path}: expected the key `quantize`, which is missing. {_BACK}.")
    try:
        return QuantizeConfig.model_validate(content["quantize"])
    except ValidationError as error:
        where = explain_in(error, text, ("quantize",), of=QuantizeConfig)
        raise InputError(f"{path}: {where}. Fix the file and run again.") from error
