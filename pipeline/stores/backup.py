"""Back up and restore: one snapshot of every table, and the files that its rows name.

The snapshot is read in one transaction, so a back-up taken under load is a state that really was. Files
are immutable and are written before the row that names them, so copying them afterwards misses none.
Tables are Parquet, the same for both databases: a back-up of SQLite restores into PostgreSQL.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model.errors import StoreError, UsageError
from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import HEAD, Database
from pipeline.stores.files import write_durably
from pipeline.stores.objects import FolderObjects, Objects
from pipeline.stores.sealed import Seals
from pipeline.stores.tables import Instant, metadata, record

MANIFEST: Final = "backup.json"
ROWS_PER_READ: Final = 50_000
ROWS_PER_INSERT: Final = 1_000
SNAPSHOTS_MAX: Final = 3
WHOSE: Final = (
    record.submissions, record.workers, record.contents, record.deliveries, record.assets,
    record.tasks,
)  # fmt: skip
"""Tables that say whose everything is."""


def back_up(
    database: Database,
    blobs: Objects,
    lake: Objects,
    target: Path,
    *,
    now: datetime,
    seals: Seals | None = None,
) -> dict[str, Any]:
    """Write a back-up into an empty or absent folder; return its manifest.

    With ``seals`` what is personal is readable only while its worker's key is there. Raises
    ``UsageError`` where the folder holds something already.
    """
    if target.exists() and any(target.iterdir()):
        raise UsageError("backup.not_empty", f"{target} is not empty: name a new folder")
    for attempt in range(SNAPSHOTS_MAX):
        try:
            manifest = _copy_snapshot(database, blobs, lake, target, seals)
            break
        except StoreError as error:
            # A compaction, a retention or an erasure took a file away since the snapshot: a newer
            # snapshot no longer names it.
            if error.code != "backup.file_lost" or attempt + 1 == SNAPSHOTS_MAX:
                raise
    sealed = seals is not None
    manifest = {"schema": HEAD, "made_at": now.isoformat(), "sealed": sealed} | manifest
    write_durably(target / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return manifest


def _copy_snapshot(
    database: Database, blobs: Objects, lake: Objects, target: Path, seals: Seals | None
) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    with database.read() as connection:
        if seals is not None:
            told = {t.name: _whole(connection, t) for t in WHOSE}
            seals.learn(told["submissions"], told["workers"], make=True)
            seals.learn_files(told)
        for table in metadata.sorted_tables:
            frame = _whole(connection, table)
            if seals is not None:
                frame = seals.table(table.name, frame)
            tables[str(table.name)] = _dump(frame, target / "tables" / f"{table.name}.parquet")
        files = _named_files(connection)
        digests = _named_blobs(connection)
    kept = FolderObjects(target / "lake"), FolderObjects(target / "blobs")
    for path in files:
        _copy(lake, path, kept[0], seals.segment if seals else _as_it_is)
    for digest in digests:
        sealing = partial(seals.file, digest) if seals else _as_it_is
        _copy(blobs, BlobStore.key(digest), kept[1], sealing)
    for key in {key for key, _ in kept[0].listed()} - set(files):
        kept[0].remove(key)  # of an earlier attempt
    return {"tables": tables, "segments": len(files), "blobs": len(digests)}


def restore(
    database: Database, blobs: Objects, lake: Objects, source: Path, *, seals: Seals | None = None
) -> dict[str, Any]:
    """Bring a back-up into an empty database and its files into their stores; return its manifest.

    Of a sealed one, what does not open any more is left out, and ``seals.lost`` says whose it was: erase
    them again (``Upkeep.erase_worker``). Raises ``UsageError`` where the database holds something already
    or ``seals`` are wanting, ``StoreError`` where the back-up is damaged or was made by another schema.
    """
    if not (source / MANIFEST).is_file():
        raise UsageError(
            "backup.absent", f"{source} holds no {MANIFEST}: it is no finished back-up"
        )
    manifest: dict[str, Any] = orjson.loads((source / MANIFEST).read_bytes())
    if manifest["schema"] != HEAD:
        raise StoreError(
            "backup.schema", f"the back-up has schema {manifest['schema']}, this program {HEAD}"
        )
    frames = {name: _read(source, name, told) for name, told in manifest["tables"].items()}
    if manifest.get("sealed"):
        if seals is None:
            raise UsageError(
                "backup.sealed", "the back-up is sealed: the workers' keys are wanting"
            )
        seals.learn(frames["submissions"], frames["workers"], make=False)
        seals.learn_files(frames)
        frames = {name: seals.open_table(name, frame) for name, frame in frames.items()}
        frames["segments"] = _open_segments(source, frames["segments"], lake, seals)
        _open_files(source, blobs, seals)
    else:
        for name, store in (("lake", lake), ("blobs", blobs)):
            kept = FolderObjects(source / name)
            for key, _ in kept.listed():
                store.put(key, kept.get(key))
    with database.write() as connection:
        for table in (record.submissions, record.tasks, record.workers, record.quarantine):
            held = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            if held:
                raise UsageError(
                    "restore.not_empty", f"the database holds {held} {table.name} already"
                )
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))  # the rows that a migration put there
        for table in metadata.sorted_tables:
            _load(connection, table, frames[table.name])
    return manifest


def _open_segments(source: Path, listed: pl.DataFrame, lake: Objects, seals: Seals) -> pl.DataFrame:
    """Write the segments as far as they open; return their rows with what they hold now."""
    kept, told = FolderObjects(source / "lake"), []
    for row in listed.iter_rows(named=True):
        data, count = seals.open_segment(kept.get(row["path"]))
        lake.put(row["path"], data)
        told.append(row | {"sha256": hashlib.sha256(data).hexdigest(), "row_count": count})
    return pl.DataFrame(told, schema=listed.schema)


def _open_files(source: Path, blobs: Objects, seals: Seals) -> None:
    kept = FolderObjects(source / "blobs")
    for key, _ in kept.listed():
        data = seals.open_file(key.replace("/", ""), kept.get(key))
        if data is not None:
            blobs.put(key, data)


def _whole(connection: Connection, table: sa.Table) -> pl.DataFrame:
    query = sa.select(*(_raw(c) for c in table.columns)).order_by(*table.primary_key.columns)
    result = connection.execution_options(yield_per=ROWS_PER_READ).execute(query)
    schema = {c.name: _dtype(c.type) for c in table.columns}
    parts = [pl.DataFrame(schema=schema)]
    for rows in result.partitions():
        parts.append(pl.DataFrame([tuple(r) for r in rows], schema=schema, orient="row"))
    return pl.concat(parts)


def _dump(frame: pl.DataFrame, path: Path) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, compression="zstd")
    return {"rows": frame.height, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    raw = sa.type_coerce(column, sa.BigInteger()) if isinstance(column.type, Instant) else column
    return raw.label(column.name)


def _dtype(kind: Any) -> pl.DataType:
    if isinstance(kind, Instant | sa.Integer):
        return pl.Int64()
    if isinstance(kind, sa.Boolean):
        return pl.Boolean()
    if isinstance(kind, sa.LargeBinary):
        return pl.Binary()
    return pl.Float64() if isinstance(kind, sa.Float | sa.Numeric) else pl.String()


def _read(source: Path, name: str, told: dict[str, Any]) -> pl.DataFrame:
    path = source / "tables" / f"{name}.parquet"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != told["sha256"]:
        raise StoreError("backup.damaged", f"{path.name} is not what was backed up")
    return pl.read_parquet(path)


def _load(connection: Connection, table: sa.Table, frame: pl.DataFrame) -> None:
    """Insert rows as they were stored: instants are integers here and must not be converted again."""
    bare = sa.table(table.name, *(sa.column(c.name) for c in table.columns))
    for part in frame.iter_slices(ROWS_PER_INSERT):
        connection.execute(sa.insert(bare), part.to_dicts())


def _named_files(connection: Connection) -> list[str]:
    return list(connection.execute(sa.select(record.segments.c.path)).scalars())


def _named_blobs(connection: Connection) -> list[str]:
    digests = set(connection.execute(sa.select(record.contents.c.digest)).scalars())
    digests |= set(connection.execute(sa.select(record.assets.c.digest)).scalars())
    copies = record.deliveries.c.digest
    digests |= set(connection.execute(sa.select(copies).where(copies.is_not(None))).scalars())
    for references in connection.execute(sa.select(record.tasks.c.reference_digests)).scalars():
        digests |= set(orjson.loads(references))
    return sorted(digests)


def _as_it_is(data: bytes) -> bytes:
    return data


def _copy(
    source: Objects, key: str, target: Objects, sealing: Callable[[bytes], bytes] = _as_it_is
) -> None:
    try:
        target.put(key, sealing(source.get(key)))
    except FileNotFoundError as error:
        raise StoreError("backup.file_lost", f"a named file is not stored: {key}") from error
