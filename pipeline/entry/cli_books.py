"""``settle``, ``credit``, ``cases``, ``audit``: money, standing, decisions and their record."""

from typing import Annotated

import typer

from pipeline.entry.cli_clusters import clusters
from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import UsageError

cases = typer.Typer(no_args_is_help=True, help="Cases: list, decide.")
audit = typer.Typer(no_args_is_help=True, help="The audit chain: verify, checkpoint.")
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(settle)
    app.command()(credit)
    app.add_typer(cases, name="cases")
    app.add_typer(clusters, name="clusters")
    app.add_typer(audit, name="audit")


def settle(
    again: Annotated[
        str | None,
        typer.Option(
            metavar="PAYOUT", help="only instruct once more what of this payout came back"
        ),
    ] = None,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Move money and credit as decided, keep the deadlines, and prove the books.

    The same as the API does for one payout. A payment that the provider could not deliver, or that nobody
    confirmed within a week, stays payable: [bold]--again p_…[/bold] instructs it once more.
    Exit status 1 says that the books do not balance.
    """
    from pipeline.line import settle as settle_all

    with house(home) as opened:
        if again is not None:
            row = opened.ledger.again(again, actor="operator")
            settlement = f"disburse:{again}:{row['disbursements']}"
            if form is Format.json:
                write_json({"settlement_id": settlement})
            else:
                page.print(f"instructed as {settlement}", markup=False)
            return
        report = settle_all(opened)
        due = opened.ledger.keep_deadlines()
        faults = opened.ledger.reconcile()
    if form is Format.json:
        write_json({"done": report.done, "due": due, "unpriced": report.unpriced,
                    "unslotted": report.unslotted, "faults": faults})  # fmt: skip
    else:
        rows = [*report.done.items(), *due.items(), ("without a price", report.unpriced),
                ("beyond the task's slots", report.unslotted)]  # fmt: skip
        page.print(table("Settled", ("step", "payouts"), rows))
        for fault in faults:
            people.print(fault, markup=False, style="bold red")
        people.print(
            "every account agrees with its entries" if not faults else "the books do not balance"
        )
    raise typer.Exit(1 if faults else 0)


def credit(
    worker_id: Annotated[str, typer.Argument(help="the worker's id")],
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Show a worker's standing, why it stands where it stands, and every entry behind it."""
    with house(home) as opened:
        standing = opened.ledger.standing([worker_id]).to_dicts()[0]
        entries = opened.ledger.entries([worker_id]).to_dicts()
    if form is Format.json:
        write_json({"standing": standing, "entries": entries})
        return
    page.print(table(worker_id, ("", "standing"), list(standing.items())))
    columns = (
        "at",
        "kind",
        "r_milli",
        "s_milli",
        "submission_id",
        "decision_id",
        "rule",
        "reverses",
    )
    page.print(table("Entries", columns, [tuple(e[c] for c in columns) for e in entries]))


@cases.command("list")
def list_cases(
    state: Annotated[
        str | None, typer.Option(help="open, confirmed, overturned, appealed …")
    ] = "open",
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """List the cases that wait for a person, the most urgent first."""
    from pipeline.stores.exports import export

    with house(home) as opened:
        found = export(opened.database, "cases", more=opened.ledger.exports())
    rows = [r for r in found.to_dicts() if state in (None, "", r["state"])]
    rows.sort(key=lambda r: (str(r.get("due_at")), r["case_id"]))
    if form is Format.json:
        for row in rows:
            write_json(row)
        return
    columns = [c for c in ("case_id", "kind", "state", "due_at", "submission_id", "worker_id",
                           "score", "reason_codes", "amount_minor") if c in found.columns]  # fmt: skip
    page.print(table(f"{len(rows)} cases", columns, [tuple(r[c] for c in columns) for r in rows]))


@cases.command()
def decide(
    case_id: Annotated[str, typer.Argument(help="the case's id")],
    verdict: Annotated[str, typer.Argument(help="confirm or overturn")],
    person: Annotated[str, typer.Option(help="who decides")],
    reason: Annotated[str, typer.Option(help="why, for the record and the worker")],
    home: Home = None,
) -> None:
    """Decide a case: money, credit and standing move together, for every member of a cluster."""
    if verdict not in ("confirm", "overturn"):
        raise UsageError("case.verdict", "a verdict is confirm or overturn")
    with house(home) as opened:
        opened.ledger.decide(case_id, verdict, person=person, reason=reason)  # type: ignore[arg-type]
    people.print(f"{case_id}: {verdict}")


@audit.command()
def verify(form: AsFormat = Format.text, home: Home = None) -> None:
    """Walk the hash chain and its signed checkpoints. Exit status 1 says that something was changed."""
    with house(home) as opened:
        faults = opened.audit().verify(opened.audit_keys().verify_hex)
    if form is Format.json:
        write_json({"faults": faults})
    elif faults:
        for fault in faults:
            people.print(fault, markup=False, style="bold red")
    else:
        people.print("the chain is whole")
    raise typer.Exit(1 if faults else 0)


@audit.command()
def checkpoint(home: Home = None) -> None:
    """Sign the head of the chain and write it to the checkpoint file, best on other storage."""
    with house(home) as opened:
        made = opened.audit().checkpoint(
            opened.audit_keys().sign_hex, opened.settings.now(), force=True
        )
    people.print("nothing new to sign" if made is None else f"signed up to row {made.sequence}")
