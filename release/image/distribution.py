"""A registry by plain HTTP, as far as skopeo cannot be trusted with it: what a tag is there, and
small artefacts that refer to an image.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. `requests` is imported here
and nowhere else in this room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, ServiceError
from release.image.credentials import Credentials, without_secrets
from release.image.oci import INDEX, MANIFEST, MAX_DOCUMENT_BYTES, digest_of
from release.image.retry import Temporary, retried
from release.say import Say

if TYPE_CHECKING:
    import requests

TIMEOUT_SECONDS = (10, 60)
"""To connect, and between two bytes."""
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
ACCEPTED = f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json"
REPOSITORY = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?P<port>:\d{1,5})?"
    r"(?P<path>(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+)"
)
"""The grammar of the distribution spec for names."""
LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|\[::1\]")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A place for the images of one name, for example `registry.example.com/jetrail/meter`."""

    host: str
    """With the port."""
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def plain(self) -> bool:
        """Whether it is spoken to without TLS: on this machine only."""
        return LOOPBACK.fullmatch(re.sub(r":\d+$", "", self.host)) is not None

    @property
    def url(self) -> str:
        return f"{'http' if self.plain else 'https'}://{self.host}/v2/{self.path}"


def parse_repository(text: str) -> Repository:
    """Raises InputError for anything else than `host[:port]/path`."""
    match = REPOSITORY.fullmatch(text)
    if match is None:
        raise InputError(
            f"Expected a repository as registry.example.com/jetrail/meter (a host, lower-case "
            f"names, no https://, no user), got {text.rpartition('@')[2]!r}."
        )
    return Repository(host=match["host"] + (match["port"] or ""), path=match["path"][1:])


@dataclass(kw_only=True)
class Client:
    """One repository, with whom we are to it."""

    repository: Repository
    credentials: Credentials | None
    say: Say
    _token: str | None = field(default=None, init=False)
    _session: requests.Session | None = field(default=None, init=False)

    def manifest(self, reference: str) -> bytes | None:
        """The manifest with this tag or digest as the registry has it; None where it has none."""
        what = f"{self.repository} to say what it has as {reference}"
        return retried(lambda: self._manifest(reference), what, self.say)

    def blob(self, digest: str) -> bytes:
        """A small blob, held against its digest. Raises ServiceError where it has none."""
        what = f"{self.repository} to give the blob {digest[:19]}…"
        return retried(lambda: self._blob(digest), what, self.say)

    def keeps_referrers(self, digest: str) -> bool:
        """Whether the registry lists by itself what refers to an image; where it does not, a
        fallback tag has the list."""

        def ask() -> bool:
            answer = self._ask("GET", f"{self.repository.url}/referrers/{digest}")
            self._check(answer, (200, 400, 404, 405))
            return answer.status_code == 200

        return retried(ask, f"{self.repository} to list what refers to {digest[:19]}…", self.say)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Give the repository a manifest under a tag or its digest."""

        def put() -> None:
            answer = self._ask(
                "PUT",
                f"{self.repository.url}/manifests/{reference}",
                data=data,
                headers={"Content-Type": media_type},
            )
            self._check(answer, (201,))

        retried(put, f"{self.repository} to take the manifest {reference}", self.say)

    def put_blob(self, data: bytes) -> str:
        """Give the repository a blob, unless it has it; gives its digest."""
        digest = digest_of(data)
        what = f"{self.repository} to take the blob {digest[:19]}…"
        retried(lambda: self._put_blob(digest, data), what, self.say)
        return digest

    def _manifest(self, reference: str) -> bytes | None:
        answer = self._ask(
            "GET", f"{self.repository.url}/manifests/{reference}", headers={"Accept": ACCEPTED}
        )
        self._check(answer, (200, 404))
        if answer.status_code == 404:
            return None
        data = answer.content
        if len(data) > MAX_DOCUMENT_BYTES:
            raise ServiceError(f"{self.repository} gives a manifest of more than 4 MiB.")
        if reference.startswith("sha256:") and digest_of(data) != reference:
            raise Temporary(f"it gave another manifest ({digest_of(data)}) for {reference}")
        return data

    def _blob(self, digest: str) -> bytes:
        answer = self._ask("GET", f"{self.repository.url}/blobs/{digest}")
        self._check(answer, (200,))
        data = answer.content
        if len(data) > MAX_DOCUMENT_BYTES or digest_of(data) != digest:
            raise Temporary(f"it gave another blob ({digest_of(data)}) for {digest}")
        return data

    def _put_blob(self, digest: str, data: bytes) -> None:
        known = self._ask("HEAD", f"{self.repository.url}/blobs/{digest}")
        if known.status_code == 200:
            return
        begun = self._ask("POST", f"{self.repository.url}/blobs/uploads/")
        self._check(begun, (202,))
        place = _joined(self.repository.url, begun.headers.get("Location", ""))
        answer = self._ask(
            "PUT",
            f"{place}{'&' if '?' in place else '?'}digest={digest}",
            data=data,
            headers={"Content-Type": "application/octet-stream"},
        )
        self._check(answer, (201,))

    def _check(self, answer: requests.Response, good: tuple[int, ...]) -> None:
        """Raises Temporary or ServiceError unless the status is one of `good`."""
        if answer.status_code in good:
            return
        said = f"{answer.status_code} {answer.reason}"
        # 404 and 416 are what a registry says of an upload that it forgot.
        if answer.status_code in (*TEMPORARY, 404, 416):
            raise Temporary(f"it answers {said}", _seconds(answer.headers.get("Retry-After")))
        raise ServiceError(
            f"Expected {self.repository} to take our request, but it answers {said}"
            f"{self._reason(answer)}. {HOW_TO_LOG_IN if answer.status_code in (401, 403) else ''}"
        )

    def _reason(self, answer: requests.Response) -> str:
        """What the registry says of it, in its own words."""
        try:
            problems = answer.json()["errors"]
            text = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in problems)
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""
        return f" ({without_secrets(text, self.credentials)[:300]})"

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> requests.Response:
        """One request, signed in where the registry asks for that. Raises Temporary for a
        connection that is cut, slow or refused."""
        answer = self._send(method, url, headers, data)
        # Another host, where an upload was sent to, may not ask for our password.
        asked = answer.status_code == 401 and _host(url) == self.repository.host
        if asked and self._sign_in(answer.headers.get("WWW-Authenticate", "")):
            answer = self._send(method, url, headers, data)
        return answer

    def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, data: Any
    ) -> requests.Response:
        import requests

        if self._session is None:
            self._session = requests.Session()
            self._session.trust_env = True
            self._session.auth = _no_netrc
        own = dict(headers or {})
        if self._token and _host(url) == self.repository.host:
            own["Authorization"] = self._token
        try:
            return self._session.request(
                method, url, headers=own, data=data, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            if self.repository.host == PLACEHOLDER:
                raise InputError(
                    f"Expected your registry, got the templates' own, {PLACEHOLDER}. Put yours in "
                    f"its place: `grep -rl --include='*.yaml' {PLACEHOLDER} release | xargs sed -i "
                    f"'s,{PLACEHOLDER},HOST,'`, commit and push. A single `release push` takes "
                    "--registry HOST/PATH."
                ) from error
            raise Temporary(without_secrets(_plain(error), self.credentials)) from error

    def _sign_in(self, challenge: str) -> bool:
        """Answer a registry's `WWW-Authenticate`; whether there is something to try again with."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.credentials:
            before, self._token = self._token, f"Basic {self.credentials.basic}"
            return before != self._token
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() != "bearer" or not asked.get("realm"):
            return False
        self._token = f"Bearer {self._token_from(asked)}"
        return True

    def _token_from(self, asked: Mapping[str, str]) -> str:
        """https://distribution.github.io/distribution/spec/auth/token/"""
        import requests

        parameters = {
            "service": asked.get("service", ""),
            "scope": f"repository:{self.repository.path}:pull,push",
        }
        signed = {"Authorization": f"Basic {self.credentials.basic}"} if self.credentials else {}
        if not (asked["realm"].startswith("https://") or self.repository.plain):
            raise ServiceError(
                f"Expected {self.repository.host} to ask for a password by https, but it names "
                f"{asked['realm']!r}. Nothing was sent there."
            )
        try:
            answer = requests.get(
                asked["realm"],
                params=parameters,
                headers=signed,
                auth=_no_netrc,
                timeout=TIMEOUT_SECONDS,
            )
        except requests.RequestException as error:
            raise Temporary(without_secrets(_plain(error), self.credentials)) from error
        self._check(answer, (200,))
        content = answer.json()
        return str(content.get("token") or content.get("access_token"))


PLACEHOLDER = "registry.example.com"
"""What release/templates and bases.yaml name, until somebody puts a registry there."""

HOW_TO_LOG_IN = (
    "Log in with `podman login`, `docker login` or `skopeo login`, or set JETRAIL_REGISTRY_USER "
    "and JETRAIL_REGISTRY_PASSWORD."
)


def _no_netrc(request: Any) -> Any:
    """Given as `auth`, keeps requests from sending what ~/.netrc has for the host."""
    return request


def _host(url: str) -> str:
    return url.split("/", 3)[2]


def _joined(base: str, location: str) -> str:
    """Where an upload goes to, which a registry may give with or without its own address."""
    from urllib.parse import urljoin

    return urljoin(base, location)


def _seconds(header: str | None) -> float | None:
    """`Retry-After`; a date in it is left aside."""
    return float(header) if header and header.strip().isdigit() else None


def _plain(error: Exception) -> str:
    """What went wrong with a connection, without the addresses of Python objects."""
    text = str(error)
    for word, said in (
        ("timed out", "it does not answer in time"),
        ("refused", "nobody listens there (connection refused)"),
        ("Name or service not known", "its name cannot be resolved"),
        ("name resolution", "its name cannot be resolved"),
        ("CERTIFICATE", "its certificate is not trusted here"),
    ):
        if word in text:
            return said
    return f"the connection was cut ({type(error).__name__})"
