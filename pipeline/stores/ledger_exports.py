"""The ledger's tables as frames in a fixed order, for ``bountyguard export`` and for reconciliation."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import polars as pl
import sqlalchemy as sa

from pipeline.model.frames import UTC, Schema
from pipeline.model.money import CREDIT_ENTRIES
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch
from pipeline.stores.tables import ledger as tables

Export = Callable[[Database, datetime | None], pl.DataFrame]
_S, _I, _B = pl.String(), pl.Int64(), pl.Boolean()

TRANSFERS: Final[Schema] = {
    "sequence": _I, "transfer_id": _S, "kind": _S, "phase": _S, "pending_id": _S,
    "debit_account": _S, "credit_account": _S, "amount_minor": _I, "currency": _S,
    "payout_key": _S, "submission_id": _S, "decision_id": _S, "made_at": UTC, "expires_at": UTC,
}  # fmt: skip
ACCOUNTS: Final[Schema] = {
    "account_id": _S, "kind": _S, "owner": _S, "currency": _S, "guarded": _B,
    "debits_posted": _I, "credits_posted": _I, "debits_pending": _I, "credits_pending": _I,
}  # fmt: skip
PAYOUTS: Final[Schema] = {
    "payout_key": _S, "task_id": _S, "worker_id": _S, "publisher_id": _S, "submission_id": _S,
    "revision": _I, "amount_minor": _I, "currency": _S, "attempt": _I, "state": _S,
    "disbursement": _S, "case_id": _S, "case_kind": _S, "case_state": _S, "changed_at": UTC,
    "kept_minor": _I, "kept_until": UTC,
}  # fmt: skip
HOLDS: Final[Schema] = {
    "payout_key": _S, "submission_id": _S, "task_id": _S, "worker_id": _S, "amount_minor": _I,
    "currency": _S, "state": _S, "case_id": _S, "case_kind": _S, "case_state": _S, "due_at": UTC,
}  # fmt: skip
CASES: Final[Schema] = {
    "case_id": _S, "kind": _S, "state": _S, "cluster_id": _S, "opened_at": UTC, "due_at": UTC,
    "payout_key": _S, "submission_id": _S, "worker_id": _S, "revision": _I, "outcome": _S,
    "score": _I, "reason_codes": pl.List(pl.String()), "rules": pl.List(pl.String()),
    "ruleset_digest": _S, "decision_id": _S, "amount_minor": _I, "currency": _S,
}  # fmt: skip
DECISIONS: Final[Schema] = {
    "case_id": _S, "ordinal": _I, "verdict": _S, "person": _S, "reason": _S, "appeal_id": _S,
    "at": UTC,
}  # fmt: skip
APPEALS: Final[Schema] = {
    "appeal_id": _S, "case_id": _S, "ordinal": _I, "worker_id": _S, "text": _S, "filed_at": UTC,
    "due_at": UTC,
}  # fmt: skip
REPORTS: Final[Schema] = {
    "report_id": _S, "reporter_id": _S, "submission_id": _S, "reason": _S, "weight_permille": _I,
    "filed_at": UTC,
}  # fmt: skip
STATEMENTS: Final[Schema] = {
    "decision_id": _S, "language": _S, "case_id": _S, "submission_id": _S, "worker_id": _S,
    "body": _S, "made_at": UTC,
}  # fmt: skip
AUDIT: Final[Schema] = {
    "sequence": _I, "at": UTC, "actor": _S, "action": _S, "subject": _S, "detail": _S,
    "previous_hash": _S, "hash": _S,
}  # fmt: skip
INSTRUCTIONS: Final[Schema] = {
    "sequence": _I, "settlement_id": _S, "submission_id": _S, "debit_account": _S,
    "credit_account": _S, "amount_minor": _I, "currency": _S, "decision_id": _S, "made_at": UTC,
    "expires_at": UTC,
}  # fmt: skip


def _table(table: sa.Table, schema: Schema, order: Sequence[str], since_column: str) -> Export:
    def export(database: Database, since: datetime | None) -> pl.DataFrame:
        query = sa.select(table)
        if since is not None:
            query = query.where(table.c[since_column] >= since)
        return _read(database, query, schema, order)

    return export


def _read(
    database: Database, query: sa.Select[tuple[object, ...]], schema: Schema, order: Sequence[str]
) -> pl.DataFrame:
    with database.read() as connection:
        return fetch(connection, query, schema).sort(list(order))


def accounts(database: Database, since: datetime | None) -> pl.DataFrame:
    """Every account with its sums; ``since`` changes nothing, a balance is of now."""
    return _read(database, sa.select(tables.accounts), ACCOUNTS, ["account_id"])


def holds(database: Database, since: datetime | None) -> pl.DataFrame:
    """What is not paid now and could be: held, waiting for analysis, or refused and still open."""
    p, c = tables.payouts, tables.cases
    query = (
        sa.select(p, c.c.due_at)
        .join(c, c.c.case_id == p.c.case_id, isouter=True)
        .where(
            sa.or_(
                p.c.state.in_(("held", "waiting")),
                sa.and_(p.c.state == "voided", p.c.case_state.in_(("open", "appealed"))),
            )
        )
    )
    if since is not None:
        query = query.where(p.c.changed_at >= since)
    return _read(database, query, HOLDS, ["payout_key"])


def cases(database: Database, since: datetime | None) -> pl.DataFrame:
    """One row for each payout that a case is about."""
    m, c = tables.case_members, tables.cases
    names = [n for n in CASES if n in m.c]
    query = sa.select(
        c.c.case_id,
        *(c.c[n] for n in CASES if n not in m.c),
        *(m.c[n] for n in names if n != "case_id"),
    ).join(m, m.c.case_id == c.c.case_id)
    if since is not None:
        query = query.where(c.c.opened_at >= since)
    return _read(database, query, CASES, ["opened_at", "case_id", "payout_key"])


def instructions(database: Database, since: datetime | None) -> pl.DataFrame:
    """What the payment provider is to carry out: disbursements that nobody has confirmed yet."""
    t = tables.transfers
    resolved = t.alias("resolved")
    query = (
        sa.select(t, t.c.transfer_id.label("settlement_id"))
        .join(resolved, resolved.c.pending_id == t.c.transfer_id, isouter=True)
        .where(t.c.kind == "disburse", t.c.phase == "pending", resolved.c.transfer_id.is_(None))
    )
    if since is not None:
        query = query.where(t.c.made_at >= since)
    return _read(database, query, INSTRUCTIONS, ["sequence"])


LEDGER_EXPORTS: Final[Mapping[str, Export]] = MappingProxyType(
    {
        "credit": _table(tables.credit_entries, CREDIT_ENTRIES, ["sequence"], "at"),
        "transfers": _table(tables.transfers, TRANSFERS, ["sequence"], "made_at"),
        "accounts": accounts,
        "payouts": _table(tables.payouts, PAYOUTS, ["payout_key"], "changed_at"),
        "holds": holds,
        "cases": cases,
        "case_decisions": _table(tables.case_decisions, DECISIONS, ["case_id", "ordinal"], "at"),
        "appeals": _table(tables.appeals, APPEALS, ["appeal_id"], "filed_at"),
        "reports": _table(tables.reports, REPORTS, ["report_id"], "filed_at"),
        "statements": _table(tables.statements, STATEMENTS, ["decision_id", "language"], "made_at"),
        "instructions": instructions,
        "audit": _table(tables.audit, AUDIT, ["sequence"], "at"),
    }
)


def reconcile(database: Database) -> list[str]:
    """Prove every account and payout from the transfers; return what does not agree.

    An empty list says: each account's four sums are those of its entries, debits equal credits in
    every currency, nothing guarded is overdrawn, each pending transfer is resolved at most once and
    by no more than it reserved, no payout was posted twice or paid out beyond what it brought, and what
    escrow and holdback hold is what payouts say that they hold.
    """
    moved = LEDGER_EXPORTS["transfers"](database, None)
    held = accounts(database, None)
    paid = LEDGER_EXPORTS["payouts"](database, None)
    return [
        *_accounts_agree(moved, held),
        *_phases_agree(moved),
        *_payouts_agree(moved, paid),
        *_shares_agree(database, held, "escrow"),
        *_shares_agree(database, held, "holdback"),
    ]


def _accounts_agree(moved: pl.DataFrame, held: pl.DataFrame) -> list[str]:
    first = moved.filter(pl.col("phase") == "pending").select(
        "transfer_id", pl.col("amount_minor").alias("reserved")
    )
    told = moved.join(first, left_on="pending_id", right_on="transfer_id", how="left").with_columns(
        posted=pl.when(pl.col("phase").is_in(["single", "post"])).then("amount_minor").otherwise(0),
        pending=pl.when(pl.col("phase") == "pending")
        .then("amount_minor")
        .otherwise(-pl.col("reserved").fill_null(0)),
    )
    sums = []
    for side in ("debit", "credit"):
        sums.append(
            told.group_by(f"{side}_account")
            .agg(
                pl.col("posted").sum().alias(f"{side}s_posted_"),
                pl.col("pending").sum().alias(f"{side}s_pending_"),
            )
            .rename({f"{side}_account": "account_id"})
        )
    both = held.join(sums[0], on="account_id", how="full", coalesce=True).join(
        sums[1], on="account_id", how="full", coalesce=True
    )
    names = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
    faults = []
    for row in both.sort("account_id").iter_rows(named=True):
        for name in names:
            if (row[name] or 0) != (row[f"{name}_"] or 0):
                faults.append(
                    f"{row['account_id']}: {name} is {row[name]}, its entries give {row[f'{name}_']}"
                )
        free = (
            (row["credits_posted"] or 0)
            - (row["debits_posted"] or 0)
            - (row["debits_pending"] or 0)
        )
        if row["guarded"] and free < 0:
            faults.append(f"{row['account_id']} is overdrawn by {-free}")
    for currency, *differences in held.group_by("currency").agg(
        pl.col("debits_posted").sum() - pl.col("credits_posted").sum(),
        pl.col("debits_pending").sum() - pl.col("credits_pending").sum(),
    ).iter_rows():  # fmt: skip
        if any(differences):
            faults.append(f"{currency}: debits and credits differ by {differences}")
    return faults


def _phases_agree(moved: pl.DataFrame) -> list[str]:
    reserved = dict(
        moved.filter(pl.col("phase") == "pending").select("transfer_id", "amount_minor").iter_rows()
    )
    faults, seen = [], set()
    ends = moved.filter(pl.col("pending_id").is_not_null())
    for name, amount in ends.select("pending_id", "amount_minor").iter_rows():
        if name not in reserved:
            faults.append(f"{name} was resolved and never reserved")
        elif amount > reserved[name]:
            faults.append(f"{name} reserved {reserved[name]} and moved {amount}")
        if name in seen:
            faults.append(f"{name} was resolved twice")
        seen.add(name)
    return faults


def _payouts_agree(moved: pl.DataFrame, paid: pl.DataFrame) -> list[str]:
    ends = moved.filter((pl.col("kind") == "payout") & (pl.col("phase") == "post"))
    counts = dict(ends["payout_key"].value_counts().iter_rows())
    faults = []
    for row in paid.iter_rows(named=True):
        times = counts.pop(row["payout_key"], 0)
        expected = 1 if row["state"] == "posted" and row["amount_minor"] else 0
        if times != expected:
            faults.append(
                f"payout {row['payout_key']} is {row['state']} and was posted {times} times"
            )
    faults += [f"payout {key} was posted and is not known" for key in sorted(counts)]
    return faults + _paid_out_beyond(moved)


def _paid_out_beyond(moved: pl.DataFrame) -> list[str]:
    """Name the payouts of which more has left than came in."""
    done = moved.filter(pl.col("phase").is_in(["single", "post"]))
    left = pl.col("debit_account").str.starts_with("payable:")
    came = pl.col("credit_account").str.starts_with("payable:")
    beyond = (
        done.group_by("payout_key")
        .agg(
            pl.col("amount_minor").filter(came).sum().alias("came"),
            pl.col("amount_minor").filter(left).sum().alias("left"),
        )
        .filter(pl.col("left") > pl.col("came"))
    )
    return [
        f"payout {key} brought {came} and {left} were paid out"
        for key, came, left in beyond.sort("payout_key").iter_rows()
    ]


def _shares_agree(database: Database, held: pl.DataFrame, kind: str) -> list[str]:
    """Hold what accounts of a kind hold against what the payouts say that lies there."""
    table = tables.payouts.c
    owner, amount = {
        "escrow": (table.task_id, table.funded_minor),
        "holdback": (table.worker_id, table.kept_minor),
    }[kind]
    query = (
        sa.select(owner, table.currency, sa.func.sum(amount))
        .where(amount != 0)
        .group_by(owner, table.currency)
    )
    with database.read() as connection:
        told = {(who, currency): int(n) for who, currency, n in connection.execute(query)}
    faults = []
    for row in held.filter(pl.col("kind") == kind).iter_rows(named=True):
        lies = row["credits_posted"] - row["debits_posted"]
        wanted = told.pop((row["owner"], row["currency"]), 0)
        if lies != wanted:
            faults.append(f"{row['account_id']} holds {lies}, its payouts say {wanted}")
    faults += [f"payouts say that {kind} of {who} holds {n}" for (who, _), n in told.items()]
    return faults
