"""MLflow: one run, one logged model and one registered version for each engine.

Publishing is a chain of steps, each of which looks for its own result before it does anything:

    experiment -> run -> parameters, metrics and files -> model -> version -> run finished -> alias

A result is found again by the tag `jetrail.tag`, which is given in the very request that creates
it. So a run of the command that was killed, or lost its server, at any point is completed by the
next one, and publishing twice makes nothing twice.

Of several machines that publish a release at the same moment, the one that registered its version
first made the release: versions are all that MLflow's server numbers, while the times of runs are
by the clocks of those who made them. The others take back what they made, and go on with the first.

`MlflowClient` is used instead of the fluent functions: those keep state in the process, ask git for
a commit of their own and print addresses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines.errors import InputError, ServiceError
from release.records import MlflowEntry
from release.registry import experiments, logged, runs, view
from release.registry.asked import LONGEST_CALL, Asked, Asking, is_file, within
from release.registry.databases import files_in_order
from release.registry.description import heading
from release.registry.runs import AGAIN, LOGGED, MEASUREMENT, NOTE, TAG
from release.registry.saved import has_files, has_model, inputs, send_files, send_model
from release.registry.submission import Submission
from release.registry.surroundings import (
    IMPATIENT,
    MOST_SILENT,
    PATIENT,
    QUIET,
    already_there,
    environment,
    if_there,
    no_more_than_silent,
    not_set_by_user,
    service_errors,
    silence,
)
from release.registry.trouble import deleted, forbidden, no_more, not_kept
from release.registry.uri import (
    REGISTRY,
    TRACKING,
    registry_uri,
    shown_uri,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

_TAKEN_BACK = r"must be in the 'active' state|Logged model with ID .* not found"
"""What MLflow says of a run or a model that was deleted."""


class Store:
    """An MLflow tracking server and model registry, or a local SQLite file that acts as both."""

    def __init__(
        self, client: MlflowClient, asked: Asked, shown_uri: str, artifacts: Path | None
    ) -> None:
        self._client = client
        self._asked = asked
        self._shown_uri = shown_uri
        self._artifacts = artifacts

    def version_of(self, registered_model: str, release: str) -> int | None:
        """The version that holds a release, if there is one."""
        found = self._find_version(registered_model, release)
        return int(found.version) if found else None

    def entry(self, recorded: MlflowEntry, release: str) -> MlflowEntry | None:
        """Where this MLflow has a release, which may be elsewhere than where it was `recorded`."""
        found = self._find_version(recorded.registered_model, release)
        if found is None:
            return None
        here = {"run_id": found.run_id or recorded.run_id, "version": int(found.version)}
        return recorded.model_copy(update={**here, "tracking_uri": self._shown_uri})

    def publish(self, submission: Submission) -> MlflowEntry:
        """Make, or complete, run, model and version, their files too. Raises ServiceError.

        A release's run stays as it was published: a later measurement is a run of its own.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._publish(submission)
        except MlflowException as error:
            # What this went on with was somebody else's, who was not the first and took it back.
            if not re.search(_TAKEN_BACK, str(error)):
                raise
            return self._publish(submission)

    def _publish(self, submission: Submission) -> MlflowEntry:
        found = self._find_version(submission.registered_model, submission.release)
        if found is None:
            experiments.refuse_renamed(self._client, submission, self._asked)
        experiment = experiments.of_model(self._client, submission, self._asked, self._artifacts)
        self._client.search_logged_models([experiment], max_results=1)  # a server before 3.0 fails
        run = self._run(submission, experiment, found)
        later = runs.done_again(run, submission)
        if later:
            self._log_later(submission, experiment, later)
        else:
            self._log(submission, run)
        model = self._model(submission, experiment, run, found)
        if found is not None and not logged.is_of(found, run, model):
            # No version can be told another run or model: this one is no longer the release's.
            self._client.delete_model_version_tag(found.name, found.version, TAG)
            found = None
        version = found or self._register(submission, model, run)
        if version is None:
            return self._publish(submission)
        logged.link_version(self._client, model, version)
        if not later:
            self._describe(submission, version)
        elif not version.description:
            self._describe(submission, version, run.data.tags.get(NOTE))
        self._finish(run)
        self._tidy(submission, experiment, run, model)
        return MlflowEntry(
            tracking_uri=self._shown_uri,
            experiment=submission.experiment,
            run_id=version.run_id or run.info.run_id,
            registered_model=submission.registered_model,
            version=int(version.version),
        )

    def done_again(self, submission: Submission) -> str:
        """What became of the release after it was published: `measured again`, or `judged again`
        alone; empty where that was with the very records of this."""
        version = self._find_version(submission.registered_model, submission.release)
        run = self._run_of(version)
        return runs.done_again(run, submission) if run else ""

    def has_files(self, submission: Submission) -> bool:
        """Whether the files of a release that was published before are all there."""
        version = self._find_version(submission.registered_model, submission.release)
        run, model = self._run_of(version), logged.model_of(self._client, version)
        return (
            run is not None
            and model is not None
            and has_model(self._client, submission, model.model_id)
            and has_files(
                self._client,
                submission,
                run.info.run_id,
                whole=not runs.differs(run, submission),
            )
        )

    def page(self, of: Iterable[str]) -> str:
        """Where a server shows the runs of the experiment that holds those `of` these numbers, or
        all runs, behind its address."""
        found = [if_there(self._client.get_run, run) for run in of]
        numbers = {run.info.experiment_id for run in found if run is not None}
        if len(numbers) != 1:
            return f"#/experiments{view.query({})}"
        (number,) = numbers
        experiment = if_there(self._client.get_experiment, number)
        return f"#/experiments/{number}/runs{view.query(experiment.tags if experiment else {})}"

    def release_at(self, registered_model: str, alias: str, *, perhaps_new: bool = False) -> str:
        """The release that an alias names, or in words a version that holds none or was deleted,
        whose aliases some servers keep; empty where there is no such alias. `perhaps_new`: whether
        the model need not be there yet, as in `if_there`. Raises Forbidden."""
        from mlflow.exceptions import MlflowException

        ask = self._client.get_registered_model
        try:
            model = if_there(ask, registered_model, perhaps_new=perhaps_new)
        except MlflowException as error:
            if error.error_code != "PERMISSION_DENIED":
                raise
            raise forbidden(registered_model, self._asked) from error
        if model is None or alias not in model.aliases:
            return ""
        version = str(model.aliases[alias])
        found = if_there(partial(self._client.get_model_version, registered_model), version)
        if found is None:
            return f"version {version} that was deleted"
        return str(found.tags.get(TAG) or f"version {version} of no release")

    def deleted_run(self, registered_model: str, release: str) -> str:
        """How to bring a release's run back out of MLflow's trash, or its experiment, which has the
        run come along, or what to do where `mlflow gc` took it; empty where it is there."""
        version = self._find_version(registered_model, release)
        run = self._run_of(version)
        if run is None:
            number = version.run_id if version else None
            return no_more(release, number, self._asked.tracking) if number else ""
        of = if_there(self._client.get_experiment, run.info.experiment_id)
        if of is not None and of.lifecycle_stage == "deleted":
            name, number = f"experiment {of.name}", str(of.experiment_id)
            return deleted("experiments", name, number, self._asked.tracking)
        if run.info.lifecycle_stage != "deleted":
            return ""
        return deleted("runs", f"run {release}", run.info.run_id, self._asked.tracking)

    def point_alias(self, registered_model: str, alias: str, version: int) -> None:
        """Let `alias` name that version; nothing is written when it does already."""
        model = self._client.get_registered_model(registered_model)
        if str(model.aliases.get(alias)) != str(version):
            self._client.set_registered_model_alias(registered_model, alias, str(version))

    def drop_alias(self, registered_model: str, alias: str) -> bool:
        """Take `alias` off a model, which need not be there; whether it had it."""
        model = if_there(self._client.get_registered_model, registered_model)
        if model is None or alias not in model.aliases:
            return False
        self._client.delete_registered_model_alias(registered_model, alias)
        return True

    def _run(self, submission: Submission, experiment: str, version: Any | None) -> Run:
        run = self._run_of(version)
        if run is not None:
            if gone := self.deleted_run(submission.registered_model, submission.release):
                raise InputError(gone)
            return run
        found = self._client.search_runs([experiment], runs.tagged(submission.release))
        # Not one that somebody makes of another measurement: it would hold figures of both.
        ours = [one for one in found if runs.is_finished(one) or not runs.differs(one, submission)]
        if ours:
            return min(ours, key=runs.age)
        tags = {TAG: submission.release, MEASUREMENT: submission.measurement}
        tags = {**runs.tags(submission), **tags}
        return self._client.create_run(experiment, tags=tags, run_name=submission.release)

    def _run_of(self, version: Any | None) -> Run | None:
        """The run of a version, in MLflow's trash or not; None where `mlflow gc` took it."""
        run_id = version.run_id if version else None
        return if_there(self._client.get_run, run_id) if run_id else None

    def _log_later(self, submission: Submission, experiment: str, since: str) -> None:
        """A run for what was measured, or judged, after its release was published."""
        marks = {AGAIN: submission.release, MEASUREMENT: submission.measurement}
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in marks.items())
        tags = {**runs.tags(submission), **marks}
        found: Sequence[Run] = self._client.search_runs([experiment], query)
        if not found:
            name = f"{submission.release}, {since}"
            ours = self._client.create_run(experiment, tags=tags, run_name=name)
            found = self._client.search_runs([experiment], query) or [ours]
        # Whoever sees several that were made at the same moment leaves the same one.
        run, *others = sorted(found, key=runs.age)
        self._log(submission, run)
        self._finish(run)
        for one in others:
            self._client.delete_run(one.info.run_id)

    def _finish(self, run: Run) -> None:
        if not runs.is_finished(run):
            self._client.set_terminated(run.info.run_id, "FINISHED")

    def _tidy(self, submission: Submission, experiment: str, run: Run, model: LoggedModel) -> None:
        """Take back what others, or a command that was killed, began for a release that has its
        version now."""
        query = runs.tagged(submission.release)
        spare = [
            one.info.run_id
            for one in self._client.search_runs([experiment], query)
            if not runs.is_finished(one) and one.info.run_id != run.info.run_id
        ]
        for other in logged.of_runs(self._client, experiment, query, {*spare, run.info.run_id}):
            if other.model_id != model.model_id:
                self._client.delete_logged_model(other.model_id)
        for run_id in spare:
            self._client.delete_run(run_id)
        runs.end_what_broke_off(self._client, submission, experiment, run)

    def _log(self, submission: Submission, run: Run) -> None:
        run_id = run.info.run_id
        logged = run.data.tags.get(LOGGED) == submission.fingerprint
        if logged and has_files(self._client, submission, run_id, whole=True):
            return
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in submission.metrics.items()],
            params=[
                Param(key, value)
                for key, value in submission.params.items()
                if key not in run.data.params
            ],
            tags=[RunTag(key, value) for key, value in runs.tags(submission).items()],
        )
        if not send_files(self._client, submission, run_id):
            raise ServiceError(not_kept(f"run {run_id}", self._asked))
        with already_there():
            self._client.log_inputs(run_id, inputs(submission))
        self._client.set_tag(run_id, MEASUREMENT, submission.measurement)
        self._client.set_tag(run_id, LOGGED, submission.fingerprint)

    def _model(
        self, submission: Submission, experiment: str, run: Run, version: Any | None
    ) -> LoggedModel:
        model = logged.model_of(self._client, version)
        if model is None:
            # A logged model has a page of its own, with a description.
            note = {NOTE: submission.descriptions.run}
            tags = {**submission.tags, **note, TAG: submission.release}
            query = runs.tagged(submission.release)
            made = logged.of_runs(self._client, experiment, query, {run.info.run_id})
            model = min(made, key=logged.age, default=None) or logged.make(
                self._client, submission, experiment, run, tags
            )
        if model.status.value != "READY" or not has_model(self._client, submission, model.model_id):
            if not send_model(self._client, submission, model.model_id, run.info.run_id):
                raise ServiceError(not_kept(f"model {model.model_id}", self._asked))
            model = self._client.finalize_logged_model(model.model_id, "READY")
        logged.link_run(self._client, run, model)
        return model

    def _describe(self, submission: Submission, version: Any, run: str | None = None) -> None:
        """Write the descriptions, unless people put their own in the place; of a version whose
        `run` is of an earlier measurement, with the verdict that the run's own names."""
        name, texts = submission.registered_model, submission.descriptions
        if not self._client.get_registered_model(name).description:
            self._client.update_registered_model(name, texts.model)
        before = version.description or ""
        ours = not before or before.startswith(heading(submission.release))
        text = texts.version(str(version.version), run)
        if ours and before != text:
            self._client.update_model_version(name, version.version, text)

    def _find_version(self, registered_model: str, release: str) -> Any | None:
        query = f"name = '{registered_model}' and {runs.tagged(release)}"
        found = [
            one for one in self._client.search_model_versions(query) if not logged.is_copy(one)
        ]
        return min(found, key=lambda version: int(version.version), default=None)

    def _register(self, submission: Submission, model: LoggedModel, run: Run) -> Any | None:
        """The version that this made; None where somebody on another machine was first."""
        name = submission.registered_model
        with already_there():
            self._client.create_registered_model(name, description=submission.descriptions.model)
        ours = self._client.create_model_version(
            name,
            source=logged.address(model),
            run_id=run.info.run_id,
            tags={**submission.tags, TAG: submission.release},
            model_id=model.model_id,
        )
        first = self._find_version(name, submission.release) or ours
        if int(first.version) < int(ours.version):
            self._client.delete_model_version(name, str(ours.version))
            return None
        return ours


@contextmanager
def open_store(root: Path, *, reading: bool = False) -> Iterator[Store]:
    """The store at `tracking_uri(root)`; MLflow's errors in the block become ServiceError, which
    says that it gave no answer where the block is `reading` and writes nothing."""
    uri, registry, shown = tracking_uri(root), registry_uri(root), shown_uri(root)  # as written
    asked = Asked(tracking=uri, registry=registry, reading=reading)
    with ExitStack() as stack:
        stack.enter_context(environment({**QUIET, TRACKING: uri, REGISTRY: registry}))
        # Asked before the patient settings are in their place, which would pass for the user's.
        impatient = not_set_by_user(IMPATIENT)
        stack.enter_context(environment(not_set_by_user(PATIENT)))
        stack.enter_context(service_errors(asked))
        stack.enter_context(silence())
        if impatient == IMPATIENT:
            stack.enter_context(no_more_than_silent(MOST_SILENT))
        from mlflow import MlflowClient

        artifacts = asked.own = files_in_order(root, uri, reading)
        if registry != uri:
            asked.last = "registry"
            files_in_order(root, registry, reading)
            asked.last = "tracking"
        with environment(impatient):
            limited = impatient == IMPATIENT
            # It asks a database for its version, and a server nothing.
            with within(LONGEST_CALL if limited and not is_file(uri, registry) else None):
                opened = MlflowClient(uri, registry)
            asking = Asking(opened, asked, limited=limited)
            client = cast("MlflowClient", asking)
            client.search_experiments(max_results=1)
            if registry != uri:
                client.search_registered_models(max_results=1)
        yield Store(client, asked, shown, artifacts)
