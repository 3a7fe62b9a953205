"""Whom MLflow asks: errors name that store, and none is waited for without an end."""

from __future__ import annotations

import errno
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.errors import InputError, ServiceError
from release.registry import asked as asked_module
from release.registry.asked import Asked, Asking, within
from release.registry.mlflow import open_store
from release.registry.surroundings import service_errors
from release.registry.trouble import missing_package, refused

RUNS, MODELS, FILES = "http://runs:5000", "http://ada:t0psecret@models:5000", "s3://bucket/x"


class Client:
    """Fails in whatever it is asked, but for runs, which it has."""

    def __init__(self, error: Exception | None = None, files: str = FILES) -> None:
        self.error = error
        self.files = files

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=f"{self.files}/{run_id}"))

    def search_runs(self) -> None:
        self._fail()

    def get_registered_model(self, name: str) -> None:
        self._fail()

    def list_artifacts(self, run_id: str) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.error is None:
            time.sleep(60)
        else:
            raise self.error


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (("search_runs",), "MLflow at http://runs:5000 to take .*MLFLOW_TRACKING_URI is right"),
        (
            ("get_registered_model", "m"),
            "MLflow's model registry at http://models:5000 to .*MLFLOW_REGISTRY_URI is right",
        ),
        (("list_artifacts", "1"), "store of files at s3://bucket/x/1 to .*may write there"),
    ],
)
def test_an_error_names_the_store_that_failed(call: tuple[str, ...], named: str) -> None:
    from mlflow.exceptions import MlflowException

    asked = Asked(tracking=RUNS, registry=MODELS)
    client: Any = Asking(Client(MlflowException(f"no: {MODELS}")), asked, limited=True)
    with pytest.raises(ServiceError, match=named) as caught, service_errors(asked):
        client.get_run("1")
        getattr(client, call[0])(*call[1:])
    assert "t0psecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Unable to locate credentials", "Set AWS_ACCESS_KEY_ID and .* or AWS_PROFILE"),
        ("An error occurred (SignatureDoesNotMatch)", "AWS_SECRET_ACCESS_KEY are of somebody"),
        ("An error occurred (NoSuchBucket)", "Make the bucket"),
        ('Could not connect to the endpoint URL: "x"', "MLFLOW_S3_ENDPOINT_URL"),
        ("An error occurred (RequestTimeTooSkewed)", "this machine's clock"),
        ("An error occurred (PermanentRedirect)", "region in AWS_DEFAULT_REGION"),
        ("An error occurred (SlowDown)", "less busy"),
        ("An error occurred (XMinioStorageFull)", "Free some space there"),
        ("whatever else", "--artifacts-destination"),
    ],
)
def test_a_cloud_librarys_errors_are_sentences(said: str, remedy: str) -> None:
    """They are of no kind that MLflow knows, and were tracebacks."""
    kind = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})
    asked = Asked(tracking=RUNS)
    client: Any = Asking(Client(kind(said)), asked, limited=True)
    sentence = f"store of files at {FILES}/1 to take .*{remedy}"
    with pytest.raises(ServiceError, match=sentence), service_errors(asked):
        client.get_run("1")
        client.list_artifacts("1")


def test_files_of_a_store_without_a_server(tmp_path: Path) -> None:
    """As where `mlartifacts` leads to a disk that is not mounted: no server is there to be told."""
    from mlflow.exceptions import MlflowException

    asked = Asked(tracking="sqlite:////m.db", own=tmp_path / "mlartifacts")
    client: Any = Asking(Client(MlflowException("no"), "file:///m"), asked, limited=True)
    said = f"See that {asked.own} is a folder, or a link to one that is there"
    with pytest.raises(ServiceError, match=said) as caught, service_errors(asked):
        client.get_run("1")
        client.list_artifacts("1")
    assert "server" not in str(caught.value)


@pytest.mark.parametrize("files", ["ftp://host/mlartifacts", "hdfs://host/mlartifacts"])
def test_a_store_of_files_that_is_no_folder(tmp_path: Path, files: str) -> None:
    asked = Asked(tracking="sqlite:////m.db", files=files, own=tmp_path, last="files")
    said = refused(OSError("no"), asked)
    assert "See that this machine may write there" in said
    assert str(tmp_path) not in said
    missing = missing_package(ModuleNotFoundError(name="boto3"), asked)
    assert f"which MLflow's store of files at {files} needs, but" in missing


def test_a_full_disk_while_a_folder_is_copied() -> None:
    """It was an error of the store, exit 6, with Python's list of files."""
    why = "[Errno 28] No space left on device: '/from/a' -> '/to/a'"
    with pytest.raises(OSError, match="No space") as caught, service_errors(Asked(tracking="m.db")):
        raise shutil.Error([("/from/a", "/to/a", why)])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/to/a")


def test_a_redirect_without_a_region_ends_pythons_stack() -> None:
    asked = Asked(tracking=RUNS)
    error = RecursionError("maximum recursion depth exceeded")
    client: Any = Asking(Client(error), asked, limited=True)
    with pytest.raises(ServiceError, match="AWS_DEFAULT_REGION"), service_errors(asked):
        client.get_run("1")
        client.list_artifacts("1")


@pytest.mark.parametrize("error", [ZeroDivisionError(), RecursionError()])
def test_an_error_of_ours_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), service_errors(Asked(tracking=RUNS)):
        raise error


class Saved(Client):
    """Of a server with `--no-serve-artifacts`: clients write to a folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.logged: list[str] = []

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=f"{self.root}/1/r/artifacts"))

    def create_logged_model(self) -> Any:
        return SimpleNamespace(artifact_location=f"{self.root}/1/models/m/artifacts")

    def log_artifacts(self, run_id: str, folder: str) -> None:
        self.logged.append(folder)

    log_model_artifacts = log_artifacts


@pytest.mark.parametrize(
    ("make", "log"),
    [(("get_run", "r"), "log_artifacts"), (("create_logged_model",), "log_model_artifacts")],
)
@pytest.mark.parametrize("scheme", ["file://", ""])
def test_a_folder_that_only_the_server_has(
    tmp_path: Path, make: tuple[str, ...], log: str, scheme: str
) -> None:
    """MLflow makes it on this machine, and says that all is well."""
    root = tmp_path / "ml runs"
    shown = root.as_uri() if scheme else str(root)
    for tracking, taken in ((RUNS, False), ("http://localhost:5000", True)):
        saved = Saved(shown)
        client: Any = Asking(saved, Asked(tracking=tracking), limited=True)
        getattr(client, make[0])(*make[1:])
        with nullcontext() if taken else pytest.raises(InputError, match=f"{root} is not here"):
            getattr(client, log)("r", str(tmp_path))
        assert bool(saved.logged) == taken
    root.mkdir()  # as one that is mounted
    saved = Saved(shown)
    client = Asking(saved, Asked(tracking=RUNS), limited=True)
    getattr(client, make[0])(*make[1:])
    getattr(client, log)("r", str(tmp_path))
    assert saved.logged


def test_a_server_that_knows_no_models_of_another() -> None:
    from mlflow.exceptions import MlflowException

    asked = Asked(tracking="sqlite:////r/mlflow.db", registry=MODELS)
    error = MlflowException("to /api/2.0/mlflow/model-versions/create failed: 500 error responses")
    client: Any = Asking(Client(error), asked, limited=True)
    said = "server of MLFLOW_TRACKING_URI in MLFLOW_REGISTRY_URI, or a database"
    with pytest.raises(ServiceError, match=said), service_errors(asked):
        client.get_registered_model("m")


def test_one_store_for_all_is_named_as_that() -> None:
    asked = Asked(tracking=RUNS, registry=RUNS, last="registry")
    assert str(asked) == f"MLflow at {RUNS}"
    assert asked.variable == "MLFLOW_TRACKING_URI"


@pytest.mark.parametrize("call", [("search_runs",), ("list_artifacts", "1")])
def test_an_answer_is_not_waited_for_without_an_end(
    monkeypatch: pytest.MonkeyPatch, call: tuple[str, ...]
) -> None:
    monkeypatch.setattr(asked_module, "FIRST_CALL", 0.05)
    asked = Asked(tracking=RUNS)
    client: Any = Asking(Client(), asked, limited=True)
    with pytest.raises(ServiceError, match="did not answer within"), service_errors(asked):
        getattr(client, call[0])(*call[1:])
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_file_is_waited_for_and_what_is_elsewhere_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time; the models or files of such a store may be anybody's."""
    monkeypatch.setattr(asked_module, "FIRST_CALL", 0.05)
    slow = SimpleNamespace(
        search_runs=lambda: time.sleep(0.2),
        get_registered_model=lambda name: time.sleep(60),
        list_artifacts=lambda run: time.sleep(60),
    )
    for call in (("get_registered_model", "m"), ("list_artifacts", "1")):
        asked = Asked(tracking="sqlite:////r/mlflow.db", registry=MODELS)
        monkeypatch.setattr(asked_module, "LONGEST_CALL", 0.05)
        client: Any = Asking(slow, asked, limited=True)
        client.search_runs()
        with pytest.raises(TimeoutError):
            getattr(client, call[0])(*call[1:])


def test_a_library_that_swallows_every_error_ends_too() -> None:
    def stubborn() -> None:
        for _ in range(100):
            with suppress(Exception):  # as MLflow does where it tries again
                time.sleep(60)

    with pytest.raises(TimeoutError), within(0.05):
        stubborn()


def test_what_goes_on_in_steps_has_the_time_for_each() -> None:
    with within(60) as begin_anew:
        time.sleep(0.05)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        begin_anew()
        assert 0 < left < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    with pytest.raises(TimeoutError), within(0.1) as begin_anew:
        begin_anew()
        time.sleep(60)


def test_files_get_time_by_size_and_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limits = []
    monkeypatch.setattr(asked_module, "within", lambda seconds: limits.append(seconds) or _free())
    (tmp_path / "engine").write_bytes(bytes(3 << 20))
    (tmp_path / "code").touch()
    client: Any = Asking(SimpleNamespace(log_artifacts=print), Asked(tracking=RUNS), limited=True)
    client.log_artifacts("1", str(tmp_path))
    client.log_artifacts("1", str(tmp_path))
    more = 3 * asked_module.SECONDS_PER_MIB + 2 * asked_module.SECONDS_PER_FILE
    assert limits == [asked_module.FIRST_CALL + more, asked_module.LONGEST_CALL + more]


def test_what_a_call_is_given_by_name_is_handed_on() -> None:
    client: Any = Asking(SimpleNamespace(make=dict), Asked(tracking=RUNS), limited=True)
    assert client.make(name="m", method="n", self="s") == {"name": "m", "method": "n", "self": "s"}


def test_in_a_thread_nothing_is_limited() -> None:
    def work() -> str:
        with within(0.01):
            time.sleep(0.05)
        return "done"

    with ThreadPoolExecutor() as pool:
        assert pool.submit(work).result() == "done"


def _free() -> Any:
    return within(None)


def test_files_of_a_database_in_a_clone_that_was_moved(tmp_path: Path) -> None:
    """A store that is a file is put right; a database is others' too."""
    old, own = tmp_path / "before" / "mlartifacts", tmp_path / "now" / "mlartifacts"

    def log(root: str) -> list[str]:
        saved = Saved(root)
        asked = Asked(tracking="postgresql://host/mlflow", own=own)
        client: Any = Asking(saved, asked, limited=True)
        client.get_run("r")
        client.log_artifacts("r", str(tmp_path))
        return saved.logged

    with pytest.raises(InputError, match=f"run `mkdir -p {old.parent} {own} && ln -s {own} {old}`"):
        log(old.as_uri())
    assert log(own.as_uri()), "which may be made anew"
    assert log("s3://bucket/mlartifacts")
    own.mkdir(parents=True)
    old.parent.mkdir()
    old.symlink_to(own)
    assert log(old.as_uri())


def test_a_store_looks_for_files_of_a_clone_that_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: Any = Saved((tmp_path / "before" / "mlartifacts").as_uri())
    saved.search_experiments = lambda max_results: []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://host/mlflow")
    monkeypatch.setattr("release.registry.databases.reach_database", lambda _: None)
    monkeypatch.setattr("mlflow.MlflowClient", lambda *_: saved)
    with pytest.raises(InputError, match="ln -s"), open_store(tmp_path / "now") as store:
        store._client.get_run("r")
        store._client.log_artifacts("r", str(tmp_path))
