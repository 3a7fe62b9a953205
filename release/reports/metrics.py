"""What pods say of themselves: their metric `model_version`, whose labels name what runs there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from engines.errors import InputError
from release.reports.report import Report, Told

METRIC = "model_version"
SITE = ("site", "cluster", "instance")
"""Labels that say where a pod is, the first that is there counts."""

_SAMPLE = re.compile(rf"^{METRIC}\{{(?P<labels>.*)\}}\s+(?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def is_prometheus(content: Any) -> bool:
    """Whether it is what Prometheus' HTTP API answers to a query."""
    data = content.get("data") if isinstance(content, dict) else None
    return isinstance(data, dict) and isinstance(data.get("result"), list)


def from_prometheus(content: Mapping[str, Any], name: str, at: datetime) -> Report:
    """The report of an instant query for `model_version`. Raises InputError for the answer to
    another: read as one it would say that nothing runs anywhere."""
    rows = [one for one in content["data"]["result"] if isinstance(one, dict)]
    if content["data"]["result"] and not any(
        _told(one.get("metric")) and "value" in one for one in rows
    ):
        raise InputError(
            f"Expected the answer to an instant query for `{METRIC}` in {name}, got that to "
            f"another query. Ask /api/v1/query?query={METRIC}."
        )
    told = [_told(one.get("metric")) for one in rows if _counts(one.get("value"))]
    times = [made for one in rows for made in [_moment(one.get("value"))] if made]
    made = max(times, default=at)
    return Report(name=name, at=made, told=tuple(one for one in told if one is not None))


def is_exposition(text: str) -> bool:
    """Whether it is metrics as a pod prints them."""
    return _SAMPLE.search(text) is not None


def from_exposition(text: str, name: str, at: datetime) -> Report:
    """The report of metrics as pods print them, of several one after the other too."""
    told = [
        _told(dict(_LABEL.findall(found["labels"])))
        for found in _SAMPLE.finditer(text)
        if _counts([0, found["value"]])
    ]
    return Report(name=name, at=at, told=tuple(one for one in told if one is not None))


def _told(labels: Any) -> Told | None:
    if not isinstance(labels, dict):
        return None
    site = next((str(labels[key]) for key in SITE if labels.get(key)), "")
    version, release = str(labels.get("version", "")), str(labels.get("release", ""))
    return Told(site=site, version=version, release=release) if version or release else None


def _moment(value: Any) -> datetime | None:
    """When Prometheus evaluated the sample."""
    try:
        return datetime.fromtimestamp(float(value[0]), timezone.utc)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, OSError):
        return None


def _counts(value: Any) -> bool:
    """Whether a sample says 1, so that its labels are in force."""
    try:
        return float(value[1]) == 1
    except (TypeError, ValueError, IndexError, KeyError):
        return False
