"""What an analyst wants to see after a run: which rules counted, which groups are new, what came in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import orjson
import polars as pl

from pipeline.bootstrap import House
from pipeline.model.decisions import OUTCOMES
from pipeline.stores import standing
from pipeline.stores.exports import export

RULES_SHOWN: Final = 10
CLUSTERS_SHOWN: Final = 20
DAYS_SHOWN: Final = 30
EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """``rules``: how many held submissions each rule counted for. ``clusters``: groups with a case
    opened since. ``quarantine``: open rows by code. ``days``: hand-ins of a day by outcome.
    """

    rules: Sequence[Mapping[str, Any]]
    clusters: Sequence[Mapping[str, Any]]
    quarantine: Mapping[str, int]
    days: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Plain values for artifacts."""
        return asdict(self)


def overview(house: House, *, since: datetime, until: datetime | None = None) -> Overview:
    """Look over the record: groups since ``since``, days up to ``until`` (the newest hand-in)."""
    open_rows = export(house.database, "quarantine").filter(pl.col("status") == "open")
    return Overview(
        rules=_rules(standing.held(house.database)),
        clusters=_clusters(house, since),
        quarantine=dict(sorted(Counter(open_rows["code"].to_list()).items())),
        days=_days(house, until),
    )


def _rules(held: pl.DataFrame) -> list[dict[str, Any]]:
    counted: Counter[str] = Counter()
    for told in held["arithmetic"].to_list():
        counted.update(
            r["rule"] for r in orjson.loads(told).get("rules", ()) if r["state"] == "counted"
        )
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:RULES_SHOWN]
    return [{"rule": rule, "held": count} for rule, count in ranked]


def _clusters(house: House, since: datetime) -> list[dict[str, Any]]:
    cases = export(house.database, "cases", more=house.ledger.exports())
    new = cases.drop_nulls("cluster_id").filter(pl.col("opened_at") >= since)
    grouped = new.group_by("cluster_id").agg(
        pl.col("submission_id").n_unique().alias("submissions"),
        pl.col("opened_at").min().alias("opened_at"),
    )
    ranked = grouped.sort(["submissions", "cluster_id"], descending=[True, False])
    return [
        {"cluster": name, "submissions": count, "opened_at": at.isoformat()}
        for name, count, at in ranked.head(CLUSTERS_SHOWN).iter_rows()
    ]


def _days(house: House, until: datetime | None) -> list[dict[str, Any]]:
    newest = until or house.known.newest()
    if newest is None:
        return []
    begin = (newest - timedelta(days=DAYS_SHOWN - 1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    end = newest + timedelta(microseconds=1)
    counts = standing.days(house.database, since=begin, until=end)
    days: dict[str, dict[str, Any]] = {}
    for number, outcome, count in counts.sort("day", "outcome", nulls_last=True).iter_rows():
        day = date.fromordinal(EPOCH + number).isoformat()
        row = days.setdefault(day, {"day": day} | dict.fromkeys((*OUTCOMES, "waiting"), 0))
        row[outcome or "waiting"] += count
    return list(days.values())
