"""The life of a rule: which step may follow which, who must agree, and when a rule steps back itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import polars as pl

from pipeline.model.errors import UsageError
from pipeline.rulebook.book import Rulebook, Status

STEPS: Final[Mapping[Status, frozenset[Status]]] = MappingProxyType(
    {
        "draft": frozenset({"shadow", "archived"}),
        "shadow": frozenset({"rollout", "live", "paused", "archived", "draft"}),
        "rollout": frozenset({"rollout", "live", "shadow", "paused", "archived"}),
        "live": frozenset({"rollout", "shadow", "paused", "archived"}),
        "paused": frozenset({"shadow", "rollout", "live", "archived"}),
        "archived": frozenset(),
    }
)
"""What may follow. A rule is seen in shadow before it counts; an archived id is never used again."""

COUNTS: Final = frozenset({"rollout", "live"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of a rule's status: to what, by whom, approved by whom, and why."""

    rule: str
    to: Status
    by: str
    why: str
    share: float = 100.0
    approved_by: tuple[str, ...] = ()


def take(rulebook: Rulebook, step: Step, *, approvals_min: int = 1) -> Rulebook:
    """Return the rulebook after a step; its digest names the new revision.

    ``approvals_min`` people other than each other must stand behind a step that makes a rule count
    (2 for the four-eyes option); stepping back needs one. Raises ``UsageError`` with the codes
    ``rules.no_such_rule``, ``rules.no_such_step``, ``rules.not_approved``, ``rules.share``.
    """
    rule = rulebook.by_id.get(step.rule)
    if rule is None:
        raise UsageError("rules.no_such_rule", f"there is no rule {step.rule!r}")
    if step.to not in STEPS[rule.status]:
        may = ", ".join(sorted(STEPS[rule.status])) or "nothing"
        raise UsageError(
            "rules.no_such_step",
            f"{rule.id} is {rule.status}: after that comes {may}, not {step.to}",
        )
    if not 0.0 <= step.share <= 100.0:
        raise UsageError("rules.share", f"a share lies between 0 and 100, not {step.share}")
    behind = {step.by, *step.approved_by}
    if step.to in COUNTS and len(behind) < approvals_min:
        raise UsageError(
            "rules.not_approved",
            f"{rule.id} to {step.to} needs {approvals_min} people, {len(behind)} stand behind it",
        )
    share = step.share if step.to == "rollout" else 100.0
    return rulebook.with_status({rule.id: (step.to, share)})


RECORD: Final = {
    "rule": pl.String(),
    "judged": pl.Int64(),
    "hits": pl.Int64(),
    "decided": pl.Int64(),
    "overturned": pl.Int64(),
}
"""How a rule has done lately: submissions ``judged`` and ``hits`` among them; cases it led to that
were ``decided``, and ``overturned`` of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A rule that passed its limit and steps back to shadow; ``why`` says so for the log."""

    rule: str
    why: str


def breaker(rulebook: Rulebook, record: pl.DataFrame) -> tuple[Rulebook, tuple[Tripped, ...]]:
    """Move every counting rule whose overturns or hits pass its limits to shadow, and say why.

    ``record`` is a RECORD frame. Where nothing trips the rulebook is returned as it is.
    """
    tripped: list[Tripped] = []
    for row in record.sort("rule").iter_rows(named=True):
        rule = rulebook.by_id.get(row["rule"])
        if rule is None or rule.status not in COUNTS:
            continue
        limits = rule.limits
        reasons: list[str] = []
        if row["decided"] >= limits.overturned_min:
            share = row["overturned"] / row["decided"]
            if share > limits.overturned_max:
                reasons.append(
                    f"{row['overturned']} of {row['decided']} decided cases were overturned "
                    f"({share:.0%}, the limit is {limits.overturned_max:.0%})"
                )
        if row["judged"] >= limits.hits_min:
            share = row["hits"] / row["judged"]
            if share > limits.hits_max:
                reasons.append(
                    f"it hit {row['hits']} of {row['judged']} submissions "
                    f"({share:.0%}, the limit is {limits.hits_max:.0%})"
                )
        if reasons:
            tripped.append(Tripped(rule=rule.id, why=f"to shadow: {'; '.join(reasons)}"))
    if not tripped:
        return rulebook, ()
    return rulebook.with_status({t.rule: ("shadow", 100.0) for t in tripped}), tuple(tripped)


def rollback(revisions: Sequence[Rulebook], digest: str) -> Rulebook:
    """Return the revision with that digest (or its unambiguous beginning, 8 characters and more).

    Raises ``UsageError('rules.no_such_revision')``.
    """
    found = {r.digest: r for r in revisions if len(digest) >= 8 and r.digest.startswith(digest)}
    if len(found) != 1:
        told = "no revision" if not found else "more than one revision"
        raise UsageError("rules.no_such_revision", f"{told} is named {digest!r}")
    return next(iter(found.values()))
