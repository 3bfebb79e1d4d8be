"""How fast rules judge: 1 million assessments by 200 rules, beside Rust CEL and cel-python.

python benchmarks/rulebook_speed.py [--rows 1000000] [--format json]

One thread. The peers judge a sample of the same rows by the same rules and are told per
(row, rule); verdicts are compared, so a fast wrong answer does not count.
"""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import cel
import celpy
import numpy as np
import polars as pl

from pipeline.model import frames
from pipeline.model.reasons import REASONS
from pipeline.rulebook import Rulebook, load
from pipeline.rulebook.engine import judge, needed
from pipeline.rulebook.facts import ScoreFacts, features
from pipeline.stages.score import score

HEAD = """
[ruleset]
name = "benchmark"
review_at = 20
hold_at = 60
[ruleset.ceilings]
any = { hints = 40, all = 90 }
"""


def rules(count: int, seed: int) -> Rulebook:
    rng = np.random.default_rng(seed)
    codes = list(REASONS)
    texts = [HEAD]
    for index in range(count):
        a, b = rng.choice(codes, 2, replace=False)
        low = round(float(rng.uniform(0.2, 0.9)), 2)
        when = [
            f"{a}.strength >= {low}",
            f"{a}.strength >= {low} && {b}.strength >= 0.2",
            f"({a}.strength >= {low} || {b}.p_value < 0.001) && task.bounty_minor > {rng.integers(900)}",
            f"{a}.found && task.grade == 'A' && worker.age_days < {low * 100:.1f}",
            f"{a}.count + {b}.count >= 2 && task.category in ['photo', 'text', 'survey']",
            f"{a}.strength >= {low} && worker.id.startsWith('w1') && !worker.phone_verified",
        ][index % 6]
        texts.append(
            f"""
[[rules]]
id = "bench.rule_{index}"
status = "live"
family = "any"
points = {rng.integers(5, 60)}
owner = "bench"
why = "for the clock"
effect = "none"
reasons = ["{a}"]
notice = {{ en = "n", zh = "n" }}
when = "{when}"
tests = [
  {{ name = "a", expect = "hit" }},
  {{ name = "b", expect = "miss" }},
]
"""
        )
    return load({"bench.toml": "".join(texts)})


def facts(rows: int, seed: int, share: float = 0.1) -> ScoreFacts:
    """A share of the submissions (a tenth) carries one to three signals each."""
    rng = np.random.default_rng(seed)
    ids = [f"s{i}" for i in range(rows)]
    when = datetime(2026, 3, 1, tzinfo=UTC)
    submissions = frames.conform(
        pl.DataFrame(
            {
                "submission_id": ids,
                "task_id": [f"t{i}" for i in rng.integers(0, 5_000, rows)],
                "worker_id": [f"w{i}" for i in rng.integers(0, 50_000, rows)],
                "text": [""] * rows,
            }
        ).with_columns(pl.lit(when).alias("submitted_at")),
        frames.SUBMISSIONS,
    )
    tasks = frames.conform(
        pl.DataFrame(
            {
                "task_id": [f"t{i}" for i in range(5_000)],
                "grade": rng.choice(["A", "B", "C"], 5_000),
                "category": rng.choice(["photo", "text", "survey", "visit"], 5_000),
                "bounty_minor": rng.integers(50, 5_000, 5_000),
            }
        ),
        frames.TASKS,
    )
    workers = frames.conform(
        pl.DataFrame(
            {
                "worker_id": [f"w{i}" for i in range(50_000)],
                "phone_verified": rng.random(50_000) < 0.8,
            }
        ).with_columns(pl.lit(datetime(2026, 1, 15, tzinfo=UTC)).alias("registered_at")),
        frames.WORKERS,
    )
    hit = rng.choice(rows, int(rows * share), replace=False)
    owners = np.repeat(hit, rng.integers(1, 4, hit.size))
    codes = rng.choice(list(REASONS), owners.size)
    signals = frames.conform(
        pl.DataFrame(
            {
                "submission_id": [ids[i] for i in owners],
                "detector": [c.split(".")[0] for c in codes],
                "detector_version": ["1"] * owners.size,
                "reason_code": codes,
                "strength": rng.random(owners.size).round(3),
                "p_value": rng.random(owners.size) ** 6,
                "evidence": ["{}"] * owners.size,
            }
        ),
        frames.SIGNALS,
    )
    return ScoreFacts(
        submissions=submissions,
        tasks=tasks,
        workers=workers,
        signals=signals,
        abstentions=frames.empty(frames.ABSTENTIONS),
    )


def nested(row: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in row.items():
        *path, last = name.split(".")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        if value is not None:
            at[last] = value
    return tree


def rust(book: Rulebook, contexts: list[dict[str, Any]]) -> list[list[bool]]:
    programs = [(cel.compile(rule.when), sorted(rule.names)) for rule in book.rules]
    return [
        [bool(p.execute(nested({n: c[n] for n in names}))) for p, names in programs]
        for c in contexts
    ]


def python(book: Rulebook, contexts: list[dict[str, Any]]) -> list[list[bool]]:
    environment = celpy.Environment()
    programs = [
        (environment.program(environment.compile(rule.when)), sorted(rule.names))
        for rule in book.rules
    ]
    return [
        [
            bool(
                p.evaluate(
                    {k: celpy.json_to_cel(v) for k, v in nested({n: c[n] for n in names}).items()}
                )
            )
            for p, names in programs
        ]
        for c in contexts
    ]


def clocked(work: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--share", type=float, default=0.1, help="submissions that carry signals")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    given = parser.parse_args()
    book = rules(given.rules, given.seed)
    known = facts(given.rows, given.seed, given.share)
    score(facts(1_000, 1), book)  # warm
    table: list[dict[str, Any]] = []

    def add(name: str, rows: int, wall: float, cpu: float) -> None:
        micro = cpu / rows / len(book.rules) * 1e6
        table.append(
            {
                "what": name,
                "rows": rows,
                "wall_s": round(wall, 3),
                "cpu_s": round(cpu, 3),
                "us_per_row_rule": round(micro, 5),
                "cpu_s_for_1M_x_200": round(micro * 200, 1),
            }
        )

    wall, cpu, columns = clocked(lambda: features(known, book.names, needed(book)))
    add("columns from facts", given.rows, wall, cpu)
    wall, cpu, judged = clocked(lambda: judge(columns, book, known.submissions["worker_id"]))
    add("conditions, all rules", given.rows, wall, cpu)
    wall, cpu, scored = clocked(lambda: score(known, book))
    add("score: all of it, with arithmetic", given.rows, wall, cpu)

    order = sorted(range(given.rows), key=lambda i: (i * 2_654_435_761) % given.rows)
    verdicts: dict[str, int] = {}
    hits = set(zip(judged.hits["row"].to_list(), judged.hits["rule"].to_list(), strict=True))
    for name, peer, sample in (
        ("common-expression-language (Rust)", rust, 500),
        ("cel-python", python, 20),
    ):
        picked = order[: min(sample, given.rows)]
        contexts = [columns.row(i, named=True) for i in picked]
        wall, cpu, answers = clocked(lambda p=peer, c=contexts: p(book, c))
        add(name, len(picked), wall, cpu)
        verdicts[name] = sum(
            answer != ((row, rule) in hits)
            for row, line in zip(picked, answers, strict=True)
            for rule, answer in enumerate(line)
        )
    if given.format == "json":
        print(json.dumps({"table": table, "disagreements": verdicts, "hits": judged.hits.height}))
        return
    print(
        f"{given.rows:,} assessments, {len(book.rules)} rules, {judged.hits.height:,} hits, one thread"
    )
    for line in table:
        print(
            f"{line['what']:<36} {line['rows']:>9,} rows {line['wall_s']:>8.3f} s wall "
            f"{line['cpu_s']:>8.3f} s cpu {line['us_per_row_rule']:>10.5f} us/row/rule "
            f"{line['cpu_s_for_1M_x_200']:>10,.1f} s for 1M x 200"
        )
    print("disagreements with the peers:", verdicts, "| assessed", scored.height)


if __name__ == "__main__":
    main()
