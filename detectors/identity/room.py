"""The identity detector: find who shares a device or payout account, weigh it, show the cluster."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import xxhash

from detectors.identity.belief import STRENGTH_MIN
from detectors.identity.ring import Ring, Shared, rings_of
from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from pipeline.model import frames
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past

DEVICE: Final = "identity.device"
PAYOUT: Final = "identity.payout"
CODES: Final = {"device": "identity.shared_device", "payout": "identity.shared_payout"}
HOPS_MAX: Final = 8
"""A component is followed this far; real ones are two or three hops wide."""
DF_MAX: Final = 5_000
"""A key that more submissions carry belongs to no one: a colliding device id, a guild's cash desk."""


def _key(value: str) -> int:
    return xxhash.xxh3_64_intdigest(value.encode())


class IdentityDetector:
    """Reports submissions of accounts that share a device or a payout account as one person does."""

    spec = DetectorSpec(
        name="identity",
        version="1",
        consumes=frozenset({"workers", "tasks"}),
        reason_codes=frozenset({"identity.shared_device", "identity.shared_payout"}),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember by which device and for which payout account each submission was made."""
        built = FingerprintBuilder(self.spec)
        for row in self._keyed(batch).iter_rows(named=True):
            if row["device_id"]:
                built.add(row["submission_id"], DEVICE, keys=[_key(row["device_id"])])
            if row["payout_account_hash"]:
                built.add(row["submission_id"], PAYOUT, keys=[_key(row["payout_account_hash"])])
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name the submissions of every account in the clusters that this batch belongs to."""
        known = self._reach(batch, past, df_max=DF_MAX + len(batch))
        return frozenset(known["submission_id"]) - frozenset(batch.ids)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Weigh every shared key of the batch's accounts; accuse whoever was not the first there."""
        built = FindingsBuilder(self.spec)
        known = self._reach(batch, past, df_max=DF_MAX)
        if known.is_empty():
            return built.build()
        tasks = past.tasks(known["task_id"].unique().sort().to_list())
        mine = set(batch.ids)
        for ring in rings_of(known, tasks):
            for shared in ring.shared:
                if shared.belief.strength >= STRENGTH_MIN:
                    self._report(built, ring, shared, mine)
        return built.build()

    def _report(self, built: FindingsBuilder, ring: Ring, shared: Shared, mine: set[str]) -> None:
        cluster, beside = ring.cluster.evidence(), shared.beside()
        for use, source in shared.accused():
            if use.submission_id not in mine:
                continue
            evidence: dict[str, Any] = {
                "shared": shared.kind,
                "key": shared.label,
                "facts": dict(shared.belief.facts),
                "log_odds": {k: round(v, 3) for k, v in sorted(shared.belief.items.items())},
                "confidence": round(shared.belief.confidence, 4),
                "same_task_submission_id": beside.get(use.submission_id),
                "live_accounts_of_payout": ring.live_accounts(use.worker_id),
                "identity_level": ring.level(use.worker_id),
                "cluster": cluster,
            }
            built.signal(
                use.submission_id,
                CODES[shared.kind],
                strength=round(shared.belief.strength, 4),
                matched_submission_id=source.submission_id,
                matched_worker_id=source.worker_id,
                evidence=evidence,
            )

    @staticmethod
    def _keyed(batch: Batch) -> pl.DataFrame:
        return batch.submissions.select("submission_id", "worker_id", "device_id").join(
            batch.workers.select("worker_id", "payout_account_hash"),
            on="worker_id",
            how="left",
            maintain_order="left",
        )

    def _reach(self, batch: Batch, past: Past, *, df_max: int) -> pl.DataFrame:
        """All submissions of all accounts joined to the batch through devices and payouts.

        SUBMISSIONS columns beside those of the worker. Only batches with a key that somebody else
        shares reach anything: the frame is empty for a batch of loners.
        """
        keyed = self._keyed(batch)
        found = frames.empty(frames.SUBMISSIONS)
        seen: set[str] = set()
        workers: set[str] = set()
        for _ in range(HOPS_MAX):
            ids = self._sharers(keyed, past, df_max)
            if set(ids) <= seen:
                break
            seen |= set(ids)
            reached = past.submissions(sorted(seen))
            workers = set(reached["worker_id"])
            found = past.of_worker(sorted(workers)).unique("submission_id")
            seen |= set(found["submission_id"])
            keyed = self._with_worker(found, past)
        if len(workers) < 2:
            return found.clear()
        return self._with_worker(found, past).sort("submitted_at", "submission_id")

    @staticmethod
    def _with_worker(found: pl.DataFrame, past: Past) -> pl.DataFrame:
        about = past.workers(found["worker_id"].unique().sort().to_list()).select(
            "worker_id", "registered_at", "phone_verified", "real_name_verified", "social_linked",
            "payout_account_hash",
        )  # fmt: skip
        return found.join(about, on="worker_id", how="left", maintain_order="left")

    @staticmethod
    def _sharers(keyed: pl.DataFrame, past: Past, df_max: int) -> list[str]:
        """Submissions that carry one of these keys."""
        ids: set[str] = set()
        for kind, column in ((DEVICE, "device_id"), (PAYOUT, "payout_account_hash")):
            values = keyed[column].drop_nulls().unique().sort().to_list()
            keys = pl.Series([_key(v) for v in values if v], dtype=pl.UInt64)
            if len(keys):
                ids |= set(
                    past.postings(kind, keys, df_max=df_max, limit=1_000_000)["submission_id"]
                )
        return sorted(ids)

    def examples(self) -> Iterable[Example]:
        """A ring on one device, one payout account for two devices, a family, a public machine."""
        at = datetime(2026, 3, 1, 9, tzinfo=UTC)

        def row(sid: str, worker: str, task: str, minutes: int, **more: Any) -> dict[str, Any]:
            when = at + timedelta(minutes=minutes)
            own = {"submission_id": sid, "worker_id": worker, "task_id": task}
            return own | {"submitted_at": when, "ip": "198.18.0.1"} | more

        yield Example(
            title="three accounts take three places of one task on one telephone",
            submissions=tuple(
                row(f"s{i}", f"w{i}", "t", 40 * i, device_id="phone") for i in range(3)
            ),
            expected={s: frozenset({"identity.shared_device"}) for s in ("s1", "s2")},
            matched={"s1": "s0", "s2": "s0"},
        )
        yield Example(
            title="two accounts on two devices are paid to one account for the same task",
            workers=tuple({"worker_id": w, "payout_account_hash": "one"} for w in ("w0", "w1")),
            submissions=(row("s0", "w0", "t", 0), row("s1", "w1", "t", 500)),
            expected={"s1": frozenset({"identity.shared_payout"})},
            matched={"s1": "s0"},
        )
        yield Example(
            title="a family shares a tablet and each does tasks of their own",
            submissions=tuple(
                row(f"s{w}{i}", f"w{w}", f"t{w}{i}", 900 * i + 300 * w, device_id="tablet")
                for w in range(3)
                for i in range(4)
            ),
        )
        yield Example(
            title="the computers of an internet cafe are used by all its guests",
            submissions=tuple(
                row(f"s{w}-{i}", f"w{w}", f"t{w % 5}-{i}", 100 * w + 37 * i, device_id=f"pc{i}")
                for w in range(10)
                for i in range(3)
            ),
        )
        yield Example(
            title="an office behind one address, every worker with an own device",
            submissions=tuple(row(f"s{w}", f"w{w}", "t", 11 * w) for w in range(6)),
        )
