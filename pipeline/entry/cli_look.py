"""``check``, ``explain``, ``evaluate``: what would be told before paying, why, and how good it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.entry.pictures import draw
from pipeline.model.errors import UsageError
from pipeline.model.reasons import REASONS

if TYPE_CHECKING:
    from pipeline.bootstrap import House
    from pipeline.model.shares import Share
    from pipeline.review.quality import Quality

SubmissionId = Annotated[str, typer.Argument(help="the platform's own id")]
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(check)
    app.command()(explain)
    app.command()(evaluate)


def check(submission_id: SubmissionId, form: AsFormat = Format.text, home: Home = None) -> None:
    """Say what the platform would be told before paying. Nothing is written.

    No analysis yet is never a silent yes: the answer is block_and_review, pending.analysis.
    """
    with house(home) as opened:
        answer = opened.score_check(submission_id)
    if form is Format.json:
        write_json(answer)
        return
    rows = [(k, " ".join(v) if isinstance(v, list | tuple) else v) for k, v in answer.items()]
    page.print(table(submission_id, ("", "answer"), rows))


def explain(
    submission_id: SubmissionId,
    form: AsFormat = Format.text,
    pictures: Annotated[
        Path | None,
        typer.Option(help="write what is better looked at as SVG or HTML into this folder"),
    ] = None,
    home: Home = None,
) -> None:
    """Show every signal with its evidence, every rule that fired, and the arithmetic."""
    with house(home) as opened:
        found = _explanation(opened, submission_id)
        drawn = draw(opened, submission_id, pictures) if pictures else []
    if form is Format.json:
        write_json(found | {"pictures": [str(p) for p in drawn]})
        return
    _show(found)
    for path in drawn:
        people.print(f"drawn: {path}")


def _explanation(opened: "House", submission_id: str) -> dict[str, Any]:
    history = opened.history(submission_id)
    if not history:
        raise UsageError(
            "submission.unknown",
            f"{submission_id!r} has no assessment; is it taken in? See: bountyguard export submissions",
        )
    standing: dict[str, Any] = history[-1]
    for name in ("signals", "abstentions", "arithmetic", "detector_versions"):
        standing[name] = orjson.loads(standing[name])
    return standing | {"evaluations": len(history)}


def _show(found: Mapping[str, Any]) -> None:
    head = [
        (k, found[k])
        for k in ("outcome", "score", "risk_level", "evaluated_at", "evaluation_status")
    ]
    head += [
        ("reasons", " ".join(found["reason_codes"])),
        ("ruleset", found["ruleset_digest"][:16]),
    ]
    page.print(table(found["submission_id"], ("", ""), head))
    signals = [
        (
            s["reason_code"],
            REASONS[s["reason_code"]].says if s["reason_code"] in REASONS else "",
            f"{s['strength']:.2f}",
            "" if s["p_value"] is None else f"{s['p_value']:.2g}",
            s["matched_submission_id"] or "",
        )
        for s in found["signals"]
    ]
    page.print(table("Findings", ("reason", "says", "strength", "p", "like"), signals))
    columns = ("rule", "family", "points", "", "for")
    page.print(table("Arithmetic", columns, _arithmetic(found["arithmetic"])))
    silent = [(a["detector"], a["code"], a["why"]) for a in found["abstentions"]]
    if silent:
        page.print(table("Could not look", ("detector", "code", "why"), silent))
    for s in found["signals"]:
        page.print(f"[bold]{s['reason_code']}[/bold]")
        _show_passages(s)
        page.print_json(orjson.dumps(s["evidence"]).decode())


PASSAGES_MAX: Final = 3


def _show_passages(signal: Mapping[str, Any]) -> None:
    """Print the heaviest passages that two texts share, one below the other, letter by letter."""
    from rich.text import Text

    from pipeline.entry import letters

    spans = [s for s in signal["evidence"].get("spans", ()) if isinstance(s, dict)]
    if not str(signal["reason_code"]).startswith("text.") or not spans:
        return
    for _, laid in letters.excerpts(spans[:PASSAGES_MAX]):
        for name, side in (("this", laid.mine), ("earlier", laid.theirs)):
            page.print(Text.assemble((f"  {name:8}", "dim"), *letters.plain(side)))
    page.print("  [dim]{ } the same behind a disguise, \\[ ] differs, < > invisible[/dim]")


def _arithmetic(arithmetic: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = [
        (r["rule"], r["family"] or "", r["points"], r["state"], " ".join(r["reason_codes"]))
        for r in arithmetic["rules"]
    ]
    for family, total in sorted(arithmetic["families"].items()):
        told = f"of at most {total['ceiling_all']}"
        rows.append((f"sum of {family}", family, total["counted"], told, ""))
    told = f"review at {arithmetic.get('review_at', '')}, hold at {arithmetic.get('hold_at', '')}"
    return [*rows, ("score", "", arithmetic["score"], told, "")]


def evaluate(
    drop: Annotated[Path, typer.Argument(help="the drop, taken through the line if it is not yet")],
    truth: Annotated[Path, typer.Option(help="truth.jsonl of the drop")],
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Measure detection against labels: recall by kind of fraud, false holds, attribution.

    Shares come with their 95 % Wilson intervals and the counts that they rest on.
    """
    from pipeline.line import run_line, truth_rows
    from pipeline.review.quality import measure
    from pipeline.stores.exports import export

    labels = truth_rows(truth)
    with house(home) as opened:
        run_line(opened, drop, pay=False)
        quality = measure(
            export(opened.database, "assessments"), export(opened.database, "signals"), labels
        )
    if form is Format.json:
        write_json(quality.as_json())
    else:
        _show_quality(quality)


def _show_quality(quality: "Quality") -> None:
    rows = [
        (r.scheme, r.found.of, _share(r.found), _share(r.held), _share(r.attributed))
        for r in quality.schemes
    ]
    columns = ("fraud", "n", "found by the right family", "held", "attributed")
    page.print(table("Recall, by scheme", columns, rows))
    honest = [
        (r.confounder, r.held.of, _share(r.held), _share(r.reviewed), r.declined.hits)
        for r in quality.honest
    ]
    page.print(table("Honest work", ("confounder", "n", "held", "reviewed", "declined"), honest))
    if quality.missed:
        people.print(f"missed: {' '.join(quality.missed[:40])}")
    if quality.wrongly_held:
        people.print(f"wrongly held: {' '.join(quality.wrongly_held[:40])}")
    if quality.unassessed:
        people.print(f"{quality.unassessed} labelled submissions have no assessment")


def _share(share: "Share") -> str:
    if share.share is None:
        return "–"
    low, high = share.interval
    return f"{share.hits}/{share.of} = {share.share:.3f} ({low:.2f}–{high:.2f})"
