"""The identity detector: find who shares a device or payout account, weigh it, show the cluster."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import polars as pl
import xxhash

from detectors.identity import examples, hand
from detectors.identity.belief import STRENGTH_MIN, Use
from detectors.identity.hand import Likeness
from detectors.identity.ring import Copy, Ring, Shared, rings_of
from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past

DEVICE: Final = "identity.device"
PAYOUT: Final = "identity.payout"
CODES: Final = {"device": "identity.shared_device", "payout": "identity.shared_payout"}
HOPS_MAX: Final = 8
"""A component is followed this far; real ones are two or three hops wide."""
DF_MAX: Final = 5_000
"""A key that more submissions carry belongs to no one: a colliding device id, a guild's cash desk."""


COPIES: Final = {
    "file.identical": "copy",
    "text.near_duplicate": "copy",
    "text.contained": "copy",
    "image.near_duplicate": "copy",
    "image.region_reused": "copy",
    "trajectory.replayed": "replay",
}
PROVEN: Final = 0.5


def _copies(batch: Batch, known: pl.DataFrame, past: Past) -> list[Copy]:
    """What other rooms have proven to be repeated between accounts of ``known``, by submission.

    Of the batch this is what they say now, of everybody else what is on record.
    """
    ids = known["submission_id"].to_list()
    others = past.signals(sorted(set(ids) - set(batch.ids)), codes=sorted(COPIES))
    rows = (
        pl.concat([others, batch.signals])
        .filter(
            pl.col("reason_code").is_in(sorted(COPIES)),
            pl.col("strength") >= PROVEN,
            pl.col("matched_worker_id").is_not_null(),
        )
        .join(known.select("submission_id", "worker_id"), on="submission_id")
        .filter(pl.col("worker_id") != pl.col("matched_worker_id"))
        .sort("submission_id", "reason_code", "matched_worker_id")
    )
    columns = ("submission_id", "worker_id", "matched_worker_id", "reason_code", "strength")
    return [
        Copy(
            submission_id=sid, worker_id=worker, source_worker_id=source, kind=COPIES[code],
            strength=strength,
        )
        for sid, worker, source, code, strength in rows.select(columns).iter_rows()
    ]  # fmt: skip


def _key(value: str) -> int:
    return xxhash.xxh3_64_intdigest(value.encode())


_WORK: Final = ("submission_id", "worker_id", "device_id")
"""What is read of an account's work to tell which devices it used."""


class IdentityDetector:
    """Reports submissions of accounts that share a device or a payout account as one person does."""

    spec = DetectorSpec(
        name="identity",
        version="2",
        consumes=frozenset({"workers", "tasks", "events"}),
        reason_codes=frozenset(
            {"identity.shared_device", "identity.shared_payout", "identity.same_hand"}
        ),
        after=("file", "text", "image", "trajectory"),
        assets=(hand.ASSET,),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember by which device and for which payout account each submission was made, and how."""
        built = FingerprintBuilder(self.spec)
        for row in self._keyed(batch).iter_rows(named=True):
            if row["device_id"]:
                built.add(row["submission_id"], DEVICE, keys=[_key(row["device_id"])])
            if row["payout_account_hash"]:
                built.add(row["submission_id"], PAYOUT, keys=[_key(row["payout_account_hash"])])
        hand.fingerprint(batch, built)
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name the submissions of every account in the clusters that this batch belongs to."""
        sharing = self._sharing(batch, past, df_max=DF_MAX + len(batch))
        theirs = past.of_worker(sorted(sharing), columns=("submission_id",))
        return frozenset(theirs["submission_id"]) - frozenset(batch.ids)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Weigh every shared key of the batch's accounts; accuse whoever was not the first there."""
        built = FindingsBuilder(self.spec)
        known = self._reach(batch, past, df_max=DF_MAX)
        if known.is_empty():
            return built.build()
        tasks = past.tasks(known["task_id"].unique().sort().to_list())
        mine = set(batch.ids)
        for ring in rings_of(
            known, tasks, self._comparison(known, past), _copies(batch, known, past)
        ):
            for shared in ring.shared:
                self._report(built, ring, shared, mine)
        return built.build()

    @staticmethod
    def _comparison(known: pl.DataFrame, past: Past) -> Callable[[str, str], Likeness | None]:
        """Lay hands side by side by the platform's own model; without one, nothing is said of hands."""
        model = hand.load(past.asset(hand.ASSET))
        if model is None:
            return lambda a, b: None
        rows = known.select("submission_id", "worker_id")
        told = hand.read(past.fingerprints(hand.KIND, rows["submission_id"].to_list()))
        moments = hand.of_accounts(rows.iter_rows(), told)
        return lambda a, b: model.compare(a, b, moments)

    def _report(self, built: FindingsBuilder, ring: Ring, shared: Shared, mine: set[str]) -> None:
        cluster, beside = ring.cluster.evidence(), shared.beside()
        for use, source in shared.accused():
            if use.submission_id not in mine:
                continue
            self._report_hand(built, shared, use, source, cluster)
            if shared.belief.strength < STRENGTH_MIN:
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

    def _report_hand(
        self, built: FindingsBuilder, shared: Shared, use: Use, source: Use,
        cluster: Mapping[str, Any],
    ) -> None:  # fmt: skip
        sure, likeness = shared.hand_of(use.worker_id, source.worker_id)
        if likeness is None or sure < STRENGTH_MIN:
            return
        built.signal(
            use.submission_id, "identity.same_hand", strength=round(sure, 4),
            p_value=likeness.p_value, matched_submission_id=source.submission_id,
            matched_worker_id=source.worker_id,
            evidence={
                "shared": shared.kind,
                "key": shared.label,
                "link_log_odds": round(shared.belief.log_odds, 3),
                "hand_log_ratio": round(likeness.log_ratio, 3),
                "strokes": list(likeness.strokes),
                "compared_with": likeness.cohort,
                "cluster": cluster,
            },
        )  # fmt: skip

    @staticmethod
    def _keyed(batch: Batch) -> pl.DataFrame:
        return batch.submissions.select("submission_id", "worker_id", "device_id").join(
            batch.workers.select("worker_id", "payout_account_hash"),
            on="worker_id",
            how="left",
            maintain_order="left",
        )

    def _reach(self, batch: Batch, past: Past, *, df_max: int) -> pl.DataFrame:
        """All work of all accounts joined to the batch: SUBMISSIONS beside the worker's columns."""
        sharing = self._sharing(batch, past, df_max=df_max)
        return self._with_worker(past.of_worker(sorted(sharing)), past)

    def _sharing(self, batch: Batch, past: Past, *, df_max: int) -> set[str]:
        """Name the accounts joined to the batch through devices and payouts, hop by hop.

        An account that shares no key with another one of these is left out: nothing is said of it.
        """
        keyed = self._keyed(batch)
        found = [keyed.clear()]
        seen: set[str] = set()
        workers: set[str] = set()
        # most of what shares a key with an account is that account's own work: it is read once
        own = set(batch.submissions["worker_id"])
        theirs = past.of_worker(sorted(own), columns=_WORK)
        whose = dict(theirs.select("submission_id", "worker_id").iter_rows())
        for _ in range(HOPS_MAX):
            reached = set(self._sharers(keyed, past, df_max)) - seen
            if not reached:
                break
            others = past.submissions(sorted(reached - whose.keys()), columns=("worker_id",))
            who = {whose[name] for name in reached if name in whose} | set(others["worker_id"])
            fresh = who - workers
            read = past.of_worker(sorted(fresh - own), columns=_WORK)
            rows = pl.concat([theirs.filter(pl.col("worker_id").is_in(sorted(fresh))), read])
            keyed = _with_payout(rows, past)
            found.append(keyed)
            workers |= fresh
            seen |= reached | set(rows["submission_id"])
        return _sharing(pl.concat(found))

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
        """Rings by device, payout and hand; a family, a public machine, an office."""
        yield from examples.examples()


def _with_payout(rows: pl.DataFrame, past: Past) -> pl.DataFrame:
    paid = past.workers(rows["worker_id"].unique().sort().to_list())
    about = paid.select("worker_id", "payout_account_hash")
    return rows.join(about, on="worker_id", how="left", maintain_order="left")


def _sharing(keyed: pl.DataFrame) -> set[str]:
    """Name the accounts that have a device or a payout account in common with another one of these."""
    sharing: set[str] = set()
    for column in ("device_id", "payout_account_hash"):
        used = keyed.filter(pl.col(column).is_not_null(), pl.col(column) != "")
        pairs = used.select("worker_id", column).unique()
        sharing |= set(pairs.filter(pl.len().over(column) > 1)["worker_id"])
    return sharing
