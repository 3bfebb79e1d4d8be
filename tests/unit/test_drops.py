"""Reading a drop in all four forms, with hostile lines, names and files among the good ones."""

import csv
import gzip
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.model.errors import ContentError, UsageError
from pipeline.model.rows import check_submission
from pipeline.stores.drops import FolderDrop

ROWS: list[dict[str, Any]] = [
    {
        "submission_id": f"s{i}",
        "task_id": "t",
        "worker_id": f"w{i}",
        "submitted_at": "2026-03-02T07:32:23.194000+00:00",
        "text": f"text {i}, with a comma and 中文",
        "attachments": [{"path": f"blobs/{i}.txt", "media_type": "text/plain", "name": None}],
        "mood": "calm",
    }
    for i in range(3)
]


def jsonl() -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


def write(form: str, folder: Path) -> None:
    target = folder / f"submissions.{form}"
    if form == "jsonl":
        target.write_bytes(jsonl())
    elif form == "jsonl.gz":
        target.write_bytes(gzip.compress(jsonl()))
    elif form == "csv":
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            for row in ROWS:
                writer.writerow(row | {"attachments": orjson.dumps(row["attachments"]).decode()})
    else:
        pl.DataFrame(ROWS).write_parquet(target)


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_every_form_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    write(form, tmp_path)
    rows = list(FolderDrop(tmp_path).rows("submissions"))
    read = [check_submission(row.value, lax=row.lax) for row in rows]
    assert [r["row_digest"] for r in read] == [check_submission(r)["row_digest"] for r in ROWS]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_events_come_in_chunks_whatever_the_form(form: str, tmp_path: Path) -> None:
    log = pl.DataFrame(
        {"event_id": ["a", "b"], "session_id": ["x", "x"], "worker_id": ["w", "w"],
         "type": ["page.view", "wheel"], "at": [1.5e12, 1.6e12]}
    )  # fmt: skip
    folder = tmp_path / "events"
    folder.mkdir()
    if form == "jsonl":
        log.write_ndjson(folder / "part-0.jsonl")
    elif form == "csv":
        log.write_csv(folder / "part-0.csv")
    else:
        log.write_parquet(folder / "part-0.parquet")
    chunks = list(FolderDrop(tmp_path).events())
    assert pl.concat([c.frame for c in chunks])["event_id"].to_list() == ["a", "b"]
    assert chunks[0].lines.to_list() == {"jsonl": [1, 2], "csv": [2, 3], "parquet": [0, 1]}[form]


def test_a_broken_line_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "submissions.jsonl").write_bytes(b'{"a": 1}\n{"a": \n\n[1]\n{"b": 2}')
    rows = list(FolderDrop(tmp_path).rows("submissions"))
    assert [(r.line, r.error.code if r.error else None) for r in rows] == [
        (1, None), (2, "row.bad_json"), (4, None), (5, None),
    ]  # fmt: skip


def test_a_gzip_that_stops_in_the_middle_keeps_what_was_read(tmp_path: Path) -> None:
    whole = gzip.compress(jsonl() * 400)
    (tmp_path / "submissions.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    rows = list(FolderDrop(tmp_path).rows("submissions"))
    assert len(rows) > 1
    assert rows[-1].error is not None
    assert rows[-1].error.code == "row.bad_gzip"


def test_a_parquet_file_that_is_none_is_one_broken_row(tmp_path: Path) -> None:
    (tmp_path / "submissions.parquet").write_bytes(b"PAR1 nonsense")
    rows = list(FolderDrop(tmp_path).rows("submissions"))
    assert [r.error.code for r in rows if r.error] == ["row.bad_parquet"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../outside.txt", "blob.bad_path"),
        ("/etc/hostname", "blob.bad_path"),
        ("blobs/../../outside.txt", "blob.bad_path"),
        ("blobs/link.txt", "blob.bad_path"),
        ("blobs\\a.txt", "blob.bad_path"),
        ("a" * 5000, "blob.bad_path"),
        ("", "blob.bad_path"),
        ("blobs", "blob.absent"),
        ("blobs/none.txt", "blob.absent"),
        ("blobs/empty.txt", "blob.empty"),
    ],
)
def test_a_file_must_lie_inside_the_drop(path: str, code: str, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    (drop / "blobs").mkdir(parents=True)
    (drop / "submissions.jsonl").write_bytes(b"")
    (tmp_path / "outside.txt").write_text("secret")
    (drop / "blobs" / "link.txt").symlink_to(tmp_path / "outside.txt")
    (drop / "blobs" / "empty.txt").write_bytes(b"")
    with pytest.raises(ContentError) as caught:
        FolderDrop(drop).blob(path)
    assert caught.value.code == code


def test_a_folder_that_is_no_drop_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        FolderDrop(tmp_path)
    with pytest.raises(UsageError):
        FolderDrop(tmp_path / "nowhere")
