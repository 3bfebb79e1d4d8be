"""The record's contract, the same on SQLite and on PostgreSQL: intake, queue, past, segments."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from detectors.kit.findings import FindingsBuilder, FingerprintBuilder
from pipeline.decode import open_decoder
from pipeline.decode.pool import PooledDecoder
from pipeline.model import frames
from pipeline.model.rows import check_submission, check_task, check_worker
from pipeline.ports import DetectorSpec, RawRow, Refusal, Ticket
from pipeline.stores import traces
from pipeline.stores.assets import Assets
from pipeline.stores.blobs import FolderBlobs
from pipeline.stores.database import Database
from pipeline.stores.exports import export
from pipeline.stores.intake import RecordIntake
from pipeline.stores.past import StorePast
from pipeline.stores.segments import Segments
from pipeline.stores.tables import record
from pipeline.stores.work import WorkQueue

START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = DetectorSpec(
    name="text",
    version="1",
    consumes=frozenset({"text"}),
    reason_codes=frozenset({"text.contained"}),
)


class Stores:
    """The record's stores over one database."""

    def __init__(self, database: Database, folder: Path, decoder: PooledDecoder) -> None:
        self.database = database
        self.blobs = FolderBlobs(folder / "blobs")
        self.segments = Segments(folder / "lake", database)
        self.assets = Assets(database, self.blobs)
        self.intake = RecordIntake(database, self.blobs, self.segments)
        self.work = WorkQueue(database, self.segments)
        self.index = folder / "index"
        self.decoder = decoder
        self.past = self.open_past()

    def open_past(self) -> StorePast:
        return StorePast(
            self.database, self.segments, self.blobs, self.assets, self.decoder, self.index
        )

    def submit(self, *rows: Mapping[str, Any]) -> Any:
        return self.intake.admit("submissions", [pair(r) for r in rows], [])


@pytest.fixture
def stores(database: Database, tmp_path: Path) -> Iterator[Stores]:
    with open_decoder() as decoder:
        made = Stores(database, tmp_path, decoder)
        yield made
        made.past.close()


def pair(given: Mapping[str, Any]) -> tuple[RawRow, Mapping[str, Any]]:
    row = check_submission(given)
    row.pop("attachments")
    row["contents"] = list(given.get("contents", ()))
    return RawRow(file="submissions.jsonl", line=1, raw=str(given)), row


def submission(name: str, minute: int = 0, **more: Any) -> dict[str, Any]:
    at = START + timedelta(minutes=minute)
    return {
        "submission_id": name, "task_id": "t", "worker_id": f"w-{name}", "session_id": f"x-{name}",
        "submitted_at": at.isoformat(), "text": f"text of {name}",
    } | more  # fmt: skip


def event(name: str, session: str, minute: float, **more: Any) -> dict[str, Any]:
    at = (START + timedelta(minutes=minute)).timestamp() * 1000
    return {
        "event_id": name,
        "session_id": session,
        "worker_id": "w",
        "type": "wheel",
        "at": at,
    } | more


def log(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return frames.conform(
        pl.DataFrame([dict(r) for r in rows], infer_schema_length=None), frames.EVENTS
    )


def test_a_row_twice_is_a_duplicate_and_a_changed_one_a_conflict(stores: Stores) -> None:
    assert stores.submit(submission("a"), submission("b")).new == 2
    again = stores.submit(submission("a"), submission("b", text="changed"))
    assert (again.new, again.duplicate, again.quarantined) == (0, 1, 1)
    kept = export(stores.database, "submissions")
    assert kept["text"].to_list() == ["text of a", "text of b"]
    assert export(stores.database, "quarantine")["code"].to_list() == ["row.conflict"]


def test_a_conflict_inside_one_chunk_is_found_too(stores: Stores) -> None:
    taken = stores.submit(submission("a"), submission("a", text="changed"), submission("a"))
    assert (taken.new, taken.duplicate, taken.quarantined) == (1, 1, 1)


def test_the_same_refusal_twice_is_one_row_of_quarantine(stores: Stores) -> None:
    refusal = Refusal(
        table="tasks", file="tasks.jsonl", line=3, row_id=None, code="row.bad_json",
        reason="no JSON\x00", raw='{"a": \x00\udcff',
    )  # fmt: skip
    for _ in range(2):
        stores.intake.admit("tasks", [], [refusal])
    rows = export(stores.database, "quarantine")
    assert rows.height == 1
    assert rows["raw"][0] == '{"a": \\u0000\\udcff'


def test_arrivals_are_queued_with_whom_they_touch(stores: Stores) -> None:
    stores.submit(submission("child", 5, supersedes="root", worker_id="w"))
    drain(stores)
    stores.submit(submission("root", 1, worker_id="w"))
    assert {t.submission_id for t in stores.work.next(0, 10)} == {"child", "root"}


def drain(stores: Stores) -> None:
    with stores.database.write() as connection:
        connection.execute(sa.delete(record.dirty))


def test_late_events_and_tasks_and_workers_queue_their_submissions(stores: Stores) -> None:
    stores.submit(submission("a"), submission("b", 1))
    drain(stores)
    stores.intake.admit_events(log(event("e", "x-a", 0)), [])
    assert [t.submission_id for t in stores.work.next(0, 10)] == ["a"]
    drain(stores)
    task = check_task({"task_id": "t"}) | {"reference_digests": []}
    task.pop("reference_paths")
    stores.intake.admit("tasks", [(RawRow(file="f", line=1, raw=""), task)], [])
    assert len(stores.work.next(0, 10)) == 2
    drain(stores)
    worker = check_worker({"worker_id": "w-b"})
    stores.intake.admit("workers", [(RawRow(file="f", line=1, raw=""), worker)], [])
    assert [t.submission_id for t in stores.work.next(0, 10)] == ["b"]


def test_events_are_read_back_once_and_with_their_submission(stores: Stores) -> None:
    stores.submit(submission("a", 10), submission("b", 30, session_id="x-a"))
    first = log(event("e1", "x-a", 1), event("e2", "x-a", 20))
    assert stores.intake.admit_events(first, []).new == 2
    assert stores.intake.admit_events(first, []).duplicate == 2
    stores.intake.admit_events(
        log(event("e2", "x-a", 20), event("e3", "y", 0, submission_id="a")), []
    )
    found = stores.past.events(["a", "b"])
    assert dict(found.select("event_id", "submission_id").iter_rows()) == {
        "e1": "a", "e3": "a", "e2": "b",
    }  # fmt: skip
    assert stores.past.events(["b"])["event_id"].to_list() == ["e2"]


def lying(stores: Stores) -> dict[str, list[str]]:
    """Event ids by partition."""
    with stores.database.read() as connection:
        listed = stores.segments.listed(connection, "events")
    held: dict[str, list[str]] = {}
    for segment in listed:
        rows = stores.segments.scan([segment]).collect()
        held.setdefault(segment.partition, []).extend(rows["event_id"].to_list())
    return held


def test_events_lie_by_day_and_share_of_the_workers(stores: Stores) -> None:
    rows = [
        event(f"e{w}-{d}", f"x{w}", 60 * 24 * d, worker_id=f"w{w}")
        for w in range(40)
        for d in (0, 1)
    ]
    stores.intake.admit_events(log(*rows), [])
    held = lying(stores)
    for w in range(40):
        for d in (0, 1):
            name = f"day=2026-01-0{d + 1}/worker={traces.share(f'w{w}')}"
            assert f"e{w}-{d}" in held[name]
            assert traces.may_hold(name, f"w{w}")
    assert len(held) == 2 * traces.SHARES
    assert {traces.day_of(p) for p in held} == {"2026-01-01", "2026-01-02"}


def test_the_day_is_the_server_s_where_the_client_s_clock_is_years_off(stores: Stores) -> None:
    late = event("e", "x", 0, received_at=START + timedelta(days=400))
    stores.intake.admit_events(log(late, event("f", "y", 0)), [])
    assert {traces.day_of(p): ids for p, ids in lying(stores).items()} == {
        "2027-02-05": ["e"], "2026-01-01": ["f"],
    }  # fmt: skip


def test_known_events_are_left_out_whatever_they_come_with(stores: Stores) -> None:
    first = [event(f"e{i}", "x-a", i) for i in range(10)]
    assert stores.intake.admit_events(log(*first), []).new == 10
    again = stores.intake.admit_events(log(*first[3:6], event("late", "x-a", 4.5)), [])
    assert (again.new, again.duplicate) == (1, 3)
    named = stores.intake.admit_events(log(event("e3", "x-a", 3, submission_id="a")), [])
    assert named.new == 1
    ids = [e for some in lying(stores).values() for e in some]
    assert sorted(ids) == sorted([f"e{i}" for i in range(10)] + ["e3", "late"])


def test_the_least_delay_of_a_session_is_kept(stores: Stores) -> None:
    def sent(name: str, minute: float, delay_s: float) -> dict[str, Any]:
        at = START + timedelta(minutes=minute, seconds=delay_s)
        return event(name, "x", minute, received_at=at)

    for rows in (
        [sent("a", 0, 90.0)],
        [sent("b", 1, 60.5), sent("c", 2, 7200.0)],
        [event("d", "y", 1)],
    ):
        stores.intake.admit_events(log(*rows), [])
    assert export(stores.database, "clocks").rows() == [("x", 60_500.0)]


def test_work_begun_before_a_mark_cannot_tick_it_off(stores: Stores) -> None:
    stores.submit(submission("a"))
    drawn = stores.work.next(0, 10)
    stores.work.queue(["a"], depth=0)
    keep(stores, drawn, frames.empty(frames.FINGERPRINTS))
    assert [t.submission_id for t in stores.work.next(0, 10)] == ["a"]
    keep(stores, stores.work.next(0, 9), frames.empty(frames.FINGERPRINTS))
    assert stores.work.waiting(0) == 0
    assert stores.work.waiting(1) == 1


def keep(stores: Stores, tickets: Sequence[Ticket], made: pl.DataFrame) -> None:
    stores.work.keep_fingerprints(tickets, stores.work.write_fingerprints(made), {"text": "1"})
    stores.work.move_on(tickets, [], depth=1)


def test_a_kill_before_the_touched_are_known_leaves_the_arrival_where_it_was(
    stores: Stores,
) -> None:
    stores.submit(submission("a"))
    tickets = stores.work.next(0, 9)
    written = stores.work.write_fingerprints(frames.empty(frames.FINGERPRINTS))
    for _ in range(2):
        stores.work.keep_fingerprints(tickets, written, {"text": "1"})
        assert stores.work.next(0, 9) == tickets
    assert stores.work.move_on(tickets, ["a"], depth=1)
    assert stores.work.waiting(1) == 1


def test_a_mark_stops_only_work_that_is_begun_at_its_depth_or_beyond(stores: Stores) -> None:
    stores.submit(submission("a"))
    for depth in range(2):
        drawn = stores.work.next(depth, 9)
        stores.work.queue(["a"], depth=depth + 1)
        assert stores.work.next(depth, 9) == drawn  # it comes to that depth anyway
        stores.work.queue(["a"], depth=depth)
        stores.work.move_on(drawn, [], depth=depth + 1)
        assert stores.work.waiting(depth) == 1
        stores.work.move_on(stores.work.next(depth, 9), [], depth=depth + 1)
    deciding = stores.work.next(2, 9)
    stores.work.queue(["a"], depth=1)
    stores.work.queue(["a"], depth=2)
    stores.work.move_on(deciding, [], depth=2)
    assert [stores.work.waiting(depth) for depth in range(3)] == [0, 1, 0]


def test_everybody_is_touched_at_once_only_where_everybody_waits(stores: Stores) -> None:
    stores.submit(submission("a"), submission("b", 1))
    first, second = stores.work.next(0, 1), stores.work.next(0, 2)[1:]
    assert stores.work.move_on(first, None, depth=1)
    looking = stores.work.next(1, 9)
    assert stores.work.move_on(second, None, depth=1)
    stores.work.move_on(looking, [], depth=2)
    assert stores.work.waiting(1) == 2  # who was being looked at is looked at again
    stores.work.move_on(stores.work.next(1, 9), [], depth=2)
    stores.submit(submission("c", 2))
    assert not stores.work.move_on(stores.work.next(0, 9), None, depth=1)
    assert stores.work.waiting(0) == 1


def remember(stores: Stores, keys: Mapping[str, list[int]], codes: Mapping[str, bytes]) -> None:
    built = FingerprintBuilder(SPEC)
    for name, some in keys.items():
        built.add(name, "text.winnow", keys=some, positions=range(len(some)), value=name.encode())
    for name, code in codes.items():
        built.add(name, "text.code", value=code)
    keep(stores, stores.work.next(0, 100), built.build())


def test_fingerprints_are_found_by_key_by_nearness_and_by_submission(stores: Stores) -> None:
    stores.submit(*(submission(n, m) for m, n in enumerate("abc")))
    near = np.zeros(32, np.uint8)
    near[0] = 3
    remember(
        stores,
        {"a": [1, 2**64 - 1], "b": [2**64 - 1], "c": [5]},
        {"a": bytes(32), "b": near.tobytes()},
    )
    keys = pl.Series([2**64 - 1, 5], dtype=pl.UInt64)
    found = stores.past.postings("text.winnow", keys)
    assert found.select("submission_id", "position").rows() == [("c", 0), ("a", 1), ("b", 0)]
    assert stores.past.postings("text.winnow", keys, df_max=1)["submission_id"].to_list() == ["c"]
    first = stores.past.postings("text.winnow", keys, earliest=1)
    assert first["submission_id"].to_list() == ["c", "a"]
    assert dict(stores.past.frequencies("text.winnow", keys).iter_rows()) == {5: 1, 2**64 - 1: 2}
    close = stores.past.nearest("text.code", [bytes(32)], distance_max=2)
    assert close.select("submission_id", "distance").rows() == [("a", 0), ("b", 2)]
    kept = stores.past.fingerprints("text.winnow", ["b", "a", "nobody"])
    assert kept.select("submission_id", "value").rows() == [("a", b"a"), ("b", b"b")]


def test_votes_name_who_came_before_and_who_came_after(stores: Stores) -> None:
    stores.submit(submission("c", 2), submission("a"), submission("b", 1), submission("d", 3))
    remember(stores, {"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3, 4], "d": [3]}, {})
    words = pl.DataFrame(
        {"query": 0, "submission_id": "b", "key": [1, 2, 3], "place": [0, 1, 2], "mode": 0, "worth": 1.0},
        schema=dict(frames.ASKED),
    )  # fmt: skip
    ask = {"votes_min": 2, "rows_max": 100}
    before = stores.past.votes("text.winnow", words, earlier=True, **ask)
    assert before.select("query", "submission_id", "mode", "votes").rows() == [(0, "a", 0, 3)]
    after = stores.past.votes("text.winnow", words, earlier=False, most=5, **ask)
    assert after.select("submission_id", "votes").rows() == [("c", 3)]
    assert stores.past.votes("text.band", words, earlier=True, **ask).is_empty()


def test_a_later_arrival_is_seen_by_an_index_that_is_already_open(stores: Stores) -> None:
    stores.submit(submission("a"))
    remember(stores, {"a": [7]}, {})
    assert stores.past.postings("text.winnow", pl.Series([7], dtype=pl.UInt64)).height == 1
    stores.submit(submission("b", 1))
    remember(stores, {"b": [7]}, {})
    assert stores.past.postings("text.winnow", pl.Series([7], dtype=pl.UInt64)).height == 2


def test_an_index_is_read_back_from_disk_and_made_anew_where_it_does_not_fit(
    stores: Stores,
) -> None:
    seven = pl.Series([7], dtype=pl.UInt64)
    stores.submit(submission("a"))
    remember(stores, {"a": [7]}, {"a": bytes(32)})
    assert stores.past.postings("text.winnow", seven).height == 1
    assert stores.past.nearest("text.code", [bytes(32)], distance_max=0).height == 1
    beside = stores.open_past()
    assert beside.postings("text.winnow", seven).height == 1
    beside.close()
    stores.past.close()
    again = stores.open_past()
    stores.submit(submission("b", 1))
    remember(stores, {"b": [7]}, {"b": bytes(32)})
    assert again.postings("text.winnow", seven)["submission_id"].to_list() == ["a", "b"]
    assert again.nearest("text.code", [bytes(32)], distance_max=0).height == 2
    again.close()
    for broken in (b"{", b'{"ordinal": 1, "segment_id": "of another record"}'):
        (stores.index / "text.winnow" / "state.json").write_bytes(broken)
        anew = stores.open_past()
        assert anew.postings("text.winnow", seven)["submission_id"].to_list() == ["a", "b"]
        anew.close()


def test_sketches_outlive_their_process_and_are_made_anew_where_their_file_is_cut(
    stores: Stores,
) -> None:
    for name in "ab":
        stores.submit(submission(name))
    remember(stores, {"a": [7, 8], "b": [7]}, {})
    seven, file = pl.Series([7], dtype=pl.UInt64), stores.index / "text.winnow" / "sketches.bin"
    for broken in (False, False, True):
        past = stores.open_past()
        found = past.carriers("text.winnow", seven, [], earliest=5)
        assert past.named(found.documents)["submission_id"].to_list() == ["a", "b"]
        made = past.sketches("text.winnow", found.documents)
        assert made.sizes.tolist() == [2, 1]
        assert np.bitwise_count(made.marks[0] & made.marks[1]).sum() == 1
        bounds, keys = past.prints("text.winnow", found.documents[::-1], found.contents)
        assert (bounds.tolist(), keys.tolist()) == ([0, 1, 3], [7, 7, 8])
        past.close()
        if not broken:
            file.write_bytes(file.read_bytes()[:72])
    assert file.stat().st_size > 72


def test_a_new_fingerprint_replaces_the_old(stores: Stores) -> None:
    stores.submit(submission("a"))
    remember(stores, {"a": [7]}, {})
    stores.work.queue(["a"], depth=0)
    built = FingerprintBuilder(SPEC)
    built.add("a", "text.winnow", keys=[8], value=b"new")
    keep(stores, stores.work.next(0, 9), built.build())
    assert stores.past.fingerprints("text.winnow", ["a"])["value"].to_list() == [b"new"]


def finding(name: str) -> pl.DataFrame:
    built = FindingsBuilder(SPEC)
    built.signal(name, "text.contained", strength=0.5, evidence={"spans": [1, 2]})
    return built.build().signals


def assessment(name: str, digest: str) -> pl.DataFrame:
    row = {
        "submission_id": name, "score": 50, "risk_level": "elevated", "outcome": "review",
        "reason_codes": ["text.contained"], "signals": "[]", "abstentions": "[]", "arithmetic": "[]",
        "ruleset_digest": "r", "detector_versions": "{}", "input_digest": digest,
        "evaluated_at": START, "evaluation_status": "new",
    }  # fmt: skip
    return pl.DataFrame([row], schema=dict(frames.ASSESSMENTS))


def judge(stores: Stores, name: str, digest: str) -> int:
    stores.work.queue([name], depth=2)
    nothing = (frames.empty(frames.ABSTENTIONS), frames.empty(frames.RAN))
    return stores.work.keep_assessments(
        stores.work.next(2, 9),
        finding(name),
        *nothing,
        ["text"],
        assessment(name, digest),
        now=START,
    )


def test_an_assessment_is_added_only_if_it_says_something_new(stores: Stores) -> None:
    stores.submit(submission("a"))
    remember(stores, {}, {})
    looked = stores.work.next(1, 9)
    stores.work.keep_findings(looked, *(frames.empty(s) for s in (
        frames.SIGNALS, frames.ABSTENTIONS, frames.RAN)), ["text"])  # fmt: skip
    stores.work.move_on(looked, [], depth=2)
    assert [judge(stores, "a", d) for d in ("one", "one", "two")] == [1, 0, 1]
    history = export(stores.database, "evaluations")
    assert history["evaluation_status"].to_list() == ["new", "superseding"]
    assert export(stores.database, "assessments")["input_digest"].to_list() == ["two"]
    assert export(stores.database, "signals").height == 1
    assert stores.past.signals(["a"], codes=["text.contained"]).height == 1
    assert stores.work.waiting(2) == 0


def test_the_window_knows_what_tasks_and_workers_add(stores: Stores) -> None:
    stores.submit(submission("a", 0), submission("b", 60))
    task = check_task({"task_id": "t", "publisher_id": "p", "bounty_minor": 5, "currency": "CNY"})
    task.pop("reference_paths")
    row = (RawRow(file="f", line=1, raw=""), task | {"reference_digests": []})
    stores.intake.admit("tasks", [row], [])
    window = stores.past.window(since=START + timedelta(minutes=30))
    assert window.select("submission_id", "publisher_id", "bounty_minor").rows() == [("b", "p", 5)]
    assert stores.past.of_worker(["w-a"])["submission_id"].to_list() == ["a"]
    assert stores.past.of_task(["t"], limit=1)["submission_id"].to_list() == ["a"]


def test_the_newest_are_told_in_order_and_columns_are_those_asked_for(stores: Stores) -> None:
    stores.submit(submission("c", 5), submission("a", 60), submission("b", 60))
    assert stores.past.count() == 3
    assert stores.past.latest(2)["submission_id"].to_list() == ["a", "b"]
    assert stores.past.latest(9)["submission_id"].to_list() == ["c", "a", "b"]
    narrow = stores.past.submissions(["b", "c"], columns=("submission_id", "worker_id"))
    assert narrow.rows() == [("c", "w-c"), ("b", "w-b")]
    assert stores.past.of_worker(["w-c"], columns=("submission_id",)).rows() == [("c",)]
    whole = stores.past.submissions(["b", "c"])
    assert narrow.equals(whole.select(narrow.columns))


def test_a_file_that_no_row_names_is_swept_and_listed_ones_stay(
    stores: Stores, tmp_path: Path
) -> None:
    stores.intake.admit_events(log(event("e", "x", 0)), [])
    orphan = tmp_path / "lake" / "events" / "day=2026-01-01" / "orphan.parquet"
    orphan.write_bytes(b"left behind")
    import os

    os.utime(orphan, (0, 0))
    assert stores.segments.sweep() == 1
    with stores.database.read() as connection:
        listed = stores.segments.listed(connection, "events")
    assert stores.segments.scan(listed).collect().height == 1


def test_assets_are_versioned_and_the_same_bytes_are_the_same_version(stores: Stores) -> None:
    put = stores.assets.put
    assert [put("m", b, note="", now=START) for b in (b"1", b"1", b"2")] == [1, 1, 2]
    assert stores.assets.get("m") == b"2"
    assert stores.assets.get("none") is None


def test_a_transaction_is_all_or_nothing(stores: Stores) -> None:
    row = {"submission_id": "a", "doc": 1, "depth": 0, "generation": 1}

    def twice() -> None:
        with stores.database.write() as connection:
            for _ in range(2):
                connection.execute(record.dirty.insert(), [row])

    with pytest.raises(sa.exc.IntegrityError):
        twice()
    assert stores.work.waiting(0) == 0
