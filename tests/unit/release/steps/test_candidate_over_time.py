"""The candidate through any order of builds, measurements and publishing, against what a person
expects: it changes only for an engine that is better, or away from one that FAILs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from factories import paper
from factories.mlflow_double import put_in_place
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engines.config.target import Policy, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.verdict import judged
from release.records import (
    Candidate,
    Candidates,
    Quarantine,
    candidates_path,
    quarantine_path,
    read_publication,
)
from release.steps import publish as step

PRECISIONS = ("fp32", "fp16", "int8")
NAME = f"meter.{paper.TARGET}"
MARGIN = 0.02
"""The row's policy_margin."""
POLICIES: tuple[Policy, ...] = ("fastest", "most-accurate", "smallest")
NOISE = 0.01
"""Half of the interval of each accuracy."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An engine as its user sees it."""

    verdict: str
    p50_ms: float
    map50_95: float
    size: int
    """Bytes of its file, to which the name of its build adds a few."""
    pictures: str


class OverTime(RuleBasedStateMachine):
    """One model on one target; every engine is there from the start."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._folder = tempfile.TemporaryDirectory()
        self.store = put_in_place(self._patch)
        self.workspace = Workspace(root=Path(self._folder.name))
        paper.lay_out(self.workspace)
        row = self.workspace.target(paper.TARGET) / "params.yaml"
        row.write_text(paper.row_yaml(*(f"meter-{one}" for one in PRECISIONS)))
        # A row stays as it is but for its policy, and reading it is most of what this takes.
        self.config = load_target(self.workspace, paper.TARGET)
        for module in (step, judged, paper):
            self._patch.setattr(module, "load_target", lambda *_: self.config)
        self.builds = dict.fromkeys(PRECISIONS, 0)
        self.engines: dict[str, Measured] = {}
        self.releases: dict[str, str] = {}
        """Precision to the release that lies there, if it was published."""
        self.candidate: Candidate | None = None
        self.records: dict[Path, bytes] = {}
        self.quarantined: set[str] = set()
        for precision in PRECISIONS:
            first = Measured(verdict="PASS", p50_ms=10, map50_95=0.7, size=1000, pictures="a" * 64)
            self._measure(precision, first)

    def teardown(self) -> None:
        self._patch.undo()
        self._folder.cleanup()

    def _measure(self, precision: str, engine: Measured) -> None:
        paper.add_engine(
            self.workspace,
            precision,
            engine.p50_ms,
            engine.verdict,
            build=f" {self.builds[precision]:04} ".ljust(engine.size),
            map50_95=engine.map50_95,
            map50_95_drop_interval={"low": -NOISE, "high": NOISE, "resamples": 100},
            pictures_sha256=engine.pictures,
        )
        self.engines[precision] = engine

    @rule(
        precision=st.sampled_from(PRECISIONS),
        verdict=st.sampled_from(["PASS", "PASS", "INVALID", "FAIL"]),
        p50_ms=st.sampled_from([5, 8, 10, 12]),
        map50_95=st.sampled_from([0.7, 0.705, 0.72, 0.74]),
        pictures=st.sampled_from(["a" * 64, "a" * 64, "b" * 64]),
        size=st.sampled_from([None, None, 1000, 1010, 1500]),
    )
    def measure(
        self,
        precision: str,
        verdict: str,
        p50_ms: float,
        map50_95: float,
        pictures: str,
        size: int | None,
    ) -> None:
        """Built anew where a size is given."""
        if size:
            self.builds[precision] += 1
            self.releases.pop(precision, None)
        engine = Measured(
            verdict=verdict,
            p50_ms=p50_ms,
            map50_95=map50_95,
            size=size or self.engines[precision].size,
            pictures=pictures,
        )
        self._measure(precision, engine)

    @rule(pictures=st.sampled_from(["a" * 64, "b" * 64]))
    def evaluate_all(self, pictures: str) -> None:
        for precision, engine in self.engines.items():
            self._measure(precision, Measured(**{**engine.__dict__, "pictures": pictures}))

    @rule(policy=st.sampled_from(POLICIES))
    def another_policy(self, policy: Policy) -> None:
        self.config = self.config.model_copy(update={"policy": policy})

    @rule()
    def another_mlflow(self) -> None:
        """Or the same, restored from a backup of the very first day."""
        for kept in (self.store.versions, self.store.aliases, self.store.files):
            kept.clear()

    @rule(precision=st.sampled_from(PRECISIONS))
    def quarantine_or_lift(self, precision: str) -> None:
        release = self.releases.get(precision)
        if release is None:
            return
        path = quarantine_path(self.workspace, release)
        self.quarantined ^= {release}
        if release in self.quarantined:
            at = datetime(2026, 11, 30, tzinfo=timezone.utc)
            Quarantine(release=release, why="no boxes", by="Ada", at=at).write(path)
        else:
            path.unlink()

    @rule(only=st.sampled_from([None, None, *PRECISIONS]))
    def publish(self, only: str | None) -> None:
        before = self.candidate
        told = {one.pictures for one in self._compared(only).values()}
        if len(told) > 1:
            with pytest.raises(InputError, match="evaluated on the same pictures"):
                self._publish(only)
            return
        found = self._publish(only)
        for one in found.publications:
            engine = self.engines[one.precision]
            if engine.verdict == "PASS" and only in (None, one.precision):
                self.releases[one.precision] = one.release
        self.candidate = found.candidates.candidates.get("meter")
        self._expect(before, only)

    def _publish(self, only: str | None) -> step.Published:
        engine = f"meter-{only}" if only else None
        return step.publish(self.workspace, paper.TARGET, engine, lambda _: None)

    def _compared(self, only: str | None) -> dict[str, Measured]:
        """What passes and is published, or is now."""
        return {
            one: engine
            for one, engine in self.engines.items()
            if engine.verdict == "PASS" and (one in self.releases or only in (None, one))
        }

    def _expect(self, before: Candidate | None, only: str | None) -> None:
        """Of what passes and was published, and the candidate `before` as it was published unless
        there is something newer, the best by more than what is chance. What is quarantined counts
        where there is nothing else."""
        passing, now = self._compared("none more"), self.candidate
        held = before.engine.removeprefix("meter-") if before else None
        failed = held is not None and self.engines[held].verdict == "FAIL"
        if not passing:
            words = {self.engines[one].verdict for one in ([only] if only else PRECISIONS)}
            lost = (failed and only in (None, held)) or (not only and words == {"FAIL"})
            assert now == (None if lost else before)
            return
        kept = before is not None and held not in passing and not failed
        if before and held and kept:
            passing[held] = self._as_published(before.release)
        releases = {one: self.releases[one] for one in passing if one in self.releases}
        if before and held and kept:
            releases[held] = before.release
        free = {one: passing[one] for one in passing if releases[one] not in self.quarantined}
        passing = free or passing
        assert now is not None
        chosen = now.engine.removeprefix("meter-")
        unbeaten = [
            name
            for name, one in passing.items()
            if not any(self._beats(other, one) for other in passing.values())
        ]
        assert chosen == held if held in unbeaten else chosen in unbeaten
        assert now.release == releases[chosen]

    def _as_published(self, release: str) -> Measured:
        found = read_publication(self.workspace, release).figures
        return Measured(
            verdict="PASS",
            p50_ms=found.frame_p50_ms,
            map50_95=found.map50_95,
            size=found.engine_bytes,
            pictures=found.pictures_sha256 or "",
        )

    def _beats(self, one: Measured, other: Measured) -> bool:
        """Whether it is better by more than what is chance, as far as anybody can know."""
        if self.config.policy == "most-accurate":
            better = one.map50_95 - other.map50_95 > NOISE
            return better and one.pictures == other.pictures
        if self.config.policy == "smallest":
            return other.size - one.size > MARGIN * other.size
        return other.p50_ms - one.p50_ms > MARGIN * other.p50_ms

    @invariant()
    def the_alias_and_the_record_name_the_candidate(self) -> None:
        wanted = self.candidate.release if self.candidate else ""
        there = self.store.version_of(NAME, wanted) is not None
        assert self.store.release_at(NAME, "candidate") == (wanted if there else "")
        path = candidates_path(self.workspace, paper.TARGET)
        kept = Candidates.read(path).candidates if path.is_file() else {}
        assert kept == ({"meter": self.candidate} if self.candidate else {})

    @invariant()
    def records_stay_as_they_were_written(self) -> None:
        for path, content in self.records.items():
            assert path.read_bytes() == content
        found = self.workspace.records.glob("v*/publication.json")
        self.records |= {path: path.read_bytes() for path in found}


# A failing case reads well as it is found: making it smaller takes minutes.
OverTime.TestCase.settings = settings(
    max_examples=16, stateful_step_count=14, phases=[Phase.generate]
)
TestOverTime = OverTime.TestCase
