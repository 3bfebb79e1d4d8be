"""A real server against slow heads, slow bodies, endless bodies, bursts, and told to end."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger_worlds import World, api
from pipeline.entry.api import Limits
from pipeline.entry.api.serving import BoundedProtocol, server
from pipeline.stores.access import SCOPES
from pipeline.stores.database import open_database

ASK = {"submission_id": "s", "amount_minor": 100, "currency": "CNY"}
BODY = b'{"submission_id":"s","amount_minor":100,"currency":"CNY"}'


class Impatient(BoundedProtocol):
    head_within_s = 0.5


class Served:
    """The API behind a real socket, in a thread of this process."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.world = World(open_database(f"sqlite:///{folder / 'x.db'}"))
        self.world.task("t")
        self.world.submit("s")
        self.world.judge("s", "approve")
        app, services = api(self.world, folder, limits=Limits(**limits))
        self.key = services.access.make("all", SCOPES)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.server = server(app, http=Impatient)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {self.key}"}
        )  # fmt: skip
        while not self.server.started:
            time.sleep(0.01)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self._socket]))

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def head(self, *more: str, path: str = "/v1/score-checks") -> bytes:
        lines = [f"POST {path} HTTP/1.1", "Host: gate", f"Authorization: Bearer {self.key}",
                 "Content-Type: application/json", *more]  # fmt: skip
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.world.database.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, body_within_s=0.5, under_way_max=4)
    yield made
    made.stop()


def answer_of(connection: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            data = connection.recv(65_536)
        except ConnectionError:
            return found
        if not data:
            return found
        found += data


def test_a_body_of_100_mb_is_not_taken_in(served: Served) -> None:
    for path in ("/v1/score-checks", "/v1/settlements"):
        with served.connect() as sender:
            sender.sendall(
                served.head("Transfer-Encoding: chunked", "Idempotency-Key: k", path=path)
            )
            sent, chunk = 0, b"10000\r\n" + b"x" * 65_536 + b"\r\n"
            try:
                while sent < 100 << 20:
                    sender.sendall(chunk)
                    sent += 65_536
            except (ConnectionError, TimeoutError):
                pass
            assert sent < 20 << 20, "the server went on reading"
            told = answer_of(sender)
        assert told == b"" or b" 413 " in told.partition(b"\r\n")[0]  # a reset may overtake it
        with served.connect() as sender:
            sender.sendall(
                served.head(f"Content-Length: {100 << 20}", "Idempotency-Key: k", path=path)
            )
            assert b" 413 " in answer_of(sender).partition(b"\r\n")[0]
    assert served.client.post("/v1/score-checks", json=ASK).status_code == 200


def test_slow_senders_are_let_go_and_keep_nobody_waiting(served: Served) -> None:
    """A byte every 50 ms, for ever: of the head, of a second request's head, of the body."""
    whole = served.head(f"Content-Length: {len(BODY)}")
    second = whole + BODY
    slow = {"head": (b"", whole), "second head": (second, whole), "body": (whole, BODY)}
    for name, (at_once, bytewise) in slow.items():
        with served.connect() as sender:
            sender.sendall(at_once)
            started = time.monotonic()
            try:
                for byte in bytewise * 3:
                    sender.sendall(bytes([byte]))
                    time.sleep(0.05)
                    if time.monotonic() - started > 4:
                        pytest.fail(f"{name}: still listened to")
                    if int(started * 20) % 3 == 0:
                        assert served.client.post("/v1/score-checks", json=ASK).status_code == 200
            except ConnectionError:
                pass
            told = answer_of(sender)
        assert b" 408 " in told or told == b"" or name == "second head", (name, told)
    assert served.client.post("/v1/score-checks", json=ASK).status_code == 200


def test_more_at_once_than_can_be_served_is_told_to_come_again(served: Served) -> None:
    waiting = [served.connect() for _ in range(4)]
    for sender in waiting:
        sender.sendall(served.head(f"Content-Length: {len(BODY)}"))
    time.sleep(0.2)
    told = served.client.post("/v1/score-checks", json=ASK)
    assert (told.status_code, told.json()["code"]) == (503, "server.busy")
    assert told.headers["retry-after"] == "1"
    for sender in waiting:
        sender.sendall(BODY)
        assert b" 200 " in sender.recv(65_536)
        sender.close()
    assert served.client.post("/v1/score-checks", json=ASK).status_code == 200


def test_a_server_that_is_told_to_end_first_finishes_what_it_began(tmp_path: Path) -> None:
    served = Served(tmp_path, body_within_s=5.0)
    permit = served.client.post("/v1/score-checks", json=ASK).json()["permit"]
    body = httpx.Request("POST", "http://x", json=ASK | {"permit": permit}).content
    sender = served.connect()
    sender.sendall(
        served.head(f"Content-Length: {len(body)}", "Idempotency-Key: k", path="/v1/settlements")
        + body[:10]
    )
    time.sleep(0.2)
    served.server.should_exit = True
    time.sleep(0.3)
    sender.sendall(body[10:])
    assert b" 201 " in answer_of(sender).partition(b"\r\n")[0]
    sender.close()
    served._thread.join(20)
    assert not served._thread.is_alive()
    with pytest.raises(OSError):  # noqa: PT011
        served.connect()
    opened = World(open_database(f"sqlite:///{tmp_path / 'x.db'}"))
    assert opened.paid() == 100
    opened.database.close()
    served.stop()
