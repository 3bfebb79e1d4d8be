"""A standing Prefect server and a process worker run the micro-batch deployment: same end as one run."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import polars as pl
import pytest
import sqlalchemy as sa

from pipeline.bootstrap import open_house
from pipeline.line import CALIBRATION
from pipeline.settings import load_settings
from pipeline.stores.tables import record

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo" / "drop"
TABLES = ("submissions", "assessments", "signals", "transfers", "credit", "accounts")
HISTORY = re.compile(r'"sequence":\d+,|,"evaluation_status":"\w+"')
"""What rightly tells of two arrivals: the order of entries, and that a submission was judged anew."""
DECISION = re.compile(r':d_[0-9a-f]{32}|"decision_id":"d_[0-9a-f]{32}",|"revision":\d+,')
"""Which evaluation gave the credit: a look-alike that is looked at until its peers arrive gets it by the
second. To whom it goes, for what, when and how much is the same."""
PATIENCE_S = 240


def wait_for(what: str, done: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end, f"{what} took too long"
        time.sleep(1)


class Patient(httpx.HTTPTransport):
    """Asks again where the server says that its own database is busy, as Prefect's client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = super().handle_request(request)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > end:
                return answer
            answer.close()
            time.sleep(1)


def bountyguard(env: dict[str, str], home: Path, *more: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.entry.cli", "--home", str(home), *more],
        cwd=ROOT, env=env, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr.decode()[-3000:]
    return done.stdout


@contextlib.contextmanager
def background(env: dict[str, str], log: Path, *command: str) -> Iterator[None]:
    """A program that ends with the block, with every child that it started."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def arrivals(inbox: Path) -> Iterator[str]:
    """Bring the demo drop as two arrivals: the earlier half of the hand-ins, then the rest."""
    lines = (DEMO / "submissions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    lines.sort(key=_handed_in)
    events = pl.read_parquet(DEMO / "events" / "part-0.parquet")
    middle = len(lines) // 2
    early = pl.col("session_id").is_in(_sessions(lines[:middle]))
    for name, some in (("1", lines[:middle]), ("2", lines[middle:])):
        making = inbox / f".{name}"
        shutil.copytree(DEMO, making, ignore=shutil.ignore_patterns("submissions.jsonl", "events"))
        (making / "submissions.jsonl").write_text("".join(some), encoding="utf-8")
        (making / "events").mkdir()
        part = events.filter(early if name == "1" else ~early)
        part.write_parquet(making / "events" / "part-0.parquet")
        making.rename(inbox / name)
        yield name


def _handed_in(line: str) -> str:
    """When a row was handed in: money that moved before a source was known rightly leaves a trace."""
    told = re.search(r'"submitted_at": "([^"]+)"', line)
    return told[1] if told else ""


def _sessions(lines: list[str]) -> list[str]:
    """Sessions of these rows; some rows of the demo are damaged on purpose."""
    return [m[1] for line in lines if (m := re.search(r'"session_id": "([^"]+)"', line))]


def pin(source: Path, *homes: Path) -> None:
    """Give homes the calibration of another one: a fit depends on what was known when it was made."""
    with open_house(load_settings({}, home=source)) as house:
        with house.database.read() as connection:
            names = set(connection.execute(sa.select(record.assets.c.name)).scalars())
        kept = {n: (house.assets.get(n), house.assets.note(n)) for n in names}
    assert CALIBRATION in kept
    for home in homes:
        with open_house(load_settings({}, home=home)) as house:
            for name, (data, note) in kept.items():
                assert data is not None
                house.assets.put(name, data, note=note or "", now=datetime(2026, 6, 1, tzinfo=UTC))


def completed(client: httpx.Client, deployment: str) -> int:
    query = {"deployments": {"id": {"any_": [deployment]}}}
    runs = client.post("/flow_runs/filter", json=query).raise_for_status().json()
    bad = [r["state"] for r in runs if r["state_type"] in ("FAILED", "CRASHED")]
    assert not bad, bad
    return sum(r["state_type"] == "COMPLETED" for r in runs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_arrivals_by_a_deployment_end_where_one_run_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    env = os.environ | {
        "BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z", "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
    }  # fmt: skip
    whole, parts, inbox = tmp_path / "whole", tmp_path / "parts", tmp_path / "inbox"
    inbox.mkdir()
    bountyguard(env, tmp_path / "first", "run", str(DEMO))
    pin(tmp_path / "first", whole, parts)
    bountyguard(env, whole, "run", str(DEMO))
    with background(env, tmp_path / "server.log", "server", "start", "--port", str(port)):

        def healthy() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{api}/health").is_success
            return False

        wait_for("the server", healthy)
        bountyguard(env, parts, "flows", "deploy", "--inbox", str(inbox))
        client = httpx.Client(base_url=api, timeout=30, transport=Patient())
        told = client.get("/deployments/name/bountyguard-arrivals/line").raise_for_status().json()
        assert told["schedules"][0]["schedule"]["interval"] == 60
        client.post(f"/deployments/{told['id']}/pause_deployment").raise_for_status()
        with background(env, tmp_path / "worker.log", "worker", "start", "--pool", "bountyguard"):
            for number, _ in enumerate(arrivals(inbox), 1):
                run = f"/deployments/{told['id']}/create_flow_run"
                once = {"idempotency_key": f"arrival {number}"}
                client.post(run, json=once).raise_for_status()
                wait_for(
                    f"run {number}", lambda number=number: completed(client, told["id"]) == number
                )
        client.close()
    for table in TABLES:
        assert standing(env, parts, table) == standing(env, whole, table), table


def standing(env: dict[str, str], home: Path, table: str) -> list[str]:
    """Rows of a table in an order of their own."""
    lines = bountyguard(env, home, "export", table).decode().splitlines()
    told = (HISTORY.sub("", line) for line in lines)
    return sorted(DECISION.sub("", line) if table == "credit" else line for line in told)
