"""The Markdown that an analyst reads in the Prefect UI after a run: what was held, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

ROWS_SHOWN = 50


def markdown(report: Mapping[str, Any]) -> str:
    """Write the summary of a line's report (``LineReport.as_json``)."""
    parts = ["# What was held, and why", "", _outcomes(report["outcomes"])]
    if report["money"]:
        parts += ["", "## Money, in minor units", "", _money(report["money"])]
    parts += ["", f"## Held payouts ({len(report['held'])})", "", _held(report["held"])]
    parts += ["", "## Taken in", "", _taken(report["ingest"])]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "Nothing."
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(v) for v in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _outcomes(outcomes: Mapping[str, int]) -> str:
    return _table(("outcome", "submissions"), list(outcomes.items()))


def _money(money: Sequence[Mapping[str, Any]]) -> str:
    rows = [(m["currency"], m["paid_minor"], m["held_minor"], m["declined_minor"]) for m in money]
    return _table(("currency", "paid", "held", "declined"), rows)


def _held(held: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (h["submission_id"], h["outcome"], h["score"], h["because"], h["matched"])
        for h in held[:ROWS_SHOWN]
    ]
    more = len(held) - ROWS_SHOWN
    shown = _table(("submission", "outcome", "score", "because", "like"), rows)
    return shown + (f"\n\nand {more} more: `bountyguard export assessments`" if more > 0 else "")


def _taken(ingest: Mapping[str, Mapping[str, int]]) -> str:
    rows = [(n, t["new"], t["duplicate"], t["quarantined"]) for n, t in ingest.items()]
    return _table(("table", "new", "duplicate", "quarantined"), rows)
