"""The one place where ports meet stores: settings in, a house that is ready to work out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from detectors.registry import detectors as registered
from detectors.registry import fitted
from pipeline import rulebook as rulebooks
from pipeline.assess import Bench
from pipeline.decode import open_decoder
from pipeline.decode.pool import PooledDecoder
from pipeline.review.gate import answer, pending
from pipeline.rulebook import Rulebook
from pipeline.settings import Settings
from pipeline.stages import credit
from pipeline.stores.access import Access
from pipeline.stores.assets import Assets
from pipeline.stores.audit import AuditLog, CheckpointFile
from pipeline.stores.blobs import BlobStore
from pipeline.stores.circumstances import Circumstances
from pipeline.stores.database import Database, open_database
from pipeline.stores.deliveries import Deliveries
from pipeline.stores.exports import evaluations_of
from pipeline.stores.gate import GateReader
from pipeline.stores.intake import RecordIntake
from pipeline.stores.keys import KeyRing
from pipeline.stores.ledger import Ledger
from pipeline.stores.listing import Listing
from pipeline.stores.objects import open_objects
from pipeline.stores.past import StorePast
from pipeline.stores.quarantine import Quarantine
from pipeline.stores.rulebooks import Rulebooks
from pipeline.stores.segments import Segments
from pipeline.stores.upkeep import Upkeep
from pipeline.stores.work import WorkQueue
from pipeline.stores.worker_keys import WorkerKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything that the line needs, wired."""

    settings: Settings
    database: Database
    blobs: BlobStore
    segments: Segments
    assets: Assets
    decoder: PooledDecoder
    intake: RecordIntake
    work: WorkQueue
    known: StorePast
    ledger: Ledger
    circumstances: Circumstances
    quarantine: Quarantine
    rulebooks: Rulebooks
    listing: Listing
    deliveries: Deliveries

    def rulebook(self) -> Rulebook:
        """Return the rulebook in force: the files, or what is pinned, with the steps taken since."""
        return self.rulebooks.in_force(rulebook_of(self.settings))

    def history(self, submission_id: str) -> list[dict[str, Any]]:
        """Return every assessment of a submission, oldest first."""
        return evaluations_of(self.database, submission_id).to_dicts()

    def bench(self) -> Bench:
        """Return who judges: the registered detectors and the rulebook in force."""
        book = self.rulebook()
        return Bench(
            detectors=fitted(registered(), self.assets.get),
            rulebook=book,
            promise=self.rulebooks.promised(book),
            circumstances=partial(self.circumstances.of, counters=book.counters),
        )

    def score_check(self, submission_id: str) -> dict[str, Any]:
        """Say what the platform would be told before paying; nothing is written."""
        found = GateReader(self.database).latest_assessment(submission_id)
        told = answer(found) if found is not None else pending(submission_id)
        return {"submission_id": submission_id} | asdict(told)

    def permits(self) -> KeyRing:
        """Return the keys that sign permits; the first use makes one."""
        return KeyRing(self.settings.home / "keys" / "permits", self.settings.now())

    def audit(self) -> AuditLog:
        """Return the audit chain, with its checkpoints beside the home's keys."""
        return AuditLog(self.database, CheckpointFile(self.settings.checkpoints))

    def audit_keys(self) -> KeyRing:
        """Return the keys that sign checkpoints of the audit chain."""
        return KeyRing(self.settings.home / "keys" / "audit", self.settings.now())

    def worker_keys(self) -> WorkerKeys:
        """Return the keys that sealed back-ups open by; one worker's is destroyed to erase them."""
        return WorkerKeys(self.settings.home / "keys" / "workers.db")

    def access(self) -> Access:
        """Return who may use the API."""
        return Access(self.database, self.ledger, self.settings.now)

    def upkeep(self) -> Upkeep:
        """Return what keeps the record in shape."""
        return Upkeep(self.database, self.segments, self.blobs)


def _clause(settings: Settings) -> Callable[[str], Mapping[str, str]]:
    """Return what a rule tells the worker, by language; read at the first question."""

    @cache
    def rules() -> dict[str, Mapping[str, str]]:
        return {
            rule.id: {"en": rule.notice_en or rule.why, "zh": rule.notice_zh or rule.why}
            for rule in rulebook_of(settings).rules
        }

    return lambda rule: (
        rules().get(rule)
        or {
            "en": f"the rule {rule}, of an earlier revision of the rulebook",
            "zh": f"规则 {rule}（规则手册的较早版本）",
        }
    )


def rulebook_of(settings: Settings) -> Rulebook:
    """Return the rulebook in force: the operator's folder, or the one that ships."""
    folder = settings.rules
    return rulebooks.load(sorted(folder.glob("*.toml"))) if folder else rulebooks.shipped()


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Open the stores of those settings, and close them and the decoding child at the end.

    Raises ``StoreError`` where a store does not answer.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    database = open_database(settings.database_url)
    blobs = BlobStore(open_objects(settings.place("blobs"), settings.home / "cache" / "blobs"))
    lake = open_objects(settings.place("lake"), settings.home / "cache" / "lake")
    segments = Segments(lake, database)
    assets = Assets(database, blobs)
    ledger = Ledger(
        database, settings.now, standings=credit.standings, clause=_clause(settings),
        holdback=settings.holdback,
    )  # fmt: skip
    with open_decoder() as decoder:
        known = StorePast(database, segments, blobs, assets, decoder, settings.home / "index")
        try:
            yield House(
                settings=settings,
                database=database,
                blobs=blobs,
                segments=segments,
                assets=assets,
                decoder=decoder,
                intake=RecordIntake(database, blobs, segments),
                work=WorkQueue(database, segments),
                known=known,
                ledger=ledger,
                quarantine=Quarantine(database),
                circumstances=Circumstances(database, ledger, settings.now),
                rulebooks=Rulebooks(database, assets, settings.now),
                listing=Listing(database),
                deliveries=Deliveries(database),
            )
        finally:
            known.close()
            database.close()
