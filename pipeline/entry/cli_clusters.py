"""``clusters``: groups of accounts that act as one: list them, show one, decide one for all members."""

from collections import defaultdict
from functools import partial
from typing import Annotated, Any

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import UsageError

clusters = typer.Typer(no_args_is_help=True, help="Groups of accounts: list, show, decide.")
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
ClusterId = Annotated[str, typer.Argument(help="the group's id, as in the evidence")]


@clusters.command("list")
def list_clusters(form: AsFormat = Format.text, home: Home = None) -> None:
    """List the groups that cases wait about: members, payouts and money at stake."""
    from pipeline.stores.exports import export

    with house(home) as opened:
        found = export(opened.database, "cases", more=opened.ledger.exports()).to_dicts()
    rows = grouped(r for r in found if r["cluster_id"] and r["state"] in ("open", "appealed"))
    if form is Format.json:
        for row in rows:
            write_json(row)
        return
    columns = ("cluster_id", "cases", "workers", "payouts", "money", "due_at")
    page.print(table(f"{len(rows)} groups", columns, [tuple(r[c] for c in columns) for r in rows]))


def grouped(rows: Any) -> list[dict[str, Any]]:
    """Sum the members of cases up by group, the one that is due first first."""
    by_group: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_group[row["cluster_id"]].append(row)
    told = []
    for cluster_id, members in by_group.items():
        money: dict[str, int] = defaultdict(int)
        for member in members:
            money[member["currency"] or "?"] += member["amount_minor"] or 0
        told.append(
            {"cluster_id": cluster_id, "cases": sorted({m["case_id"] for m in members}),
             "workers": len({m["worker_id"] for m in members}), "payouts": len(members),
             "money": dict(sorted(money.items())), "due_at": min(m["due_at"] for m in members)}
        )  # fmt: skip
    return sorted(told, key=lambda r: (r["due_at"], r["cluster_id"]))


@clusters.command()
def show(cluster_id: ClusterId, form: AsFormat = Format.text, home: Home = None) -> None:
    """Show every payout of a group, decided or not; ``explain`` on a submission draws the group."""
    from pipeline.stores.ledger_clusters import members_of_cluster

    with house(home) as opened:
        rows = opened.ledger.run(partial(members_of_cluster, cluster_id=cluster_id))
    if not rows:
        raise UsageError("cluster.unknown", f"no case is about a group {cluster_id!r}")
    if form is Format.json:
        for row in rows:
            write_json(row)
        return
    page.print(table(cluster_id, tuple(rows[0]), [tuple(r.values()) for r in rows]))


@clusters.command()
def decide(
    cluster_id: ClusterId,
    verdict: Annotated[str, typer.Argument(help="confirm, refuse or overturn")],
    person: Annotated[str, typer.Option(help="who decides")],
    reason: Annotated[str, typer.Option(help="why, for the record and the workers")],
    home: Home = None,
) -> None:
    """Decide all waiting cases of a group at once: every member's money, credit and standing."""
    from pipeline.review.cases import VERDICTS
    from pipeline.stores.ledger_clusters import decide_cluster

    if verdict not in VERDICTS:
        raise UsageError("case.verdict", f"a verdict is one of {', '.join(VERDICTS)}")
    with house(home) as opened:
        done = opened.ledger.run(
            partial(decide_cluster, cluster_id=cluster_id, verdict=verdict, person=person, reason=reason)
        )  # fmt: skip
    people.print(f"{cluster_id}: {verdict}, {len(done)} cases")
