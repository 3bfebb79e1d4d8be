"""``ingest``, ``run``: taking a drop in, and taking it through the whole line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, progress, table, write_json

if TYPE_CHECKING:
    from pipeline.bootstrap import House
    from pipeline.line import LineReport
    from pipeline.stages.ingest import IngestReport

DropPath = Annotated[
    Path,
    typer.Argument(help="Folder with submissions.jsonl (.jsonl.gz, .csv, .parquet) and blobs/"),
]
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
HELD_SHOWN = 25


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(ingest)
    app.command()(run)


def ingest(drop: DropPath, form: AsFormat = Format.text, home: Home = None) -> None:
    """Take a drop in: check every row, store files once, quarantine what cannot be taken.

    Delivering a drop twice changes nothing. Exit status 1 says that some rows are in quarantine:
    see [bold]bountyguard quarantine list[/bold].
    """
    from pipeline.line import take_in

    with house(home) as opened, progress(form is Format.json) as advance:
        report = take_in(opened, drop, progress=advance)
    if form is Format.json:
        write_json(report.as_json())
    else:
        page.print(_ingest_table(report))
    raise typer.Exit(1 if report.quarantined else 0)


def run(
    drop: DropPath,
    form: AsFormat = Format.text,
    home: Home = None,
    payout: Annotated[
        bool, typer.Option("--settle/--no-settle", help="move credit and money as decided")
    ] = True,
) -> None:
    """Take a drop through the whole line: ingest, detect, score, decide, credit, settle.

    Killed at any moment and run again it ends in the same state. It prints what was held and why;
    exit status 1 says that some rows are in quarantine.
    """
    from pipeline.line import run_line

    with house(home) as opened:
        with progress(form is Format.json) as advance:
            report = run_line(opened, drop, pay=payout, progress=advance)
        if form is Format.json:
            write_json(report.as_json())
        else:
            _show_run(opened, report)
    raise typer.Exit(1 if report.ingest.quarantined else 0)


def _ingest_table(report: "IngestReport") -> object:
    rows = [(n, a.new, a.duplicate, a.quarantined) for n, a in report.tables.items()]
    return table("Taken in", ("table", "new", "duplicate", "quarantined"), rows)


def _show_run(opened: "House", report: "LineReport") -> None:
    page.print(_ingest_table(report.ingest))
    rows = [(name, count) for name, count in report.outcomes.items()]
    page.print(table("Decided", ("outcome", "submissions"), rows))
    money = [(m.currency, m.paid_minor, m.held_minor, m.declined_minor) for m in report.money]
    page.print(
        table("Money, in minor units (分, cents)", ("currency", "paid", "held", "declined"), money)
    )
    held = [
        (h["submission_id"], h["outcome"], h["score"], h["because"], h["matched"] or "")
        for h in report.held[:HELD_SHOWN]
    ]
    title = f"Held, and why ({len(held)} of {len(report.held)})"
    page.print(table(title, ("submission", "outcome", "score", "because", "like"), held))
    where = f" --home {opened.settings.home}"
    people.print("\nWhere to look next:")
    if held:
        people.print(f"  bountyguard explain {held[0][0]}{where}")
    people.print(f"  bountyguard export assessments --format jsonl{where}")
    if report.ingest.quarantined:
        people.print(f"  bountyguard quarantine list{where}")
