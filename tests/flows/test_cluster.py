"""The line on a Dask cluster with PostgreSQL and an object store, a worker killed: the same tables."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from distributed import Client

from pipeline.entry.output import _jsonl
from pipeline.stores.database import open_database
from pipeline.stores.exports import EXPORTS, export
from pipeline.stores.ledger_exports import LEDGER_EXPORTS
from pipeline.stores.tables import record
from tests.contract.test_objects import BUCKET, s3_environment, s3_server
from tests.flows.test_deployments import (
    ROOT,
    Patient,
    arrivals,
    background,
    bountyguard,
    completed,
    wait_for,
)

WORKERS = ("one", "two")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def worker(env: dict[str, str], name: str, scheduler: str, folder: Path) -> Iterator[int]:
    """A process of the cluster, with a home of its own for its caches; gives its process id."""
    local = str(folder / f"dask-{name}")
    command = ["-m", "distributed.cli.dask_worker", scheduler, "--name", name, "--nthreads", "1",
               "--no-nanny", "--no-dashboard", "--local-directory", local]  # fmt: skip
    own = env | {"BOUNTYGUARD_HOME": str(folder / f"home-{name}")}
    with (folder / f"{name}.log").open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=own, stdout=output, stderr=output
        )
        try:
            yield running.pid
        finally:
            running.kill()
            running.wait()


def kill_in_the_middle(scheduler: str, url: str, pid: int, killed: threading.Event) -> None:
    """Kill the first worker while it does a part, once some parts are done."""
    database = open_database(url, migrate=False)
    with Client(scheduler, set_as_default=False) as client:
        address = next(
            a for a, w in client.scheduler_info(n_workers=-1)["workers"].items()
            if w["name"] == WORKERS[0]
        )  # fmt: skip
        end = time.monotonic() + 240
        while time.monotonic() < end and not killed.is_set():
            with database.read() as connection:
                query = sa.select(sa.func.count()).select_from(record.fingerprinted)
                some = connection.execute(query).scalar()
            if some and client.processing().get(address):
                os.kill(pid, signal.SIGKILL)
                killed.set()
            time.sleep(0.02)
    database.close()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(1800)
def test_a_cluster_with_a_worker_killed_writes_the_same_tables(
    tmp_path: Path, postgres_url: str
) -> None:
    port, scheduler = free_port(), f"tcp://127.0.0.1:{free_port()}"
    api = f"http://127.0.0.1:{port}/api"
    alone = os.environ | {
        "BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z", "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false", "BOUNTYGUARD_PART": "32",
    }  # fmt: skip
    inbox, here, there = tmp_path / "inbox", tmp_path / "here", tmp_path / "there"
    inbox.mkdir()
    for name in arrivals(inbox):
        bountyguard(alone, here, "run", str(inbox / name))
    with contextlib.ExitStack() as running:
        endpoint = running.enter_context(s3_server(tmp_path / "s3.log"))
        env = alone | s3_environment(endpoint) | {
            "BOUNTYGUARD_DATABASE_URL": postgres_url, "BOUNTYGUARD_DASK": scheduler,
            "BOUNTYGUARD_OBJECTS": f"s3://{BUCKET}/line",
        }  # fmt: skip
        bountyguard(env, there, "doctor")  # makes the tables
        running.enter_context(
            background(env, tmp_path / "server.log", "server", "start", "--port", str(port))
        )
        running.enter_context(dask_scheduler(env, scheduler, tmp_path))
        pids = [running.enter_context(worker(env, name, scheduler, tmp_path)) for name in WORKERS]
        wait_for("the server", lambda: healthy(api))
        bountyguard(env, there, "flows", "deploy", "--inbox", str(inbox))
        wait_for("two workers", lambda: workers_at(scheduler) == len(WORKERS))
        killed = threading.Event()
        killer = threading.Thread(
            target=kill_in_the_middle, args=(scheduler, postgres_url, pids[0], killed)
        )
        killer.start()
        client = running.enter_context(httpx.Client(base_url=api, timeout=30, transport=Patient()))
        line = client.get("/deployments/name/bountyguard-arrivals/line").raise_for_status().json()
        client.post(f"/deployments/{line['id']}/pause_deployment").raise_for_status()
        running.enter_context(
            background(env, tmp_path / "worker.log", "worker", "start", "--pool", "bountyguard")
        )
        client.post(
            f"/deployments/{line['id']}/create_flow_run", json={"idempotency_key": "the run"}
        ).raise_for_status()
        wait_for("the run", lambda: completed(client, line["id"]) == 1, patience_s=1200)
        killer.join()
        assert killed.is_set()
        assert workers_at(scheduler) == 1
        alike = tables(f"sqlite:///{here / 'bountyguard.db'}")
        for name, told in tables(postgres_url).items():
            assert told == alike[name], name
    assert not list((there / "lake").rglob("*.parquet"))  # everything lies in the object store


def tables(url: str) -> dict[str, bytes]:
    """Every table as ``bountyguard export`` prints it."""
    database = open_database(url, migrate=False)
    names = sorted({*EXPORTS, *LEDGER_EXPORTS})
    made = {n: _jsonl(export(database, n, more=LEDGER_EXPORTS)) for n in names}
    database.close()
    assert all(made[n] for n in ("assessments", "signals", "segments", "transfers", "audit"))
    return made


@contextlib.contextmanager
def dask_scheduler(env: dict[str, str], address: str, folder: Path) -> Iterator[None]:
    port = address.rpartition(":")[2]
    command = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port,
               "--no-dashboard"]  # fmt: skip
    with (folder / "scheduler.log").open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            running.kill()
            running.wait()


def healthy(api: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{api}/health").is_success
    return False


def workers_at(scheduler: str) -> int:
    with contextlib.suppress(OSError), Client(scheduler, set_as_default=False, timeout=5) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])
    return 0
