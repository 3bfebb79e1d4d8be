"""Upkeep changes what is kept and how, never what is found: compaction, retention, erasure, back-up."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from pipeline.model.errors import StoreError, UsageError
from pipeline.stores.backup import back_up, restore
from pipeline.stores.database import Database, open_database
from pipeline.stores.exports import EXPORTS, export
from pipeline.stores.objects import FolderObjects, Objects
from pipeline.stores.tables import record
from pipeline.stores.upkeep import Upkeep
from tests.contract.test_record import START, Stores, event, log, remember, stores, submission

__all__ = ["stores"]


@pytest.fixture
def upkeep(stores: Stores) -> Upkeep:
    return Upkeep(stores.database, stores.segments, stores.blobs)


def fill(stores: Stores) -> None:
    for minute, name in enumerate("abc"):
        stores.submit(submission(name, minute))
        stores.intake.admit_events(
            log(event(f"e-{name}", f"x-{name}", minute, worker_id=f"w-{name}")), []
        )
        remember(stores, {name: [7, minute]}, {name: bytes(32)})


SEVEN = pl.Series([7], dtype=pl.UInt64)


def test_compaction_changes_nothing_that_is_found(stores: Stores, upkeep: Upkeep) -> None:
    fill(stores)
    before = (stores.past.postings("text.winnow", SEVEN), stores.past.events(list("abc")))
    told = upkeep.compact()
    assert (told.before, told.after) == (5, 2)  # one of the workers lies in another share
    assert stores.past.postings("text.winnow", SEVEN).equals(before[0])
    assert stores.past.events(list("abc")).equals(before[1])
    assert stores.past.fingerprints("text.winnow", ["b"])["value"].to_list() == [b"b"]
    fresh = stores.open_past()
    assert fresh.postings("text.winnow", SEVEN).equals(before[0])
    fresh.close()
    assert upkeep.compact().before == 0


def test_old_traces_go_and_younger_ones_stay(stores: Stores, upkeep: Upkeep) -> None:
    fill(stores)
    stores.intake.admit_events(log(event("late", "x-a", 60 * 24 * 40)), [])
    assert upkeep.retain_events(since=date(2026, 1, 31)) == 3
    assert stores.past.events(list("abc"))["event_id"].to_list() == ["late"]


def test_fingerprints_of_a_kind_are_evicted_by_age(stores: Stores, upkeep: Upkeep) -> None:
    fill(stores)
    assert stores.past.frequencies("text.winnow", SEVEN)["df"].to_list() == [3]
    assert upkeep.evict("another.kind", before=START + timedelta(days=1)) == 0
    assert upkeep.evict("text.winnow", before=START + timedelta(minutes=1)) == 1
    assert stores.past.postings("text.winnow", SEVEN)["submission_id"].to_list() == ["b", "c"]
    assert stores.past.frequencies("text.winnow", SEVEN)["df"].to_list() == [2]
    kept = stores.past.fingerprints("text.winnow", list("abc"))["submission_id"].to_list()
    assert kept == ["b", "c"]
    assert upkeep.evict("text.winnow", before=START + timedelta(minutes=1)) == 0


def test_a_worker_is_erased_and_nobody_else(stores: Stores, upkeep: Upkeep, tmp_path: Path) -> None:
    fill(stores)
    assert upkeep.erase_worker("w-a") == 1
    kept = export(stores.database, "submissions")
    assert kept["text"].to_list() == ["", "text of b", "text of c"]
    assert stores.past.events(list("abc"))["event_id"].to_list() == ["e-b", "e-c"]
    assert stores.past.fingerprints("text.winnow", list("abc"))["submission_id"].to_list() == [
        "b",
        "c",
    ]
    for path in (tmp_path / "lake").rglob("*.parquet"):
        frame = pl.read_parquet(path)
        assert "a" not in frame["submission_id"].to_list()


def places(stores: Stores) -> tuple[Objects, Objects]:
    return stores.blobs.objects, stores.segments.objects


def opened(url: str) -> Database:
    return open_database(url)


def test_a_back_up_restores_into_either_database(
    stores: Stores, tmp_path: Path, other_postgres_url: str
) -> None:
    fill(stores)
    copy = tmp_path / "copy"
    manifest = back_up(stores.database, *places(stores), copy, now=START)
    assert manifest["tables"]["submissions"]["rows"] == 3
    for number, url in enumerate((f"sqlite:///{tmp_path / 'restored.db'}", other_postgres_url)):
        database = opened(url)
        home = tmp_path / f"home-{number}"
        into = FolderObjects(home / "blobs"), FolderObjects(home / "lake")
        restore(database, *into, copy)
        for name in EXPORTS:
            assert export(database, name).equals(export(stores.database, name)), name
        again = Stores(database, home, stores.decoder)
        assert again.past.events(["a"]).equals(stores.past.events(["a"]))
        assert again.past.postings("text.winnow", SEVEN).height == 3
        again.past.close()
        with pytest.raises(UsageError, match="already"):
            restore(database, *into, copy)
        database.close()


def test_a_damaged_back_up_is_refused_whole(stores: Stores, tmp_path: Path) -> None:
    fill(stores)
    copy = tmp_path / "copy"
    back_up(stores.database, *places(stores), copy, now=START)
    (copy / "tables" / "tasks.parquet").write_bytes(b"something else")
    database = opened(f"sqlite:///{tmp_path / 'restored.db'}")
    with pytest.raises(StoreError, match="not what was backed up"):
        restore(database, FolderObjects(tmp_path / "b"), FolderObjects(tmp_path / "l"), copy)
    with database.read() as connection:
        assert (
            connection.execute(sa.select(sa.func.count()).select_from(record.submissions)).scalar()
            == 0
        )
    database.close()
