"""Publishing and moves in any order, by a machine that builds and by a release manager, each in a
clone of their own, through a real bare repository."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories import paper
from factories.gitops import RINGS, RINGS_YAML, GitOpsRepository, environment, git
from factories.mlflow_double import put_in_place
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engines.config.target import load_target
from engines.errors import JetrailError
from engines.verdict import judged
from release.moves import aliases
from release.moves.place import Place
from release.moves.promotion import Wish
from release.records import Candidates, candidates_path
from release.steps import publish as publishing
from release.steps.hand_over import hand_over
from release.steps.promote import promote
from release.steps.quarantine import quarantine
from release.steps.rollback import rollback
from release.steps.status import repair, status
from release.steps.write import write
from release.tags import parse_tag

TARGET = paper.TARGET
PRECISIONS = ("fp32", "fp16")
NAME = f"meter.{TARGET}"
FLEET = f"release/fleet/meter/{TARGET}"


def nothing(_: object) -> None:
    """A plan that nobody looks at."""


class OverTime(RuleBasedStateMachine):
    """One model on one target, its first release in two rings."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._folder = tempfile.TemporaryDirectory()
        self._mlflow()
        self._repositories(Path(self._folder.name))
        # A row stays as it is, and reading it is much of what this takes.
        config = load_target(self.builder, TARGET)
        for module in (publishing, judged, paper):
            self._patch.setattr(module, "load_target", lambda *_: config)
        self.builds = dict.fromkeys(PRECISIONS, 0)
        self.passed: set[str] = set()
        """Every release that was published."""
        self.quarantined: set[str] = set()
        self.held: dict[str, set[str]] = {one: set() for one in RINGS}
        """All that each ring ever had."""
        self.left: set[str] = set()
        """What the canary went back from, and did not get again by somebody's own move."""
        self.said: list[str] = []
        for precision in PRECISIONS:
            paper.add_engine(self.builder, precision)
        self.release("fp32", "PASS", 10, rebuilt=False, only=False, push=True, pull=False)
        self.promote("pilot")

    def _mlflow(self) -> None:
        self.store = put_in_place(self._patch)

        @contextmanager
        def opened(root: Any, **_: Any) -> Iterator[Any]:
            yield self.store

        self._patch.setattr(aliases, "open_store", opened)
        self._patch.setattr(aliases, "_nothing_there", lambda _: False)

    def _repositories(self, folder: Path) -> None:
        for key, value in environment().items():
            if key.startswith("GIT_"):
                self._patch.setenv(key, value)
        bare, root = folder / "gitops.git", folder / "builder"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        git(folder, "clone", "--quiet", str(bare), str(root))
        self.repository = GitOpsRepository(bare=bare, root=root)
        self.builder = self.repository.workspace
        paper.lay_out(self.builder)
        row = self.builder.target(TARGET) / "params.yaml"
        row.write_text(paper.row_yaml(*(f"meter-{one}" for one in PRECISIONS)))
        (root / ".gitignore").write_text("out/\n.jetrail-*\n")
        (root / "release").mkdir()
        self.builder.rings_file.write_text(RINGS_YAML)
        for ring in RINGS:
            place = self.builder.ring("meter", TARGET, ring)
            place.mkdir(parents=True)
            (place / "fleet.yaml").write_text("helm: {valuesFiles: [release.yaml]}\n")
        self.repository.push("Start")
        self.manager = self.repository.clone(folder / "manager")

    def teardown(self) -> None:
        self._patch.undo()
        self._folder.cleanup()

    # --- what git has

    def head(self) -> str:
        return git(self.repository.bare, "rev-parse", "main")

    def rings(self) -> dict[str, str]:
        """The release that each ring has, or nothing."""
        found = dict.fromkeys(RINGS, "")
        # Where nothing matches git grep fails: of each fleet.yaml something does.
        lines = git(
            self.repository.bare, "grep", "-e", "tag: v", "-e", "helm:", "main", "--", FLEET
        )
        for line in lines.splitlines():
            _, path, text = line.split(":", 2)
            if path.endswith("release.yaml"):
                found[path.split("/")[4]] = parse_tag(text.partition("tag: ")[2]).name
        return found

    def candidate(self) -> str:
        path = candidates_path(self.builder, TARGET)
        found = Candidates.read(path).candidates if path.is_file() else {}
        return found["meter"].release if found else ""

    def attempt(self, move: Callable[[], object], ring: str | None) -> bool:
        """Whether the move is done. One that is refused leaves all as it was; none changes another
        ring than its own, or gives it what did not pass or is quarantined."""
        before, head = self.rings(), self.head()
        named = dict(self.store.aliases.get(NAME, {}))
        self.said = []
        try:
            move()
        except JetrailError as error:
            refused = error
        else:
            after = self.rings()
            changed = {one for one in RINGS if after[one] != before[one]}
            assert changed <= {ring}
            for one in changed:
                assert after[one] in self.passed - self.quarantined
                self.held[one].add(after[one])
            return True
        assert refused.exit_code in (2, 3, 7), refused
        assert (self.head(), self.store.aliases.get(NAME, {})) == (head, named)
        return False

    def _went_back(self, had: str) -> None:
        """The canary, from what it `had`, if it did."""
        now = self.rings()["canary"]
        if now != had:
            self.left = (self.left | {had}) - {now}

    # --- what people do

    @rule(
        precision=st.sampled_from(PRECISIONS),
        verdict=st.sampled_from(["PASS", "PASS", "PASS", "INVALID", "FAIL"]),
        p50_ms=st.sampled_from([5, 8, 10]),
        rebuilt=st.sampled_from([False, False, True]),
        only=st.booleans(),
        push=st.sampled_from([True, True, False, None]),
        pull=st.sampled_from([True, True, False]),
    )
    def release(
        self,
        precision: str,
        verdict: str,
        p50_ms: float,
        *,
        rebuilt: bool,
        only: bool,
        push: bool | None,
        pull: bool,
    ) -> None:
        """In a clone that may be behind: measure, perhaps after a new build, and publish; then
        write, and push, unless None."""
        if pull:
            self.pull("builder")
        self.builds[precision] += rebuilt
        build = f" {self.builds[precision]}"
        paper.add_engine(self.builder, precision, p50_ms, verdict, build=build)
        engine = f"meter-{precision}" if only else None
        found = publishing.publish(self.builder, TARGET, engine, self.said.append)
        self.passed |= {one.release for one in found.publications}
        if push is not None:
            self.write(push)

    def write(self, push: bool) -> None:
        def both() -> None:
            written = write(self.builder, TARGET, self.said.append)
            if push:
                hand_over(self.builder, TARGET, written, say=self.said.append)

        had, wanted = self.rings()["canary"], self.candidate()
        if self.attempt(both, "canary") and push:
            now = self.rings()["canary"]
            stays = ("stays as it is", "no release.yaml changes")
            told = any(words in one for one in self.said for words in stays)
            assert now == wanted or (now == had and told), self.said
            assert now == had or now not in self.left

    def pull(self, who: str) -> None:
        """As far as git can: what was published and not pushed may be in its way."""
        command = ["git", "pull", "--quiet", "--ff-only"]
        subprocess.run(command, cwd=getattr(self, who).root, capture_output=True, check=False)

    @rule(ring=st.sampled_from(RINGS[1:]))
    def promote(self, ring: str) -> None:
        wish, had = Wish(model="meter", target=TARGET, to=ring), self.rings()
        below = had[RINGS[RINGS.index(ring) - 1]]
        done = self.attempt(
            lambda: promote(self.manager, wish, dry_run=False, show=nothing, say=self.said.append),
            ring,
        )
        may = bool(below) and (below not in self.quarantined or had[ring] == below)
        assert done == may, self.said
        assert not done or self.rings()[ring] == below

    @rule(ring=st.sampled_from(["canary", *RINGS]), release=st.integers(0, 5), named=st.booleans())
    def rollback(self, ring: str, release: int, named: bool) -> None:
        known, had = sorted(self.passed), self.rings()
        to = known[release % len(known)] if named and known else None
        held = set(self.held[ring])
        place = Place(model="meter", target=TARGET, ring=ring)
        asked: dict[str, Any] = {"why": "no boxes", "dry_run": False, "show": nothing}
        if self.attempt(
            lambda: rollback(self.manager, place, to=to, say=self.said.append, **asked), ring
        ):
            now = self.rings()[ring]
            assert now in held
            assert to in (None, now)
            assert now not in self.quarantined
            self._went_back(had["canary"])

    @rule(release=st.integers(0, 5), lift=st.sampled_from([False, False, True]))
    def quarantine(self, release: int, lift: bool) -> None:
        known = sorted(self.passed)
        tag = known[release % len(known)] if known else "v1.0-nothing-fp16-0123456789ab"
        asked: dict[str, Any] = {"dry_run": False, "show": nothing, "lift": lift}
        if self.attempt(
            lambda: quarantine(self.manager, tag, "no boxes", say=self.said.append, **asked), None
        ):
            (self.quarantined.discard if lift else self.quarantined.add)(tag)

    @rule()
    def revert_a_move_and_repair(self) -> None:
        """With git alone, as after a mistake."""
        self.pull("manager")
        folder, had = self.manager.root, self.rings()["canary"]
        if git(folder, "rev-parse", "HEAD") != self.head() or not any(self.rings().values()):
            return
        if not git(folder, "diff", "--name-only", "HEAD~", "--", "release/fleet"):
            return
        git(folder, "revert", "--no-edit", "HEAD")
        git(folder, "push", "--quiet", "origin", "HEAD:main")
        self._went_back(had)
        repair(self.manager, None, self.said.append)

    # --- what holds always

    @invariant()
    def status_says_what_git_and_mlflow_have(self) -> None:
        rings = self.rings()
        assert {one: self.store.release_at(NAME, one) for one in RINGS} == rings
        for workspace in (self.builder, self.manager):
            if not candidates_path(workspace, TARGET).is_file():
                continue
            found = status(workspace, None)
            (one,) = found.statuses
            pushed = {ring: at.pushed for ring, at in one.rings.items()}
            told = {ring: parse_tag(at.image.tag).name if at else "" for ring, at in pushed.items()}
            assert told == rings
            differing = [
                sentence for sentence in found.mlflow.differ if "candidate" not in sentence
            ]
            assert not differing
            if workspace is self.builder:
                # Somebody may have reverted the commit of its records.
                same = self.store.release_at(NAME, "candidate") == self.candidate()
                assert same or found.mlflow.differ or one.behind


OverTime.TestCase.settings = settings(
    max_examples=3, stateful_step_count=14, phases=[Phase.generate], deadline=None
)
TestOverTime = OverTime.TestCase


def test_a_candidate_of_mlflow_where_none_passes_any_more() -> None:
    """As after a `--repair` in a clone that had not got that yet."""
    state = OverTime()
    try:
        before = state.candidate()
        version = state.store.version_of(NAME, before)
        assert version
        for precision in PRECISIONS:
            state.release(precision, "FAIL", 5, rebuilt=False, only=False, push=None, pull=False)
        assert state.store.release_at(NAME, "candidate") == ""
        state.store.point_alias(NAME, "candidate", version)
        (told,) = status(state.builder, None).mlflow.differ
        assert f"git's candidate is none, MLflow's alias {before}. Run `release status" in told
        repair(state.builder, None, state.said.append)
        assert state.store.release_at(NAME, "candidate") == ""
    finally:
        state.teardown()
