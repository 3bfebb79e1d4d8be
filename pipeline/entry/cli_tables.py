"""``export`` and ``quarantine``: what is kept, handed out; what could not be taken, mended."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import FileFormat, Format, page, people, table, write_frame, write_json
from pipeline.model.errors import UsageError

quarantine = typer.Typer(
    no_args_is_help=True, help="Rows that could not be taken: list, show, replay."
)


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(export)


def export(
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="assessments, signals, quarantine …")
    ],
    form: Annotated[FileFormat, typer.Option("--format")] = FileFormat.jsonl,
    since: Annotated[str | None, typer.Option(help="RFC 3339 time or date")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a file instead of the screen")
    ] = None,
    home: Home = None,
) -> None:
    """Print a table as JSON Lines, CSV or Parquet, always in the same order.

    Tables: assessments, evaluations, signals, abstentions, quarantine, submissions, tasks, workers,
    contents, segments, assets, deliveries, and of the ledgers credit, transfers, holds, cases, audit.
    """
    from pipeline.stores.exports import export as export_frame

    with house(home) as opened:
        frame = export_frame(
            opened.database, name, since=_instant(since), more=opened.ledger.exports()
        )
    write_frame(frame, form, output)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "export.bad_time", f"--since {text!r} is no RFC 3339 time or date"
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@quarantine.command("list")
def list_(
    form: Annotated[Format, typer.Option("--format")] = Format.text,
    code: Annotated[str | None, typer.Option(help="only this code, e.g. row.bad_json")] = None,
    everything: Annotated[bool, typer.Option("--all", help="those already replayed too")] = False,
    home: Home = None,
) -> None:
    """List the rows that could not be taken, with file, line, code and reason."""
    with house(home) as opened:
        rows = opened.quarantine.list(code=code, open_only=not everything)
    if form is Format.json:
        for row in rows:
            write_json({k: v for k, v in row.items() if k != "raw"})
        return
    columns = ("quarantine_id", "file", "line", "row_id", "code", "reason", "status")
    shown = [tuple(r[c] if c != "quarantine_id" else r[c][:12] for c in columns) for r in rows]
    page.print(table(f"Quarantine: {len(rows)} rows", columns, shown))


@quarantine.command()
def show(
    quarantine_id: Annotated[str, typer.Argument(help="the id, or its first characters")],
    form: Annotated[Format, typer.Option("--format")] = Format.text,
    home: Home = None,
) -> None:
    """Show one row as it was delivered, and what is wrong with it."""
    with house(home) as opened:
        row = opened.quarantine.get(quarantine_id)
    if form is Format.json:
        write_json(row)
        return
    page.print(
        table(
            row["quarantine_id"], ("field", "value"), [(k, v) for k, v in row.items() if k != "raw"]
        )
    )
    page.print(row["raw"], markup=False, soft_wrap=True)


@quarantine.command()
def replay(
    quarantine_id: Annotated[
        str | None, typer.Argument(help="one row; without it, all open rows")
    ] = None,
    mended: Annotated[
        Path | None, typer.Option("--with", help="file with the mended row as JSON")
    ] = None,
    drop: Annotated[Path | None, typer.Option(help="the drop whose blobs the row names")] = None,
    form: Annotated[Format, typer.Option("--format")] = Format.text,
    home: Home = None,
) -> None:
    """Take rows in again, as they are or mended; those that are taken leave the quarantine.

    Judge them afterwards with [bold]bountyguard run[/bold] on any drop, or on the same one.
    """
    if mended is not None and quarantine_id is None:
        raise UsageError("quarantine.which", "--with mends one row: name its id")
    with house(home) as opened:
        report = opened.quarantine.replay(
            quarantine_id,
            mended=mended.read_bytes() if mended else None,
            drop=drop,
            intake=opened.intake,
            decoder=opened.decoder,
        )
    if form is Format.json:
        write_json({"taken": report.taken, "still": report.still})
    else:
        people.print(f"{len(report.taken)} taken in, {len(report.still)} still in quarantine")
    raise typer.Exit(1 if report.still else 0)
