"""Credit (信用): a worker's standing, derived from the append-only entries of final decisions.

Beta reputation (Jøsang and Ismail 2002): r good and s bad experience give Beta(r + 1, s + 1). Task
grades open by its lower 5 % quantile; restrictions come from its upper 5 % quantile, so that nobody is
punished for being new. Nobody is suspended by a score: only by fraud that people confirmed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from pipeline.model import frames
from pipeline.model.money import CREDIT_ENTRIES

Level = Literal["open", "c_only", "suspended"]

HALF_LIFE_ACTIVE_DAYS: Final = 90
FRAUD_HALF_LIFE_DAYS: Final = 365
TASKS_PER_DAY: Final = 10
PUBLISHER_SHARE: Final = 0.20
PUBLISHER_FLOOR: Final = 8.0
"""Good experience that one publisher can always give, so that a first customer is worth something."""
B_FROM: Final = 0.70
A_FROM: Final = 0.90
RESTRICT_BELOW: Final = 0.60
SUSPEND_AT: Final = 2
CONCURRENT: Final[Mapping[str, int]] = {"A": 10, "B": 6, "C": 3}

STANDINGS: Final[frames.Schema] = {
    "worker_id": pl.String(),
    "score": pl.Int64(),
    "level": pl.String(),
    "grade": pl.String(),
    "concurrent_max": pl.Int64(),
    "good": pl.Float64(),
    "bad": pl.Float64(),
    "lower": pl.Float64(),
    "upper": pl.Float64(),
    "accepted": pl.Int64(),
    "confirmed": pl.Int64(),
    "overturned": pl.Int64(),
    "why": pl.String(),
}
"""One row a worker. ``score`` is 100 × the lower quantile; ``level`` says what they may take
(``open``, ``c_only``, ``suspended``), ``grade`` the hardest task grade open to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One entry as it counts now: what it says, times its weight, its age and the caps."""

    entry_id: str
    kind: str
    at: datetime
    publisher_id: str | None
    good: float
    bad: float
    note: str


def counted(entries: Sequence[Mapping[str, Any]], now: datetime) -> list[Counted]:
    """Say what each entry of one worker counts now, oldest first.

    Entries that were reversed, and their reversals, are as though they had never been: the caps are
    worked out without them. Ordinary entries halve every 90 days *on which the worker was active*,
    confirmed fraud every 365 days of the calendar.
    """
    undone = {e["reverses"] for e in entries if e["reverses"]}
    standing = sorted(
        (e for e in entries if e["entry_id"] not in undone and not e["reverses"]),
        key=lambda e: (e["at"], e["sequence"]),
    )
    days = sorted({e["at"].date() for e in standing})
    later = {day: len(days) - 1 - i for i, day in enumerate(days)}
    today: dict[object, int] = {}
    found = []
    for entry in standing:
        day = entry["at"].date()
        weight = entry["weight_permille"] / 1000.0
        if entry["kind"] == "confirmed_fraud":
            age = max(0.0, (now - entry["at"]) / timedelta(days=1))
            fade, note, weight = 0.5 ** (age / FRAUD_HALF_LIFE_DAYS), "", 1.0
        else:
            fade, note = 0.5 ** (later[day] / HALF_LIFE_ACTIVE_DAYS), ""
            if entry["r_milli"] and entry["kind"] != "quality_bonus":
                today[day] = today.get(day, 0) + 1
                if today[day] > TASKS_PER_DAY:
                    fade, note = 0.0, f"beyond {TASKS_PER_DAY} tasks of one day"
        found.append(
            Counted(
                entry_id=entry["entry_id"],
                kind=entry["kind"],
                at=entry["at"],
                publisher_id=entry["publisher_id"],
                good=entry["r_milli"] / 1000.0 * weight * fade,
                bad=entry["s_milli"] / 1000.0 * weight * fade,
                note=note,
            )
        )
    return _capped(found)


def _capped(found: list[Counted]) -> list[Counted]:
    """Scale down what one publisher gave beyond its share of all the good experience."""
    given: dict[str, float] = {}
    for c in found:
        given[c.publisher_id or ""] = given.get(c.publisher_id or "", 0.0) + c.good
    cap = max(PUBLISHER_FLOOR, _share_cap(list(given.values())))
    factor = {p: min(1.0, cap / total) if total else 1.0 for p, total in given.items()}
    return [
        c
        if factor[c.publisher_id or ""] == 1.0 or not c.good
        else Counted(
            entry_id=c.entry_id, kind=c.kind, at=c.at, publisher_id=c.publisher_id,
            good=c.good * factor[c.publisher_id or ""], bad=c.bad,
            note=c.note or "one publisher counts for at most a fifth",
        )
        for c in found
    ]  # fmt: skip


def _share_cap(totals: list[float]) -> float:
    """Return the largest c with c ≤ a fifth of Σ min(total, c): 0 where fewer than five gave any."""
    ordered = sorted(totals)
    rest = 0.0
    for i, total in enumerate(ordered):
        above = len(ordered) - i
        if above < 1.0 / PUBLISHER_SHARE:
            return PUBLISHER_SHARE * rest / (1.0 - PUBLISHER_SHARE * above)
        rest += total
    return ordered[-1] if ordered else 0.0


def standing(
    worker_id: str,
    entries: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
    real_name_verified: bool = False,
) -> dict[str, Any]:
    """Derive one worker's standing from their entries (rows of CREDIT_ENTRIES): a STANDINGS row."""
    from scipy.special import betaincinv

    parts = counted(entries, now)
    good, bad = sum(c.good for c in parts), sum(c.bad for c in parts)
    lower = float(betaincinv(good + 1.0, bad + 1.0, 0.05))
    upper = float(betaincinv(good + 1.0, bad + 1.0, 0.95))
    reversed_ids = {e["reverses"] for e in entries if e["reverses"]}
    confirmed = [c for c in parts if c.kind == "confirmed_fraud"]
    recent = [c for c in confirmed if now - c.at <= timedelta(days=FRAUD_HALF_LIFE_DAYS)]
    overturned = sum(
        e["kind"] == "confirmed_fraud" and e["entry_id"] in reversed_ids for e in entries
    )
    level, why = _level(len(recent), upper)
    grade = "C"
    if level == "open" and lower >= B_FROM:
        grade = "A" if lower >= A_FROM and real_name_verified else "B"
    concurrent = {"suspended": 0, "c_only": 1}.get(level, CONCURRENT[grade])
    return {
        "worker_id": worker_id,
        "score": int(100 * lower),
        "level": level,
        "grade": grade,
        "concurrent_max": concurrent,
        "good": good,
        "bad": bad,
        "lower": lower,
        "upper": upper,
        "accepted": sum(c.kind.startswith("accepted") for c in parts),
        "confirmed": len(confirmed),
        "overturned": overturned,
        "why": why or _why_grade(grade, lower, real_name_verified),
    }


def _level(recent_frauds: int, upper: float) -> tuple[Level, str]:
    if recent_frauds >= SUSPEND_AT:
        return "suspended", f"{recent_frauds} frauds confirmed by people within a year"
    if upper < RESTRICT_BELOW:
        return "c_only", f"even the upper quantile, {upper:.3f}, lies below {RESTRICT_BELOW}"
    return "open", ""


def _why_grade(grade: str, lower: float, real_name_verified: bool) -> str:
    if grade == "A":
        return f"the lower quantile, {lower:.3f}, has reached {A_FROM}"
    if grade == "B" and lower >= A_FROM and not real_name_verified:
        return "A tasks need a verified real name"
    following = A_FROM if grade == "B" else B_FROM
    return f"the lower quantile, {lower:.3f}, has not reached {following}"


def standings(
    entries: pl.DataFrame,
    worker_ids: Sequence[str],
    *,
    now: datetime,
    real_names: frozenset[str] = frozenset(),
) -> pl.DataFrame:
    """Derive the standing of each of those workers; one without entries stands as a newcomer."""
    frames.check(entries, CREDIT_ENTRIES, "credit: entries")
    by_worker: dict[str, list[dict[str, Any]]] = {w: [] for w in worker_ids}
    for row in entries.iter_rows(named=True):
        if row["worker_id"] in by_worker:
            by_worker[row["worker_id"]].append(row)
    rows = [
        standing(w, by_worker[w], now=now, real_name_verified=w in real_names)
        for w in sorted(by_worker)
    ]
    return pl.DataFrame(rows, schema=dict(STANDINGS))


def may_take(standing_row: Mapping[str, Any], task_grade: str | None, running: int) -> str | None:
    """Return why this worker may not take a task of that grade now; None where they may."""
    order = "CBA"
    wanted = task_grade if task_grade in ("A", "B", "C") else "C"
    if standing_row["level"] == "suspended":
        return "credit.suspended"
    if order.index(wanted) > order.index(standing_row["grade"]):
        return "credit.grade_closed"
    if running >= standing_row["concurrent_max"]:
        return "credit.too_many_running"
    return None
