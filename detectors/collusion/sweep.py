"""The scheduled look at the windows that are open: which groups act as one, whom to judge again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from detectors.collusion.crews import cases, crews
from detectors.collusion.room import STRENGTH_MIN, windows_of
from detectors.kit.graph.clusters import Cluster
from pipeline.ports import Past

CODES: Final = ("collusion.dense_block", "collusion.lockstep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What the windows hold: groups, surest first, and the submissions to judge again, by id.

    These are the submissions inside the blocks, and those of the windows that were told to be
    inside one when they were judged.
    """

    clusters: tuple[Cluster, ...]
    submission_ids: tuple[str, ...]


def sweep(past: Past, at: datetime) -> Sweep:
    """Find the crews of every window that holds ``at``. A pure function of the record: no clock.

    Run it hourly with the present moment and queue ``submission_ids`` to be judged again: a crew that
    grew out of many small batches is then told on all of its members. Writes nothing. A group that
    two windows show is given once, as the longer list of members.
    """
    best: dict[str, Cluster] = {}
    inside: set[str] = set()
    for horizon, since in windows_of(pl.Series([at])):
        window = past.window(
            since=since, until=since + horizon.length, limit=horizon.rows_max + 1
        )  # fmt: skip
        if window.height > horizon.rows_max:
            continue
        told_before = past.signals(window["submission_id"].to_list(), codes=CODES)
        inside.update(told_before["submission_id"])
        for cluster, found in cases(crews(window, pad=horizon.pad)):
            told = [crew for crew in found if crew.strength >= STRENGTH_MIN]
            if not told:
                continue
            inside.update(*(crew.rows["submission_id"] for crew in told))
            held = best.get(cluster.cluster_id)
            if held is None or len(held.members) < len(cluster.members):
                best[cluster.cluster_id] = cluster
    ranked = sorted(best.values(), key=lambda c: (-c.confidence, -len(c.members), c.cluster_id))
    return Sweep(clusters=tuple(ranked), submission_ids=tuple(sorted(inside)))
