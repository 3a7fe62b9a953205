"""What the commands say on the terminal.

A tag is up to 71 characters, or 143 with a digest, so each fact has a line that is never cut or
broken: a tag is copied from here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime, timezone

from rich.console import Console
from rich.text import Text

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.trusted_key import TrustedKey
from engines.streams import escaped
from release.moves.ledger import Entry
from release.moves.planned import Planned
from release.moves.quarantine import PlannedQuarantine
from release.moves.seen import named
from release.packed import ImageRecord
from release.records import MlflowEntry, Publication, Quarantine
from release.registry.uri import seen_from_here, sqlite_file
from release.rollout.release_yaml import ReleaseValues
from release.say import in_utc
from release.smoke.wanted import in_words
from release.steps.add_site import AddedSite
from release.steps.diff import Difference
from release.steps.keygen import ActiveKey
from release.steps.publish import Published
from release.steps.sites import Sites
from release.steps.status import Overview, RingStatus
from release.steps.verify import Checked

_FAILED = "no engine of it has the verdict PASS here"
_NO_RECORD = "no record here says that an engine of it was published"


def line(text: str) -> None:
    """One line of progress."""
    Console(highlight=False, soft_wrap=True).print(Text(escaped(text)))


def show_published(published: Published) -> None:
    """The releases of a target, its candidates, and how to open MLflow."""
    candidates = published.candidates
    if not published.publications:
        line(f"{candidates.target}: nothing to publish, since no engine has the verdict PASS")
        return
    chosen = {candidate.release for candidate in candidates.candidates.values()}
    for one in published.publications:
        line(one.release)
        alias = ", candidate" if one.release in chosen else ""
        line(f"  {_entry(one.mlflow)}{alias}")
    for model, candidate in candidates.candidates.items():
        line(f"{model}: {candidate.engine} is the candidate ({candidate.reason})")
    uri = published.publications[0].mlflow.tracking_uri
    if uri.startswith(_SERVERS):
        line(f"MLflow: {uri.rstrip('/')}/{published.page}")
        return
    line(f"MLflow: {how_to_open(uri)}")
    line(f"  then    {_LOCAL}/{published.page}")


def show_status(overview: Overview) -> None:
    """Candidate, MLflow run and rings of each model, a fact a line."""
    for one in overview.statuses:
        line(f"{one.model} on {one.target}")
        nothing = f"none: {_FAILED if one.failed else _NO_RECORD}"
        line(f"  candidate  {one.candidate.release if one.candidate else nothing}")
        if one.quarantine:
            _show_quarantined(one.quarantine)
        if one.behind:
            line(
                f"             in this clone; {overview.branch} has newer records, {overview.pull}"
            )
        if one.candidate is not None:
            _show_entry(one.candidate, overview)
            line(f"  signed     by {_key(one.signed_by)}")
            _show_image(one.image)
            line(f"  smoked     {in_words(one.smoke) if one.smoke else 'no'}")
        for ring, found in one.rings.items():
            _show_ring(ring, found, overview)
    if not overview.statuses:
        line("None: no model has a candidate, or a folder in release/fleet, any more")
    for sentence in overview.mlflow.differ:
        line(sentence)
    if overview.branch is None:
        line(f"Rings are as in this clone; what is pushed is not known: {overview.trouble}")


def _key(signed_by: TrustedKey | None) -> str:
    if signed_by is None:
        return "no key that counts"
    end = signed_by.valid_until
    if end is None:
        return signed_by.name
    expired = end <= datetime.now(timezone.utc)
    return f"{signed_by.name}, which {'expired on' if expired else 'counts until'} {in_utc(end)}"


def _show_entry(candidate: Publication, overview: Overview) -> None:
    recorded = candidate.mlflow
    entry = overview.mlflow.entries.get(candidate.release, recorded)
    line(f"  MLflow     {_entry(entry)}")
    if _entry(entry) != _entry(recorded):
        line(f"  {'':10} its record names {_entry(recorded)}, at {recorded.tracking_uri}")
    line(f"  open       {how_to_open(entry.tracking_uri)}")


def _show_image(image: ImageRecord | None) -> None:
    if image is None:
        line("  packed     no")
        return
    line(f"  packed     {image.digest}")
    base = f"{image.base.name} {image.base.digest}" if image.base else "none: it is mounted"
    line(f"  base       {base}")
    for repository in image.repositories or ("no registry",):
        line(f"  pushed to  {repository}")


def _show_ring(ring: str, found: RingStatus, overview: Overview) -> None:
    branch = overview.branch
    runs = found.pushed if branch else found.here
    line(f"  {ring:10} {_tag(runs)}")
    if found.commit:
        line(f"  {'':10} since {in_utc(found.commit.at)} by {found.commit.who}")
    if found.seen:
        line(f"  {'':10} {found.seen.words}")
    if branch and found.here != found.pushed:
        why = f"as before; {overview.pull}" if found.behind else f"which {branch} does not have"
        line(f"  {'':10} in this clone {_tag(found.here)}, {why}")
    if found.broken:
        line(f"  {'':10} {found.broken}")
    for text in found.wrong:
        line(f"  {'':10} {text}")
    if found.missed:
        line(f"  {'':10} its engine FAILs since it was published: {found.missed}")
    if found.quarantine:
        _show_quarantined(found.quarantine)


def _show_quarantined(quarantine: Quarantine) -> None:
    line(f"  {'':10} quarantined by {quarantine.by}: {quarantine.why}")


def show_history(entries: Iterable[Entry]) -> None:
    """A ring's step a paragraph, the latest first."""
    found = list(entries)
    if not found:
        line("None: no ring that was asked for has got a release on the branch that Fleet reads")
    for one in found:
        place, commit = one.place, one.commit
        line(f"{in_utc(commit.at)}  {place.model} on {place.target}: {place.ring}")
        line(f"  {_tag(one.before)} -> {_tag(one.after)}")
        line(f"  {commit.name[:12]} by {commit.who}: {commit.subject}")
        for key, value in commit.trailers:
            if key in {"Override", "Why"}:
                line(f"  {key.lower()}: {value}")


def show_differences(differences: Iterable[Difference]) -> None:
    """What would change by a push and by the next promotions."""
    found = list(differences)
    words = {"push": "by a push of this clone", "promote": "by a promotion"}
    for one in found:
        place = one.place
        line(f"{place.model} on {place.target}: {place.ring}, {words[one.by]}")
        line(f"  {_tag(one.runs)} -> {_tag(one.would_run)}")
        if one.quarantined:
            line("  which is quarantined: promotions of it are refused")
        if one.clusters is not None:
            line(f"  {len(one.clusters)} clusters: {named(one.clusters, 10) or 'none'}")
    if not found:
        line("Nothing: this clone has what is pushed, and every ring has what the ring below has")


def show_quarantine(planned: PlannedQuarantine) -> None:
    """What a quarantine changes, and which rings run the release."""
    line(f"{'lift the quarantine of' if planned.lift else 'quarantine'} {planned.release}")
    if planned.before:
        line(f"  quarantined by {planned.before.by}: {planned.before.why}")
    if planned.move is None:
        line("  It is so already: nothing to do")
    for one in () if planned.lift else planned.runs_in:
        place = one.place
        back = f"release rollback {place.model} --target {place.target} --ring {place.ring}"
        another = f"no other before it; {one.another} brings one, or take its clusters out by label"
        line(f"  runs in {place.ring}: " + (f"`{back}`" if one.can_go_back else another))
    for branch in planned.requests:
        line(f"  close the merge request of {branch}: merging asks no rule")


def show_site(workspace: Workspace, added: AddedSite) -> None:
    """Where a new site lies, and what its cluster needs."""
    line(f"{workspace.relative(added.folder)}: written")
    labels = " ".join(f"{key}={value}" for key, value in added.labels.items())
    line("Commit and push it, and label its cluster on the one that runs Fleet:")
    line(f"  kubectl -n fleet-default label clusters.fleet.cattle.io CLUSTER {labels}")
    for camera in added.site.cameras:
        if camera.secret:
            line(f"{camera.name}: its cluster needs the Secret {camera.secret} with its login:")
            line(
                f"  kubectl -n inference create secret generic {camera.secret} "
                "--from-literal=username=… --from-literal=password=…"
            )


def show_sites(found: Sites) -> None:
    """A site a line, and what is wrong. Raises InputError where something is."""
    if not found.sites and not found.problems:
        line("There is no site yet. `release add-site NAME --target T --ring R` lays one out.")
    for one in found.sites:
        cameras = f"{len(one.cameras)} camera{'' if len(one.cameras) == 1 else 's'}"
        line(f"{one.site}: {one.target}, {one.ring}, {cameras}, {one.location or 'no location'}")
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        for text in found.problems[1:]:
            line(text)
        raise InputError(f"{found.problems[0]}{more}")


def _tag(values: ReleaseValues | None) -> str:
    return values.image.tag if values else "-"


def show_planned(planned: Planned) -> None:
    """What a move changes, and what each rule says."""
    place = planned.place
    line(f"{planned.action} {place.model} on {place.target}: {place.ring}, from {planned.source}")
    line(f"  runs      {_tag(planned.runs)}")
    if planned.since:
        line(f"  since     {in_utc(planned.since.at)} by {planned.since.who}")
    line(f"  will run  {planned.will_run.image.tag}")
    for text in planned.reach:
        line(f"  reach     {text}")
    if planned.move is None:
        further = "; a further step back is one --to TAG" if planned.action == "roll back" else ""
        line(f"  It runs that already: nothing to do{further}")
    for one in planned.answers:
        word = "holds" if one.holds else "overridden" if one.overridden else "refuses"
        line(f"  {one.rule:10} {word}: {one.said}")


def show_key(workspace: Workspace, key: ActiveKey) -> None:
    """A new key: from when until when it counts, where its halves are, and what to do with them."""
    record = key.record
    until = f" until {record.valid_until:%Y-%m-%d}" if record.valid_until else ""
    line(f"{record.name}: counts from {record.valid_from:%Y-%m-%d}{until}")
    line(f"  keyid    {record.keyid}")
    line(f"  public   {workspace.relative(key.record_file)}: commit it, and give it to every site")
    if key.private is not None:
        line(f"  private  {workspace.relative(key.private)}: keep it to yourself")


def show_checked(checked: Iterable[Checked]) -> None:
    """What was found as it was signed, a release each, a fact a line."""
    for one in checked:
        said = one.statement.predicate
        line(f"{said.release}: verified")
        if one.digest:
            line(f"  image    {one.digest}")
        trying = ", for trying only: no pod trusts it" if one.trying else ""
        line(f"  key      {one.key.name} ({one.key.keyid[:16]}…){trying}")
        if one.image_key:
            line(f"  registry {one.image_key.name} signed the image there")
        line(f"  signed   {in_utc(said.signed_at)}")
        line(f"  model    {said.model} {said.model_version}, {said.precision}")
        line(
            f"  device   {said.target}: {said.device.module or said.device.gpu or said.device.name}"
        )
        line(f"  backend  {said.backend_package} {said.backend_version}")
        line(f"  verdict  {said.verdict}")
        line(f"  MLflow   {said.mlflow.registered_model} version {said.mlflow.version}")
        line(f"  commit   {said.git_commit or 'none'}")
        for name, digest in sorted(one.statement.files.items()):
            line(f"  file     {digest[:16]}…  {name}")


def _entry(entry: MlflowEntry) -> str:
    return f"{entry.registered_model} version {entry.version}, run {entry.run_id}"


_SERVERS = ("http://", "https://")
_LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves, unless told otherwise."""


def how_to_open(uri: str) -> str:
    """A server's address, or the command that serves a local store from where people are now; of
    one that is not here, as in a colleague's clone, that command would lay out an empty one."""
    if uri.startswith(_SERVERS):
        return uri
    seen = seen_from_here(uri)
    file = sqlite_file(seen)
    if file is not None and not file.exists():
        return f"where it was published, since {seen} is not here"
    return f"mlflow ui --backend-store-uri {shlex.quote(seen)}"
