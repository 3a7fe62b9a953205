"""The run of a release: what marks it, whether it is whole, and which of several it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from release.registry.submission import Submission
from release.tags import parse_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "jetrail.tag"
LOGGED = "jetrail.logged"
"""Set on a run when all its figures and files are there: the sha256 of what they were."""
MEASUREMENT = "jetrail.measurement"
"""The sha256 of the records that a run holds."""
AGAIN = "jetrail.measured-again"
"""The release of which a run holds a later measurement, or a later verdict on the same one."""
NOTE = "mlflow.note.content"
_SOURCE = {"mlflow.source.name": "release publish", "mlflow.source.type": "LOCAL"}


def age(run: Run) -> tuple[int, str]:
    """By which everybody finds the same run."""
    return run.info.start_time, run.info.run_id


def is_finished(run: Run) -> bool:
    """Whether a run is whole, and stays as it is."""
    return bool(run.info.status == "FINISHED")


def differs(run: Run, submission: Submission) -> bool:
    """Whether a run is of other records than the submission's."""
    return run.data.tags.get(MEASUREMENT) not in (None, submission.measurement)


def done_again(run: Run, submission: Submission) -> str:
    """What became of a release after its run, in the submission; empty where both are the same. A
    budget that people change is judged by the figures that are there."""
    if not differs(run, submission):
        return ""
    same = all(run.data.metrics.get(key) == value for key, value in submission.metrics.items())
    return "judged again" if same else "measured again"


def is_beside(run: Run, release: str) -> bool:
    """Whether a run is of a release, of ours too, for the same kind of device."""
    tag = parse_tag(release)
    others = re.compile(rf"v[\d.]+-{re.escape(tag.target)}-{tag.precision}-[0-9a-f]+")
    return any(others.fullmatch(run.data.tags.get(key, "")) for key in (TAG, AGAIN))


def end_what_broke_off(
    client: MlflowClient, submission: Submission, experiment: str, run: Run
) -> None:
    """Let no run of the engine but `run` look as if somebody still wrote it: where a publish broke
    off and the engine was built or measured again before the next, that is of another.

    Marked and not taken away, since it may be a colleague's, who ends it then as whole.
    """
    query = f"attributes.status = 'RUNNING' and tags.engine = '{submission.tags['engine']}'"
    for one in client.search_runs([experiment], query):
        if one.info.run_id != run.info.run_id and is_beside(one, submission.release):
            versions = client.search_model_versions(f"run_id = '{one.info.run_id}'")
            client.set_terminated(one.info.run_id, "FINISHED" if versions else "KILLED")


def tags(submission: Submission) -> dict[str, str]:
    """What people filter by, and what MLflow shows in places of its own."""
    shown = {
        "mlflow.source.git.commit": submission.tags.get("git_commit", ""),
        NOTE: submission.descriptions.run,
    }
    return {**submission.tags, **_SOURCE, **{key: text for key, text in shown.items() if text}}


def tagged(release: str) -> str:
    """The query that finds what is of a release."""
    return f"tags.`{TAG}` = '{release}'"
