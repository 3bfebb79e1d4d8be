"""Score checks beside a bare route of the same framework that reads the same row.

    python benchmarks/gate_checks.py --rows 200000 --requests 4000 [--format json] [--url postgresql://…]

Both are asked in turn, in one process, through ASGI: what is measured is the work of a request, not the
network. ``--rows`` submissions are assessed first; keys are drawn at random (seed 7).
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import structlog  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.routing import Route  # noqa: E402

from ledger_worlds import START, World, api  # noqa: E402
from pipeline.entry.api.checks import _encode  # noqa: E402
from pipeline.stores.access import SCOPES  # noqa: E402
from pipeline.stores.database import open_database  # noqa: E402
from pipeline.stores.tables import record  # noqa: E402


def fill(world: World, rows: int) -> None:
    world.task("t")
    common = {"text": "", "extra": "{}", "row_digest": "", "supersedes": None, "task_id": "t"}
    judged = {
        "revision": 1, "score": 3, "risk_level": "normal", "outcome": "approve",
        "reason_codes": "[]", "signals": "[]", "abstentions": "[]", "arithmetic": "{}",
        "ruleset_digest": "r", "detector_versions": "{}", "input_digest": "", "evaluated_at": START,
        "evaluation_status": "new",
    }  # fmt: skip
    for start in range(0, rows, 20_000):
        some = range(start, min(rows, start + 20_000))
        with world.database.write() as connection:
            connection.execute(
                record.submissions.insert(),
                [common | {"submission_id": f"s{i}", "doc": i, "worker_id": f"w{i % 999}",
                           "submitted_at": START} for i in some],
            )  # fmt: skip
            connection.execute(
                record.assessments.insert(), [judged | {"submission_id": f"s{i}"} for i in some]
            )
    with world.database.engine.connect() as connection:
        connection.execute(sa.text("ANALYZE"))
        connection.commit()


async def ask(app: Any, path: str, body: bytes, key: str) -> int:
    """Ask an ASGI application once; returns the status."""
    headers = [
        (b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers,
        "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("gate", 80),
        "client": ("127.0.0.1", 1), "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


async def measure(app: Any, key: str, rows: int, requests: int) -> dict[str, Any]:
    """Ask both routes in turn and return microseconds and errors."""
    draw = random.Random(7)
    took: dict[str, list[float]] = {"/v1/score-checks": [], "/bare": []}
    errors = 0
    for n in range(requests + 200):
        name = f"s{draw.randrange(rows)}"
        body = json.dumps({"submission_id": name, "amount_minor": 100, "currency": "CNY"}).encode()
        for path in took:
            started = time.perf_counter()
            errors += await ask(app, path, body, key) != 200
            if n >= 200:
                took[path].append((time.perf_counter() - started) * 1e6)
    told: dict[str, Any] = {"rows": rows, "requests": requests, "errors": errors}
    for path, values in took.items():
        cuts = statistics.quantiles(values, n=100)
        told[path] = {"p50_us": round(cuts[49], 1), "p99_us": round(cuts[98], 1)}
    told["ratio_p50"] = round(told["/v1/score-checks"]["p50_us"] / told["/bare"]["p50_us"], 2)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--url")
    args = parser.parse_args()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    with tempfile.TemporaryDirectory() as folder:
        world = World(open_database(args.url or f"sqlite:///{folder}/bench.db"))
        fill(world, args.rows)
        app, services = api(world, Path(folder))
        key = services.access.make("bench", SCOPES, per_minute=100_000_000)

        async def bare(request: Request) -> Response:
            body = json.loads(await request.body())
            known = await services.reader.read(body["submission_id"])
            return Response(_encode({"outcome": known.outcome}), media_type="application/json")

        app.router.routes.append(Route("/bare", bare, methods=["POST"]))
        told = asyncio.run(measure(app, key, args.rows, args.requests))
        services.writer.close()
        services.reader.close()
        world.database.close()
    if args.format == "json":
        print(json.dumps(told))
        return
    print(f"{args.rows:,} assessed, {args.requests:,} requests a route, {told['errors']} errors")
    for path in ("/v1/score-checks", "/bare"):
        print(f"{path:<18} p50 {told[path]['p50_us']:>8} µs   p99 {told[path]['p99_us']:>8} µs")
    print(f"ratio of p50: {told['ratio_p50']}")


if __name__ == "__main__":
    main()
