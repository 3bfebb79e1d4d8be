"""Places that cannot be: mocked positions, work handed in off site, and impossible travel."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import xxhash

from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.kit.order import Order
from detectors.kit.strokes import FloatArray
from pipeline.model import clocks
from pipeline.ports import Batch, Past

KIND: Final = "trajectory.place"
EARTH_M: Final = 6_371_008.8
"""Mean radius of the Earth (IUGG)."""

ACCURACY_M_UNKNOWN: Final = 100.0
"""Taken where a ping names no accuracy: a phone's position in a town."""
ACCURACY_M_MAX: Final = 20_000.0
"""A vaguer ping is an address's guess, not a position, and is not looked at."""
FLOOR_M: Final = 50_000.0
"""Shorter hops are never called impossible: errors of position and clock are of their size."""
GROUND_M_S: Final = 350.0 / 3.6
AIR_M_S: Final = 900.0 / 3.6
AIR_GROUND_S: Final = 3600.0
"""Fastest scheduled train; cruising airliner, and an hour for boarding, taxiing and the road."""
PINGS_KEPT: Final = 16
WORKER_LIMIT: Final = 2_000
_PING: Final = struct.Struct("<dddd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One position: server time in milliseconds, WGS 84 degrees, accuracy (68 %) in metres."""

    at_ms: float
    lat: float
    lon: float
    accuracy_m: float


def distances_m(lats: FloatArray, lons: FloatArray, lat: float, lon: float) -> FloatArray:
    """Great-circle distances by the haversine formula; degrees in, metres out."""
    p1, p2 = np.radians(lats), np.radians(lat)
    half_lat, half_lon = (p2 - p1) / 2, np.radians(lon - lons) / 2
    h = np.sin(half_lat) ** 2 + np.cos(p1) * np.cos(p2) * np.sin(half_lon) ** 2
    return np.asarray(2 * EARTH_M * np.arcsin(np.sqrt(np.minimum(1.0, h))))


def distance_m(a: Ping, lat: float, lon: float) -> float:
    """Great-circle distance of one position."""
    return float(distances_m(np.asarray([a.lat]), np.asarray([a.lon]), lat, lon)[0])


def least_travel_s(distance: float) -> float:
    """Least time from door to door: the quicker of train and aeroplane."""
    return min(distance / GROUND_M_S, AIR_GROUND_S + distance / AIR_M_S)


def pings(events: pl.DataFrame) -> pl.DataFrame:
    """Positions on the server's clock: ``submission_id``, ``at_ms``, ``lat``, ``lon``, ``accuracy_m``,
    ``mocked``, ordered by time. Positions that no map has are left out.
    """
    lat, lon, accuracy = pl.col("lat"), pl.col("lon"), pl.col("accuracy_m")
    mine = clocks.usable(events.filter(pl.col("type") == "geo.ping")).filter(
        lat.is_between(-90.0, 90.0) & lon.is_between(-180.0, 180.0)
    )
    known = accuracy.is_not_null() & accuracy.is_finite() & (accuracy >= 0.0)
    return (
        mine.join(clocks.skew(events), on="submission_id", how="left")
        .select(
            "submission_id",
            (pl.col("at") + pl.col("skew_ms").fill_null(0.0)).alias("at_ms"),
            "lat",
            "lon",
            pl.when(known).then(accuracy).otherwise(ACCURACY_M_UNKNOWN).alias("accuracy_m"),
            pl.col("mocked").fill_null(False),
        )
        .sort("submission_id", "at_ms", "lat", "lon")
    )


def worker_key(worker_id: str) -> int:
    """Key under which a worker's places are kept."""
    return xxhash.xxh3_64_intdigest(worker_id.encode())


def fingerprint(batch: Batch, built: FingerprintBuilder) -> None:
    """Remember where each submission was made: up to ``PINGS_KEPT`` positions, first and last kept."""
    worker = dict(batch.submissions.select("submission_id", "worker_id").iter_rows())
    exact = pings(batch.events).filter(pl.col("accuracy_m") <= ACCURACY_M_MAX)
    for (sid,), mine in exact.group_by("submission_id", maintain_order=True):
        if sid not in worker:
            continue
        rows = mine.select("at_ms", "lat", "lon", "accuracy_m").rows()
        keep = sorted(set(np.linspace(0, len(rows) - 1, PINGS_KEPT).round().astype(int).tolist()))
        value = b"".join(_PING.pack(*rows[i]) for i in keep)
        built.add(str(sid), KIND, keys=[worker_key(worker[sid])], value=value)


def _unpack(value: bytes) -> list[Ping]:
    return [
        Ping(at_ms=t, lat=lat, lon=lon, accuracy_m=accuracy)
        for t, lat, lon, accuracy in _PING.iter_unpack(value)
    ]


def neighbours(batch: Batch, past: Past) -> pl.DataFrame:
    """Who else has places of the batch's workers: a POSTINGS frame."""
    keys = [worker_key(w) for w in batch.submissions["worker_id"].unique().sort()]
    return past.postings(KIND, pl.Series(keys, dtype=pl.UInt64), limit=WORKER_LIMIT * len(keys))


def judge(batch: Batch, past: Past, built: FindingsBuilder) -> None:
    """Report mocked positions, work off site, and travel that no vehicle makes."""
    found = pings(batch.events)
    _mocked(found, built)
    _off_site(batch, found, built)
    _travel(batch, past, built)


def _mocked(found: pl.DataFrame, built: FindingsBuilder) -> None:
    counted = found.group_by("submission_id").agg(
        pl.len().alias("pings"), pl.col("mocked").sum().alias("mocked")
    )
    for row in counted.filter(pl.col("mocked") > 0).iter_rows(named=True):
        share = row["mocked"] / row["pings"]
        built.signal(
            row["submission_id"],
            "trajectory.location_mocked",
            strength=0.9 if share >= 0.5 else 0.4,
            evidence={"pings": row["pings"], "mocked": row["mocked"], "share": round(share, 3)},
        )


def _off_site(batch: Batch, found: pl.DataFrame, built: FindingsBuilder) -> None:
    sites = (
        batch.submissions.select("submission_id", "task_id")
        .join(batch.tasks.select("task_id", "site_lat", "site_lon", "site_radius_m"), on="task_id")
        .drop_nulls(["site_lat", "site_lon"])
    )
    nearest = found.join(sites, on="submission_id")
    for (sid,), mine in nearest.group_by("submission_id", maintain_order=True):
        site = mine.row(0, named=True)
        away = distances_m(
            mine["lat"].to_numpy(), mine["lon"].to_numpy(), site["site_lat"], site["site_lon"]
        )
        radius = max(site["site_radius_m"] or 0.0, 0.0)
        beyond = away - radius - 2.0 * mine["accuracy_m"].to_numpy()
        best = int(np.argmin(beyond))
        if not beyond[best] > 0.0:
            continue
        ping = mine.row(best, named=True)
        evidence = {
            "distance_m": round(float(away[best]), 1), "radius_m": radius, "pings": mine.height,
            "accuracy_m": ping["accuracy_m"], "beyond_m": round(float(beyond[best]), 1),
            "lat": ping["lat"], "lon": ping["lon"],
            "site_lat": site["site_lat"], "site_lon": site["site_lon"],
        }  # fmt: skip
        strength = min(0.95, 0.3 + 0.3 * evidence["beyond_m"] / max(500.0, radius))
        built.signal(str(sid), "trajectory.off_site", strength=strength, evidence=evidence)


def _travel(batch: Batch, past: Past, built: FindingsBuilder) -> None:
    postings = neighbours(batch, past)
    ids = sorted({*postings["submission_id"].to_list(), *batch.ids})
    kept = past.fingerprints(KIND, ids)
    if kept.is_empty():
        return
    order = Order.of(past, ids)
    places = {
        sid: _unpack(value) for sid, value in kept.select("submission_id", "value").iter_rows()
    }
    of_worker: dict[str, list[str]] = {}
    for sid in sorted(s for s in places if s in order):
        of_worker.setdefault(order[sid].worker_id, []).append(sid)
    for sid in batch.ids:
        if sid not in places:
            continue
        worst = _worst_hop(places[sid], ((None, places[sid]),))
        others = [s for s in of_worker[order[sid].worker_id] if order[s].rank < order[sid].rank]
        hop = _worst_hop(places[sid], ((s, places[s]) for s in others))
        if hop is not None and (worst is None or hop["ratio"] < worst["ratio"]):
            worst = hop
        if worst is None:
            continue
        other = worst.pop("other")
        built.signal(
            sid,
            "trajectory.impossible_travel",
            strength=0.9 if worst["ratio"] <= 0.75 else 0.4,
            matched_submission_id=other,
            matched_worker_id=None if other is None else order[other].worker_id,
            evidence=worst,
        )


def _worst_hop(
    here: Sequence[Ping], others: Iterable[tuple[str | None, Sequence[Ping]]]
) -> dict[str, Any] | None:
    """The hop between these places with the least of the time that it needs, if less than all."""
    worst: dict[str, Any] | None = None
    for name, there in others:
        for a in here:
            for b in there:
                away = distance_m(a, b.lat, b.lon)
                sure = away - 2.0 * (a.accuracy_m + b.accuracy_m)
                if sure < FLOOR_M:
                    continue
                took = abs(a.at_ms - b.at_ms) / 1000.0
                needs = least_travel_s(sure)
                ratio = took / needs
                if ratio >= 1.0 or (worst is not None and ratio >= worst["ratio"]):
                    continue
                worst = {
                    "other": name, "ratio": round(ratio, 4), "distance_km": round(away / 1000, 1),
                    "took_min": round(took / 60, 1), "needs_min": round(needs / 60, 1),
                    "speed_km_h": round(away / max(took, 1.0) * 3.6, 0),
                    "from": {"lat": b.lat, "lon": b.lon, "accuracy_m": b.accuracy_m},
                    "to": {"lat": a.lat, "lon": a.lon, "accuracy_m": a.accuracy_m},
                }  # fmt: skip
    return worst
