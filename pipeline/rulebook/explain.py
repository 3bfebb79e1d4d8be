"""The arithmetic of one score in words: every rule, every ceiling, and what came of it."""

from typing import Any

import orjson

from pipeline.rulebook.book import Rulebook


def explain(arithmetic: str, rulebook: Rulebook | None = None, language: str = "en") -> list[str]:
    """Tell how a score came about, a line at a time.

    ``arithmetic`` is that column of a SCORED or ASSESSMENTS frame. With the rulebook that it rests
    on, each rule's why (``en``) or notice (``zh``) is told too.
    """
    said: dict[str, Any] = orjson.loads(arithmetic)
    lines: list[str] = []
    for family, sums in sorted(said["families"].items()):
        mine = [
            r for r in said["rules"] if r["family"] == family and r["kind"] in ("hint", "proof")
        ]
        for rule in mine:
            mark = "" if rule["state"] == "counted" else f" ({rule['state']}: adds nothing)"
            codes = f"  {', '.join(rule['reason_codes'])}" if rule["reason_codes"] else ""
            lines.append(f"  {rule['points']:+4d}  {rule['rule']} [{rule['kind']}]{codes}{mark}")
            lines += _why(rule["rule"], rulebook, language)
        lines.append(f"{family}: {_family(sums)}")
    rest = [r for r in said["rules"] if r["family"] not in said["families"]]
    for rule in rest:
        told = rule["kind"] if rule["state"] == "counted" else f"{rule['kind']}, {rule['state']}"
        lines.append(f"{rule['rule']} [{told}]")
        lines += _why(rule["rule"], rulebook, language)
    total = " + ".join(str(s["counted"]) for _, s in sorted(said["families"].items())) or "0"
    lines.append(
        f"score {said['score']} = {total}, within 0 and 100 "
        f"(review from {said['review_at']}, hold from {said['hold_at']})"
    )
    return lines


def _family(sums: dict[str, int]) -> str:
    parts: list[str] = []
    if sums["hints"]:
        capped = sums["hints"] > sums["ceiling_hints"]
        parts.append(f"hints {sums['hints']}" + (f" → {sums['ceiling_hints']}" if capped else ""))
    if sums["proofs"]:
        parts.append(f"proof {sums['proofs']}")
    if sums["lifted"]:
        parts.append(f"lifted {sums['lifted']}")
    return f"{' + '.join(parts)}, at most {sums['ceiling_all']}: {sums['counted']}"


def _why(rule_id: str, rulebook: Rulebook | None, language: str) -> list[str]:
    rule = rulebook.by_id.get(rule_id) if rulebook else None
    if rule is None:
        return []
    told = rule.notice_zh if language == "zh" and rule.notice_zh else rule.why
    return [f"        {told}"]
