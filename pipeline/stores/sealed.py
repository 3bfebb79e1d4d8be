"""Sealed back-ups: what workers wrote, sent and did, readable only while their keys are there.

The books stay as they are: ids, times, money, credit and the audit chain verify without any key. The
personal columns of a row, the rows of a segment and the bytes of a file are sealed for whoever they
are of (``worker_keys``); evidence that quotes two people opens only while both have their keys.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
import orjson
import polars as pl

from pipeline.model.errors import StoreError
from pipeline.stores.worker_keys import WorkerKeys, seal, share, unseal, unshare

SEALED: Final = "_sealed"
NO_ARITHMETIC: Final = '{"families":{},"rules":[],"score":0}'
PERSONAL: Final[Mapping[str, Mapping[str, str | None]]] = {
    "submissions": {"text": "", "device_id": None, "ip": None, "extra": "{}"},
    "workers": {"payout_account_hash": None, "skills": "[]", "extra": "{}"},
    "contents": {"media_claim": None, "name": None, "path": None},
    "signals": {"evidence": '{"state":"erased"}'},
    "assessments": {"signals": "[]", "arithmetic": NO_ARITHMETIC},
    "deliveries": {"recipient": "", "line": ""},
}  # fmt: skip
"""Columns that are sealed, and what stands in their place where a key is gone."""

Row = Mapping[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class Seals:
    """Seals a back-up and opens it again. ``lost`` are workers whose rows no longer open."""

    keys: WorkerKeys
    worker_of: dict[str, str] = field(default_factory=dict)
    files_of: dict[str, set[str]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    # --- tables ----------------------------------------------------------------------------

    def learn(self, submissions: pl.DataFrame, workers: pl.DataFrame, *, make: bool) -> None:
        """Take in who handed in what; ``make`` the keys that are wanting."""
        self.worker_of = dict(submissions.select("submission_id", "worker_id").iter_rows())
        everybody = {*self.worker_of.values(), *workers["worker_id"].to_list()}
        if make:
            self.keys.make(everybody)
        self.keys.read(everybody)

    def table(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a table with its personal columns sealed; others as they are."""
        columns = PERSONAL.get(name)
        if columns is None:
            return frame
        sealed = []
        for row in frame.iter_rows(named=True):
            owners = self._owners(name, row)
            data = seal(self.keys, owners, orjson.dumps([row[c] for c in columns]))
            sealed.append(msgspec.msgpack.encode((owners, data)))
        return frame.drop(columns).with_columns(pl.Series(SEALED, sealed, dtype=pl.Binary))

    def open_table(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a table as it was; erased rows hold what ``PERSONAL`` says."""
        if SEALED not in frame.columns:
            return frame
        columns = PERSONAL[name]
        values: dict[str, list[str | None]] = {column: [] for column in columns}
        for row in frame.iter_rows(named=True):
            owners, held = _decoded(row[SEALED], tuple[list[str], bytes])
            data = unseal(self.keys, owners, held)
            if data is None and len(owners) == 1:
                self.lost.add(owners[0])
            told = list(columns.values()) if data is None else orjson.loads(data)
            for column, value in zip(columns, told, strict=True):
                values[column].append(value)
        made = [pl.Series(c, v, dtype=pl.String) for c, v in values.items()]
        return frame.drop(SEALED).with_columns(made)

    def _owners(self, name: str, row: Row) -> list[str]:
        """Say whom a row is of: the worker, and whoever its evidence quotes."""
        if "worker_id" in row:
            return [row["worker_id"]]
        own = self.worker_of[row["submission_id"]]
        quoted = set[str]()
        if name == "signals":
            quoted = {self.worker_of.get(row["matched_submission_id"] or "", own)}
        elif name == "assessments":
            told = orjson.loads(row["signals"])
            quoted = {self.worker_of.get(s.get("matched_submission_id") or "", own) for s in told}
        return [own, *sorted(quoted - {own})]

    # --- segments --------------------------------------------------------------------------

    def segment(self, data: bytes) -> bytes:
        """Seal a segment: the rows of each worker for themselves, with their places."""
        frame = pl.read_parquet(io.BytesIO(data)).with_row_index(SEALED)
        cut = dict(self._parts(frame))
        self.keys.make(cut)  # of workers who did something and never handed in
        parts = {owner: seal(self.keys, [owner], _parquet(part)) for owner, part in cut.items()}
        return msgspec.msgpack.encode((_parquet(frame.clear()), parts))

    def open_segment(self, data: bytes) -> tuple[bytes, int]:
        """Return a segment's file without the rows of those whose key is gone, and its row count."""
        empty, parts = _decoded(data, tuple[bytes, dict[str, bytes]])
        frames = [pl.read_parquet(io.BytesIO(empty))]
        for owner, sealed in parts.items():
            opened = unseal(self.keys, [owner], sealed)
            if opened is None:
                self.lost.add(owner)
            else:
                frames.append(pl.read_parquet(io.BytesIO(opened)))
        whole = pl.concat(frames).sort(SEALED).drop(SEALED)
        return _parquet(whole), whole.height

    def _parts(self, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        if "worker_id" in frame.columns:
            owner = pl.col("worker_id")
        else:
            owner = pl.col("submission_id").replace_strict(
                self.worker_of, default=None, return_dtype=pl.String
            )
        named = frame.with_columns(owner.alias("_owner"))
        groups = named.partition_by("_owner", as_dict=True, include_key=False, maintain_order=True)
        for (worker,), part in groups.items():
            if worker is not None:
                yield str(worker), part

    # --- files -----------------------------------------------------------------------------

    def learn_files(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take in whose each file is, from the tables; assets and handed out files are nobody's."""
        handed = frames["contents"].select("digest", "submission_id").iter_rows()
        copies = frames["deliveries"].drop_nulls("digest").select("digest", "worker_id").iter_rows()
        owned = [*((d, self.worker_of[s]) for d, s in handed), *copies]
        common = set(frames["assets"]["digest"])
        for references in frames["tasks"]["reference_digests"]:
            common |= set(orjson.loads(references))
        self.files_of = {}
        for digest, worker in owned:
            if digest not in common:
                self.files_of.setdefault(digest, set()).add(worker)

    def file(self, digest: str, data: bytes) -> bytes:
        """Seal a file for everybody who handed it in; what nobody did (assets) stays open."""
        owners = sorted(self.files_of.get(digest, ()))
        return share(self.keys, owners, data) if owners else data

    def open_file(self, digest: str, data: bytes) -> bytes | None:
        """Return a file's bytes; None where nobody's key is left."""
        return unshare(self.keys, data) if digest in self.files_of else data


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StoreError("backup.damaged", "what was sealed cannot be read") from error


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=3, statistics=True)
    return buffer.getvalue()
