"""The posting index answers as a plain set would, whatever was flushed, merged, removed or reopened."""

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.postings import MANIFEST, PostingIndex

Row = tuple[int, int, int, int]
ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 5, 2**63, 2**64 - 1]),
        st.integers(0, 6),
        st.integers(-1, 300),
        st.sampled_from([0, 1, 70_000]),
    ),
    max_size=12,
)
STEPS = st.lists(
    st.one_of(
        ROWS.map(lambda rows: ("add", rows)),
        st.lists(st.integers(0, 6), max_size=2).map(lambda docs: ("remove", docs)),
        st.sampled_from([("flush", None), ("compact", None), ("reopen", None)]),
    ),
    max_size=12,
)
ASKED = np.array([0, 1, 2, 5, 2**63, 2**64 - 1, 5], np.uint64)


def add(index: PostingIndex, rows: list[Row]) -> None:
    keys, docs, contents, positions = ([row[i] for row in rows] for i in range(4))
    index.add(
        np.array(keys, np.uint64), np.array(docs, np.uint32),
        np.array(contents, np.int32), np.array(positions, np.int32),
    )  # fmt: skip


def rows_of(index: PostingIndex) -> list[Row]:
    return list(zip(*(c.tolist() for c in index.lookup(ASKED)), strict=True))


def check(index: PostingIndex, known: set[Row]) -> None:
    assert rows_of(index) == sorted(known)
    counts = [len({row[1] for row in known if row[0] == key}) for key in ASKED.tolist()]
    assert index.counts(ASKED).tolist() == counts
    for most in (0, 2):
        capped = index.counts(ASKED, most=most)
        assert np.minimum(capped, most + 1).tolist() == [min(c, most + 1) for c in counts]


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, on_disk=st.booleans())
def test_index_answers_as_a_set(steps: list[tuple[str, list[Row]]], on_disk: bool) -> None:
    with TemporaryDirectory() as folder:
        directory = Path(folder) if on_disk else None
        index = PostingIndex(directory)
        known: set[Row] = set()
        for step, given_ in steps:
            if step == "add":
                add(index, given_)
                known |= set(given_)
            elif step == "remove":
                index.remove(given_)  # type: ignore[arg-type]
                known = {row for row in known if row[1] not in given_}
            elif step == "flush":
                index.flush()
            elif step == "compact":
                index.compact()
            elif directory is not None:
                index.flush()
                index = PostingIndex(directory)
            check(index, known)


def test_index_reader_sees_what_a_writer_flushed(tmp_path: Path) -> None:
    writer, reader = PostingIndex(tmp_path), PostingIndex(tmp_path)
    add(writer, [(1, 1, -1, 0)])
    assert not reader.refresh()
    writer.flush(mark=7)
    assert reader.refresh()
    assert reader.mark == 7
    assert rows_of(reader) == [(1, 1, -1, 0)]
    for doc in range(2, 40):
        add(writer, [(1, doc, -1, 0)])
        writer.flush(mark=doc)
    assert len(list(tmp_path.glob("run-*"))) <= 9
    assert rows_of(reader) == [(1, 1, -1, 0)]  # runs that were merged away stay readable
    reader.refresh()
    assert [row[1] for row in rows_of(reader)] == list(range(1, 40))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: (d / MANIFEST).write_text("{"),
        lambda d: (d / MANIFEST).write_text('{"version": 99, "mark": 1, "runs": []}'),
        lambda d: (d / MANIFEST).write_text('{"version": 1, "mark": 1, "runs": [["../x", 3]]}'),
        lambda d: next(d.glob("run-*/docs.npy")).write_bytes(b"cut short"),
        lambda d: next(d.glob("run-*/keys.npy")).unlink(),
    ],
)
def test_index_damage_reads_as_empty(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    index = PostingIndex(tmp_path)
    add(index, [(1, 1, -1, 0), (5, 2, 0, 9)])
    index.flush(mark=3)
    spoil(tmp_path)
    found = PostingIndex(tmp_path)
    assert rows_of(found) == []
    assert found.mark is None
    add(found, [(1, 4, -1, 0)])
    found.flush(mark=5)
    assert rows_of(PostingIndex(tmp_path)) == [(1, 4, -1, 0)]


def test_index_lookups_go_on_while_it_is_written_and_compacted(tmp_path: Path) -> None:
    index = PostingIndex(tmp_path)
    add(index, [(1, 0, -1, 0)])
    index.flush()
    faults: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        reader = PostingIndex(tmp_path)
        while not stop.is_set():
            try:
                assert index.lookup(ASKED).docs[0] == 0
                reader.refresh()
                assert reader.lookup(ASKED).docs[0] == 0
            except BaseException as fault:  # noqa: BLE001 - told by the test below
                faults.append(fault)
                return

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for doc in range(1, 60):
        add(index, [(1, doc, -1, 0)])
        index.flush()
        if doc % 5 == 0:
            index.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults


@pytest.mark.parametrize("spread", [1, 3, 40, 2**64 - 1])
def test_index_sorts_and_merges_many_rows_however_their_keys_fall(spread: int) -> None:
    draw = np.random.default_rng(spread % 97)
    keys = draw.integers(0, spread, 30_000, np.uint64, endpoint=True)
    docs = draw.permutation(30_000).astype(np.uint32)[::-1]
    contents = draw.integers(-1, 2, 30_000).astype(np.int32)
    index, parts = PostingIndex(), 3
    for part in range(parts):
        index.add(*(column[part::parts] for column in (keys, docs, contents, contents)))
    index.compact()
    order = np.lexsort((docs, keys))
    found = index.lookup(keys)
    assert (found.keys == keys[order]).all()
    assert (found.docs == docs[order]).all()
    assert (found.contents == contents[order]).all()


def test_index_refuses_columns_of_unequal_length() -> None:
    one, two = np.zeros(1, np.int32), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="differ in length"):
        PostingIndex().add(one.astype(np.uint64), two.astype(np.uint32), one, one)
