"""Commands that move releases from ring to ring, and that show where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from release.cli.app import OneTarget, Recorded, commands

Model = Annotated[
    str,
    typer.Argument(
        help="A folder under release/fleet/.", show_default=False, autocompletion=completion.models
    ),
]
OnlyModel = Annotated[
    str | None,
    typer.Argument(help="Only this model.", show_default=False, autocompletion=completion.models),
]
OnlyTarget = Annotated[
    str | None,
    typer.Option("--target", "-t", help="Only this target.", autocompletion=completion.targets),
]
Why = Annotated[str | None, typer.Option("--why", help="The reason, which the commit keeps.")]
Reports = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        help="What the sites say: a file or address of kubectl's JSON, `fleet monitor` or metrics.",
    ),
]
Request = Annotated[
    bool,
    typer.Option("--merge-request", help="Ask for it in GitLab, where the branch is protected."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and end.")]


@commands.command()
@reports_errors
def status(
    target: Recorded = None,
    report: Reports = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put MLflow's aliases right by what git says.")
    ] = False,
    pushed: Annotated[
        bool, typer.Option("--pushed", help="First bring the records that Fleet's branch has.")
    ] = False,
) -> None:
    """Show each model's candidate and what its rings run.

    For every target there is a record of: the tag, since when, and who put it there, by the branch
    that Fleet reads. What this clone has and did not push is shown beside it, and with --report
    what the sites say. Where Fleet has a repository of its own, --pushed brings its records here.

    Examples:

      release status --target x86-openvino --report sites.json

      release status --repair
    """
    from engines.config.workspace import find_workspace
    from engines.errors import InputError
    from release.reports.load import load_reports
    from release.steps import status as step
    from release.terminal import line, show_status

    workspace = find_workspace()
    if pushed:
        from release.steps.take_records import take_records

        take_records(workspace, None, line)
    if repair:
        step.repair(workspace, target, line)
    found = step.status(workspace, target, load_reports(report or []))
    show_status(found)
    broken = [
        f"{ring} of {one.model} on {one.target}"
        for one in found.statuses
        for ring, of in one.rings.items()
        if of.broken
    ]
    if broken:
        raise InputError(
            "Expected each ring's release.yaml to be one that can be read, but that of "
            f"{', '.join(broken)} is not, as it says above."
        )


@commands.command()
@reports_errors
def history(
    model: OnlyModel = None,
    target: OnlyTarget = None,
    ring: Annotated[
        str | None,
        typer.Option("--ring", help="Only this ring.", autocompletion=completion.rings),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most.")] = 20,
) -> None:
    """Show which ring got which release, when and by whom.

    By the branch that Fleet reads, the latest first: every commit that changed what a ring runs,
    whether a command, a person or a merge made it.

    Example:

      release history meter-yolov8n --target x86-openvino --ring production
    """
    from engines.config.workspace import find_workspace
    from release.steps import history as step
    from release.terminal import show_history

    show_history(step.history(find_workspace(), model, target, ring, limit))


@commands.command()
@reports_errors
def diff(
    model: OnlyModel = None,
    target: OnlyTarget = None,
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", help="Inventory, to say who would get it: YAML or kubectl's."),
    ] = None,
) -> None:
    """Show what a push of this clone and promotions would change.

    Compares the branch that Fleet reads with this clone, and each ring with the ring below it; with
    --clusters it names the clusters that would get something.

    Example:

      release diff meter-yolov8n --target x86-openvino --clusters clusters.yaml
    """
    from engines.config.workspace import find_workspace
    from release.steps import diff as step
    from release.terminal import show_differences

    show_differences(step.diff(find_workspace(), model, target, clusters))


@commands.command()
@reports_errors
def quarantine(
    tag: Annotated[
        str,
        typer.Argument(
            help="The release's tag.", show_default=False, autocompletion=completion.releases
        ),
    ],
    why: Annotated[str, typer.Option("--why", help="The reason, which everybody sees.")],
    lift: Annotated[bool, typer.Option("--lift", help="Let it go to rings again.")] = False,
    merge_request: Request = False,
    dry_run: DryRun = False,
) -> None:
    """Let a release go to no ring any more.

    One commit on the branch that Fleet reads. Rings that run the release keep it until they are
    rolled back; the command names them. `release write`, promotions and rollbacks leave it out.

    Example:

      release quarantine v1.0-x86-openvino-fp16-3f2a91c04b7e --why "no boxes at night"
    """
    from engines.config.workspace import find_workspace
    from release.steps import quarantine as step
    from release.terminal import line, show_quarantine

    step.quarantine(
        find_workspace(),
        tag,
        why,
        lift=lift,
        dry_run=dry_run,
        request=merge_request,
        show=show_quarantine,
        say=line,
    )


@commands.command()
@reports_errors
def promote(
    model: Model,
    target: OneTarget,
    to: Annotated[
        str,
        typer.Option(
            "--to", help="The ring that gets the release.", autocompletion=completion.rings
        ),
    ],
    override: Annotated[
        list[str] | None,
        typer.Option("--override", help="Go past this rule, or `all`, quarantine too; with --why."),
    ] = None,
    why: Why = None,
    report: Reports = None,
    merge_request: Request = False,
    dry_run: DryRun = False,
) -> None:
    """Give a ring the release that the ring below it has.

    The rules of the ring in release/rings.yaml are asked first. The move is one commit that changes
    one release.yaml on the branch that Fleet reads; nothing else that lies in this clone is part of
    it. Whoever was faster wins: exit 7 says who moved the ring.

    Examples:

      release promote meter-yolov8n --target x86-openvino --to pilot --dry-run

      release promote meter-yolov8n --target x86-openvino --to pilot --override age --why "recall"
    """
    from engines.config.workspace import find_workspace
    from release.moves.promotion import Wish
    from release.reports.load import load_reports
    from release.steps import promote as step
    from release.terminal import line, show_planned

    wish = Wish(
        model=model,
        target=target,
        to=to,
        overrides=tuple(override or ()),
        why=why,
        report=load_reports(report or []),
    )
    step.promote(
        find_workspace(),
        wish,
        dry_run=dry_run,
        request=merge_request,
        show=show_planned,
        say=line,
    )


@commands.command()
@reports_errors
def rollback(
    model: Model,
    target: OneTarget,
    ring: Annotated[
        str,
        typer.Option("--ring", help="The ring that goes back.", autocompletion=completion.rings),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="A release that it had; default: the one before.",
            autocompletion=completion.releases,
        ),
    ] = None,
    why: Why = None,
    report: Reports = None,
    merge_request: Request = False,
    dry_run: DryRun = False,
) -> None:
    """Give a ring back the release that it had before.

    Its release.yaml gets the very bytes of then, so clusters that never took the later one are up
    to date again at once. What is quarantined is passed over. No rule is asked. With --report it
    says first whether Fleet will reach the ring's clusters, and what holds it where not.

    Examples:

      release rollback meter-yolov8n --target x86-openvino --ring production --why "no boxes"

      release rollback meter-yolov8n --target x86-openvino --ring production --to v1.0-x86-ope…
    """
    from engines.config.workspace import find_workspace
    from release.moves.place import Place
    from release.reports.load import load_reports
    from release.steps import rollback as step
    from release.terminal import line, show_planned

    place = Place(model=model, target=target, ring=ring)
    step.rollback(
        find_workspace(),
        place,
        to=to,
        why=why,
        report=load_reports(report or []),
        dry_run=dry_run,
        request=merge_request,
        show=show_planned,
        say=line,
    )


@commands.command()
@reports_errors
def watch(
    report: Annotated[
        list[str],
        typer.Option(
            "--report", help="As of `release promote`: what the sites say.", show_default=False
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="Look once, for a scheduled job.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=1, help="Seconds between two looks.")
    ] = 60,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook", envvar="JETRAIL_WEBHOOK", help="Is sent JSON with `text` on a rollback."
        ),
    ] = None,
    issue: Annotated[
        bool, typer.Option("--gitlab-issue", help="Opens an issue in GitLab on a rollback.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Roll a ring back whose release does harm.

    Compares what sites run with what git says. Where a release stays not ready at as many clusters,
    for as long, as the ring's `watch` in release/rings.yaml names, or pods tell another version, it
    is quarantined and the ring gets back what it had before.

    Examples:

      release watch --report sites.json --once

      release watch --report sites.json --report https://prometheus.example.com
    """
    from engines.config.workspace import find_workspace
    from release.moves.undo import Telling
    from release.steps import watch as step
    from release.terminal import line

    workspace, telling = find_workspace(), Telling(webhook=webhook, issue=issue)
    if once or dry_run:
        step.watch(workspace, report, telling, dry_run=dry_run, say=line)
        return
    step.watch_on(workspace, report, telling, seconds=interval, say=line)
