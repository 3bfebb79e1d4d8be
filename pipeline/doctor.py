"""What is misconfigured, missing or stale: each check says what it saw and what to do."""

import shutil
from dataclasses import dataclass
from typing import Final

from pipeline.bootstrap import House
from pipeline.line import CALIBRATION
from pipeline.model.errors import BountyguardError
from pipeline.stores.database import HEAD

FREE_BYTES_MIN: Final = 2 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``state`` is ``ok``, ``look`` or ``broken``."""

    check: str
    state: str
    told: str


def examine(house: House) -> list[Check]:
    """Look at the database, the disk, the rules, the queue, the books, the chain, the calibration."""
    return [
        _schema(house),
        _disk(house),
        _rules(house),
        _queue(house),
        _books(house),
        _chain(house),
        _calibration(house),
        _checkpoints(house),
        _objects(house),
        _segments(house),
        _clock(house),
        _spread(house),
    ]


PROBE: Final = "passing/doctor"
SEGMENTS_MANY: Final = 500


def _objects(house: House) -> Check:
    """Write, read and remove an object where files and segments are kept."""
    where = house.settings.objects or "folders of the home"
    for objects in (house.blobs.objects, house.segments.objects):
        try:
            objects.put(PROBE, b"doctor")
            whole = objects.get(PROBE) == b"doctor"
            objects.remove(PROBE)
        except (BountyguardError, OSError) as error:
            return Check(check="objects", state="broken", told=f"{where}: {error}")
        if not whole:
            return Check(check="objects", state="broken", told=f"{where}: other bytes come back")
    return Check(check="objects", state="ok", told=f"{where}: written, read and removed")


def _segments(house: House) -> Check:
    """Listed segments that are gone are a loss; many small ones only cost time."""
    with house.database.read() as connection:
        listed = [
            s for table in ("events", "fingerprints")
            for s in house.segments.listed(connection, table)
        ]  # fmt: skip
    gone = [s.path for s in listed if not house.segments.objects.has(s.path)]
    if gone:
        told = f"{len(gone)} listed segments are gone, the first {gone[0]}: restore a back-up"
        return Check(check="segments", state="broken", told=told)
    state = "look" if len(listed) > SEGMENTS_MANY else "ok"
    return Check(
        check="segments", state=state, told=f"{len(listed)}; from {SEGMENTS_MANY} on: upkeep"
    )


def _clock(house: House) -> Check:
    fixed = house.settings.fixed_clock
    if fixed is None:
        return Check(check="clock", state="ok", told="the machine's")
    told = f"BOUNTYGUARD_CLOCK stands at {fixed.isoformat()}: right for a replay and nothing else"
    return Check(check="clock", state="look", told=told)


def _spread(house: House) -> Check:
    """A cluster needs stores that every machine of it reaches."""
    settings = house.settings
    if settings.dask is None:
        told = f"{settings.workers} processes on this machine"
        return Check(check="spread", state="ok", told=told)
    alone = [
        what
        for what, local in (
            ("the database", house.database.is_sqlite),
            ("files", not settings.objects),
        )
        if local
    ]
    if alone:
        told = f"{' and '.join(alone)} lie in this machine's home, out of reach for {settings.dask}"
        return Check(check="spread", state="broken", told=told)
    return Check(check="spread", state="ok", told=f"the cluster at {settings.dask}")


def _schema(house: House) -> Check:
    version = house.database.version()
    kind = "SQLite" if house.database.is_sqlite else "PostgreSQL"
    state = "ok" if version == HEAD else "broken"
    return Check(
        check="database", state=state, told=f"{kind}, schema {version} (this program: {HEAD})"
    )


def _disk(house: House) -> Check:
    free = shutil.disk_usage(house.settings.home).free
    state = "ok" if free >= FREE_BYTES_MIN else "look"
    return Check(
        check="disk", state=state, told=f"{free / 1e9:.1f} GB free; fewer than 2 is too few"
    )


def _rules(house: House) -> Check:
    book = house.rulebook()
    failed = [f"{r.rule}: {r.case}" for r in book.test() if not r.passed]
    if failed:
        return Check(check="rules", state="broken", told=f"cases fail: {', '.join(failed[:5])}")
    return Check(
        check="rules", state="ok", told=f"{len(book.rules)} rules, digest {book.digest[:16]}"
    )


def _queue(house: House) -> Check:
    waiting = sum(house.work.waiting(depth) for depth in range(3))
    told = f"{waiting} submissions wait to be judged"
    return Check(check="queue", state="look" if waiting else "ok", told=told)


def _books(house: House) -> Check:
    faults = house.ledger.reconcile()
    told = "; ".join(faults[:3]) or "every account agrees with its entries"
    return Check(check="books", state="broken" if faults else "ok", told=told)


def _chain(house: House) -> Check:
    faults = house.audit().verify(house.audit_keys().verify_hex)
    told = "; ".join(faults[:3]) or "the audit chain is whole"
    return Check(check="audit", state="broken" if faults else "ok", told=told)


def _calibration(house: House) -> Check:
    fitted = house.assets.digest(CALIBRATION)
    if fitted is None:
        told = "behaviour is not calibrated: bountyguard train trajectory"
        return Check(check="calibration", state="look", told=told)
    return Check(check="calibration", state="ok", told=f"fitted, digest {fitted[:16]}")


def _checkpoints(house: House) -> Check:
    inside = house.settings.checkpoints.is_relative_to(house.settings.home)
    told = (
        "checkpoints lie beside the database: set BOUNTYGUARD_CHECKPOINTS to other storage"
        if inside
        else "checkpoints lie elsewhere"
    )
    return Check(check="checkpoints", state="look" if inside else "ok", told=told)
