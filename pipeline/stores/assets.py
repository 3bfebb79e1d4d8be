"""Trained models, calibrations, key registries: versioned bytes by name, the newest stands."""

from datetime import datetime

import sqlalchemy as sa

from pipeline.stores.blobs import BlobStore
from pipeline.stores.database import Database
from pipeline.stores.tables import record


class Assets:
    """Assets by name; every version is kept, so that a decision can be replayed."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def put(self, name: str, data: bytes, *, note: str, now: datetime) -> int:
        """Keep a new version and return its number; the same bytes again are the same version."""
        digest = self._blobs.put(data)
        table = record.assets.c
        with self._database.write() as connection:
            newest = connection.execute(
                sa.select(table.version, table.digest)
                .where(table.name == name)
                .order_by(table.version.desc())
                .limit(1)
            ).first()
            if newest is not None and newest.digest == digest:
                return int(newest.version)
            version = 1 if newest is None else int(newest.version) + 1
            row = {"name": name, "version": version, "digest": digest, "made_at": now, "note": note}
            connection.execute(record.assets.insert(), [row])
            return version

    def get(self, name: str) -> bytes | None:
        """Return the newest version; None where there is none."""
        digest = self.digest(name)
        return None if digest is None else self._blobs.get(digest)

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of the newest version; None where there is none."""
        return self._newest(name, record.assets.c.digest)

    def note(self, name: str) -> str | None:
        """Return the note of the newest version; None where there is none."""
        return self._newest(name, record.assets.c.note)

    def _newest(self, name: str, column: sa.Column[str]) -> str | None:
        table = record.assets.c
        query = sa.select(column).where(table.name == name).order_by(table.version.desc()).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).scalar()
