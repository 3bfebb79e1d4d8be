"""The file detector: keys are the leading 64 bits of the digest, proof is the whole digest."""

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from detectors.kit.order import Order
from detectors.kit.subtract import handed_out
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past

KIND = "file.sha256"


def _key(digest: str) -> int:
    return int(digest[:16], 16)


class FileDetector:
    """Reports files whose bytes an earlier submission already carried."""

    spec = DetectorSpec(
        name="file",
        version="1",
        consumes=frozenset({"contents", "tasks"}),
        reason_codes=frozenset({"file.identical"}),
    )

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember the digest of every file."""
        built = FingerprintBuilder(self.spec)
        for row in batch.contents.iter_rows(named=True):
            built.add(
                row["submission_id"],
                KIND,
                content_index=row["content_index"],
                keys=[_key(row["digest"])],
                value=bytes.fromhex(row["digest"]),
            )
        return built.build()

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name everybody who carries one of these files."""
        carriers = past.postings(KIND, self._keys(batch))["submission_id"]
        return frozenset(carriers) - frozenset(batch.ids)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Report, for each file, the earliest submission that carried the same bytes."""
        built = FindingsBuilder(self.spec)
        holders = past.contents(
            past.postings(KIND, self._keys(batch))["submission_id"].unique().to_list()
        )
        by_digest: dict[str, list[str]] = {}
        for digest, holder in holders.select("digest", "submission_id").iter_rows():
            by_digest.setdefault(digest, []).append(holder)
        order = Order.of(past, [*holders["submission_id"].to_list(), *batch.ids])
        given = handed_out(batch)
        for row in batch.contents.iter_rows(named=True):
            accused, digest = row["submission_id"], row["digest"]
            if (accused, digest) in given:
                continue
            sources = [s for s in by_digest.get(digest, []) if order.accusable(accused, s)]
            if not sources:
                continue
            first = min((order[s] for s in sources), key=lambda s: s.rank)
            built.signal(
                accused,
                "file.identical",
                strength=1.0,
                matched_submission_id=first.submission_id,
                matched_worker_id=first.worker_id,
                evidence={
                    "sha256": digest,
                    "content_index": row["content_index"],
                    "name": row["name"] or row["path"],
                    "byte_count": row["byte_count"],
                    "first_submitted_at": first.submitted_at.isoformat(),
                    "earlier_carriers": len(set(sources)),
                },
            )
        return built.build()

    def examples(self) -> Iterable[Example]:
        """A stolen file, a worker's own revision, and a file that came with the brief."""
        at = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(4)]
        yield Example(
            title="the later of two equal files is accused, whoever arrives first",
            submissions=(
                {"submission_id": "b", "worker_id": "w2", "submitted_at": at[1],
                 "files": (("x.txt", b"the very same words"),)},
                {"submission_id": "a", "worker_id": "w1", "submitted_at": at[0],
                 "files": (("y.txt", b"the very same words"),)},
            ),
            expected={"b": frozenset({"file.identical"})},
            matched={"b": "a"},
        )  # fmt: skip
        yield Example(
            title="a worker's own revision is never accused of copying itself",
            submissions=(
                {"submission_id": "a", "worker_id": "w1", "submitted_at": at[0],
                 "files": (("y.txt", b"first version"),)},
                {"submission_id": "b", "worker_id": "w1", "submitted_at": at[1],
                 "supersedes": "a", "files": (("y.txt", b"first version"),)},
            ),
        )  # fmt: skip
        yield Example(
            title="a file that the task handed out accuses nobody",
            tasks=({"task_id": "t", "reference_files": (b"the form to fill in",)},),
            submissions=(
                {"submission_id": "a", "worker_id": "w1", "submitted_at": at[0], "task_id": "t",
                 "files": (("form.txt", b"the form to fill in"),)},
                {"submission_id": "b", "worker_id": "w2", "submitted_at": at[1], "task_id": "t",
                 "files": (("form.txt", b"the form to fill in"),)},
            ),
        )  # fmt: skip

    @staticmethod
    def _keys(batch: Batch) -> pl.Series:
        return pl.Series([_key(d) for d in batch.contents["digest"].unique()], dtype=pl.UInt64)
