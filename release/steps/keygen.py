"""keygen: a key that may sign releases, or the record of one that a token or a cloud keeps."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.trusted_key import KeyName, TrustedKey
from release.lock import exclusive
from release.signing.keys import (
    KeyValidity,
    make_pair,
    passphrase_given,
    private_file,
    record_file,
    record_public,
    today,
)


class ActiveKey(NamedTuple):
    """A key whose signature counts now."""

    record: TrustedKey
    record_file: Path
    private: Path | None
    """None where a token or a cloud keeps the private half."""


def keygen(
    workspace: Workspace,
    name: str,
    begin: datetime | None = None,
    end: datetime | None = None,
    *,
    private: Path | None = None,
    public: Path | None = None,
) -> ActiveKey:
    """Make the key `name` with its private half in `private` (default: release/trust/private), or
    write the record of the key whose public half is in `public`.

    It counts from `begin` (default: today) until `end` (default: no end), both taken as UTC. Raises
    InputError where a key of that name is there, or a file is not what it should be.
    """
    if private and public:
        raise InputError(
            "Expected --private (where the new key goes) or --public (a key that exists), got "
            "both. Leave one of them out."
        )
    _check_name(name)
    validity = _validity(begin, end)
    record = record_file(workspace, name)
    with exclusive(workspace):
        if public:
            return ActiveKey(record_public(name, public, record, validity), record, None)
        private = private or private_file(workspace, name)
        made = make_pair(name, private, record, validity, passphrase_given())
        return ActiveKey(made, record, private)


def _validity(begin: datetime | None, end: datetime | None) -> KeyValidity:
    first = begin.replace(tzinfo=timezone.utc) if begin else today()
    last = end.replace(tzinfo=timezone.utc) if end else None
    if last is not None and last <= first:
        raise InputError(
            f"Expected --until to be after {first:%Y-%m-%d}, from which the key counts, got "
            f"{last:%Y-%m-%d}."
        )
    return KeyValidity(begin=first, end=last)


def _check_name(name: str) -> None:
    try:
        TypeAdapter(KeyName).validate_python(name)
    except ValidationError as error:
        raise InputError(
            f"Expected letters, digits, dots, `_` and `-` as the name of a key, got {name!r}."
        ) from error
