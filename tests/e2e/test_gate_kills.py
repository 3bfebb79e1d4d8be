"""A live server and a settler, killed under load: what was acknowledged stands, nothing pays twice.

``BOUNTYGUARD_GATE_KILLS`` is the number of kills (default 5 on each database), and
``BOUNTYGUARD_GATE_SEED`` draws other moments. Each kill takes a server and a settlement worker that a
nursery, a process with everything imported, has forked a moment ago.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger_worlds import World
from pipeline.stores.access import SCOPES, Access
from pipeline.stores.audit import AuditLog
from pipeline.stores.database import open_database

ROOT = Path(__file__).resolve().parents[2]

KILLS = int(os.environ.get("BOUNTYGUARD_GATE_KILLS", "5"))
SEED = int(os.environ.get("BOUNTYGUARD_GATE_SEED", "5"))
WORK = 24
"""Submissions handed in before each kill; four clients settle them at once, with the same keys."""
PROVE_EVERY = 1 if KILLS <= 20 else 10

NURSERY = f"""
import os, signal, socket, sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
import structlog
from ledger_worlds import World, api
from pipeline.entry.api.serving import server
from pipeline.stores.database import open_database

url, folder, listening = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])

def serve():
    app, services = api(World(open_database(url)), folder)
    server(app, log_level="critical").run(sockets=[socket.socket(fileno=listening)])

def settle():
    world = World(open_database(url))
    while True:
        time.sleep(0.3)
        world.settle()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    born = os.fork()
    if born == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        globals()[line.strip()]()
        os._exit(0)
    print(born, flush=True)
"""


class Nursery:
    """Brings servers and settlers to life in the time of a fork, and kills them."""

    def __init__(self, *words: str, fds: tuple[int, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, *words], pass_fds=fds, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def bear(self, kind: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(kind, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def kill(self, born: int) -> None:
        os.kill(born, signal.SIGKILL)
        while Path(f"/proc/{born}").exists():
            time.sleep(0.002)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Platform:
    """Clients that ask and settle, the same submissions with the same idempotency keys."""

    def __init__(self, port: int, key: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {key}"}
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.contradicted: list[Any] = []

    def wait_until_served(self) -> None:
        for _ in range(60):
            try:
                httpx.get(f"{self._url}/healthz", timeout=1.0)
                return
            except httpx.TransportError:
                continue
        raise AssertionError("the server did not come up")

    def pay(self, names: list[str], stop: threading.Event, seed: int) -> None:
        draw = random.Random(seed)
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=1.0) as client:
            while not stop.is_set():
                for name in draw.sample(names, len(names)):
                    try:
                        self._settle(client, name)
                    except httpx.TransportError:
                        if stop.is_set():
                            return
                        time.sleep(0.02)

    def _settle(self, client: httpx.Client, name: str) -> None:
        ask = {"submission_id": name, "amount_minor": 100, "currency": "CNY"}
        told = client.post("/v1/score-checks", json=ask)
        if told.status_code != 200 or not told.json()["permit"]:
            return
        made = client.post(
            "/v1/settlements",
            json=ask | {"permit": told.json()["permit"]},
            headers={"Idempotency-Key": f"pay-{name}"},
        )
        if made.status_code == 201:
            before = self.acknowledged.setdefault(name, made.json())
            if before != made.json():
                self.contradicted.append((before, made.json()))
        elif made.status_code not in (409, 503):
            self.contradicted.append(made.text)


def hand_in(world: World, kill: int) -> list[str]:
    names = [f"s{kill}-{n}" for n in range(WORK)]
    with world.together():
        for n, name in enumerate(names):
            world.submit(name, worker=f"w{n % 7}", minute=kill)
            world.judge(name, "approve" if n % 6 else "block_and_review")
    return names


@pytest.mark.timeout(86_400 if KILLS > 20 else 300)
def test_a_server_and_a_settler_killed_under_load_lose_nothing_and_pay_nothing_twice(
    database_url: str, tmp_path: Path
) -> None:
    world = World(open_database(database_url))
    world._docs = 0
    world.task("t")
    key = Access(world.database, world.ledger, world.clock).make("p", SCOPES, per_minute=10_000_000)
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    listening.set_inheritable(True)
    platform = Platform(listening.getsockname()[1], key)
    draw = random.Random(SEED)
    fd = listening.fileno()
    nursery = Nursery(database_url, str(tmp_path), str(fd), fds=(fd,))
    for kill in range(KILLS):
        names = hand_in(world, kill)
        server = nursery.bear("serve")
        platform.wait_until_served()
        worker = nursery.bear("settle")
        stop = threading.Event()
        clients = [
            threading.Thread(target=platform.pay, args=(names, stop, kill * 10 + n), daemon=True)
            for n in range(4)
        ]
        for client in clients:
            client.start()
        time.sleep(draw.uniform(0.02, 1.0))
        for process in draw.sample([server, worker], 2):
            nursery.kill(process)
        stop.set()
        for client in clients:
            client.join(timeout=30)
        if kill % PROVE_EVERY == 0:
            prove(database_url, platform)
    nursery.close()
    listening.close()
    assert platform.acknowledged, (
        "no settlement was ever acknowledged: the load never reached the gate"
    )
    world.settle()
    prove(database_url, platform)
    posted = [p["submission_id"] for p in world.frame("payouts") if p["state"] == "posted"]
    expected = [f"s{k}-{n}" for k in range(KILLS) for n in range(WORK) if n % 6]
    assert sorted(posted) == sorted(expected)
    world.database.close()


def prove(database_url: str, platform: Platform) -> None:
    """What was acknowledged stands, the books balance, and the audit chain is whole."""
    opened = open_database(database_url)
    fresh = World(opened)
    assert fresh.ledger.reconcile() == []
    assert AuditLog(opened).verify() == []
    states = {p["submission_id"]: p["state"] for p in fresh.frame("payouts")}
    assert {states.get(name) for name in platform.acknowledged} <= {"posted"}
    assert platform.contradicted == []
    opened.close()
