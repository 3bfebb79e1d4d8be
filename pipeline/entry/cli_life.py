"""``rules step … promise`` and ``lists``: changing what judges, by whom and why, and undoing it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import UsageError

lists = typer.Typer(
    no_args_is_help=True,
    help="Allow, block and watch lists, and snoozes: each entry has a reason, an owner and an end.",
)
By = Annotated[str, typer.Option("--by", help="who does it, for the record")]
Why = Annotated[str, typer.Option("--why", help="why, for the record")]
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
Digest = Annotated[
    str, typer.Argument(help="a revision's digest, or its first 8 characters and more")
]
Days = Annotated[
    float | None, typer.Option(help="how long it stands; without it, until it is ended")
]


def register(rules: typer.Typer) -> None:
    """Hang the commands of a rule's life onto ``rules``."""
    for command in (step, revisions, rollback, trip, recall, promise):
        rules.command()(command)


def step(
    rule: Annotated[str, typer.Argument(help="the rule's id")],
    to: Annotated[
        Literal["draft", "shadow", "rollout", "live", "paused", "archived"],
        typer.Argument(help="where it goes"),
    ],
    by: By,
    why: Why,
    share: Annotated[float, typer.Option(help="percentage of workers, for a rollout")] = 100.0,
    home: Home = None,
) -> None:
    """Move a rule through its life: draft, shadow, rollout, live, paused, archived.

    It judges so from now on, until somebody edits the rule's status in its file. Where
    BOUNTYGUARD_RULE_APPROVALS asks for two people, the second gives the same command.
    """
    from pipeline.rulebook.life import Step
    from pipeline.ruling import step as take

    wanted = Step(rule=rule, to=to, by=by, why=why, share=share)
    with house(home) as opened:
        done = take(opened, wanted)
    if done.waits:
        people.print(f"{rule} to {to} is proposed and waits for somebody else to ask for the same")
    else:
        people.print(f"{rule} is {to}; rulebook {done.rulebook.digest[:16]}")


def revisions(form: AsFormat = Format.text, home: Home = None) -> None:
    """List every rulebook that ever judged, and which one is in force."""
    with house(home) as opened:
        rows = opened.rulebooks.revisions().to_dicts()
        now, pinned = opened.rulebook().digest, opened.rulebooks.pinned()
        steps = opened.rulebooks.steps()
    if form is Format.json:
        write_json({"in_force": now, "pinned": pinned, "steps": steps,
                    "revisions": rows})  # fmt: skip
        return
    told = [
        (r["digest"][:16], r["first_used_at"], "in force" if r["digest"] == now else "")
        for r in rows
    ]
    page.print(table("Revisions", ("digest", "first used", ""), told))
    for rule, taken in sorted(steps.items()):
        people.print(
            f"{rule}: {taken['was']} to {taken['to']} by {taken['by']}: {taken['why']}",
            markup=False,
        )


def rollback(
    digest: Annotated[
        str,
        typer.Argument(help="the revision's digest; 'files' gives the word back to the rule files"),
    ],
    by: By,
    why: Why,
    home: Home = None,
) -> None:
    """Put an earlier revision in force, whole. ``rules recall`` undoes what the other one did."""
    from pipeline.ruling import roll_back

    with house(home) as opened:
        now = roll_back(opened, None if digest == "files" else digest, by=by, why=why)
    people.print(f"in force: {now.digest[:16]}, {len(now.rules)} rules")


def trip(form: AsFormat = Format.text, home: Home = None) -> None:
    """Let every rule that passed its limits (overturned cases, flood of hits) step back to shadow.

    Exit status 1 says that one did.
    """
    from pipeline.ruling import trip as trip_rules

    with house(home) as opened:
        tripped = trip_rules(opened)
    if form is Format.json:
        write_json({"tripped": [{"rule": t.rule, "why": t.why} for t in tripped]})
    elif tripped:
        page.print(table("Stepped back", ("rule", "why"), [(t.rule, t.why) for t in tripped]))
    else:
        people.print("every rule is within its limits")
    raise typer.Exit(1 if tripped else 0)


def recall(
    digest: Digest,
    by: Annotated[
        str | None, typer.Option("--by", help="who recalls it; without, only a preview")
    ] = None,
    why: Annotated[str | None, typer.Option("--why", help="why, for the record")] = None,
    home: Home = None,
) -> None:
    """Undo everything that one bad revision did, money and credit included; a preview without --by.

    What people decided since stays. Money that was paid stays paid: a case is opened there.
    """
    from pipeline.rulebook.telling import tell_recall
    from pipeline.ruling import preview
    from pipeline.ruling import recall as undo

    with house(home) as opened:
        found = undo(opened, digest, by=by, why=why or "") if by else preview(opened, digest)
    for line in tell_recall(found):
        page.print(line, markup=False, highlight=False)
    if not by:
        people.print("nothing was changed; give --by and --why to carry it out")


def promise(
    truth: Annotated[
        Path | None, typer.Option(help="labels; by default what people decided")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="end the promise")] = False,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Set hold thresholds so that the share of honest payouts held stays under the rulebook's alpha.

    By conformal risk control on honest submissions, slice by slice; a slice too small to promise
    anything is reviewed, never held, by points. It holds for the revision in force.
    """
    from pipeline.line import truth_labels
    from pipeline.ruling import promised

    with house(home) as opened:
        if off:
            opened.rulebooks.promise(opened.rulebook().digest, None)
            people.print("no promise: the rulebook's own threshold holds")
            return
        labels = truth_labels(truth) if truth else None
        made = promised(opened, labels=labels)
    rows = [
        (name, t.honest, t.hold_at if t.enough else "never by points", t.held, t.enough)
        for name, t in made.slices.items()
    ]
    if form is Format.json:
        write_json({"alpha": made.alpha, "slices": {
            name: {"honest": n, "hold_at": t.hold_at, "held": h, "enough": e}
            for (name, n, _, h, e), t in zip(rows, made.slices.values(), strict=True)}})  # fmt: skip
        return
    page.print(table(f"At most {made.alpha:.2%} of honest payouts held, on average",
                     ("slice", "honest", "held from", "of these held", "enough"), rows))  # fmt: skip


Subject = Annotated[
    Literal["worker", "device", "ip", "payout", "publisher", "task", "digest", "phrase"],
    typer.Argument(help="what the entry names"),
]
Value = Annotated[str, typer.Argument(help="its id, digest or phrase")]


@lists.command()
def add(
    name: Annotated[Literal["allow", "block", "watch"], typer.Argument(help="which list")],
    subject: Subject,
    value: Value,
    by: By,
    why: Why,
    days: Days = None,
    home: Home = None,
) -> None:
    """Put a worker, device, address, digest or phrase on a list. It counts from the next judgement on."""
    with house(home) as opened:
        now = opened.settings.now()
        entry = opened.listing.add(
            name, subject, value, reason=why, owner=by, now=now, expires_at=_end(now, days)
        )
        detail = {"list": name, "subject": subject, "value": value, "why": why, "days": days}
        opened.ledger.note(by, "list.added", entry, detail)
    people.print(f"{entry}: {subject} {value} is on the {name} list", markup=False)


@lists.command()
def snooze(
    rule: Annotated[str, typer.Argument(help="the rule's id")],
    subject: Subject,
    value: Value,
    case: Annotated[str, typer.Option("--case", help="the case that it comes from")],
    by: By,
    days: Annotated[float, typer.Option(help="how long it stands")] = 30.0,
    home: Home = None,
) -> None:
    """Silence one rule for one subject, from a case: its hits are told and add nothing."""
    with house(home) as opened:
        if rule not in opened.rulebook().by_id:
            raise UsageError("rules.no_such_rule", f"there is no rule {rule!r}")
        known = opened.ledger.export_frames()["cases"]["case_id"]
        if case not in set(known):
            raise UsageError("case.unknown", f"there is no case {case!r}")
        now = opened.settings.now()
        entry = opened.listing.snooze(
            rule, subject, value, case_id=case, owner=by, now=now,
            expires_at=now + timedelta(days=days),
        )  # fmt: skip
        detail = {"rule": rule, "subject": subject, "value": value, "case": case, "days": days}
        opened.ledger.note(by, "rule.snoozed", entry, detail)
    people.print(f"{entry}: {rule} is snoozed for {subject} {value}", markup=False)


@lists.command()
def end(
    entry_id: Annotated[str, typer.Argument(help="the entry's or the snooze's id")],
    by: By,
    why: Why,
    home: Home = None,
) -> None:
    """End an entry or a snooze now. It is kept, so that what it did can be read."""
    with house(home) as opened:
        opened.listing.end(entry_id, now=opened.settings.now())
        opened.ledger.note(by, "list.ended", entry_id, {"why": why})
    people.print(f"{entry_id} ended")


@lists.command()
def show(
    ended: Annotated[bool, typer.Option("--all", help="ended ones too")] = False,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Show what stands on the lists, and which rules are snoozed."""
    with house(home) as opened:
        rows = opened.listing.entries(standing_at=None if ended else opened.settings.now())
    if form is Format.json:
        for row in rows:
            write_json(row)
        return
    told = [
        (
            r["id"],
            r["what"],
            r["subject"],
            r["value"],
            r["why"],
            r["owner"],
            r["expires_at"] or "never",
        )
        for r in rows
    ]
    columns = ("id", "list or snoozed rule", "subject", "value", "why", "owner", "until")
    page.print(table(f"{len(rows)} entries", columns, told))


def _end(now: datetime, days: float | None) -> datetime | None:
    return None if days is None else now.astimezone(UTC) + timedelta(days=days)
