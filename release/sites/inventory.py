"""Many sites as a table: one row a site.

    site,target,ring,location,confidence,cameras
    dock-7,rtx-x86,canary,Rotterdam,0.4,gate=rtsp://10.0.7.10/1;belt=rtsp://10.0.7.11/1

`cameras` are `name=address` with `;` between them, and `name=address@@secret` where a Secret has
the credentials. `location`, `confidence` and `cameras` may be left out or empty. Columns may be
parted by commas, semicolons or tabs, as spreadsheets write them in different countries.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engines.config.site import Site
from engines.errors import InputError
from engines.records.explain import explain, place_of

NEEDED = ("site", "target", "ring")
KNOWN = (*NEEDED, "location", "confidence", "cameras")
MAX_ROWS = 100_000
_COLUMN = re.compile(r"[a-z][a-z_ -]{0,30}")


def read_table(path: Path) -> list[Site]:
    """The sites of a CSV file, in its order. Raises InputError with the line of the first row that
    is wrong, and for a site that is there twice."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            rows = list(_rows(path, csv.DictReader(file, delimiter=delimiter, strict=True)))
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected a table in {path} in UTF-8, got another encoding. Save it as CSV UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(
            f"Expected a table in {path}, but it cannot be read: {error}. Fix it and run again."
        ) from error
    lines: dict[str, int] = {}
    for line, site in rows:
        before = lines.setdefault(site.site, line)
        if before != line:
            raise InputError(
                f"{path}, line {line}: expected another site than {site.site!r}, which line "
                f"{before} has. Take one of the two out."
            )
    return [site for _, site in rows]


def camera_of(text: str, number: int) -> dict[str, Any]:
    """What people write of a camera: `address`, `name=address`, `name=address@@secret`."""
    name, separator, rest = text.partition("=")
    if not separator or "/" in name:
        name, rest = f"camera-{number}", text
    address, _, secret = rest.partition("@@")
    found = {"name": name.strip(), "url": address.strip()}
    return {**found, "secret": secret.strip()} if secret.strip() else found


def make_site(where: str, fields: dict[str, Any]) -> Site:
    """A site of what people gave. Raises InputError, without addresses: they may hold passwords."""
    try:
        return Site.model_validate(fields)
    except ValidationError as error:
        # Whatever was taken for a part of a camera may be a part of its address.
        problem = explain(error, shown="cameras" not in place_of(error), of=Site)
        raise InputError(f"{where}: {problem}. Fix it and run again.") from None


def _delimiter(first: str) -> str:
    """Of the first line: a comma, or what spreadsheets write elsewhere in the world."""
    return max((",", ";", "\t"), key=first.count)


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[int, Site]]:
    reader.fieldnames = [one.strip().lower() for one in reader.fieldnames or ()]
    columns = list(reader.fieldnames)
    unknown = [one for one in columns if one not in KNOWN]
    missing = [one for one in NEEDED if one not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        # A first line without names is a site, whose cameras may hold passwords.
        got = ", ".join(columns) if all(map(_COLUMN.fullmatch, columns)) else "a row of values"
        raise InputError(
            f"Expected the columns {', '.join(KNOWN)} in {path} (the first three at least), got "
            f"{got or 'none'}. Fix the first line."
        )
    for count, row in enumerate(reader):
        where = f"{path}, line {reader.line_num}"
        if count >= MAX_ROWS:
            raise InputError(f"{where}: expected at most {MAX_ROWS} sites. Split the table.")
        if None in row or None in row.values():
            raise InputError(
                f"{where}: expected {len(columns)} values. Put quotes around one with a comma."
            )
        yield reader.line_num, make_site(where, _fields(row))


def _fields(row: dict[str, str]) -> dict[str, Any]:
    texts = [one for one in row.get("cameras", "").split(";") if one.strip()]
    fields: dict[str, Any] = {name: row[name].strip() for name in NEEDED}
    fields["location"] = row.get("location", "").strip()
    fields["cameras"] = [camera_of(one.strip(), number) for number, one in enumerate(texts, 1)]
    if row.get("confidence", "").strip():
        fields["alerts"] = {"confidenceThreshold": row["confidence"].strip()}
    return fields
