"""Who we are to a registry: from the environment, or from the file where docker, podman, skopeo and
helm keep it. What is found here never gets into a message or a process list.

JETRAIL_REGISTRY_USER, JETRAIL_REGISTRY_PASSWORD    for whichever registry a command pushes to
REGISTRY_AUTH_FILE, or else
    $XDG_RUNTIME_DIR/containers/auth.json           `podman login`, `skopeo login`
    ~/.config/containers/auth.json
    $DOCKER_CONFIG/config.json, ~/.docker/config.json   `docker login`, with its helpers

https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import InputError

USER, PASSWORD = "JETRAIL_REGISTRY_USER", "JETRAIL_REGISTRY_PASSWORD"
HELPER_SECONDS = 60


class Credentials(NamedTuple):
    """A user and a password, or a token in its place."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ***)"

    @property
    def basic(self) -> str:
        """As the header of HTTP's basic authentication and the auth files have them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_credentials(repository: str) -> Credentials | None:
    """Those for `repository` (`host[:port]/path`), or None where the registry takes anybody.

    Raises InputError for an auth file that cannot be read.
    """
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user and password:
        return Credentials(user, password)
    for path in _auth_files():
        if path.is_file():
            found = _from_file(path, repository)
            if found is not None:
                return found
    return None


@contextmanager
def auth_file(repository: str, credentials: Credentials | None) -> Iterator[Path]:
    """A file with these credentials and no others, for a program that this process starts; on no
    disk, so that a kill -9 leaves no password behind."""
    auths = {repository.partition("/")[0]: {"auth": credentials.basic}} if credentials else {}
    with open(os.memfd_create("auth.json"), "w", encoding="utf-8") as file:
        json.dump({"auths": auths}, file)
        file.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


def without_secrets(text: str, credentials: Credentials | None) -> str:
    """`text` as it may be shown."""
    for secret in (credentials.password, credentials.basic) if credentials else ():
        text = text.replace(secret, "***")
    return text


def _auth_files() -> list[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    return [
        Path(runtime) / "containers" / "auth.json",
        home / ".config" / "containers" / "auth.json",
        Path(os.environ.get("DOCKER_CONFIG", home / ".docker")) / "config.json",
    ]


def _from_file(path: Path, repository: str) -> Credentials | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        auths, helpers = content.get("auths", {}), content.get("credHelpers", {})
        for key in _keys(repository):
            if key in helpers:
                return _ask(str(helpers[key]), key)
            if key in auths:
                return _decoded(auths[key]) or _from_store(content, key)
        return _from_store(content, repository.partition("/")[0])
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"Expected credentials as `podman login` or `docker login` write them in {path}, got "
            "something else. Log in again, or remove the file."
        ) from error


def _keys(repository: str) -> list[str]:
    """From the whole repository down to its host, and the host as `docker login` may spell it."""
    parts = repository.split("/")
    names = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [*names, f"https://{parts[0]}", f"https://{parts[0]}/v1/", f"https://{parts[0]}/v2/"]


def _decoded(entry: dict[str, Any]) -> Credentials | None:
    if not entry.get("auth"):
        return None
    try:
        text = base64.b64decode(entry["auth"], validate=True).decode()
    except binascii.Error as error:
        raise ValueError("no base64") from error
    user, colon, password = text.partition(":")
    if not colon:
        raise ValueError("no password")
    return Credentials(user, password.rstrip("\0"))


def _from_store(content: dict[str, Any], host: str) -> Credentials | None:
    store = content.get("credsStore")
    return _ask(str(store), host) if store else None


def _ask(helper: str, host: str) -> Credentials | None:
    """https://github.com/docker/docker-credential-helpers: the host on stdin, JSON on stdout."""
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=host,
            capture_output=True,
            text=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(
            f"Expected docker-credential-{helper}, which the auth file names, to give the "
            f"credentials for {host}, but it cannot be run. Install it, or set {USER} and "
            f"{PASSWORD}."
        ) from error
    if done.returncode != 0:
        return None  # it has none
    answer = json.loads(done.stdout)
    return Credentials(answer["Username"], answer["Secret"])
