"""The candidate through any order of builds, measurements and publishing, against what a person
expects: it changes only for an engine that is better, or away from one that FAILs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from factories import paper
from factories.mlflow_double import put_in_place
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.verdict import judged
from release.records import Candidate, read_publication
from release.steps import publish as step

PRECISIONS = ("fp32", "fp16", "int8")
NAME = f"meter.{paper.TARGET}"
MARGIN = 1.02
"""The row's policy_margin."""


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
        # A row stays as it is, and reading it is most of what this takes.
        config = load_target(self.workspace, paper.TARGET)
        for module in (step, judged, paper):
            self._patch.setattr(module, "load_target", lambda *_: config)
        self.builds = dict.fromkeys(PRECISIONS, 0)
        self.verdicts: dict[str, str] = {}
        self.times: dict[str, int] = {}
        self.releases: dict[str, str] = {}
        """Precision to the release that lies there, if it was published."""
        self.candidate: Candidate | None = None
        self.records: dict[Path, bytes] = {}
        for precision in PRECISIONS:
            self._measure(precision, "PASS", 10)

    def teardown(self) -> None:
        self._patch.undo()
        self._folder.cleanup()

    def _measure(self, precision: str, verdict: str, p50_ms: int) -> None:
        build = f" {self.builds[precision]}"
        paper.add_engine(self.workspace, precision, p50_ms, verdict, build=build)
        self.verdicts[precision], self.times[precision] = verdict, p50_ms

    @rule(
        precision=st.sampled_from(PRECISIONS),
        verdict=st.sampled_from(["PASS", "PASS", "INVALID", "FAIL"]),
        p50_ms=st.sampled_from([5, 8, 10, 12]),
        rebuilt=st.booleans(),
    )
    def measure(self, precision: str, verdict: str, p50_ms: int, rebuilt: bool) -> None:
        if rebuilt:
            self.builds[precision] += 1
            self.releases.pop(precision, None)
        self._measure(precision, verdict, p50_ms)

    @rule(only=st.sampled_from([None, None, *PRECISIONS]))
    def publish(self, only: str | None) -> None:
        before = self.candidate
        found = step.publish(
            self.workspace, paper.TARGET, f"meter-{only}" if only else None, lambda _: None
        )
        for one in found.publications:
            if self.verdicts[one.precision] == "PASS" and only in (None, one.precision):
                self.releases[one.precision] = one.release
        self.candidate = found.candidates.candidates.get("meter")
        self._expect(before, only)

    def _passing(self) -> dict[str, float]:
        """Milliseconds by precision."""
        return {one: self.times[one] for one in self.releases if self.verdicts[one] == "PASS"}

    def _expect(self, before: Candidate | None, only: str | None) -> None:
        """Of what passes and was published, and the candidate `before` as it was published unless
        there is something newer, the best by more than the margin."""
        passing, now = self._passing(), self.candidate
        held = before.engine.removeprefix("meter-") if before else None
        failed = held is not None and self.verdicts[held] == "FAIL"
        if not passing:
            words = {self.verdicts[one] for one in ([only] if only else PRECISIONS)}
            lost = (failed and only in (None, held)) or (not only and words == {"FAIL"})
            assert now == (None if lost else before)
            return
        if before and held and not failed and held not in passing:
            passing[held] = read_publication(self.workspace, before.release).figures.frame_p50_ms
        assert now is not None
        chosen = now.engine.removeprefix("meter-")
        good = [one for one in passing if passing[one] <= min(passing.values()) * MARGIN]
        assert chosen == (held if held in good else chosen if chosen in good else good)
        kept = before.release if before else None
        assert now.release == (self.releases[chosen] if chosen in self._passing() else kept)

    @invariant()
    def the_alias_names_the_candidate(self) -> None:
        told = self.store.release_at(NAME, "candidate")
        assert told == (self.candidate.release if self.candidate else "")

    @invariant()
    def records_stay_as_they_were_written(self) -> None:
        for path, content in self.records.items():
            assert path.read_bytes() == content
        found = self.workspace.records.glob("v*/publication.json")
        self.records |= {path: path.read_bytes() for path in found}


# A failing case reads well as it is found: making it smaller takes minutes.
OverTime.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, phases=[Phase.generate]
)
TestOverTime = OverTime.TestCase
