"""How long the console takes for a page, over many cases: the queue in every order, and cases with evidence.

Run: python benchmarks/console_pages.py [--cases 100000]. Times are of this process: reading the request,
the database, the template, the row of the audit chain; without a network.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / p) for p in ("", "tests")]
from console_worlds import ROOT, Site, opened_site  # noqa: E402
from pipeline.line import run_line  # noqa: E402
from pipeline.stores.tables import ledger as tables  # noqa: E402

TIMES = 15


def fill(site: Site, count: int) -> None:
    """Add that many open cases, of the shape that settling makes."""
    now = site.house.settings.now()
    for start in range(0, count, 10_000):
        some = range(start, min(start + 10_000, count))
        cases = [
            {"case_id": f"c_{i:024}", "kind": "hold" if i % 3 else "look", "cluster_id": None,
             "opened_at": now, "due_at": now + timedelta(seconds=(i * 7919) % 259_200), "state": "open"}
            for i in some
        ]  # fmt: skip
        members = [
            {"case_id": f"c_{i:024}", "payout_key": f"p_{i:024}", "submission_id": f"made-{i}",
             "worker_id": f"maker-{i % 5000}", "revision": 1, "outcome": "block_and_review",
             "score": 20 + (i * 31) % 80, "reason_codes": '["text.near_duplicate"]', "rules": "[]",
             "ruleset_digest": "", "decision_id": f"d_{i}", "amount_minor": (i * 17) % 9000,
             "currency": "CNY", "on_time": True, "weight_permille": 1000, "joined_at": now}
            for i in some
        ]  # fmt: skip
        with site.house.database.write() as connection:
            connection.execute(tables.cases.insert(), cases)
            connection.execute(tables.case_members.insert(), members)


def measure(name: str, ask: Callable[[], object]) -> None:
    ask()
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - started))
    worst = sorted(took)[int(0.95 * TIMES)]
    print(f"{name:44} median {statistics.median(took):8.1f} ms   p95 {worst:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    count = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with opened_site(home / "home", home) as site:
            run_line(site.house, ROOT / "data" / "demo" / "drop")
            named = {n: site.world.case(n) for n in ("bicycle-6", "poster-7", "bird-10", "ring-2")}
            person = site.person("li.wei")
            for n, case in named.items():
                measure(f"case {n}", lambda case=case: person.get(f"/console/cases/{case}"))  # type: ignore[misc]
            fill(site, count)
            print(f"{count} more open cases")
            for query in ("", "?page=200", "?sort=money", "?sort=score", "?kind=look", "?reason=text",
                          "?q=made-77", "?q=maker-77"):  # fmt: skip
                measure(f"queue {query}", lambda query=query: person.get(f"/console/{query}"))  # type: ignore[misc]
            measure("rules", lambda: person.get("/console/rules"))


if __name__ == "__main__":
    main()
