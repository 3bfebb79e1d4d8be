"""Crews: blocks of workers and tasks in one window, searched at several widths of time."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from detectors.collusion.wide import COLUMNS
from detectors.kit.graph.clusters import (
    Cluster,
    Key,
    Link,
    Member,
    components,
    merge_links,
    weakest_link,
)
from detectors.kit.graph.incidence import WORKERS_MIN
from detectors.kit.graph.scan import ACTIVE_PAD, Found, Meetings, Width, scan

WIDTHS: Final = (
    Width(name="task", by="task"),
    Width(name="publisher", by="publisher"),
    Width(name="day", by="publisher", span=timedelta(days=1), phases=2),
    Width(name="hours", by="publisher", span=timedelta(hours=2), phases=2),
    Width(name="minutes", by="publisher", span=timedelta(minutes=15), phases=2),
)
HALF: Final = {"task": 30.0, "publisher": 30.0, "day": 30.0, "hours": 15.0, "minutes": 10.0}
"""The log e-value at which a finding of each width has strength one half."""

TOGETHER: Final = frozenset({"hours", "minutes"})
UNPROVEN_MAX: Final = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """One block with its names. ``rows`` are its submissions in order of submission."""

    width: Width
    workers: tuple[str, ...]
    cells: int
    publishers: tuple[str, ...]
    tasks: tuple[str, ...]
    density: float
    expected: float
    lift: float
    log_e: float
    gain: Mapping[str, float]
    rows: pl.DataFrame

    @property
    def code(self) -> str:
        """Acting within one short time is lockstep; meeting too often is a dense block."""
        return "collusion.dense_block" if self.width.span is None else "collusion.lockstep"

    @property
    def strength(self) -> float:
        """log e / (log e + half): one half where the width's own standard of proof is met."""
        return self.log_e / (self.log_e + HALF[self.width.name])

    @property
    def p_value(self) -> float:
        """Upper bound by Markov's inequality on the e-value."""
        return math.exp(-self.log_e)


def crews(
    window: pl.DataFrame, *, pad: timedelta = ACTIVE_PAD, widths: Sequence[Width] = WIDTHS
) -> list[Crew]:
    """Find the crews of a window frame (see ``Past.window``), most surprising first.

    ``pad`` is how far beyond its own submissions a worker counts as active.
    """
    known = window.drop_nulls("publisher_id").sort("submitted_at", "submission_id")
    names = known["worker_id"].unique().sort()
    if len(names) < WORKERS_MIN:
        return []
    index = known.select(
        pl.col("worker_id", "task_id", "publisher_id").rank("dense").cast(pl.Int32) - 1,
        pl.col("submitted_at").dt.timestamp("us"),
    )
    meetings = Meetings(
        worker=index["worker_id"].to_numpy(),
        met={"task": index["task_id"].to_numpy(), "publisher": index["publisher_id"].to_numpy()},
        at=index["submitted_at"].to_numpy(),
        workers=len(names),
        pad=pad,
    )
    return [_crew(known, names, found) for found in scan(meetings, widths)]


def _crew(known: pl.DataFrame, names: pl.Series, found: Found) -> Crew:
    rows = known[found.inside.tolist()]
    members = names.gather(found.block.workers.tolist()).to_list()
    return Crew(
        width=found.width,
        workers=tuple(members),
        cells=len(found.block.cells),
        publishers=tuple(rows["publisher_id"].unique().sort()),
        tasks=tuple(rows["task_id"].unique().sort()),
        density=found.block.density,
        expected=found.expected,
        lift=found.block.lift,
        log_e=found.log_e,
        gain=dict(zip(members, found.block.gain.tolist(), strict=True)),
        rows=rows,
    )


def cases(found: Sequence[Crew]) -> Iterator[tuple[Cluster, tuple[Crew, ...]]]:
    """Join crews that share members into cases: one cluster, one case."""
    parts = components((c.workers[0], w) for c in found for w in c.workers)
    for part in parts:
        inside = tuple(c for c in found if c.workers[0] in part)
        yield _cluster(part, inside), inside


def _cluster(part: Sequence[str], inside: Sequence[Crew]) -> Cluster:
    rows = (
        pl.concat([c.rows for c in inside])
        .unique("submission_id")
        .sort("submitted_at", "submission_id")
    )
    weight: dict[str, float] = defaultdict(float)
    for crew in inside:
        for w, gain in crew.gain.items():
            weight[w] = max(weight[w], 1.0 - math.exp(-max(gain, 0.0)))
    did = rows.group_by("worker_id").agg(
        pl.col("submitted_at").min().alias("first"),
        pl.col("submitted_at").max().alias("last"),
        pl.len().alias("n"),
    )
    about: dict[str, tuple[datetime, datetime, int]] = {
        w: (first, last, n) for w, first, last, n in did.iter_rows()
    }
    members = sorted(
        (
            Member(
                worker_id=w, first_at=about[w][0], last_at=about[w][1], submissions=about[w][2],
                weight=weight[w],
            )
            for w in part
        ),
        key=lambda m: (m.first_at, m.worker_id),
    )  # fmt: skip
    links = merge_links(_links(members[0].worker_id, inside, about))
    publishers = rows.group_by("publisher_id").agg(pl.col("worker_id").n_unique().alias("n"))
    money = (
        rows.drop_nulls(["currency", "bounty_minor"])
        .group_by("currency")
        .agg(pl.col("bounty_minor").sum())
    )
    weak = weakest_link(links)
    return Cluster(
        kind="collusion",
        members=tuple(members),
        links=tuple(links),
        keys=tuple(
            Key(kind="publisher", label=p, accounts=n)
            for p, n in publishers.sort("n", "publisher_id", descending=[True, False]).iter_rows()
        ),
        confidence=0.0 if weak is None else weak.weight,
        weakest=weak,
        money={str(c): int(m) for c, m in money.iter_rows()},
        first_at=members[0].first_at,
        last_at=max(m.last_at for m in members),
    )


def _links(
    hub: str, inside: Sequence[Crew], about: Mapping[str, tuple[datetime, datetime, int]]
) -> Iterator[Link]:
    for crew in inside:
        centre = hub if hub in crew.gain else crew.workers[0]
        for w in crew.workers:
            if w == centre:
                continue
            weakest = min(crew.gain[w], crew.gain[centre])
            yield Link(
                a=centre, b=w, kind=crew.width.name, weight=1.0 - math.exp(-max(weakest, 0.0)),
                count=crew.cells, first_at=min(about[w][0], about[centre][0]),
                last_at=max(about[w][1], about[centre][1]),
            )  # fmt: skip


def proven_strength(crew: Crew, case: Sequence[Crew]) -> float:
    """The crew's strength, kept below proof where nobody was seen to act at the same hour.

    Who meets whom, however surprising, may be a taste that a few share; moving together within
    hours is what honest people do not do. A crew counts as proven where half of its members are in
    crews of the same case that were measured within hours or minutes.
    """
    moved = {w for other in case if other.width.name in TOGETHER for w in other.workers}
    together = 2 * len(moved.intersection(crew.workers)) >= len(crew.workers)
    return round(crew.strength if together else min(crew.strength, UNPROVEN_MAX), 4)


def digest(window: pl.DataFrame) -> bytes:
    """Tell window frames apart by what ``crews`` and ``dealings`` read of them."""
    rows = window.select(COLUMNS).hash_rows(seed=1).to_numpy()
    return hashlib.blake2b(rows.tobytes(), digest_size=16).digest()


def evidence_of(crew: Crew) -> dict[str, Any]:
    """What a person is shown of a crew, without the cluster."""
    span = crew.width.span
    return {
        "measured_by": crew.width.name,
        "within_seconds": None if span is None else int(span.total_seconds()),
        "workers": len(crew.workers),
        "cells": crew.cells,
        "publishers": list(crew.publishers[:8]),
        "publisher_count": len(crew.publishers),
        "tasks": list(crew.tasks[:8]),
        "task_count": len(crew.tasks),
        "density": round(crew.density, 3),
        "expected_density": float(f"{crew.expected:.3g}"),
        "lift_of_others": round(crew.lift, 2),
        "log_e": round(crew.log_e, 2),
    }
