"""A report from a file or an address, of whichever kind it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engines.errors import InputError, ServiceError
from engines.streams import without_queries
from release.reports import fleet, metrics
from release.reports.report import Report, together

MAX_BYTES = 1 << 30
"""Of one report: 100,000 BundleDeployments are about 300 MB."""
SECONDS = 30
_NEXT = re.compile(r"\s*")
QUERY = "/api/v1/query?query=model_version"
"""What is asked of a Prometheus whose address has no path."""


def load_reports(sources: Sequence[str]) -> Report | None:
    """The reports of files and addresses as one; None where there is none.

    Raises InputError for a file that is no report, and ServiceError for an address that does not
    answer.
    """
    return together([load_report(one) for one in sources]) if sources else None


def load_report(source: str) -> Report:
    """One report. See `load_reports`."""
    if source.startswith(("http://", "https://")):
        return _parse(_download(source), _shown(source), datetime.now(timezone.utc))
    path = Path(source)
    try:
        stat = path.stat()
        if stat.st_size > MAX_BYTES:
            raise InputError(
                f"Expected a report of at most {MAX_BYTES >> 20} MiB, got {path} with "
                f"{stat.st_size >> 20} MiB. Ask for fewer namespaces."
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Expected a report in {path}, but it cannot be read: {error.strerror}. Make it with "
            "`kubectl get bundles,bundledeployments -A -o json`, `fleet monitor`, or give the "
            "address of a Prometheus."
        ) from error
    # kubectl's lists have no time of their own.
    return _parse(content, str(path), datetime.fromtimestamp(stat.st_mtime, timezone.utc))


def _parse(content: bytes, name: str, at: datetime) -> Report:
    text = content.decode(errors="replace").lstrip("\ufeff")
    if metrics.is_exposition(text):
        return metrics.from_exposition(text, name, at)
    found = _documents(text, name)
    if metrics.is_prometheus(found):
        return metrics.from_prometheus(found, name, at)
    if fleet.is_kubectl(found):
        return fleet.from_kubectl(found, name, at)
    if fleet.is_monitor(found):
        return fleet.from_monitor(found, name, at)
    raise InputError(
        f"Expected a report in {name}: what `kubectl get bundles,bundledeployments -A -o json` or "
        "`fleet monitor` prints, or metrics with `model_version`; got JSON of another kind. Make "
        "it with one of these."
    )


def _documents(text: str, name: str) -> Any:
    """The one document of a report, or of many, as `fleet monitor --watch` and `kubectl get -w`
    print them, what they say together."""
    if re.match(r"(---\s|apiVersion:|kind:|items:)", text):
        raise InputError(f"Expected JSON in {name}, got YAML. Ask kubectl for `-o json`.")
    found: list[Any] = []
    decoder, at = json.JSONDecoder(), _NEXT.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            one, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if found and fleet.is_monitor(found[-1]):
                break  # It is being written just now.
            raise InputError(
                f"Expected a report in {name}, got something that is not JSON or ends early: "
                f"{error}. Make it again."
            ) from error
        found.append(one)
        at = _NEXT.match(text, at).end()  # type: ignore[union-attr]
    if not found:
        raise InputError(f"Expected a report in {name}, got an empty file. Make it again.")
    if len(found) > 1 and all(map(fleet.is_kubectl, found)):
        return {"items": [item for one in found for item in one.get("items", [one])]}
    return found[-1]


def _download(address: str) -> bytes:
    import requests

    parts = urlsplit(address)
    asked = address if parts.path.strip("/") else address.rstrip("/") + QUERY
    try:
        with requests.get(asked, timeout=SECONDS, stream=True) as answer:
            answer.raise_for_status()
            content = answer.raw.read(MAX_BYTES, decode_content=True)
    except (requests.RequestException, OSError) as error:
        said = without_queries(str(error).replace(address, _shown(address)))
        reason = " ".join(said.split())[:300]
        raise ServiceError(
            f"Expected a report at {_shown(address)}, but it did not answer: {reason}. See that it "
            "runs, or give a file."
        ) from error
    return bytes(content)


def _shown(address: str) -> str:
    """Without user and password, and without a query, where tokens stand."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
