"""The queue, workers, groups, rules and quarantine."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from pipeline.entry.console import findings, words
from pipeline.entry.console.app import Console, Visit, go
from pipeline.model.errors import LedgerError, UsageError
from pipeline.model.reasons import REASONS
from pipeline.review.cases import VERDICTS
from pipeline.ruling import record_of
from pipeline.stages.credit import counted
from pipeline.stores.desk import SORTS, UNDECIDED, Wanted
from pipeline.stores.ledger_books import Books
from pipeline.stores.ledger_clusters import decide_cluster as decide_group

ROWS: Final = 50
PAGES_MAX: Final = 2_000
ENTRIES_SHOWN: Final = 200
RECORD_KEPT_S: Final = 60.0
TABS: Final = ("open", "appealed", "mine")
CASE_KINDS: Final = ("hold", "decline", "late", "look")
_CASE: Final = re.compile(r"c_[a-z0-9]{1,38}")


def queue(console: Console, visit: Visit) -> Response:
    """List the cases: what waits, what was appealed, what this person has decided."""
    tab = visit.query.get("tab", "open")
    tab = tab if tab in TABS else "open"
    kind, reason = visit.query.get("kind", ""), visit.query.get("reason", "")
    sort, page = visit.query.get("sort", "due"), visit.number("page", most=PAGES_MAX)
    asked = {
        "kind": kind if kind in CASE_KINDS else "",
        "reason": reason if reason in REASONS or reason in _families() else "",
        "q": visit.query.get("q", "").strip(),
        "sort": sort if sort in SORTS else "due",
    }
    rows, more = console.desk.queue(
        Wanted(
            states=() if tab == "mine" else (tab,),
            kind=asked["kind"] or None,
            reason=asked["reason"] or None,
            named=asked["q"] or None,
            decided_by=visit.person if tab == "mine" else None,
            sort=asked["sort"],
            limit=ROWS,
            offset=page * ROWS,
        )
    )
    done, verdict = visit.query.get("done", ""), visit.query.get("verdict", "")
    return console.show(
        "queue.html", visit, tab=tab, tabs=TABS, asked=asked, rows=rows, more=more, page=page,
        kinds=CASE_KINDS, reasons=_families(), sorts=SORTS,
        barred=console.desk.decided_by(visit.person, [r["case_id"] for r in rows]),
        done=done if _CASE.fullmatch(done) and verdict in VERDICTS else "", verdict=verdict,
    )  # fmt: skip


def _families() -> list[str]:
    return sorted({reason.family for reason in REASONS.values()})


def worker(console: Console, visit: Visit) -> Response:
    """Show a worker: standing, every credit entry and what it counts now, cases, work."""
    worker_id = visit.query.get("id", "")
    known = console.house.known.workers([worker_id]).to_dicts()
    work = console.desk.submissions_of_worker(worker_id)
    if not known and not work:
        raise UsageError("worker.unknown", f"there is no worker {worker_id!r}")
    console.viewed(visit, worker_id, {"page": "worker"})
    ledger = console.house.ledger
    entries = ledger.entries([worker_id]).to_dicts()
    now = {c.entry_id: c for c in counted(entries, console.house.settings.now())}
    return console.show(
        "worker.html", visit, worker_id=worker_id, worker=known[0] if known else None,
        standing=ledger.standing([worker_id]).to_dicts()[0],
        entries=entries[::-1][:ENTRIES_SHOWN], counted_now=now,
        undone={e["reverses"] for e in entries if e["reverses"]},
        cases=console.desk.cases_of_worker(worker_id), work=work,
    )  # fmt: skip


def cluster(console: Console, visit: Visit, *, fault: str = "", status: int = 200) -> Response:
    """Show a group of accounts: its graph, members, shared keys, payouts."""
    cluster_id = visit.query.get("id", "")
    members = console.desk.members_of_cluster(cluster_id)
    if not members:
        raise UsageError("cluster.unknown", f"no case is about a group {cluster_id!r}")
    console.viewed(visit, cluster_id, {"page": "group"})
    waiting = sorted({m["case_id"] for m in members if m["state"] in UNDECIDED})
    money: dict[str, int] = {}
    for m in members:
        money[m["currency"]] = money.get(m["currency"], 0) + m["amount_minor"]
    shown = _drawn_by(console, cluster_id, members)
    return console.show(
        "cluster.html", visit, status=status, fault=fault, cluster_id=cluster_id, members=members,
        waiting=waiting, stands=" ".join(waiting), money_at_stake=sorted(money.items()), shown=shown,
        verdicts=VERDICTS,
    )  # fmt: skip


def _drawn_by(
    console: Console, cluster_id: str, members: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Find a finding whose evidence holds this group: case, submission, number, cluster."""
    for m in members[-5:][::-1]:
        history = console.house.history(m["submission_id"])
        for number, signal in enumerate(findings.signals_of(history[-1]) if history else ()):
            found = findings.cluster_of(signal)
            if found.get("cluster_id") == cluster_id:
                return {"case_id": m["case_id"], "submission_id": m["submission_id"],
                        "number": number, "cluster": found}  # fmt: skip
    return None


def decide_cluster(console: Console, visit: Visit) -> Response:
    """Decide all waiting cases of a group at once, as the person who is signed in."""
    cluster_id, verdict = visit.query.get("id", ""), visit.form.get("verdict", "")
    reason = visit.form.get("reason", "").strip()[:4_000]
    try:
        if verdict not in VERDICTS:
            raise LedgerError("case.verdict", "choose a verdict")
        if not reason:
            raise LedgerError("case.no_reason", "a decision needs a reason")
        done = console.write(
            partial(
                _decide_group, cluster_id=cluster_id, verdict=verdict, person=visit.person,
                reason=reason, stands=visit.form.get("stands", ""),
            )
        )  # fmt: skip
    except LedgerError as refused:
        status = 422 if refused.code in ("case.no_reason", "case.verdict") else 409
        return cluster(console, visit, fault=refused.code, status=status)
    return go("/", done=done[0], verdict=verdict)


def _decide_group(
    books: Books, *, cluster_id: str, verdict: Any, person: str, reason: str, stands: str
) -> list[str]:
    done = decide_group(books, cluster_id, verdict, person=person, reason=reason)
    if stands.split() != sorted(done):
        raise LedgerError("case.moved", "the group's cases have changed since it was opened")
    return done


def rules(console: Console, visit: Visit) -> Response:
    """Show every rule of the rulebook in force: why, condition, hits, how often it was overturned."""
    book = console.house.rulebook()
    record = console.kept(
        f"rules {book.digest}", RECORD_KEPT_S, lambda: record_of(console.house, book)
    )
    return console.show(
        "rules.html", visit, book=book, record={r["rule"]: r for r in record.to_dicts()},
        ordered=sorted(book.rules, key=lambda r: (r.family, r.id)),
    )  # fmt: skip


def quarantine(console: Console, visit: Visit) -> Response:
    """List the rows that could not be taken in."""
    page, code = visit.number("page", most=PAGES_MAX), visit.query.get("code", "")
    rows, more = console.desk.quarantine(code=code or None, limit=ROWS, offset=page * ROWS)
    return console.show(
        "quarantine.html", visit, rows=rows, more=more, page=page, code=code,
        codes=console.desk.quarantine_codes(),
    )  # fmt: skip


def language(console: Console, visit: Visit) -> Response:
    """Change the language of the session."""
    wanted = visit.form.get("language", "")
    visit.session.language = wanted if wanted in words.LANGUAGES else None
    return go("/")
