"""Who we are to a registry: where it is looked for, and that it is never shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError
from release.image.credentials import (
    Credentials,
    auth_file,
    find_credentials,
    without_secrets,
)

HOST = "registry.example.com:5000"
REPOSITORY = f"{HOST}/jetrail/meter"
OURS = Credentials("robot", "p4ss:word")


@pytest.fixture(autouse=True)
def _nobody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "JETRAIL_REGISTRY_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def write(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_nobody() -> None:
    assert find_credentials(REPOSITORY) is None


@pytest.mark.parametrize(
    "key",
    [REPOSITORY, f"{HOST}/jetrail", HOST, f"https://{HOST}", f"https://{HOST}/v1/"],
)
@pytest.mark.parametrize(
    "file", ["run/containers/auth.json", ".config/containers/auth.json", ".docker/config.json"]
)
def test_the_usual_files(tmp_path: Path, key: str, file: str) -> None:
    write(tmp_path / file, auths={key: {"auth": OURS.basic}, "elsewhere": {"auth": "eDp5"}})
    assert find_credentials(REPOSITORY) == OURS


def test_the_nearest_entry_counts(tmp_path: Path) -> None:
    other = Credentials("other", "x").basic
    auths = {HOST: {"auth": other}, f"{HOST}/jetrail": {"auth": OURS.basic}}
    write(tmp_path / ".docker" / "config.json", auths=auths)
    assert find_credentials(REPOSITORY) == OURS
    assert find_credentials(f"{HOST}/others") == Credentials("other", "x")


def test_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "auth.json", auths={HOST: {"auth": OURS.basic}})
    write(tmp_path / ".docker" / "config.json", auths={HOST: {"auth": "eDp5"}})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert find_credentials(REPOSITORY) == OURS
    monkeypatch.setenv("JETRAIL_REGISTRY_USER", "me")
    monkeypatch.setenv("JETRAIL_REGISTRY_PASSWORD", "mine")
    assert find_credentials(REPOSITORY) == Credentials("me", "mine")


@pytest.mark.parametrize("way", ["credHelpers", "credsStore"])
def test_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f'#!/bin/sh\nread host\n[ "$host" = {HOST} ] || exit 1\n'
        """echo '{"Username": "robot", "Secret": "p4ss:word"}'\n"""
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    content = {"credHelpers": {HOST: "test"}} if way == "credHelpers" else {"credsStore": "test"}
    write(tmp_path / ".docker" / "config.json", auths={HOST: {}}, **content)
    assert find_credentials(REPOSITORY) == OURS
    assert find_credentials("another.example.com/x") is None


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / ".docker" / "config.json", credHelpers={HOST: "nowhere"})
    with pytest.raises(InputError, match="docker-credential-nowhere"):
        find_credentials(REPOSITORY)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps({"auths": {HOST: 1}}),
        json.dumps({"auths": {HOST: {"auth": "***"}}}),
        json.dumps({"auths": {HOST: {"auth": base64.b64encode(b"secret").decode()}}}),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InputError, match="Expected credentials as") as raised:
        find_credentials(REPOSITORY)
    assert "secret" not in str(raised.value)


def test_programs_get_a_file_that_is_on_no_disk() -> None:
    wanted = {"auths": {HOST: {"auth": OURS.basic}}}
    with auth_file(REPOSITORY, OURS) as path:
        for _ in range(2):  # skopeo and helm read it more than once
            done = subprocess.run(["cat", path], capture_output=True, check=True)
            assert json.loads(done.stdout) == wanted
        assert path.readlink().name.startswith("memfd:")
    assert not path.exists()
    with auth_file(REPOSITORY, None) as path:
        assert json.loads(path.read_text()) == {"auths": {}}


def test_never_shown() -> None:
    assert OURS.password not in repr(OURS)
    text = f"Authorization: Basic {OURS.basic}, or p4ss:word"
    assert without_secrets(text, OURS) == "Authorization: Basic ***, or ***"
    assert without_secrets(text, None) == text
