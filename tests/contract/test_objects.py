"""Files and segments lie in a folder or in an object store by URL, and nobody above can tell which."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest

from pipeline.model.errors import ContentError, StoreError, UsageError
from pipeline.stores.backup import back_up, restore
from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import Database, open_database
from pipeline.stores.objects import FolderObjects, Objects, open_objects
from pipeline.stores.segments import Segments
from tests.contract.test_record import START

BUCKET = "line"


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """A store that speaks S3, on loopback, with an empty bucket; gives its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output, stderr=output,
        )  # fmt: skip
        try:
            endpoint = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.put(f"{endpoint}/{BUCKET}").raise_for_status()
                    break
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            yield endpoint
        finally:
            server.kill()
            server.wait()


def s3_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def objects(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Objects:
    if request.param == "folder":
        return open_objects(tmp_path / "objects", tmp_path / "cache")
    for name, value in s3_environment(request.getfixturevalue("endpoint")).items():
        monkeypatch.setenv(name, value)
    return open_objects(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "cache")


def test_an_object_is_kept_once_found_listed_and_removed(objects: Objects) -> None:
    assert not objects.has("a/1")
    with pytest.raises(FileNotFoundError):
        objects.get("a/1")
    assert objects.local("a/1") is None
    objects.put("a/1", b"one")
    objects.put("a/1", b"an object never changes")
    objects.put("b", b"two")
    assert objects.get("a/1") == b"one"
    file = objects.local("a/1")
    assert file is not None
    assert file.read_bytes() == b"one"
    assert [key for key, _ in sorted(objects.listed())] == ["a/1", "b"]
    assert objects.remove("a/1")
    assert not objects.remove("a/1")
    assert objects.local("a/1") is None


def test_blobs_segments_and_back_up_work_on_either(objects: Objects, tmp_path: Path) -> None:
    blobs, database = BlobStore(objects), open_database(f"sqlite:///{tmp_path / 'a.db'}")
    digest = blobs.put(b"bytes")
    assert blobs.get(digest) == b"bytes"
    assert blobs.remove(digest)
    with pytest.raises(ContentError, match=digest):
        blobs.get(digest)
    segments = Segments(objects, database)
    segment = segments.write("events", "day=2026-01-01", pl.DataFrame({"event_id": ["e"]}))
    with database.write() as connection:
        segments.enlist(connection, [segment])
    back_up(database, objects, objects, tmp_path / "copy", now=START)
    assert segments.scan([segment]).collect()["event_id"].to_list() == ["e"]
    segments.remove([segment])
    with pytest.raises(StoreError, match="not stored"):
        segments.scan([segment])
    check_restored(tmp_path / "copy", objects, segments, tmp_path)
    database.close()


def check_restored(copy: Path, objects: Objects, segments: Segments, folder: Path) -> None:
    again: Database = open_database(f"sqlite:///{folder / 'b.db'}")
    restore(again, FolderObjects(folder / "blobs"), objects, copy)
    with again.read() as connection:
        listed = segments.listed(connection, "events")
    assert segments.scan(listed).collect().height == 1
    again.close()


def test_a_store_that_does_not_answer_has_one_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name, value in s3_environment(gone).items():
        monkeypatch.setenv(name, value)
    silent = open_objects("s3://line/x", tmp_path)
    with pytest.raises(StoreError) as told:
        silent.get("a")
    assert told.value.code == "store.objects"
    with pytest.raises(UsageError, match="s3://"):
        open_objects("ftp://line/x", tmp_path)
