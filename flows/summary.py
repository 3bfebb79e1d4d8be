"""The Markdown that an analyst reads in the Prefect UI after a run: what was held, and why."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

ROWS_SHOWN = 50
TABLE_ROWS = 1_000
COLOURS = {
    "approve": "#2f855a", "review": "#b7791f", "block_and_review": "#c05621", "decline": "#9b2c2c",
    "waiting": "#718096",
}  # fmt: skip


def markdown(
    report: Mapping[str, Any],
    seen: Mapping[str, Any] | None = None,
    console: str | None = None,
) -> str:
    """Write the summary of a line's report (``LineReport.as_json``) and of an ``Overview``.

    Cases lead to ``console``, the address of the console, where one is given.
    """
    parts = ["# What was held, and why", "", _outcomes(report["outcomes"])]
    if report["money"]:
        parts += ["", "## Money, in minor units", "", _money(report["money"])]
    if seen is not None:
        parts += ["", "## Rules that held most", "", _rows(seen["rules"])]
        parts += ["", "## New groups of accounts", "", _rows(seen["clusters"])]
        codes = [{"code": c, "rows": n} for c, n in seen["quarantine"].items()]
        parts += ["", "## Open in quarantine", "", _rows(codes)]
    parts += ["", f"## Held payouts ({len(report['held'])})", "", _held(report["held"], console)]
    parts += ["", "## Taken in", "", _taken(report["ingest"])]
    return "\n".join(parts)


def held_rows(
    held: Sequence[Mapping[str, Any]], console: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows of the table of held payouts, with the case and the command that explains each.

    Prefect draws Markdown in the cells of a table, so a case is a link where there is a ``console``.
    """
    return [
        {k: v for k, v in h.items() if k != "case_id"}
        | {
            "case": _case(h.get("case_id"), console),
            "explain": f"bountyguard explain {h['submission_id']}",
        }
        for h in held[:TABLE_ROWS]
    ]


def _case(case_id: str | None, console: str | None) -> str:
    """Name a case, as a link where the console's address is known. Case ids are our own."""
    if not case_id:
        return ""
    return f"[{case_id}]({console}/cases/{quote(case_id, safe='')})" if console else case_id


def volumes(days: Sequence[Mapping[str, Any]]) -> str:
    """Draw the hand-ins of each day, stacked by outcome, as an SVG picture."""
    width, height, left, foot = 720, 240, 48, 36
    totals = [sum(d[name] for name in COLOURS) for d in days]
    most = max([*totals, 1])
    step = (width - left - 8) / max(len(days), 1)
    bars = []
    for index, day in enumerate(days):
        top = float(height - foot)
        for name, colour in COLOURS.items():
            tall = day[name] / most * (height - foot - 24)
            top -= tall
            bars.append(
                f'<rect x="{left + index * step + 1:.1f}" y="{top:.1f}" width="{step - 2:.1f}" '
                f'height="{tall:.1f}" fill="{colour}"><title>{day["day"]} {name}: {day[name]}'
                "</title></rect>"
            )
    names = "".join(
        f'<text x="{left + 120 * i}" y="14" fill="{colour}">{name}</text>'
        for i, (name, colour) in enumerate(COLOURS.items())
    )
    ends = [(left, "start", days[0]["day"]), (width - 8, "end", days[-1]["day"])] if days else []
    feet = "".join(
        f'<text x="{x}" y="{height - 14}" text-anchor="{anchor}">{day}</text>'
        for x, anchor, day in ends
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><text x="4" y="32">{most}</text>{names}'
        f"{''.join(bars)}{feet}</svg>"
    )


def as_url(svg: str) -> str:
    """Return a picture as a ``data:`` URL: nothing is fetched from anywhere."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    return _table(list(rows[0]), [list(r.values()) for r in rows]) if rows else "None."


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


def _held(held: Sequence[Mapping[str, Any]], console: str | None) -> str:
    rows = [
        (h["submission_id"], h["outcome"], h["score"], h["because"], h["matched"],
         _case(h.get("case_id"), console))
        for h in held[:ROWS_SHOWN]
    ]  # fmt: skip
    more = len(held) - ROWS_SHOWN
    shown = _table(("submission", "outcome", "score", "because", "like", "case"), rows)
    return shown + (f"\n\nand {more} more: `bountyguard export assessments`" if more > 0 else "")


def _taken(ingest: Mapping[str, Mapping[str, int]]) -> str:
    rows = [(n, t["new"], t["duplicate"], t["quarantined"]) for n, t in ingest.items()]
    return _table(("table", "new", "duplicate", "quarantined"), rows)
