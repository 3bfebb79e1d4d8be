"""Sealed back-ups: a worker's key, destroyed, erases every copy; the books and the chain still verify."""

import shutil
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from console_worlds import NOON, demo_home, demo_made
from pipeline.bootstrap import House, open_house
from pipeline.entry.cli import app
from pipeline.model.errors import ContentError, StoreError, UsageError
from pipeline.settings import load_settings
from pipeline.stores.backup import back_up, restore
from pipeline.stores.exports import EXPORTS, export
from pipeline.stores.sealed import PERSONAL, SEALED, Seals
from pipeline.stores.worker_keys import WorkerKeys, seal, share, unseal, unshare

__all__ = ["demo_home", "demo_made"]


def opened(home: Path, database_url: str | None = None) -> AbstractContextManager[House]:
    more = {"BOUNTYGUARD_DATABASE_URL": database_url} if database_url else {}
    return open_house(load_settings({"BOUNTYGUARD_CLOCK": NOON} | more, home=home))


def run(home: Path, *command: str) -> str:
    done = CliRunner().invoke(app, ["--home", str(home), *command])
    assert done.exit_code == 0, done.output
    return done.output


def quoted(house: House) -> tuple[str, list[str]]:
    """Somebody whose work was copied, and what they handed in."""
    source = export(house.database, "signals")["matched_submission_id"].drop_nulls().sort()[0]
    everything = export(house.database, "submissions")
    who = str(everything.filter(pl.col("submission_id") == source)["worker_id"][0])
    return who, everything.filter(pl.col("worker_id") == who)["submission_id"].to_list()


def test_a_key_that_is_destroyed_erases_an_older_back_up(demo_home: Path, tmp_path: Path) -> None:
    copy, again = tmp_path / "copy", tmp_path / "again"
    run(demo_home, "backup", str(copy), "--seal")
    with opened(demo_home) as house:
        worker, ids = quoted(house)
        before = {name: export(house.database, name) for name in EXPORTS}
        theirs = house.known.submissions(ids)["text"].to_list()
        files = house.known.contents(ids)["digest"].to_list()
        events = house.known.events(before["submissions"]["submission_id"].to_list())
        written = {
            t["text"][:60]: sid
            for sid in ids
            for t in [{"text": house.known.submissions([sid])["text"][0]}]
            if t["text"]
        }
    assert any(theirs)
    assert "key destroyed" in run(demo_home, "erase", worker, "--yes")

    (again / "keys").mkdir(parents=True)
    shutil.copy(demo_home / "keys" / "workers.db", again / "keys" / "workers.db")
    assert "1 workers have no key" in run(again, "restore", str(copy))
    with opened(again) as house:
        assert house.ledger.reconcile() == []
        assert house.audit().verify() == []
        assert set(house.known.submissions(ids)["text"]) == {""}
        assert house.known.contents(ids).is_empty()
        for digest in set(files):
            with pytest.raises(ContentError):
                house.blobs.get(digest)
        mine = pl.col("submission_id").is_in(ids)
        left = house.known.events(before["submissions"]["submission_id"].to_list())
        assert left.equals(events.filter(~mine))
        for name in ("transfers", "payouts", "credit", "cases", "accounts"):
            now = export(house.database, name, more=house.ledger.exports())
            with opened(demo_home) as live:
                assert now.equals(export(live.database, name, more=live.ledger.exports())), name
        everything = export(house.database, "submissions")
        assert everything.filter(~mine).equals(before["submissions"].filter(~mine))
        whole = "\n".join(str(export(house.database, n).to_dicts()) for n in EXPORTS)
        assert written
        for text in written:
            assert text not in whole


def test_nothing_personal_stands_open_in_it(demo_home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    run(demo_home, "backup", str(copy), "--seal")
    for name, columns in PERSONAL.items():
        frame = pl.read_parquet(copy / "tables" / f"{name}.parquet")
        assert SEALED in frame.columns
        assert not set(columns) & set(frame.columns)
    with opened(demo_home) as house:
        digests = export(house.database, "contents")["digest"].unique().to_list()
        for digest in digests:
            kept = (copy / "blobs" / digest[:2] / digest[2:]).read_bytes()
            assert house.blobs.get(digest)[:64] not in kept
    for path in (copy / "lake").rglob("*.parquet"):
        with pytest.raises(pl.exceptions.ComputeError):
            pl.read_parquet(path)
    assert not list(copy.rglob("*.db"))


@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_with_all_keys_it_restores_to_what_was(
    demo_home: Path, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    copy, again = tmp_path / "copy", tmp_path / "again"
    run(demo_home, "backup", str(copy), "--seal")
    url = request.getfixturevalue("other_postgres_url") if place == "postgres" else None
    with opened(demo_home) as live, opened(again, url) as house:
        places = house.blobs.objects, house.segments.objects
        with pytest.raises(UsageError) as refused:
            restore(house.database, *places, copy)
        assert refused.value.code == "backup.sealed"
        with live.worker_keys() as keys:
            seals = Seals(keys=keys)
            restore(house.database, *places, copy, seals=seals)
        assert seals.lost == set()
        for name in EXPORTS:
            was, now = export(live.database, name), export(house.database, name)
            if name == "segments":
                was, now = was.drop("sha256"), now.drop("sha256")
            assert now.equals(was), name
        ids = export(live.database, "submissions")["submission_id"].to_list()
        assert house.known.events(ids).equals(live.known.events(ids))
        for digest in export(live.database, "contents")["digest"].unique():
            assert house.blobs.get(digest) == live.blobs.get(digest)


def test_what_was_altered_is_told_from_what_was_erased(demo_home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with opened(demo_home) as live, live.worker_keys() as keys:
        places = live.blobs.objects, live.segments.objects
        back_up(live.database, *places, copy, now=live.settings.now(), seals=Seals(keys=keys))
        victim = next((copy / "blobs").rglob("*/*"))
        data = bytearray(victim.read_bytes())
        data[-1] ^= 1
        victim.write_bytes(bytes(data))
        with opened(tmp_path / "again") as house:
            into = house.blobs.objects, house.segments.objects
            with pytest.raises(StoreError) as refused:
                restore(house.database, *into, copy, seals=Seals(keys=keys))
    assert refused.value.code == "backup.damaged"


def test_a_key_opens_what_it_sealed_and_nothing_once_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "workers.db"
    with WorkerKeys(path) as keys:
        keys.make(["a", "b", "c"])
        first = keys.get("a")
        keys.make(["a"])
        assert keys.get("a") == first
        both, either = seal(keys, ["a", "b"], b"said"), share(keys, ["a", "b"], b"sent")
        assert unseal(keys, ["a", "b"], both) == b"said"
        assert keys.destroy("b")
        assert not keys.destroy("b")
        assert unseal(keys, ["a", "b"], both) is None
        assert unshare(keys, either) == b"sent"
        assert keys.destroy("a")
        assert unshare(keys, either) is None
        keys.make(["a"])  # somebody who comes back gets another key
        assert unshare(keys, either) is None
        with pytest.raises(LookupError):
            seal(keys, ["nobody"], b"")
    assert first is not None
    assert first not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (2,)
