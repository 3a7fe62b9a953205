"""`builder:` of a row with the backend `openvino`."""

from __future__ import annotations

from typing import Literal

from engines.backends import BuilderOptions, BuildRequest


class OpenVINOOptions(BuilderOptions):
    """OpenVINO needs no options."""

    package: Literal["openvino"] = "openvino"
    device: None = None


Request = BuildRequest[OpenVINOOptions]
