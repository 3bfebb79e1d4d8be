"""Self-dealing: publishers that pay themselves, directly, in pairs or in circles."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import rustworkx as rx
from scipy import stats

PAIR_TASKS_MIN: Final = 6
PAIR_WORKER_SHARE_MIN: Final = 0.8
PAIR_PUBLISHER_SHARE_MIN: Final = 0.5
PAIR_P_MAX: Final = 1e-6
CIRCLE_SHARE_MIN: Final = 0.5
CIRCLE_PAYMENTS_MIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """One publisher and one worker that look like one party, and why."""

    publisher_id: str
    worker_id: str
    how: str
    strength: float
    p_value: float | None
    facts: Mapping[str, Any]


def dealings(window: pl.DataFrame, owners: pl.DataFrame) -> list[Dealing]:
    """Find self-dealing in a window frame, the surest way of each pair, ordered by pair.

    ``owners`` is a WORKERS frame of the accounts that publish under the id they also work under.
    """
    known = window.filter(pl.col("publisher_id").is_not_null())
    best: dict[tuple[str, str], Dealing] = {}
    for dealing in [*_same_party(known, owners), *_circles(known), *_pairs(known)]:
        pair = (dealing.publisher_id, dealing.worker_id)
        if pair not in best or best[pair].strength < dealing.strength:
            best[pair] = dealing
    return [best[pair] for pair in sorted(best)]


def _same_party(known: pl.DataFrame, owners: pl.DataFrame) -> list[Dealing]:
    """The publisher's own account works for it, or an account with its payout or device does."""
    payout_of = dict(
        owners.drop_nulls("payout_account_hash")
        .select("worker_id", "payout_account_hash")
        .iter_rows()
    )
    devices_of: dict[str, set[str]] = defaultdict(set)
    own = known.filter(pl.col("worker_id").is_in(list(set(known["publisher_id"]))))
    for worker, device in own.drop_nulls("device_id").select("worker_id", "device_id").iter_rows():
        devices_of[worker].add(device)
    found = []
    pairs = known.group_by("publisher_id", "worker_id").agg(
        pl.col("payout_account_hash").first(), pl.col("device_id").drop_nulls().unique(), pl.len()
    )
    for publisher, worker, payout, devices, n in pairs.iter_rows():
        if worker == publisher:
            how, strength = "one_account", 1.0
        elif payout and payout_of.get(publisher) == payout:
            how, strength = "one_payout_account", 0.9
        elif devices_of[publisher] & set(devices):
            how, strength = "one_device", 0.6
        else:
            continue
        found.append(
            Dealing(
                publisher_id=publisher, worker_id=worker, how=how, strength=strength, p_value=None,
                facts={"submissions": n},
            )
        )  # fmt: skip
    return found


def _circles(known: pl.DataFrame) -> list[Dealing]:
    """Money that goes in a circle: each hop most of what its payer spends and its payee earns.

    Reciprocity alone is honest trade, hence the shares.
    """
    both = set(known["publisher_id"]) & set(known["worker_id"])
    paid = (
        known.filter(pl.col("bounty_minor").is_not_null())
        .group_by("publisher_id", "worker_id")
        .agg(pl.col("bounty_minor").sum().alias("paid"), pl.len().alias("n"))
        .with_columns(
            (pl.col("paid") / pl.col("paid").sum().over("publisher_id")).alias("spent"),
            (pl.col("paid") / pl.col("paid").sum().over("worker_id")).alias("earned"),
        )
        .filter(
            pl.col("publisher_id").is_in(list(both)) & pl.col("worker_id").is_in(list(both)),
            pl.col("publisher_id") != pl.col("worker_id"),
            pl.min_horizontal("spent", "earned") >= CIRCLE_SHARE_MIN,
            pl.col("n") >= CIRCLE_PAYMENTS_MIN,
        )
        .sort("publisher_id", "worker_id")
    )
    names = sorted(set(paid["publisher_id"]) | set(paid["worker_id"]))
    at = {name: i for i, name in enumerate(names)}
    graph: rx.PyDiGraph[str, None] = rx.PyDiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(
        [(at[r["publisher_id"]], at[r["worker_id"]], None) for r in paid.to_dicts()]
    )
    ring_of: dict[str, list[str]] = {}
    for part in rx.strongly_connected_components(graph):
        if len(part) >= 2:
            ring = sorted(names[i] for i in part)
            ring_of |= dict.fromkeys(ring, ring)
    return [
        Dealing(
            publisher_id=r["publisher_id"], worker_id=r["worker_id"], how="payment_circle",
            strength=0.6, p_value=None,
            facts={"circle": ring_of[r["publisher_id"]][:8],
                   "circle_size": len(ring_of[r["publisher_id"]]), "payments": r["n"],
                   "share_of_spending": round(r["spent"], 3),
                   "share_of_earnings": round(r["earned"], 3)},
        )
        for r in paid.to_dicts()
        if ring_of.get(r["publisher_id"]) and r["worker_id"] in ring_of[r["publisher_id"]]
    ]  # fmt: skip


def _pairs(known: pl.DataFrame) -> list[Dealing]:
    """A worker who lives of one publisher that lives of this worker. Only worth a look."""
    total = known.height
    counted = (
        known.group_by("publisher_id", "worker_id")
        .agg(pl.len().alias("n"), pl.col("task_id").n_unique().alias("tasks"))
        .with_columns(
            pl.col("n").sum().over("publisher_id").alias("published"),
            pl.col("n").sum().over("worker_id").alias("worked"),
        )
    )
    close = counted.filter(
        pl.col("tasks") >= PAIR_TASKS_MIN,
        pl.col("n") >= PAIR_WORKER_SHARE_MIN * pl.col("worked"),
        pl.col("n") >= PAIR_PUBLISHER_SHARE_MIN * pl.col("published"),
    )
    found = []
    for r in close.sort("publisher_id", "worker_id").iter_rows(named=True):
        tail = float(stats.binom.sf(r["n"] - 1, r["worked"], r["published"] / total))
        p_value = min(1.0, tail * counted.height)
        if p_value <= PAIR_P_MAX:
            found.append(
                Dealing(
                    publisher_id=r["publisher_id"], worker_id=r["worker_id"], how="closed_pair",
                    strength=0.3, p_value=p_value,
                    facts={"submissions": r["n"], "tasks": r["tasks"],
                           "share_of_publisher": round(r["n"] / r["published"], 3),
                           "share_of_worker": round(r["n"] / r["worked"], 3)},
                )
            )  # fmt: skip
    return found
