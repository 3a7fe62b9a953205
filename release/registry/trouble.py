"""What MLflow and its libraries complain of, as a sentence with the command that puts it right."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from engines.errors import ServiceError
from engines.packages import extra_command
from engines.streams import without_queries
from release.registry.address import is_server
from release.registry.asked import Asked
from release.registry.uri import REGISTRY, TRACKING, without_credentials, without_secrets
from release.tags import parse_tag

_PACKAGES = {
    "boto3": "boto3",
    "botocore": "boto3",
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "pymssql": "pymssql",
    "pyodbc": "pyodbc",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
    "databricks": "databricks-sdk",
}
"""Module that a tracking URI or artifact store needs to what pip installs it from."""

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "postgresql": "postgresql+psycopg2",
    "mssql": "mssql+pyodbc",
}
"""Of each database the driver that most people take."""

_PAGE = r"(?i:<!doctype html|<html)"
_TITLE = re.compile(r"(?i)<title>([^<]{1,80})")
_NOT_MLFLOW = (
    "See that MLflow's server, 3.0 or later, answers at that address (its page /version says which "
    "it is) and not a login or another program"
)
_QUERY = (
    "Take what stands from ? on out of that address, behind which MLflow puts the path of each "
    "request, so that no server finds one (a token goes into MLFLOW_TRACKING_TOKEN)"
)
_REMEDIES = {
    # Since MLflow 3.5, for every name but localhost and addresses of private networks.
    r"Invalid Host header": (
        "Name the host of that address in the server's option --allowed-hosts (or in "
        "MLFLOW_SERVER_ALLOWED_HOSTS where it runs)"
    ),
    # Of a proxy's JSON MLflow hands on the words, and not the status.
    r"error code 40[13]\b|PERMISSION_DENIED|UNAUTHENTICATED|invalid_token|"
    r"(?i:token (is |has |was )?expired|unauthori[sz]ed|forbidden|invalid \S*\s?credentials)": (
        "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of "
        "somebody who may write there"
    ),
    r"in header value|codec can't encode": (
        "Take blanks, line ends and letters beyond ASCII out of MLFLOW_TRACKING_TOKEN, "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ),
    r"certificate (has expired|is not yet valid)": (
        "Renew the certificate there, or set this machine's clock right"
    ),
    r"(Hostname|IP address) mismatch": (
        "Write the host's name as its certificate has it, or let it have one for this name"
    ),
    r"CERTIFICATE_VERIFY_FAILED|CA certificate bundle": (
        "Name the file with its certificate, or with that of its authority, in "
        "MLFLOW_TRACKING_SERVER_CERT_PATH"
    ),
    r"SSL: (WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG)": (
        "See whether what answers there speaks https at all, and write http:// if it does not"
    ),
    # A redirect turns what is sent into a question without words.
    r"Invalid value 0 for parameter 'max_results'": (
        f"Name in {TRACKING} the address that this one redirects to (https:// in the place of "
        "http://, perhaps)"
    ),
    r"Missing dependencies for SOCKS": (
        "Run `pip install pysocks`, which the proxy of HTTP_PROXY and HTTPS_PROXY needs"
    ),
    r"ProxyError|Invalid url": (
        "See that the proxy of HTTP_PROXY and HTTPS_PROXY runs, or name the server in NO_PROXY"
    ),
    # MLflow hides the missing module behind its own sentence.
    r"Databricks credential configuration failed": (
        "Run `pip install databricks-sdk`, and name the workspace and a token in DATABRICKS_HOST "
        "and DATABRICKS_TOKEN"
    ),
    r"mlflow-artifacts URI was supplied": (
        f"This is a server's database, whose files only the server has: name its http address in "
        f"{TRACKING}"
    ),
    r"error code 407\b": (
        "Name user and password of the proxy in HTTP_PROXY and HTTPS_PROXY, or the server in "
        "NO_PROXY"
    ),
    r"\b413\b.*Too Large|REQUEST_ENTITY_TOO_LARGE": (
        "Let whatever stands before the server take files of that size (nginx: "
        "client_max_body_size)"
    ),
    r"No space left on device|disk is full": "Free some space where the server keeps them",
    r"requests without an answer": (
        "See that whatever stands between here and the server (a proxy, a VPN) lets connections "
        "live, or name the server in NO_PROXY"
    ),
    # A server whose disk is full hangs up in the middle of a file, or says 500.
    r"mlflow-artifacts/.*(too many 5\d\d error|error code 5\d\d|Connection aborted|Broken pipe)": (
        "See that it runs and has room where it keeps files, and what its log says"
    ),
    r"\b429 error|error code 429\b": "Wait until it is asked less often",
    r"BadStatusLine|error code (426|505)\b": (
        "Let whatever stands before the server speak HTTP/1.1 too, since MLflow speaks no HTTP/2"
    ),
    rf"endpoint \S+ failed with error code (2\d\d|40[45])\b|valid JSON|{_PAGE}|"
    r"Exceeded \d+ redirects|Failed to parse": _NOT_MLFLOW,
    r"too many 5\d\d error|error code 5\d\d|\b5\d\d Server Error": "See what its log says",
    r"Invalid value \"\" for parameter|with content-encoding|INTERNAL_ERROR: Response: ": (
        _NOT_MLFLOW
    ),
    r"database (table |schema )?is locked": "Wait for the program that writes to it, or end it",
    r"Incorrect string value": (
        "Let the database take every letter (`ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4` of "
        "the table that it names)"
    ),
    # The second is of an MLflow that is older than the SQLite file.
    r"out-of-date database schema|Can't locate revision": (
        "Where the store is older than MLflow here, make a copy and run `mlflow db upgrade` with "
        "its address; where it is newer, install the MLflow that wrote it"
    ),
}
"""What an error says to what puts it right (mlflow.environment_variables has the names)."""

_OF_FILES = {
    r"NoCredentials|Unable to locate credentials|PartialCredentials": (
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of somebody who may "
        "write there"
    ),
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|ExpiredToken": (
        "See that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are of somebody who may write there"
    ),
    r"NoSuchBucket|bucket does not exist": (
        "Make the bucket, or begin the experiment anew with another place for its files"
    ),
    # boto3 follows a redirect that names no region until Python's stack ends.
    r"PermanentRedirect|AuthorizationHeaderMalformed|recursion depth": (
        "Name the bucket's region in AWS_DEFAULT_REGION"
    ),
    r"RequestTimeTooSkewed|RequestExpired": "Set this machine's clock right",
    r"SlowDown|ServiceUnavailable|InternalError|XMinioServerNotInitialized": (
        "Wait until it is less busy"
    ),
    r"StorageFull|QuotaExceeded": "Free some space there",
    r"endpoint URL|EndpointConnection|ConnectTimeout": (
        "Name the address of the S3 server in MLFLOW_S3_ENDPOINT_URL"
    ),
}
"""The same of stores of files, to which clients write by themselves."""

_CAUSED = re.compile(
    r"HTTPS?ConnectionPool\([^)]*\): Max retries exceeded with url: \S+ \(Caused by \w+\("
    r"(?P<quote>[\"'])(?:HTTPS?Connection\([^)]*\): )?(?P<why>(?:(?!(?P=quote)).)*)(?P=quote)\)\)"
)
"""How urllib3 wraps the one thing that it has to say, such as that a connection was refused."""

_LIBRARIES = frozenset(("boto3", "botocore", "s3transfer", "google", "azure", "paramiko"))
"""Whose errors are of no kind that MLflow names."""

LONGEST = 400


def reason_of(error: Exception, *uris: str) -> str:
    """What the error says, as a sentence in one line, without secrets of `uris`."""
    said = " ".join(str(error).split())
    for uri in filter(None, uris):
        said = without_secrets(said, uri)
    said = without_queries(_CAUSED.sub(r"\g<why>", _without_page(said)))
    if len(said) > LONGEST:
        said = f"{said[:LONGEST].rpartition(' ')[0] or said[:LONGEST]} …"
    return said if said.endswith((".", "!", "?", "…")) else f"{said}."


def _without_page(said: str) -> str:
    """What an error says, with the title of a page of HTML instead of the page."""
    before, *page = re.split(rf"['\"]?{_PAGE}", said, maxsplit=1)
    if not page:
        return said
    title = _TITLE.search(page[0])
    called = f' that is called "{title[1]}"' if title else ""
    return f"{before}a page of HTML{called}"


def refused(error: Exception, asked: Asked) -> str:
    """The sentence for a store that did not do its part, with what puts it right."""
    wanted = "say what it holds" if asked.reading else "take what it is told"
    again = "." if asked.reading else ": it goes on where this one stopped."
    return (
        f"Expected {asked} to {wanted}, but it did not: {reason_of(error, *asked.uris)} "
        f"{_remedy(error, asked)}, then run the same command again{again}"
    )


class Forbidden(ServiceError):
    """MLflow lets this user see nothing of a model, and does not say whether it is there."""


def forbidden(registered_model: str, asked: Asked) -> Forbidden:
    """Of one whose aliases may be as they should, or not. MLflow's basic-auth asks for EDIT to set
    an alias, and for MANAGE to take it away."""
    return Forbidden(
        f"Expected {asked} to say what the aliases of {registered_model} name, but it forbids this "
        "user to ask, so nobody knows here whether they are as git says. Let whoever manages that "
        "model there give the user MANAGE of it, or name somebody who has it in "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, then run the same command again. "
        "Where nothing was published there, nothing is amiss."
    )


def not_kept(owner: str, asked: Asked) -> str:
    """The sentence for files that were taken without an error and are not there."""
    return (
        f"Expected {asked} to keep the files of {owner}, and it said that it did, but they are not "
        f"there whole. {_NOT_MLFLOW}, and that the place of its files has room, then run the same "
        "command again: it goes on where this one stopped."
    )


def is_of_a_store_of_files(error: Exception, asked: Asked) -> bool:
    """Whether a library for files in a cloud raised it, which MLflow hands on as it is."""
    if isinstance(error, RecursionError):
        return asked.last == "files"
    return type(error).__module__.partition(".")[0] in _LIBRARIES


def _remedy(error: Exception, asked: Asked) -> str:
    said = str(error)
    if asked.variable == REGISTRY and "model-versions/create" in said:
        return (
            f"Name the server of {TRACKING} in {REGISTRY}, or a database: a server looks for "
            "models among its own runs only"
        )
    remedies = _REMEDIES if asked.variable else {**_OF_FILES, **_REMEDIES}
    for pattern, remedy in remedies.items():
        if re.search(pattern, said):
            asks = remedy == _NOT_MLFLOW and is_server(asked.uri) and urlsplit(asked.uri).query
            return _QUERY if asks else remedy
    in_a_folder = urlsplit(asked.files).scheme in {"", "file"}
    if not asked.variable and asked.own is not None and in_a_folder:
        place = f"{asked.own} is a folder, or a link to one that is there"
        return f"See that {place}, and that you may write there"
    if not asked.variable:
        return (
            "See that this machine may write there, or let the server take the files (`mlflow "
            "server --artifacts-destination`)"
        )
    return f"See that it runs and that {asked.variable} is right"


def missing_package(error: ImportError, asked: Asked) -> str:
    """The sentence for a module that is not installed, or is one that MLflow does not know."""
    if str(error).startswith("cannot import name"):
        return (
            f"Expected packages that fit MLflow, which {asked} needs, but Python says: {error}. "
            "One of the two is too new or too old. In the root of the repository run "
            f"{extra_command('release')}, then the same command again."
        )
    module = error.name or _named(str(error)) or str(error)
    if module == "MySQLdb" and urlsplit(asked.uri).scheme == "mysql":
        # SQLAlchemy's own choice, which wants a compiler and MySQL's headers, is nobody's.
        return (
            f"Expected the address of {asked} to name a driver, but it names none, and the one "
            f"that stands for that is not installed. Write {_DRIVERS['mysql']}:// instead of "
            f"mysql:// in {asked.variable} and run `pip install pymysql`, then the same command "
            "again."
        )
    package = _PACKAGES.get(module.partition(".")[0], module.partition(".")[0])
    whoever = f"{asked} or its store of files" if asked.variable else f"{asked}"
    return (
        f"Expected the Python module {module}, which {whoever} needs, but it is not installed. "
        f"Run `pip install {_quoted(package)}`, then the same command again."
    )


def unknown_driver(asked: Asked) -> str:
    """The sentence for a database or a driver that SQLAlchemy has never heard of."""
    scheme, _, driver = urlsplit(asked.uri).scheme.partition("+")
    return (
        f"Expected {asked.variable} to name a driver that SQLAlchemy knows, got "
        f"{driver or scheme}. Write {_DRIVERS.get(scheme, scheme)}:// instead, then run the same "
        "command again."
    )


def deleted(kind: str, name: str, number: str, uri: str) -> str:
    """The sentence for an experiment or run that lies in MLflow's trash."""
    option = {"experiments": "--experiment-id", "runs": "--run-id"}[kind]
    shown = without_credentials(uri)
    return (
        f"Expected {name} in MLflow at {shown}, but it was deleted there. Bring it back with "
        f"`MLFLOW_TRACKING_URI={shlex.quote(shown)} mlflow {kind} restore {option} {number}`, then "
        "run the same command again."
    )


def no_more(release: str, run: str, uri: str) -> str:
    """The sentence for a run that nobody can bring back."""
    return (
        f"Expected run {run} of {release} in MLflow at {without_credentials(uri)}, but it is not "
        f"there any more, as after `mlflow gc`. `release publish --target "
        f"{parse_tag(release).target}` where its engine is makes it anew. Where that is gone too, "
        "git has the figures."
    )


def renamed(name: str, other: str, uri: str) -> str:
    """The sentence for a registered model that people gave another name."""
    return (
        f"Expected the registered model {name} in MLflow at {without_credentials(uri)}, got its "
        f"versions under the name {other}: it was renamed, or they were copied. Give it its name "
        f"back on MLflow's page of {other}, then run the same command again. If {other} is to "
        f"stay, make an empty model {name} there first."
    )


def _quoted(words: str) -> str:
    """For every shell: zsh takes `psycopg[binary]` for a pattern."""
    return shlex.join(words.split())


def _named(text: str) -> str:
    found = re.search(r"No module named '([^']+)'", text)
    return found[1] if found else ""
