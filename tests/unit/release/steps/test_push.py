"""push: what there is nothing of to push is said; the rest wants a registry (integration)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from factories.paper import TARGET

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from release.image.distribution import Client
from release.packed import image_path
from release.records import Candidates, candidates_path
from release.signing.keys import KeyValidity, make_pair, private_file, record_file
from release.steps import pack, sign
from release.steps import push as step
from release.steps.push import push_candidates
from tests.unit.release.publications import publish_on_paper


def test_without_a_candidate_it_is_said(workspace: Workspace) -> None:
    none = Candidates(target=TARGET, policy="fastest", candidates={}, skipped={})
    none.write(candidates_path(workspace, TARGET))
    said: list[str] = []
    push_candidates(workspace, TARGET, None, said.append)
    assert said == ["nothing to push, since no engine has the verdict PASS"]


class Copied(Exception):
    """It would go to the registry now."""


@pytest.mark.parametrize(
    ("registry", "goes"), [("registry.example.com/vision", False), ("127.0.0.1:5000/vision", True)]
)
def test_what_was_signed_for_trying_goes_to_no_registry_but_one_for_trying(
    workspace: Workspace,
    add_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    registry: str,
    goes: bool,
) -> None:
    """Its tag was another image's for ever, of which no pod trusts the key. The registry is not
    asked first: a name that nothing knows takes half a minute to say so."""
    (workspace.root / "release" / "bases.yaml").write_text("schema: 1\nbases: {}\ntargets: {}\n")
    add_engine("fp16")
    release = publish_on_paper(workspace, "meter-fp16").release
    sign.sign_release(workspace, release, None, None, lambda _: None)
    pack.pack(workspace, release, None, lambda _: None)
    asked: list[str] = []
    monkeypatch.setattr(Client, "manifest", lambda _, tag: asked.append(tag))

    def copied(*_: object) -> None:
        raise Copied

    monkeypatch.setattr(step, "copy", copied)
    with pytest.raises(Copied if goes else WrongEngine) as raised:
        step.push(workspace, release, registry, lambda _: None)
    assert goes or "for-trying, a key of this clone for trying" in str(raised.value)
    assert bool(asked) == goes


@pytest.mark.parametrize("pushed", [False, True])
def test_a_key_that_expired_before_the_push(
    workspace: Workspace, add_engine: Any, monkeypatch: pytest.MonkeyPatch, pushed: bool
) -> None:
    """No ring would take the release, and what was pushed is never signed again. A second registry
    may get what another one has."""
    (workspace.root / "release" / "bases.yaml").write_text("schema: 1\nbases: {}\ntargets: {}\n")
    add_engine("fp16")
    release = publish_on_paper(workspace, "meter-fp16").release
    now = datetime.now(timezone.utc)
    private, file = private_file(workspace, "ours"), record_file(workspace, "ours")
    private.parent.mkdir(parents=True)
    key = make_pair("ours", private, file, KeyValidity(begin=now - timedelta(days=9)), None)
    sign.sign_release(workspace, release, None, None, lambda _: None)
    (image,) = pack.pack(workspace, release, None, lambda _: None)
    key.model_copy(update={"valid_until": now + timedelta(hours=1)}).write(file)
    asked: list[str] = []
    monkeypatch.setattr(Client, "manifest", lambda _, tag: asked.append(tag))

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return now + timedelta(days=1)

    def copied(*_: object) -> None:
        raise Copied

    monkeypatch.setattr(step, "datetime", Tomorrow)
    monkeypatch.setattr(step, "copy", copied)
    if pushed:
        there = image.model_copy(update={"repositories": ("registry.example.com/other",)})
        there.write(image_path(workspace, release))
    with pytest.raises(Copied if pushed else WrongEngine) as raised:
        step.push(workspace, release, "registry.example.com/vision", lambda _: None)
    assert pushed or "expired on" in str(raised.value)
    assert bool(asked) == pushed
