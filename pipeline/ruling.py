"""The life of the rulebook on a platform: steps of rules, going back, stepping back by itself, recall.

Everything here changes which rulebook is in force, or answers what an earlier one did; nothing edits
the rule files. Each change is written into the audit chain, with who made it and why.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import orjson
import polars as pl

from pipeline.assess import rejudge
from pipeline.bootstrap import House, rulebook_of
from pipeline.line import facts, judge, labels_of, settle
from pipeline.model.errors import UsageError
from pipeline.rulebook import Rulebook
from pipeline.rulebook.facts import slices
from pipeline.rulebook.life import COUNTS, RECORD, Step, Tripped, breaker, take
from pipeline.rulebook.recall import DECISIONS, Recall
from pipeline.rulebook.recall import recall as recalled
from pipeline.rulebook.risk import Promise, promise
from pipeline.stages.settle import restate
from pipeline.stores.exports import export

BREAKER: Final = "system:breaker"
WATCHED: Final = timedelta(days=7)
"""How far back the breaker counts hits."""
BY_PERSON: Final = ("confirmed", "overturned", "appealed", "lapsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What became of a step: the rulebook in force now, and whether it still waits for approval."""

    rulebook: Rulebook
    waits: bool


def step(house: House, wanted: Step) -> Stepped:
    """Take a step in a rule's life, or keep it as proposed until enough people stand behind it.

    How many a rule needs to count is ``BOUNTYGUARD_RULE_APPROVALS`` (1). Somebody else who asks for
    the same step approves it. Raises ``UsageError`` as ``life.take`` does.
    """
    current = house.rulebook()
    before = house.rulebooks.proposed(wanted)
    behind = tuple(sorted({*wanted.approved_by, *before} - {wanted.by}))
    agreed = Step(
        rule=wanted.rule, to=wanted.to, by=wanted.by, why=wanted.why, share=wanted.share,
        approved_by=behind,
    )  # fmt: skip
    needed = house.settings.rule_approvals
    take(current, agreed)  # a step that cannot be is refused at once, whoever approves
    if agreed.to in COUNTS and len({agreed.by, *behind}) < needed:
        house.rulebooks.propose(agreed)
        house.ledger.note(agreed.by, "rule.proposed", agreed.rule, _detail(agreed))
        return Stepped(rulebook=current, waits=True)
    after = take(current, agreed, approvals_min=needed)
    house.rulebooks.step(
        rulebook_of(house.settings), after, agreed.rule,
        by=agreed.by, why=agreed.why, approved_by=behind,
    )  # fmt: skip
    detail = _detail(agreed) | {"before": current.digest, "after": after.digest}
    house.ledger.note(agreed.by, "rule.stepped", agreed.rule, detail)
    return Stepped(rulebook=after, waits=False)


def _detail(taken: Step) -> dict[str, object]:
    return {
        "to": taken.to, "share": taken.share, "why": taken.why, "approved_by": list(taken.approved_by),
    }  # fmt: skip


def roll_back(house: House, digest: str | None, *, by: str, why: str) -> Rulebook:
    """Put an earlier revision in force, whole; None gives the word back to the rule files.

    What is judged from then on is judged by it; ``rules use`` judges anew what is known, ``recall``
    undoes what the other revision did. Raises ``UsageError('rules.no_such_revision')``.
    """
    before = house.rulebook()
    found = None if digest is None else house.rulebooks.find(digest).digest
    house.rulebooks.pin(found)
    house.rulebooks.forget_steps()
    after = house.rulebook()
    detail = {"before": before.digest, "after": after.digest, "why": why}
    house.ledger.note(by, "rules.rolled_back", after.digest, detail)
    return after


def trip(house: House) -> tuple[Tripped, ...]:
    """Move every rule that passed its limits to shadow, by itself, and say so in the audit chain."""
    current = house.rulebook()
    after, tripped = breaker(current, record_of(house, current))
    written = rulebook_of(house.settings)
    for one in tripped:
        house.rulebooks.step(written, after, one.rule, by=BREAKER, why=one.why)
        house.ledger.note(BREAKER, "rule.tripped", one.rule, {"why": one.why})
    return tripped


def record_of(house: House, book: Rulebook) -> pl.DataFrame:
    """Say how each rule has done lately: hits in a week of handing in, and how cases were decided."""
    since = house.settings.now() - WATCHED
    recent = export(house.database, "assessments", since=since)["arithmetic"]
    hits: Counter[str] = Counter()
    for told in recent:
        rules = orjson.loads(told).get("rules", ())
        hits.update({r["rule"] for r in rules if r["state"] == "counted"})
    decided = {r.rule: r for r in house.ledger.rule_records()}
    rows = [
        (
            rule.id,
            recent.len(),
            hits[rule.id],
            decided[rule.id].decided if rule.id in decided else 0,
            decided[rule.id].overturned if rule.id in decided else 0,
        )
        for rule in book.rules
    ]
    return pl.DataFrame(rows, schema=dict(RECORD), orient="row")


def preview(house: House, digest: str) -> Recall:
    """Say what recalling a revision would undo, as the rulebook in force would decide it now.

    Raises ``UsageError``: ``rules.no_such_revision``, and ``rules.in_force`` for the revision that is
    in force, which first must be stepped, edited or rolled back.
    """
    bad, now = house.rulebooks.find(digest), house.rulebook()
    if bad.digest == now.digest:
        raise UsageError(
            "rules.in_force",
            f"{bad.digest[:16]} is in force; roll back or mend it first, then recall what it did",
        )
    made = _acted(house).filter(pl.col("ruleset_digest") == bad.digest)
    known = facts(house, now, made["submission_id"].to_list())
    return recalled(bad.digest, made, rejudge(known, now).select("submission_id", "outcome"))


def recall(house: House, digest: str, *, by: str, why: str) -> Recall:
    """Undo what a revision did: judge its submissions anew, and move money and credit after it.

    What people decided stays. Money that was paid stays paid; where it should not have been, a case
    is opened. Run again after a kill it goes on where it stopped.
    """
    undo = preview(house, digest)
    ids = [*undo.actions["submission_id"], *undo.kept["submission_id"]]
    house.work.queue(ids, depth=2)
    judge(house)
    settle(house)
    house.ledger.settle(partial(restate, submission_ids=frozenset(ids)), only=ids)
    detail = {"why": why, "decisions": undo.actions.height, "workers": undo.workers}
    house.ledger.note(by, "rules.recalled", undo.digest, detail)
    return undo


def _acted(house: House) -> pl.DataFrame:
    """Return the decision that each payout was last acted upon: a DECISIONS frame."""
    payouts = house.ledger.export_frames()["payouts"]
    made = house.rulebooks.decisions(payouts["submission_id"].to_list())
    joined = payouts.join(made, on=["submission_id", "revision"], how="inner")
    return joined.select(
        pl.col("payout_key").alias("decision_id"),
        "submission_id", "worker_id", "ruleset_digest", "outcome", "amount_minor", "currency",
        pl.col("case_state").is_in(BY_PERSON).fill_null(False).alias("by_person"),
    ).select(list(DECISIONS))  # fmt: skip


def promised(house: House, *, labels: pl.DataFrame | None = None) -> Promise:
    """Set the hold thresholds that keep the share of honest payouts held under the rulebook's α.

    ``labels`` has ``submission_id`` and ``label``; by default what people decided, and as honest what
    was paid and that nobody has doubted since. The promise holds for this revision of the rulebook.
    """
    book = house.rulebook()
    told = labels_of(house) if labels is None else labels
    if labels is None:
        told = pl.concat([told, _undoubted(house, told)])
    honest = told.filter(pl.col("label") == "honest")["submission_id"].to_list()
    known = facts(house, book, honest)
    scores = rejudge(known, book).select("submission_id", "score")
    named = slices(known, book.names, book.slices).to_list()
    made = promise(scores["score"].to_numpy(), named, book.alpha)
    house.rulebooks.promise(book.digest, made)
    return made


def _undoubted(house: House, told: pl.DataFrame) -> pl.DataFrame:
    paid = house.ledger.export_frames()["payouts"].filter(
        (pl.col("state") == "posted") & pl.col("case_state").is_null()
    )
    fresh = paid.join(told, on="submission_id", how="anti")
    return fresh.select("submission_id", pl.lit("honest").alias("label"))
