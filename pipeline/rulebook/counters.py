"""Velocity counters: exact counts over windows, the same for a batch as one by one.

A window of a submission handed in at t is (t - window, t]: the submission itself and what came
before it in order of submission (``submitted_at``, then id), never what came later. Holds and
overturns count from when they were decided, so a replay of the past sees what was known then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.model import frames
from pipeline.rulebook.names import Counter

HISTORY: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "worker_id": pl.String(),
    "device_id": pl.String(),
    "ip": pl.String(),
    "publisher_id": pl.String(),
    "task_id": pl.String(),
    "submitted_at": frames.UTC,
    "amount_minor": pl.Int64(),
    "held_at": frames.UTC,
    "overturned_at": frames.UTC,
}
"""One row a submission. ``held_at`` when it was held (null: never), ``overturned_at`` when a person
overturned that. The amount's currency is the platform's own; several are not added up."""

KEY: Final = {
    "worker": "worker_id",
    "device": "device_id",
    "ip": "ip",
    "publisher": "publisher_id",
    "task": "task_id",
}
"""The column of HISTORY that each counter counts by."""
INSTANT: Final = {"holds": "held_at", "overturns": "overturned_at"}
"""What counts from when it was decided, and its column; the rest counts from when it was handed in."""


def count(
    history: pl.DataFrame, submission_ids: Sequence[str], counters: Sequence[Counter]
) -> pl.DataFrame:
    """Count for these submissions: ``submission_id`` and one Int64 column a counter.

    ``history`` (HISTORY) must hold the submissions asked about and everything within the longest
    window before them; more does not matter. A submission without the key (no device, say) gets null:
    unknown. Columns follow ``counters``, rows ``submission_ids``.
    """
    frames.check(history, HISTORY, "counters: history")
    asked = pl.DataFrame(
        {"submission_id": list(submission_ids)}, schema={"submission_id": pl.String}
    )
    own = history.join(asked, on="submission_id", how="semi")
    ordered = {by: _of_keys(history, own, KEY[by]) for by in {c.by for c in counters}}
    result = asked
    for counter in counters:
        rows = ordered[counter.by]
        made = rows.select("submission_id", pl.Series(counter.name, _windowed(rows, counter)))
        result = result.join(made, on="submission_id", how="left", maintain_order="left")
    return result


def _of_keys(history: pl.DataFrame, own: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return the rows that share a key with ``own``, by ``group`` (a number a key), in order of time."""
    groups = own.select(key).drop_nulls().unique().sort(key).with_row_index("group")
    return (
        history.join(groups, on=key)
        .unique("submission_id", keep="first")
        .sort("group", "submitted_at", "submission_id")
    )


def _windowed(rows: pl.DataFrame, counter: Counter) -> npt.NDArray[np.int64]:
    """Count for each row; every window ends at its row and lies within the row's group."""
    group = rows["group"].to_numpy().astype(np.int64)
    at = rows["submitted_at"].cast(pl.Int64).to_numpy()
    since = at - counter.window_s * 1_000_000
    if instant := INSTANT.get(counter.of):
        marks = rows.select("group", instant).drop_nulls(instant).sort("group", instant)
        of = marks["group"].to_numpy().astype(np.int64)
        when = marks[instant].cast(pl.Int64).to_numpy()
        counts: npt.NDArray[np.int64] = _up_to(of, when, group, at) - _up_to(of, when, group, since)
        return counts
    first = _up_to(group, at, group, since)
    here = np.arange(at.size)
    if counter.of == "submissions":
        return np.asarray(here - first + 1, np.int64)
    if counter.of == "amount_minor":
        sums = np.concatenate([[0], rows["amount_minor"].fill_null(0).to_numpy().cumsum()])
        return np.asarray(sums[here + 1] - sums[first], np.int64)
    return _distinct(rows["worker_id"].to_list(), first)


def _up_to(
    groups: npt.NDArray[np.int64], times: npt.NDArray[np.int64],
    asked: npt.NDArray[np.int64], until: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Count rows of earlier groups, and those of the asked group that are not after ``until``.

    ``groups`` and ``times`` are sorted together. Times are taken by their rank, so that a group and a
    time fit one integer.
    """
    known = np.unique(times)
    width = known.size + 1
    rows = groups * width + np.searchsorted(known, times, side="left")
    wanted = asked * width + np.searchsorted(known, until, side="right")
    return np.asarray(np.searchsorted(rows, wanted, side="left"), np.int64)


def _distinct(workers: list[str], first: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the different workers in each window by moving both of its ends forward once.

    Where a group ends, the next one's first window begins behind all of it.
    """
    inside: dict[str, int] = {}
    found = np.zeros(len(workers), np.int64)
    left = 0
    for right, worker in enumerate(workers):
        inside[worker] = inside.get(worker, 0) + 1
        while left < first[right]:
            gone = workers[left]
            inside[gone] -= 1
            if not inside[gone]:
                del inside[gone]
            left += 1
        found[right] = len(inside)
    return found


def reach(counters: Sequence[Counter], earliest: datetime) -> datetime:
    """Return from when the history must be read so that counts from ``earliest`` on are exact."""
    longest = max((c.window_s for c in counters), default=0)
    return earliest - timedelta(seconds=longest)


class Online:
    """The same counts one by one: ``add`` what happens in order of time, ``ask`` at any moment.

    Keeps what the longest window needs; meant for a service that scores as submissions come.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = tuple(counters)
        self._rows: dict[tuple[str, str], list[tuple[datetime, str, int]]] = {}
        self._marks: dict[tuple[str, str, str], list[datetime]] = {}

    def add(self, submission: dict[str, Any]) -> dict[str, int | None]:
        """Take a submission in (HISTORY's names) and return its counts, None where the key is null."""
        at: datetime = submission["submitted_at"]
        for by in {c.by for c in self._counters}:
            if (key := submission.get(KEY[by])) is not None:
                row = (at, submission["worker_id"], submission.get("amount_minor") or 0)
                self._rows.setdefault((by, key), []).append(row)
        return {c.name: self._count(c, submission) for c in self._counters}

    def mark(self, of: str, submission: dict[str, Any], at: datetime) -> None:
        """Say that a submission was held or overturned (``of``: ``holds``, ``overturns``)."""
        for by in {c.by for c in self._counters if c.of == of}:
            if (key := submission.get(KEY[by])) is not None:
                self._marks.setdefault((of, by, key), []).append(at)

    def _count(self, counter: Counter, submission: dict[str, Any]) -> int | None:
        key = submission.get(KEY[counter.by])
        if key is None:
            return None
        at: datetime = submission["submitted_at"]
        since = at - timedelta(seconds=counter.window_s)
        if counter.of in INSTANT:
            marks = self._marks.get((counter.of, counter.by, key), [])
            return sum(since < mark <= at for mark in marks)
        rows = [r for r in self._rows.get((counter.by, key), []) if since < r[0] <= at]
        if counter.of == "submissions":
            return len(rows)
        if counter.of == "amount_minor":
            return sum(amount for _, _, amount in rows)
        return len({worker for _, worker, _ in rows})
