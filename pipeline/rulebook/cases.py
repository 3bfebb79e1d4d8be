"""A rule's own cases, run through the engine that judges submissions."""

from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from pipeline.model import frames
from pipeline.rulebook.book import Case, Rule, Rulebook, RuleTest
from pipeline.rulebook.engine import judge
from pipeline.rulebook.facts import ScoreFacts, features
from pipeline.rulebook.names import DTYPES


def run_cases(rulebook: Rulebook) -> tuple[RuleTest, ...]:
    """Run the cases of every rule, whatever its status, in the rulebook's order."""
    results: list[RuleTest] = []
    for rule in rulebook.rules:
        results += _run_rule(rule, rulebook)
    return tuple(results)


def _run_rule(rule: Rule, rulebook: Rulebook) -> list[RuleTest]:
    cases = rule.tests
    alone = rulebook.with_status({rule.id: ("live", 100.0)})
    only = alone.by_id[rule.id]
    columns = _columns(cases, rule, rulebook)
    judged = judge(columns, _single(alone, only), pl.Series(["w"] * len(cases)))
    points = {row: value for row, _, value, _ in judged.hits.iter_rows()}
    unknown = set(judged.unknown["row"].to_list())
    found: list[RuleTest] = []
    for row, case in enumerate(cases):
        got = "hit" if row in points else "unknown" if row in unknown else "miss"
        passed, told = got == case.expect, ""
        if not passed:
            told = f"expected {case.expect}, got {got}"
        elif case.points is not None and points.get(row, 0) != case.points:
            passed, told = False, f"expected {case.points} points, got {points.get(row, 0)}"
        found.append(RuleTest(rule=rule.id, case=case.name, passed=passed, told=told))
    return found


def _single(rulebook: Rulebook, rule: Rule) -> Rulebook:
    from dataclasses import replace

    return replace(rulebook, rules=(rule,))


def _columns(cases: tuple[Case, ...], rule: Rule, rulebook: Rulebook) -> pl.DataFrame:
    submissions = frames.conform(
        pl.DataFrame(
            {
                "submission_id": [f"case-{i}" for i in range(len(cases))],
                "worker_id": ["w"] * len(cases),
                "submitted_at": [datetime(2026, 1, 1, tzinfo=UTC)] * len(cases),
                "text": [""] * len(cases),
            }
        ),
        frames.SUBMISSIONS,
    )
    facts = ScoreFacts(
        submissions=submissions,
        tasks=frames.empty(frames.TASKS),
        workers=frames.empty(frames.WORKERS),
        signals=_signals(cases),
        abstentions=frames.empty(frames.ABSTENTIONS),
    )
    columns = features(facts, rulebook.names, rule.names)
    silent = [n for n in rule.names if n.split(".")[0] in ("submission", "task", "worker")]
    columns = columns.with_columns(
        pl.lit(None, DTYPES[rulebook.names[name].type]).alias(name) for name in silent
    )
    for name in sorted(rule.names):
        if not any(name in case.given for case in cases):
            continue
        was = columns[name].to_list()
        now = [case.given.get(name, old) for case, old in zip(cases, was, strict=True)]
        columns = columns.with_columns(
            pl.Series(name, now, dtype=DTYPES[rulebook.names[name].type])
        )
    return columns


def _signals(cases: tuple[Case, ...]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for index, case in enumerate(cases):
        for code, given in case.signals.items():
            fields = given if isinstance(given, dict) else {"strength": given}
            rows.append(
                {
                    "submission_id": f"case-{index}",
                    "detector": code.partition(".")[0],
                    "detector_version": "case",
                    "reason_code": code,
                    "strength": float(fields.get("strength", 1.0)),
                    "p_value": fields.get("p_value"),
                    "matched_submission_id": "earlier",
                    "matched_worker_id": "another",
                    "evidence": orjson.dumps({}).decode(),
                }
            )
    return pl.DataFrame(rows, schema=dict(frames.SIGNALS))
