"""The scheduled look at the windows that are open: which groups act as one, whom to judge again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from detectors.collusion import wide
from detectors.collusion.crews import cases, crews
from detectors.collusion.room import STRENGTH_MIN, Horizon, owners_of, verdicts_of, windows_of
from detectors.collusion.wide import Verdicts
from detectors.kit.graph.clusters import Cluster
from pipeline.ports import Past

CODES: Final = ("collusion.dense_block", "collusion.lockstep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What the windows hold: groups, surest first, and the submissions to judge again, by id.

    These are the submissions inside the blocks, and those of the windows that were told to be
    inside one when they were judged. ``assets`` are the verdicts of windows that are too large to be
    judged with every batch, and of how many submissions, by name: keep them before anybody is judged.
    """

    clusters: tuple[Cluster, ...]
    submission_ids: tuple[str, ...]
    assets: Mapping[str, tuple[bytes, int]]


def sweep(past: Past, at: datetime) -> Sweep:
    """Find the crews of every window that holds ``at``. A pure function of the record: no clock.

    Run it hourly with the present moment and queue ``submission_ids`` to be judged again: a crew that
    grew out of many small batches is then told on all of its members. Writes nothing. A group that
    two windows show is given once, as the longer list of members.
    """
    best: dict[str, Cluster] = {}
    inside: set[str] = set()
    assets: dict[str, tuple[bytes, int]] = {}
    for horizon, since in windows_of(pl.Series([at])):
        window = _window(past, horizon, since)
        if window is None:
            continue
        told_before = past.signals(window["submission_id"].to_list(), codes=CODES)
        inside.update(told_before["submission_id"])
        every = list(cases(crews(window, pad=horizon.pad)))
        if window.height > horizon.rows_max:
            verdicts = verdicts_of(window, owners_of(past, window), every)
            assets[wide.name_of(horizon.name, since)] = wide.pack(verdicts), window.height
            inside.update(submission_id for submission_id, _ in verdicts)
        for cluster, found in every:
            told = [crew for crew in found if crew.strength >= STRENGTH_MIN]
            if not told:
                continue
            inside.update(*(crew.rows["submission_id"] for crew in told))
            held = best.get(cluster.cluster_id)
            if held is None or len(held.members) < len(cluster.members):
                best[cluster.cluster_id] = cluster
    ranked = sorted(best.values(), key=lambda c: (-c.confidence, -len(c.members), c.cluster_id))
    return Sweep(clusters=tuple(ranked), submission_ids=tuple(sorted(inside)), assets=assets)


def judged_whole(past: Past, horizon: Horizon, since: datetime) -> Verdicts:
    """Judge a window whole, however large; nothing is said of one beyond the horizon's ``wide_max``."""
    window = _window(past, horizon, since)
    if window is None:
        return {}
    found = list(cases(crews(window, pad=horizon.pad)))
    return verdicts_of(window, owners_of(past, window), found)


def _window(past: Past, horizon: Horizon, since: datetime) -> pl.DataFrame | None:
    """The rows of a window; None where it is too large for this horizon, even for the schedule."""
    return wide.read(past, since, horizon.length, max(horizon.rows_max, horizon.wide_max))
