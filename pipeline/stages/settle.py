"""Settle: from decisions to what the ledger is to do. Pure: the same facts give the same plan.

One payout a revision chain, judged by its newest submission; at most ``slots`` paid a task, earliest
first; nothing is paid twice, and what was paid is never flipped by a later finding: a case is opened.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
import polars as pl

from pipeline.model import frames, money
from pipeline.model.decisions import PAYS
from pipeline.model.money import (
    TAKES_A_SLOT,
    Action,
    ActionKind,
    Link,
    Parked,
    Plan,
    SettleFacts,
    payout_key,
    waits_only,
)

NO_CURRENCY: Final = "XXX"
"""ISO 4217's code for "no currency": of a held payout whose price is not known yet."""

CLUSTERED: Final = ("collusion.", "identity.")
OPEN: Final = frozenset({"open", "appealed"})
CLUSTER_CASES: Final = frozenset({"hold", "void", "late", "escalate", "refuse", "rehold"})
"""Steps that open a case in which the accounts of one group stand together."""


def plan(facts: SettleFacts) -> Plan:
    """Say what is to be done for each payout, earliest submission first."""
    frames.check(facts.submissions, money.CHAIN, "settle: submissions")
    frames.check(facts.tasks, money.PRICES, "settle: tasks")
    frames.check(facts.standing, money.STANDING, "settle: standing")
    frames.check(facts.payouts, money.PAYOUTS, "settle: payouts")
    frames.check(facts.taken, money.TAKEN, "settle: taken")
    judged = _judged(facts)
    live: dict[str, int] = dict(facts.taken.iter_rows())
    actions: list[Action] = []
    parked: dict[str, Parked] = {}
    for row in judged.iter_rows(named=True):
        kind = _step(row)
        if kind is None:
            continue
        if kind in ("post", "withdraw", "wait") and row["state"] != "posted" and not row["priced"]:
            parked[row["submission_id"]] = "unpriced"
            continue
        takes = row["state"] not in TAKES_A_SLOT and kind != "void"
        if takes and row["slots"] is not None:
            if live.get(row["task_id"], 0) >= row["slots"]:
                parked[row["submission_id"]] = "unslotted"
                continue
            live[row["task_id"]] = live.get(row["task_id"], 0) + 1
        actions.append(_action(kind, row))
    return Plan(actions=tuple(actions), parked=parked)


def restate(facts: SettleFacts, submission_ids: frozenset[str]) -> Plan:
    """Say what it takes, beyond ``plan``, to put these payouts where the newest evaluation wants them.

    ``plan`` never changes the kind of a case that is open; a recall does, as long as no person has
    decided it. Money that was paid stays paid.
    """
    judged = _judged(facts).filter(pl.col("submission_id").is_in(sorted(submission_ids)))
    actions = [
        _action(kind, row)
        for row in judged.iter_rows(named=True)
        if (kind := _restated(row)) is not None
    ]
    return Plan(actions=tuple(actions))


_RESTATED: Final[Mapping[tuple[str, str, str, str], ActionKind]] = {
    ("posted", "look", "open", "block_and_review"): "escalate",
    ("posted", "look", "open", "decline"): "escalate",
    ("held", "hold", "open", "decline"): "refuse",
    ("voided", "decline", "open", "block_and_review"): "rehold",
}
"""By the payout's state, the kind and state of its case, and the outcome now."""


def _restated(row: Mapping[str, Any]) -> ActionKind | None:
    if row["state"] is None or row["revision"] == row["acted_revision"]:
        return None
    if waits_only(row["outcome"], row["risk_level"], row["reason_codes"]):
        return None
    return _RESTATED.get((row["state"], row["case_kind"], row["case_state"], row["outcome"]))


def _judged(facts: SettleFacts) -> pl.DataFrame:
    """Return one row a payout that is asked for: its newest submission, evaluation, price and state.

    A submission that is not the newest of its chain asks for nothing.
    """
    chained = facts.submissions.with_columns(_keys(facts).alias("payout_key"))
    newest = (
        chained.sort("submitted_at", "submission_id")
        .group_by("payout_key", maintain_order=True)
        .last()
        .filter(pl.col("submission_id").is_in(sorted(facts.asked)))
    )
    return (
        newest.join(facts.standing, on="submission_id", how="inner")
        .join(_priced(facts.tasks, facts.medians), on="task_id", how="left")
        .join(
            facts.payouts.select(
                "payout_key", "state", "case_kind", "case_state", "decided_codes",
                pl.col("submission_id").alias("acted_submission"),
                pl.col("revision").alias("acted_revision"),
            ),
            on="payout_key",
            how="left",
        )
        .with_columns(
            pl.col("priced").fill_null(False),
            pl.col("bounty_minor").fill_null(0),
            pl.col("currency").fill_null(NO_CURRENCY),
            pl.col("weight_permille").fill_null(1000),
            on_time=(pl.col("submitted_at") <= pl.col("deadline_at")).fill_null(True),
        )
        .sort("submitted_at", "submission_id")
    )  # fmt: skip


def _keys(facts: SettleFacts) -> pl.Series:
    """Name the payout of each submission; a chain that was acted upon keeps the name it had then."""
    revised = facts.submissions.filter(pl.col("supersedes").is_not_null())
    ids = revised["submission_id"].to_list() + revised["supersedes"].to_list()
    near = facts.submissions.filter(
        pl.col("submission_id").is_in(pl.Series(ids, dtype=pl.String).implode())
    )
    links = {
        sid: Link(task, worker, parent)
        for sid, task, worker, parent in near.select(
            "submission_id", "task_id", "worker_id", "supersedes"
        ).iter_rows()
    }
    keys = [
        payout_key(sid, task, worker, links.get)
        for sid, task, worker in facts.submissions.select(
            "submission_id", "task_id", "worker_id"
        ).iter_rows()
    ]
    made = facts.submissions.select("submission_id").with_columns(
        pl.Series("made", keys, pl.String)
    )
    known = made.join(facts.members, on="submission_id", how="inner")
    adopted = known.group_by("made").agg(pl.col("payout_key").min())
    return made.join(adopted, on="made", how="left", maintain_order="left").select(
        pl.coalesce("payout_key", "made").alias("payout_key")
    )["payout_key"]


def _priced(tasks: pl.DataFrame, medians: pl.DataFrame) -> pl.DataFrame:
    """Add whether the price is known and sane, and a task's weight beside the median bounty."""
    known = (
        pl.col("bounty_minor").is_not_null()
        & pl.col("currency").is_not_null()
        & (pl.col("bounty_minor") <= money.AMOUNT_MAX)
    )
    median = pl.col("median_minor")
    weight = (
        pl.when(known & (median > 0))
        .then((pl.col("bounty_minor") * 1000.0 / median).clip(0, 1000).floor())
        .otherwise(1000.0)
    )
    return (
        tasks.join(medians, on="currency", how="left", maintain_order="left")
        .with_columns(
            priced=known,
            weight_permille=weight.fill_null(1000).cast(pl.Int64),
            bounty_minor=pl.when(known).then("bounty_minor"),
            currency=pl.when(known).then("currency"),
        )
        .drop("median_minor")
    )


def _step(row: Mapping[str, Any]) -> ActionKind | None:
    """Say what a payout in this state calls for under the newest evaluation; None for nothing."""
    state, case = row["state"], row["case_state"]
    pays = row["outcome"] in PAYS
    waits = waits_only(row["outcome"], row["risk_level"], row["reason_codes"])
    if state == "posted":
        return _step_of_paid(row, pays, waits)
    if state is None or (state == "waiting" and case is None):
        if pays:
            return "post"
        if waits:
            return None if state == "waiting" else "wait"
        return "void" if row["outcome"] == "decline" else "hold"
    if state == "waiting":
        return "post" if case == "overturned" else None
    undecided = case == "open"
    return "withdraw" if pays and undecided else None


def _step_of_paid(row: Mapping[str, Any], pays: bool, waits: bool) -> ActionKind | None:
    """Say what paid work calls for. Only a case that no person has decided begins or ends by this."""
    case, codes = row["case_state"], set(row["reason_codes"])
    acted = (row["acted_submission"], row["acted_revision"])
    same = acted == (row["submission_id"], row["revision"])
    judged_already = codes <= set(row["decided_codes"] or ())
    if pays and case == "open":
        if row["case_kind"] == "late":
            return "withdraw"
        return "clear" if row["case_kind"] == "look" and row["outcome"] == "approve" else None
    if pays:
        undecided = case in (None, "withdrawn") and not (codes and judged_already)
        return "look" if row["outcome"] == "review" and undecided and not same else None
    return None if waits or same or judged_already or case in OPEN else "late"


def _action(kind: ActionKind, row: Mapping[str, Any]) -> Action:
    return Action(
        kind=kind,
        payout_key=row["payout_key"],
        submission_id=row["submission_id"],
        revision=row["revision"],
        outcome=row["outcome"],
        task_id=row["task_id"],
        worker_id=row["worker_id"],
        publisher_id=row["publisher_id"],
        amount_minor=row["bounty_minor"],
        currency=row["currency"],
        slots=row["slots"],
        reason_codes=tuple(row["reason_codes"]),
        ruleset_digest=row["ruleset_digest"],
        rules=tuple(rules_of(row["arithmetic"])),
        score=row["score"],
        cluster_id=cluster_of(row["signals"]) if kind in CLUSTER_CASES else None,
        on_time=row["on_time"],
        weight_permille=row["weight_permille"],
    )


def rules_of(arithmetic: str | None) -> Iterable[str]:
    """Name the rules that counted in an evaluation, in the order of its arithmetic."""
    if not arithmetic:
        return ()
    told = orjson.loads(arithmetic)
    return [r["rule"] for r in told.get("rules", ()) if r.get("state") == "counted"]


def cluster_of(signals: str | None) -> str | None:
    """Name the group of accounts that the strongest finding about a group speaks of."""
    if not signals:
        return None
    named = [
        (-float(s["strength"]), str(cluster))
        for s in orjson.loads(signals)
        if str(s["reason_code"]).startswith(CLUSTERED)
        and (cluster := _cluster_name(s.get("evidence")))
    ]
    return min(named)[1] if named else None


def _cluster_name(evidence: object) -> str | None:
    told = orjson.loads(evidence) if isinstance(evidence, str) else evidence
    if not isinstance(told, dict):
        return None
    found = told.get("cluster_id") or told.get("cluster")
    if isinstance(found, dict):
        found = found.get("cluster_id") or found.get("id")
    return found[:128] if isinstance(found, str) and found else None
