"""GitLab, where it keeps the GitOps repository: merge requests in place of pushes, and issues.

Server and project are those of the remote's address, or of the CI job (`CI_SERVER_URL`,
`CI_PROJECT_PATH`); the token is `GITLAB_TOKEN`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, ServiceError
from release.gitops.branch import GitOps
from release.gitops.git import GitFailed, git, without_credentials

if TYPE_CHECKING:
    from gitlab.v4.objects import Project

TOKEN = "GITLAB_TOKEN"
SECONDS = 30

_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://(?:[^@/]*@)?(?P<host>[^/]+)/|(?:ssh://)?(?:[^@/]*@)?(?P<ssh>[^:/]+)"
    r"(?::\d+)?[:/])(?P<path>.+?)(?:\.git)?/?$"
)


def open_merge_request(gitops: GitOps, branch: str, message: str) -> str:
    """The address of a merge request from `branch` into the GitOps branch: a new one, or the one
    that is open already. Raises InputError without a token or a project, and ServiceError."""
    title, _, description = message.partition("\n\n")
    with _project(gitops) as project:
        wanted = {"source_branch": branch, "target_branch": gitops.branch}
        asked: dict[str, Any] = {**wanted, "state": "opened", "get_all": False}
        open_ones = list(project.mergerequests.list(**asked))
        found: Any = (
            open_ones[0]
            if open_ones
            else project.mergerequests.create(
                {**wanted, "title": title, "description": description, "remove_source_branch": True}
            )
        )
        return str(found.web_url)


def open_issue(gitops: GitOps, title: str, text: str) -> str:
    """The address of a new issue. Raises InputError without a token or a project, and
    ServiceError."""
    with _project(gitops) as project:
        found: Any = project.issues.create({"title": title, "description": text})
        return str(found.web_url)


def check_access(gitops: GitOps) -> tuple[str, str, str]:
    """Server, path of the project, and token. Raises InputError without one of them."""
    server, path = _where(gitops)
    token = os.environ.get(TOKEN, "").strip()  # a file's line end is no part of it
    if not token.isascii() or not token:
        lack = "has letters beyond ASCII" if token else "is not set"
        raise InputError(
            f"Expected a token for {server} in {TOKEN}, but it {lack}. Make one with the scope "
            "`api` and set it."
        )
    return server, path, token


@contextmanager
def _project(gitops: GitOps) -> Iterator[Project]:
    server, path, token = check_access(gitops)
    import gitlab
    import requests

    try:
        client = gitlab.Gitlab(server, private_token=token, timeout=SECONDS)
        # Two requests fewer: the project's number is not needed, its path will do.
        yield client.projects.get(path, lazy=True)
    except (gitlab.GitlabError, requests.RequestException) as error:
        reason = " ".join(str(error).replace(token, "…").split())[:300]
        raise ServiceError(
            f"Expected {server} to do it in {path}, but it says: {reason}. See that it runs and "
            f"that the token in {TOKEN} may, then run the same command again."
        ) from error


def _where(gitops: GitOps) -> tuple[str, str]:
    """Server and path of the project."""
    server, path = os.environ.get("CI_SERVER_URL"), os.environ.get("CI_PROJECT_PATH")
    if server and path:
        return server, path
    try:
        address = git(gitops.folder, "remote", "get-url", gitops.url).decode().strip()
    except GitFailed:
        address = gitops.url
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(
            "Expected the address of a project on a GitLab server, got "
            f"{without_credentials(address)!r}. Set CI_SERVER_URL and CI_PROJECT_PATH."
        )
    host = found["host"] or found["ssh"]
    return f"{found['scheme'] or 'https'}://{host}", found["path"]
