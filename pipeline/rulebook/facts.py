"""What is known of submissions when they are judged, and the columns that rules read of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.model import frames
from pipeline.rulebook.names import DTYPES, GROUPS, SOFT, SUBJECTS, SURE, WORTH_A_LOOK, Field

LISTS: Final[frames.Schema] = {
    "list": pl.String(),
    "subject": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),
    "owner": pl.String(),
    "added_at": frames.UTC,
    "expires_at": frames.UTC,
}
"""One entry a row: ``list`` allow, block or watch; ``subject`` one of ``names.SUBJECTS``; ``value``
the id, digest or phrase; ``expires_at`` null for never."""

SNOOZES: Final[frames.Schema] = {
    "rule": pl.String(),
    "subject": pl.String(),
    "value": pl.String(),
    "case_id": pl.String(),
    "owner": pl.String(),
    "added_at": frames.UTC,
    "expires_at": frames.UTC,
}
"""One rule silenced for one subject, from a case. A snoozed hit is told, and adds nothing."""

PAID: Final[frames.Schema] = {"submission_id": pl.String()}
CREDIT: Final[frames.Schema] = {"worker_id": pl.String()}
COUNTERS: Final[frames.Schema] = {"submission_id": pl.String()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFacts:
    """Everything that ``score`` reads. Only ``submissions`` decides which rows come out.

    ``submissions``, ``tasks``, ``workers``, ``signals``, ``abstentions``, ``contents`` follow
    ``pipeline.model.frames``. ``credit`` has ``worker_id`` and any of ``score``, ``level``, ``grade``,
    ``accepted``, ``confirmed``, ``overturned``. ``counters`` has ``submission_id`` and one column a
    counter (``counters.count`` makes it). ``paid`` names the submissions that were paid. Entries of
    ``lists`` and ``snoozes`` count while they stand at ``at``; where that is None, all of them.
    A name whose facts are absent is *unknown*, which no rule takes for "no".
    """

    submissions: pl.DataFrame
    tasks: pl.DataFrame
    workers: pl.DataFrame
    signals: pl.DataFrame
    abstentions: pl.DataFrame
    credit: pl.DataFrame = field(default_factory=lambda: frames.empty(CREDIT))
    counters: pl.DataFrame = field(default_factory=lambda: frames.empty(COUNTERS))
    lists: pl.DataFrame = field(default_factory=lambda: frames.empty(LISTS))
    contents: pl.DataFrame = field(default_factory=lambda: frames.empty(frames.CONTENTS))
    paid: pl.DataFrame = field(default_factory=lambda: frames.empty(PAID))
    snoozes: pl.DataFrame = field(default_factory=lambda: frames.empty(SNOOZES))
    at: datetime | None = None


def features(
    facts: ScoreFacts, names: Mapping[str, Field], wanted: Collection[str]
) -> pl.DataFrame:
    """Make one row a submission, in the order of ``facts.submissions``, one column a wanted name.

    Doubles are never NaN (they become null). Raises ``KeyError`` for a name that does not exist.
    """
    base = _base(facts, wanted)
    signal = _signal_columns(facts, base, wanted)
    listed = _listed(facts, base) if any(n.startswith("listed.") for n in wanted) else {}
    columns: list[pl.Series] = []
    for name in sorted(wanted):
        dtype = DTYPES[names[name].type]
        default = names[name].default
        if name in signal:
            series = pl.Series(name, signal[name]).cast(dtype)
        elif name in listed:
            series = listed[name].alias(name)
        elif name in base.columns:
            series = base[name].cast(dtype, strict=False)
        else:
            series = pl.Series(name, [default], dtype=dtype).new_from_index(0, base.height)
        series = series.fill_nan(None) if dtype == pl.Float64() else series
        columns.append(series.alias(name))
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=base.height)


def slices(facts: ScoreFacts, names: Mapping[str, Field], by: Collection[str]) -> pl.Series:
    """Name the slice of each submission, by which false holds are promised: ``A``, ``A/open`` …

    ``by`` are the names of ``Rulebook.slices``; a value that is not known is written ``?``.
    """
    columns = features(facts, names, by)
    if not columns.columns:
        return pl.Series("slice", [""]).new_from_index(0, facts.submissions.height)
    parts = [pl.col(name).cast(pl.String).fill_null("?") for name in sorted(by)]
    return columns.select(pl.concat_str(parts, separator="/").alias("slice"))["slice"]


def subjects(facts: ScoreFacts) -> pl.DataFrame:
    """Return what list entries and snoozes may name, one row a submission."""
    base = _base(facts, _SUBJECT_COLUMNS.values())
    return base.select(
        "submission_id",
        *(pl.col(column).alias(subject) for subject, column in _SUBJECT_COLUMNS.items()),
    )


_SUBJECT_COLUMNS: Final[Mapping[str, str]] = {
    "worker": "worker_id",
    "device": "submission.device_id",
    "ip": "submission.ip",
    "payout": "payout_account_hash",
    "publisher": "task.publisher_id",
    "task": "task_id",
}


def _base(facts: ScoreFacts, wanted: Collection[str]) -> pl.DataFrame:
    """Join what is known to the submissions, as far as the wanted names need it."""
    tasks = facts.tasks.select(
        "task_id",
        *(pl.col(c).alias(f"task.{c}") for c in _TASK_COLUMNS),
        pl.col("site_lat").is_not_null().alias("task.on_site"),
        pl.col("deadline_at").alias("_deadline"),
    ).unique("task_id", keep="first", maintain_order=True)
    workers = facts.workers.select(
        "worker_id",
        *(pl.col(c).alias(f"worker.{c}") for c in _WORKER_COLUMNS),
        "payout_account_hash",
        pl.col("registered_at").alias("_registered"),
    ).unique("worker_id", keep="first", maintain_order=True)
    credit = facts.credit.rename(
        {c: f"credit.{c}" for c in facts.credit.columns if c != "worker_id"}
    ).unique("worker_id", keep="first", maintain_order=True)
    counters = facts.counters.rename(
        {c: f"counter.{c}" for c in facts.counters.columns if c != "submission_id"}
    ).unique("submission_id", keep="first", maintain_order=True)
    abstained = facts.abstentions.group_by("submission_id").agg(
        pl.col("detector").n_unique().cast(pl.Int64).alias("_abstained")
    )
    joined = facts.submissions
    for known, key, prefix in (
        (tasks, "task_id", ("task.", "submission.late", "listed.")),
        (workers, "worker_id", ("worker.", "payout", "listed.")),
        (credit, "worker_id", ("credit.",)),
        (counters, "submission_id", ("counter.",)),
        (abstained, "submission_id", ("abstained.",)),
    ):
        if any(name.startswith(prefix) for name in wanted):
            joined = joined.join(known, on=key, how="left", maintain_order="left")
    always = set(_SUBJECT_COLUMNS.values())
    return joined.with_columns(
        made.alias(name) for name, made in _MADE.items() if name in wanted or name in always
    )


_TASK_COLUMNS: Final = (
    *("publisher_id", "category", "language", "grade", "bounty_minor", "currency", "slots"),
)
_WORKER_COLUMNS: Final = ("phone_verified", "real_name_verified", "social_linked", "skills")


def _seconds(difference: pl.Expr) -> pl.Expr:
    return difference.dt.total_microseconds().cast(pl.Float64) / 1e6


_AT: Final = pl.col("submitted_at")
_MADE: Final[Mapping[str, pl.Expr]] = {
    "submission.text_length": pl.col("text").str.len_chars().cast(pl.Int64),
    "submission.work_s": _seconds(_AT - pl.col("claimed_at")),
    "submission.is_revision": pl.col("supersedes").is_not_null(),
    "submission.device_id": pl.col("device_id"),
    "submission.ip": pl.col("ip"),
    "submission.hour_utc": _AT.dt.hour().cast(pl.Int64),
    "submission.late": pl.col("_deadline") < _AT,
    "task.id": pl.col("task_id"),
    "worker.id": pl.col("worker_id"),
    "worker.age_days": _seconds(_AT - pl.col("_registered")) / 86_400.0,
    "abstained.count": pl.col("_abstained").fill_null(0),
}
"""How names are made that stand in no column as they are."""


def _signal_columns(
    facts: ScoreFacts, base: pl.DataFrame, wanted: Collection[str]
) -> dict[str, Any]:
    """Spread the signals into one array a (code, field); codes without a signal have none."""
    height = base.height
    rows = base.select("submission_id", pl.col("worker_id").alias("_worker")).with_row_index("_row")
    paid = facts.paid.select(pl.col("submission_id").alias("matched_submission_id")).unique()
    paid = paid.with_columns(pl.lit(True).alias("_paid"))
    found = facts.signals.join(rows, on="submission_id", how="inner").join(
        paid, on="matched_submission_id", how="left"
    )
    other = (pl.col("matched_worker_id") != pl.col("_worker")).fill_null(False)
    gathered = found.group_by("reason_code", "_row").agg(
        pl.col("strength").fill_nan(None).max().fill_null(0.0).alias("strength"),
        pl.col("p_value").fill_nan(None).min().fill_null(1.0).alias("p_value"),
        pl.lit(True).alias("found"),
        pl.len().cast(pl.Int64).alias("count"),
        pl.col("matched_worker_id").filter(other).n_unique().cast(pl.Int64).alias("other_workers"),
        (pl.col("_paid").fill_null(False) & other).any().alias("paid_match"),
    )
    spread: dict[str, Any] = {}
    grouped = {g: np.zeros(height) for g in GROUPS}
    seen = {g: np.zeros(height, np.bool_) for g in GROUPS}
    findings = np.zeros(height, np.int64)
    for (code,), part in gathered.partition_by("reason_code", as_dict=True).items():
        at = part["_row"].to_numpy()
        findings[at] += part["count"].to_numpy()
        for name, fill in _SPREAD.items():
            if f"{code}.{name}" in wanted:
                column = np.full(height, fill)
                column[at] = part[name].to_numpy()
                spread[f"{code}.{name}"] = column
        if group := _GROUP_OF.get(str(code).partition(".")[0]):
            strength = part["strength"].to_numpy()
            seen[group][at] |= strength >= WORTH_A_LOOK
            if code not in SOFT:
                grouped[group][at] = np.maximum(grouped[group][at], strength)
    for group, strength in grouped.items():
        spread[f"evidence.{group}"] = strength
    none = np.zeros(height, np.int64)
    spread["evidence.groups"] = sum((s.astype(np.int64) for s in seen.values()), none)
    spread["evidence.sure_groups"] = sum(
        ((s >= SURE).astype(np.int64) for s in grouped.values()), none
    )
    spread["evidence.findings"] = findings
    spread["cluster.workers"] = _cluster(found, other, height)
    return spread


_SPREAD: Final[Mapping[str, bool | int | float]] = {
    "found": False,
    "strength": 0.0,
    "p_value": 1.0,
    "count": 0,
    "other_workers": 0,
    "paid_match": False,
}
_GROUP_OF: Final = {family: group for group, families in GROUPS.items() for family in families}


def _cluster(found: pl.DataFrame, other: pl.Expr, height: int) -> Any:
    tied = pl.col("reason_code").str.contains(r"^(?:identity|collusion)\.")
    counted = (
        found.filter(tied & other).group_by("_row").agg(pl.col("matched_worker_id").n_unique())
    )
    workers = np.zeros(height, np.int64)
    workers[counted["_row"].to_numpy()] = counted["matched_worker_id"].to_numpy()
    return workers


def standing(entries: pl.DataFrame, at: datetime | None) -> pl.DataFrame:
    """Keep the entries of a list that stand at that time: added by then and not yet expired."""
    if at is None:
        return entries
    now = pl.lit(at).cast(frames.UTC)
    return entries.filter(
        (pl.col("added_at").is_null() | (pl.col("added_at") <= now))
        & (pl.col("expires_at").is_null() | (pl.col("expires_at") > now))
    )


def _listed(facts: ScoreFacts, base: pl.DataFrame) -> dict[str, pl.Series]:
    entries = standing(facts.lists, facts.at)
    found: dict[str, pl.Series] = {}
    for kind in ("allow", "block", "watch"):
        chosen = entries.filter(pl.col("list") == kind)
        any_of = pl.Series([False]).new_from_index(0, base.height)
        for subject in SUBJECTS:
            values = chosen.filter(pl.col("subject") == subject)["value"].drop_nulls().unique()
            flag = _stands(facts, base, subject, values)
            found[f"listed.{kind}.{subject}"] = flag
            any_of = any_of | flag
        found[f"listed.{kind}.any"] = any_of
    return found


def _stands(facts: ScoreFacts, base: pl.DataFrame, subject: str, values: pl.Series) -> pl.Series:
    if values.is_empty():
        return pl.Series([False]).new_from_index(0, base.height)
    if subject == "digest":
        carriers = facts.contents.filter(pl.col("digest").is_in(values.implode()))["submission_id"]
        return base["submission_id"].is_in(carriers.unique().implode())
    if subject == "phrase":
        told = base["text"].fill_null("").to_frame("text")
        phrases = [v for v in values.sort().to_list() if v]
        return told.select(pl.col("text").str.contains_any(phrases))["text"]
    return base[_SUBJECT_COLUMNS[subject]].is_in(values.implode()).fill_null(False)
