"""``bountyguard serve`` started by an operator: a key, a check, an arrival, a settlement, a quiet end."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.e2e.test_line import DEMO, ROOT, bountyguard, environment


@contextmanager
def served(home: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("serve", "--port", str(port), "--judge-every", "0.2")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.entry.cli", *words], env=environment(home), cwd=ROOT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                if httpx.get(f"{url}/readyz", timeout=2.0).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def rows_of(table: str) -> Iterator[dict[str, Any]]:
    """The sample's rows as far as they are whole; some are broken on purpose."""
    for line in (DEMO / "drop" / f"{table}.jsonl").read_bytes().splitlines():
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(line)


def answer_of(client: httpx.Client, question: dict[str, object]) -> dict[str, object]:
    told = client.post("/v1/score-checks", json=question)
    assert told.status_code == 200, told.text
    return dict(told.json())


def test_the_platform_asks_settles_and_hands_in_through_a_served_house(tmp_path: Path) -> None:
    bountyguard(tmp_path, "ingest", DEMO / "drop", statuses=(1,))
    scopes = [w for s in ("checks", "settlements", "intake") for w in ("--scope", s)]
    key = bountyguard(tmp_path, "keys", "make", "platform", *scopes).decode().strip()
    tasks = {t["task_id"]: t for t in rows_of("tasks")}
    with served(tmp_path) as url, httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0
    ) as client:  # fmt: skip
        asked = next(r for r in rows_of("submissions") if r["text"] and r["task_id"] in tasks)
        task = tasks[asked["task_id"]]
        question = {"submission_id": asked["submission_id"], "amount_minor": task["bounty_minor"],
                    "currency": task["currency"]}  # fmt: skip
        for _ in range(600):
            told = answer_of(client, question)
            if told["reason_codes"] != ["pending.analysis"]:
                break
            time.sleep(0.1)
        assert told["outcome"] in ("approve", "review", "block_and_review")
        new = {
            **{k: v for k, v in asked.items() if k != "attachments"},
            "submission_id": "handed-in-late", "worker_id": "somebody-new", "supersedes": None,
        }  # fmt: skip
        taken = client.post("/v1/submissions", json=new, headers={"Idempotency-Key": "late"})
        assert (taken.status_code, taken.json()["receipts"][0]["status"]) == (202, "new")
        copied = question | {"submission_id": "handed-in-late"}
        for _ in range(600):
            told = answer_of(client, copied)
            if told["reason_codes"] != ["pending.analysis"]:
                break
            time.sleep(0.1)
        assert told["reason_codes"] != ["pending.analysis"]
    assert bountyguard(tmp_path, "settle", "--format", "json")
    bountyguard(tmp_path, "audit", "verify")
