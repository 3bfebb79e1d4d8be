"""A cluster drawn as SVG from the evidence of a signal: members outside, shared things inside."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any, Final

SIZE: Final = 560
OUTER: Final = 200.0
INNER: Final = 80.0
COLOURS: Final = {
    "device": "#b35900",
    "payout": "#7a1f7a",
    "publisher": "#1f5fa8",
    "worker": "#333333",
    "weakest": "#c62828",
}


def cluster_svg(cluster: Mapping[str, Any]) -> str:
    """Draw the ``cluster`` object of a signal's evidence.

    Members stand on a circle in the order they were first seen, from the top clockwise; shared keys
    inside it; links are lines as thick as they are sure, the weakest one dashed. What the bounded
    evidence leaves out is said in the caption. The picture is deterministic and carries no script;
    every label is escaped.
    """
    members = [str(m["worker_id"]) for m in cluster["members"]]
    keys = [(str(k["kind"]), str(k["label"]), int(k["accounts"])) for k in cluster["keys"]]
    at = dict(zip(members, _circle(len(members), OUTER), strict=True))
    spots = _circle(len(keys), INNER if len(keys) > 1 else 0.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img" '
        f'font-family="sans-serif" font-size="11">',
        f"<title>{escape(_caption(cluster))}</title>",
    ]
    weak = cluster.get("weakest_link") or {}
    for link in cluster["links"]:
        if link["a"] in at and link["b"] in at:
            dashed = {link["a"], link["b"]} == {weak.get("a"), weak.get("b")}
            parts.append(_line(at[link["a"]], at[link["b"]], link, dashed=dashed))
    for (kind, label, accounts), (x, y) in zip(keys, spots, strict=True):
        colour = COLOURS.get(kind, COLOURS["worker"])
        parts.append(
            f'<rect x="{x - 8:.1f}" y="{y - 8:.1f}" width="16" height="16" fill="{colour}"/>'
            f'<text x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">'
            f"{escape(kind)} {escape(label[:12])} ({accounts})</text>"
        )
    for name, (x, y) in at.items():
        out = 18 if y >= SIZE / 2 else -12
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{COLOURS["worker"]}"/>'
            f'<text x="{x:.1f}" y="{y + out:.1f}" text-anchor="middle">{escape(name[:24])}</text>'
        )
    parts.append(
        f'<text x="{SIZE / 2}" y="{SIZE - 10}" text-anchor="middle">'
        f"{escape(_caption(cluster))}</text></svg>"
    )
    return "".join(parts)


def _circle(n: int, radius: float) -> list[tuple[float, float]]:
    turn = [2 * math.pi * i / max(n, 1) - math.pi / 2 for i in range(n)]
    return [(SIZE / 2 + radius * math.cos(a), SIZE / 2 + radius * math.sin(a)) for a in turn]


def _line(
    a: tuple[float, float], b: tuple[float, float], link: Mapping[str, Any], *, dashed: bool
) -> str:
    kind = str(link["kind"])
    colour = COLOURS["weakest"] if dashed else COLOURS.get(kind, "#777777")
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    width = 0.5 + 2.5 * float(link["weight"])
    return (
        f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" '
        f'stroke="{colour}" stroke-width="{width:.1f}"{dash}>'
        f"<title>{escape(kind)} x{int(link['count'])}</title></line>"
    )


def _caption(cluster: Mapping[str, Any]) -> str:
    shown, members = len(cluster["members"]), int(cluster["member_count"])
    money = ", ".join(
        f"{m['amount_minor'] / 100:.2f} {m['currency']}" for m in cluster["money_at_stake"]
    )
    return (
        f"{cluster['cluster_id']}: {shown} of {members} accounts, confidence "
        f"{float(cluster['confidence']):.2f}" + (f", at stake {money}" if money else "")
    )
