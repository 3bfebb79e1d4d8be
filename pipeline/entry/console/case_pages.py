"""A case: everything a person needs to decide it, its pictures and drawings, and the decision."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

import orjson
from starlette.responses import Response

from pipeline.entry import letters
from pipeline.entry.console import findings, plates
from pipeline.entry.console.app import Console, Visit, go
from pipeline.entry.pictures import drawn
from pipeline.model.errors import LedgerError, UsageError
from pipeline.review.cases import VERDICTS, Verdict
from pipeline.rulebook import Rulebook
from pipeline.stores import ledger_cases
from pipeline.stores.desk import UNDECIDED, rehearse, waits_until
from pipeline.stores.ledger_books import Books

MEMBERS_SHOWN: Final = 20
REHEARSED_MAX: Final = 25
REVISION_KEPT_S: Final = 3_600.0
REASON_CHARS_MAX: Final = 4_000
SNOOZE_DAYS: Final = (7, 30, 90)
PICTURE_TYPES: Final = (
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/bmp",
    "image/tiff",
)
NONE: Final[Mapping[str, Any]] = {}


def show(console: Console, visit: Visit, *, fault: str = "", status: int = 200) -> Response:
    """Show a case, on one of its payouts, by its standing or an earlier evaluation."""
    desk, case_id = console.desk, visit.path["case_id"]
    case = desk.case(case_id)
    page = visit.number("page", most=1_000)
    members, total = desk.members(case_id, limit=MEMBERS_SHOWN, offset=page * MEMBERS_SHOWN)
    member = _member(console, visit, case_id) if visit.query.get("submission") else None
    member = member or (members[0] if members else None)
    if member is None:
        raise LedgerError("case.unknown", "the case is about no payout")
    history = console.house.history(member["submission_id"])
    told = _evaluation(visit, history)
    console.viewed(
        visit, case_id,
        {"submission": member["submission_id"], "revision": told.get("revision")},
    )  # fmt: skip
    decisions = desk.decisions(case_id)
    undecided = case["state"] in UNDECIDED
    appeals = desk.appeals(case_id)
    barred = visit.person in {d["person"] for d in decisions}
    return console.show(
        "case.html",
        visit,
        status=status,
        fault=fault,
        case=case,
        due_at=waits_until(case, appeals),
        member=member,
        members=members,
        total=total,
        page=page,
        pages=-(-total // MEMBERS_SHOWN),
        history=history[::-1],
        told=told,
        stands=_stands(case["state"], len(decisions), total, desk.revisions(case_id)),
        decisions=decisions,
        appeals=appeals,
        reports=desk.reports(member["submission_id"]),
        statement=desk.statements(member["decision_id"]),
        snoozes=desk.snoozes(case_id),
        trail=desk.trail(case_id, 30),
        undecided=undecided,
        barred=barred,
        verdicts=VERDICTS,
        rehearsals=_rehearsals(console, visit, case_id)
        if undecided and not barred and total <= REHEARSED_MAX
        else NONE,
        snooze_days=SNOOZE_DAYS,
        **_handed_in(console, member["submission_id"], told),
        **_judged(console, member["submission_id"], told),
    )


def _member(console: Console, visit: Visit, case_id: str) -> dict[str, Any]:
    found = console.desk.member(case_id, visit.query.get("submission", ""))
    if found is None:
        raise LedgerError("case.unknown", "the case is not about this submission")
    return found


def _evaluation(visit: Visit, history: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return the evaluation that was asked for, or else the one that stands."""
    asked = visit.query.get("revision")
    for one in history:
        if asked is not None and asked == str(one["revision"]):
            return one
    return history[-1] if history else NONE


def _stands(state: str, decided: int, members: int, revisions: int) -> str:
    """Say in a word what a decision rests on: it is refused where this has changed meanwhile."""
    return f"{state}.{decided}.{members}.{revisions}"


def _handed_in(console: Console, submission_id: str, told: Mapping[str, Any]) -> dict[str, Any]:
    known = console.house.known
    rows = known.submissions([submission_id]).to_dicts()
    if not rows:
        return {"submission": None, "task": None, "files": [], "text": [], "is_cut": False}
    row = rows[0]
    tasks = known.tasks([row["task_id"]]).to_dicts()
    files = known.contents([submission_id]).to_dicts()
    disguises = findings.disguises_of(findings.signals_of(told)) if told else frozenset()
    return {
        "submission": row,
        "task": tasks[0] if tasks else None,
        "files": [f | {"is_picture": f["media_type"] in PICTURE_TYPES} for f in files[:12]],
        "text": letters.pieces(row["text"], disguises=disguises),
        "is_cut": len(row["text"]) > letters.SHOWN_MAX,
    }


def _judged(console: Console, submission_id: str, told: Mapping[str, Any]) -> dict[str, Any]:
    if not told:
        return {"findings": [], "arithmetic": None, "abstentions": [], "rules": {}}
    house = console.house
    book = _revision(console, told["ruleset_digest"])
    return {
        "findings": findings.read(house, submission_id, told, console.text_of),
        "arithmetic": _arithmetic(told),
        "abstentions": orjson.loads(told["abstentions"]),
        "rules": book.by_id if book else {},
    }


def _arithmetic(told: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arithmetic of an evaluation, every part that the page shows there."""
    said = orjson.loads(told["arithmetic"])
    parts = {
        "score": told["score"],
        "review_at": None,
        "hold_at": None,
        "families": {},
        "rules": [],
    }
    rule = {"family": "", "points": None, "kind": "", "state": ""}
    whole: dict[str, Any] = parts | said
    return whole | {"rules": [rule | r for r in whole["rules"]]}


def _revision(console: Console, digest: str) -> Rulebook | None:
    """Return the rulebook that an evaluation was judged by; None where it is not kept."""

    def find() -> Rulebook | None:
        try:
            return console.house.rulebooks.find(digest)
        except UsageError:
            return None

    return console.kept(f"revision {digest}", REVISION_KEPT_S, find)


def _rehearsals(console: Console, visit: Visit, case_id: str) -> dict[str, Any]:
    ledger = console.house.ledger
    return {v: rehearse(ledger, case_id, v, person=visit.person) for v in VERDICTS}


# --- pictures and drawings -----------------------------------------------------------------


def picture(console: Console, visit: Visit) -> Response:
    """Answer with a picture of a case: a file of the submission, or one that a finding names."""
    case_id = visit.path["case_id"]
    member = _member(console, visit, case_id)
    submission_id = member["submission_id"]
    if "signal" in visit.query:
        data, detail = _of_finding(console, visit, submission_id)
    else:
        wanted = visit.number("content", most=10_000)
        files = console.house.known.contents([submission_id]).to_dicts()
        file = next((f for f in files if f["content_index"] == wanted), None)
        if file is None:
            raise UsageError("blob.absent", "the submission has no such file")
        data = console.plates.picture(file["digest"], file["media_type"], 0)
        detail = {"content": wanted}
    console.viewed(visit, submission_id, {"case": case_id, "picture": detail})
    return Response(data, media_type=plates.MEDIA)


def _of_finding(console: Console, visit: Visit, submission_id: str) -> tuple[bytes, dict[str, Any]]:
    signal, number = _signal(console, visit, submission_id)
    found = findings.pictures_of(console.house, submission_id, signal)
    side = visit.query.get("side", "mine")
    if found is None or side not in ("mine", "theirs", "over"):
        raise UsageError("blob.absent", "the finding is not about pictures")
    detail = {"finding": number, "side": side, "matched": signal["matched_submission_id"]}
    if side == "over":
        made = console.plates.overlay(
            found.mine, found.theirs, found.transform or [], inverted=found.inverted
        )
        return made, detail
    file, region = (
        (found.mine, found.region) if side == "mine" else (found.theirs, found.matched_region)
    )
    outlined = None if "plain" in visit.query else region
    return console.plates.picture(*file, region=outlined), detail


def _signal(console: Console, visit: Visit, submission_id: str) -> tuple[dict[str, Any], int]:
    told = _evaluation(visit, console.house.history(submission_id))
    number = visit.number("signal", most=10_000)
    signals = findings.signals_of(told) if told else []
    if number >= len(signals):
        raise UsageError("blob.absent", "there is no such finding")
    return signals[number], number


def drawing(console: Console, visit: Visit) -> Response:
    """Answer with the drawing of a session or of a group."""
    case_id = visit.path["case_id"]
    submission_id = _member(console, visit, case_id)["submission_id"]
    signal, number = _signal(console, visit, submission_id)
    row = signal | {
        "submission_id": submission_id, "evidence": orjson.dumps(signal["evidence"]).decode(),
    }  # fmt: skip
    made = drawn(console.house, row)
    if made is None or made[0] != "svg":
        raise UsageError("blob.absent", "there is nothing to draw")
    console.viewed(visit, submission_id, {"case": case_id, "drawing": number})
    return Response(made[1], media_type="image/svg+xml")


# --- deciding ------------------------------------------------------------------------------


def decide(console: Console, visit: Visit) -> Response:
    """Decide a case, as the person who is signed in; shown again with the fault where refused."""
    case_id, verdict = visit.path["case_id"], visit.form.get("verdict", "")
    reason = visit.form.get("reason", "").strip()[:REASON_CHARS_MAX]
    try:
        if verdict not in VERDICTS:
            raise LedgerError("case.verdict", "choose a verdict")
        if not reason:
            raise LedgerError("case.no_reason", "a decision needs a reason")
        console.write(
            partial(
                _decide, case_id=case_id, verdict=verdict, person=visit.person, reason=reason,
                stands=visit.form.get("stands", ""),
            )
        )  # fmt: skip
    except LedgerError as refused:
        if refused.code == "case.unknown":
            raise
        status = 422 if refused.code in ("case.no_reason", "case.verdict") else 409
        return show(console, visit, fault=refused.code, status=status)
    return go("/", done=case_id, verdict=verdict)


def _decide(
    books: Books, *, case_id: str, verdict: Verdict, person: str, reason: str, stands: str
) -> None:
    case = ledger_cases.case_row(books, case_id)
    decided = len(ledger_cases.decisions_of(books, case_id))
    members = ledger_cases.members_of(books, case_id)
    revisions = sum(m["revision"] for m in members)
    if stands != _stands(case["state"], decided, len(members), revisions):
        code = "case.moved" if case["state"] in UNDECIDED else "case.decided"
        raise LedgerError(code, "the case has changed since it was opened")
    ledger_cases.decide(books, case_id, verdict, person=person, reason=reason)


def snooze(console: Console, visit: Visit) -> Response:
    """Silence a rule for the worker, task or publisher of a payout of this case."""
    case_id = visit.path["case_id"]
    member = console.desk.member(case_id, visit.form.get("submission", ""))
    if member is None:
        raise LedgerError("case.unknown", "the case is not about this submission")
    rule, subject = visit.form.get("rule", ""), visit.form.get("subject", "")
    values = {name: member[f"{name}_id"] for name in ("worker", "task", "publisher")}
    days = visit.form.get("days", "")
    if rule not in console.house.rulebook().by_id:
        raise UsageError("rules.no_such_rule", f"there is no rule {rule!r}")
    if not values.get(subject) or days not in map(str, SNOOZE_DAYS):
        raise UsageError("snooze.subject", "a snooze is for the worker, the task or the publisher")
    now = console.house.settings.now()
    entry = console.house.listing.snooze(
        rule, subject, values[subject], case_id=case_id, owner=visit.person, now=now,
        expires_at=now + timedelta(days=int(days)),
    )  # fmt: skip
    detail = {
        "rule": rule,
        "subject": subject,
        "value": values[subject],
        "case": case_id,
        "days": int(days),
    }
    console.note(visit.person, "rule.snoozed", entry, detail)
    return go(f"/cases/{case_id}", submission=member["submission_id"])
