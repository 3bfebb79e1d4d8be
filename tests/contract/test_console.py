"""The analysts' console over SQLite and PostgreSQL: the door, forms, decisions, evidence, its record."""

import html
import io
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from console_worlds import STANDS, TOKEN, Site, Visitor, demo_home, demo_made, opened_site
from pipeline.entry import letters
from pipeline.entry.console import doors, plates, words
from pipeline.entry.console.app import HEADERS
from pipeline.entry.pictures import drawn
from pipeline.model.errors import StoreError
from pipeline.stores.audit import AuditLog
from pipeline.stores.desk import Wanted, rehearse
from pipeline.stores.tables import ledger, record

__all__ = ["demo_home", "demo_made"]
TEMPLATES = Path(words.__file__).parent / "templates"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)> \u202e{{7*7}}'


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose tables are made: copying it costs less than making them."""
    home = tmp_path_factory.mktemp("blank")
    with opened_site(home, home):
        return home


@pytest.fixture
def site(blank: Path, tmp_path: Path) -> Iterator[Site]:
    """The console over an empty house with one task, on SQLite."""
    home = tmp_path / "home"
    shutil.copytree(blank, home)
    with opened_site(home, tmp_path) as made:
        made.world.task("t")
        yield made


@pytest.fixture
def each(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """The same on SQLite, then on PostgreSQL: for what the console asks of the database."""
    with opened_site(tmp_path / "home", tmp_path, BOUNTYGUARD_DATABASE_URL=database_url) as made:
        made.world.task("t")
        yield made


def held(site: Site, name: str = "s", worker: str = "w", **more: Any) -> str:
    """One held submission; returns its case."""
    site.world.submit(name, worker=worker, **more)
    site.world.judge(name, "block_and_review")
    site.world.settle()
    return site.world.case(name)


# --- the door ------------------------------------------------------------------------------


def test_nobody_sees_or_changes_anything_without_a_session(site: Site) -> None:
    case = held(site)
    stranger = Visitor(site.app)
    for path in ("/console/", f"/console/cases/{case}", "/console/rules", "/console/quarantine",
                 f"/console/cases/{case}/picture?submission=s&content=0", "/console/workers?id=w",
                 f"/console/cases/{case}/drawing?submission=s&signal=0"):  # fmt: skip
        answer = stranger.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/sign-in?next=%2Fconsole%2F")
    for path in (
        f"/console/cases/{case}/decide",
        f"/console/cases/{case}/snooze",
        "/console/clusters",
    ):
        assert stranger.post(path, data={"csrf": "x", "verdict": "overturn"}).status_code == 401
    assert site.audit("evidence.viewed") == []
    assert site.world.payout("s")["state"] == "held"


def test_only_a_persons_key_of_the_scope_opens_the_console(site: Site) -> None:
    refused = [
        site.key("platform", "checks", "settlements"),
        site.key("one publisher's", tenant="publisher:p"),
        site.key("one worker's", tenant="worker:w"),
        site.key("system:deadline"),
        site.key("  "),
        site.key("li.wei")[:-1],
        "", "bgk_", "bgk_x.y", "\x00", "bgk_" + "é" * 40,
    ]  # fmt: skip
    for key in refused:
        site.ticks.now += 60
        visitor = Visitor(site.app)
        assert visitor.sign_in(key).status_code == 403, key
        assert doors.COOKIE not in visitor.cookies
    assert site.audit("console.signed_in") == []
    site.person("li.wei")
    assert [row["actor"] for row in site.audit("console.signed_in")] == ["li.wei"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    for base, secure in (("http://gate", False), ("https://gate", True)):
        answer = Visitor(site.app, base).sign_in(site.key("li.wei"))
        (told,) = [c for c in answer.headers.get_list("set-cookie") if doors.COOKIE in c]
        assert "HttpOnly" in told
        assert "SameSite=strict" in told
        assert "Path=/console" in told
        assert f"Max-Age={int(doors.WHOLE_S)}" in told
        assert ("Secure" in told) is secure


def test_sign_in_is_tried_only_so_often(site: Site) -> None:
    visitor, key = Visitor(site.app), site.key("li.wei")
    told = [visitor.sign_in("bgk_x.y").status_code for _ in range(doors.TRIES_PER_MINUTE + 2)]
    assert told == [403] * doors.TRIES_PER_MINUTE + [429, 429]
    assert visitor.sign_in(key).status_code == 429
    site.ticks.now += 60
    assert visitor.sign_in(key).status_code == 303


@pytest.mark.parametrize("how", ["idle", "long", "revoked", "signed out"])
def test_a_session_ends(site: Site, how: str) -> None:
    person = site.person("li.wei")
    kept = person.cookies.get(doors.COOKIE)
    if how == "idle":
        site.ticks.now += doors.IDLE_S + 1
    elif how == "long":
        for _ in range(int(doors.WHOLE_S / doors.IDLE_S)):
            site.ticks.now += doors.IDLE_S - 1
            person.get("/console/")
        site.ticks.now += doors.IDLE_S - 1
    elif how == "revoked":
        site.services.access.revoke(site.audit("console.signed_in")[0]["subject"])
    else:
        person.post("/console/sign-out", data={"csrf": person.token("/console/")})
        assert [row["actor"] for row in site.audit("console.signed_out")] == ["li.wei"]
    person.cookies.set(doors.COOKIE, str(kept), path="/console")
    assert person.get("/console/").status_code == 303


def test_signing_in_leads_to_no_other_site(site: Site) -> None:
    for wanted, expected in (
        ("/console/cases/c_1?submission=a%20b", "/console/cases/c_1?submission=a%20b"),
        ("https://evil.example/", "/console/"), ("//evil.example/", "/console/"),
        ("/console//evil.example", "/console/"), ("/console/\\evil.example", "/console/"),
        ("/consoleevil", "/console/"), ("javascript:alert(1)", "/console/"),
        ("/console/\r\nSet-Cookie: a=b", "/console/"), ("/v1/settlements", "/console/"),
    ):  # fmt: skip
        answer = Visitor(site.app).sign_in(site.key("li.wei"), next=wanted)
        assert (answer.status_code, answer.headers["location"]) == (303, expected)
        site.ticks.now += 60
    page = Visitor(site.app).get("/console/sign-in", params={"next": "https://evil.example/"}).text
    assert "evil.example" not in page


# --- forms ---------------------------------------------------------------------------------


def test_a_form_that_is_not_ours_changes_nothing(site: Site) -> None:
    case = held(site)
    person, other = site.person("li.wei"), site.person("zhang.min")
    page = person.get(f"/console/cases/{case}").text
    form = {"verdict": "overturn", "reason": "r", "stands": STANDS.findall(page)[0]}
    token = TOKEN.findall(page)[0]
    path = f"/console/cases/{case}/decide"
    for data, headers in (
        (form, {}),
        (form | {"csrf": ""}, {}),
        (form | {"csrf": other.token("/console/")}, {}),
        (form | {"csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
        (form | {"csrf": token}, {"Sec-Fetch-Site": "same-site", "Origin": "http://gate"}),
        (form | {"csrf": token}, {"Origin": "https://evil.example"}),
        (form | {"csrf": token}, {"Origin": "null"}),
    ):
        assert person.post(path, data=data, headers=headers).status_code == 403
    no_reason = form | {"csrf": token, "reason": ""}
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://gate"}, {}):
        assert person.post(path, data=no_reason, headers=headers).status_code == 422  # let in
    assert person.post(path, json=form | {"csrf": token}).status_code == 400
    assert person.post(path, content=b"\xff=%ff", headers={
        "Content-Type": "application/x-www-form-urlencoded"}).status_code == 400  # fmt: skip
    many = {f"f{i}": "x" for i in range(100)} | {"csrf": token}
    assert person.post(path, data=many).status_code == 400
    assert person.post(path, data={"csrf": token, "reason": "x" * (1 << 20)}).status_code == 413
    assert site.world.payout("s")["state"] == "held"
    assert site.world.frame("case_decisions") == []
    assert (
        Visitor(site.app).post("/console/sign-in", data={"key": site.key("x")}).status_code == 403
    )


def test_every_form_carries_the_sessions_token(site: Site) -> None:
    case = held(site)
    person = site.person("li.wei")
    for path in ("/console/", f"/console/cases/{case}", "/console/rules", "/console/workers?id=w"):
        page = person.get(path).text
        forms = re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
        assert forms
        assert all(TOKEN.search(form) for form in forms)
        assert len(set(TOKEN.findall(page))) == 1


def test_every_answer_carries_the_safety_headers(site: Site) -> None:
    case = held(site)
    person = site.person("li.wei")
    paths = {
        "/console/sign-in": 200, "/console/": 200, f"/console/cases/{case}": 200,
        "/console/cases/c_none": 404, "/console/none": 404, "/console/static/console.css": 200,
        "/console/static/none": 404, "/console/workers?id=none": 404, "/console/clusters?id=": 404,
        f"/console/cases/{case}/picture?submission=s&content=3": 404,
        f"/console/cases/{case}/drawing?submission=s&signal=7": 404,
    }  # fmt: skip
    for path, status in paths.items():
        answer = person.get(path)
        assert answer.status_code == status, path
        for name, value in HEADERS.items():
            if "/static/console" not in path or name != "Cache-Control":
                assert answer.headers[name] == value, (path, name)
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert person.get("/console").headers["location"] == "/console/"


def test_no_template_holds_script_or_style_of_its_own() -> None:
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|\|\s*safe|https?://", text
        )


def test_a_bug_says_nothing_of_the_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    person = site.person("li.wei")
    monkeypatch.setattr(site.console.desk, "queue", lambda wanted: 1 / 0)
    answer = person.get("/console/")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- what strangers wrote ------------------------------------------------------------------


def test_what_strangers_wrote_is_never_markup(site: Site) -> None:
    site.world.task("<q>t", title=EVIL, brief=EVIL)
    case = held(site, name="<i>s", worker="<u>w", task="<q>t", text=EVIL)
    site.house.ledger.appeal(case, worker_id="<u>w", text=EVIL)
    site.house.ledger.report(reporter_id=EVIL, submission_id="<i>s", reason=EVIL)
    person = site.person("<s>li")
    pages = [
        person.get("/console/"),
        person.get("/console/", params={"q": EVIL, "kind": EVIL, "reason": EVIL, "done": EVIL}),
        person.get(f"/console/cases/{case}"),
        person.get("/console/workers", params={"id": "<u>w"}),
        person.get("/console/workers", params={"id": EVIL}),
        person.get("/console/quarantine", params={"code": EVIL}),
        person.decide(case, "confirm", reason=""),
        person.post(f"/console/cases/{case}/decide", data={
            "csrf": person.token("/console/"), "verdict": EVIL, "reason": EVIL}),
    ]  # fmt: skip
    for page in pages:
        assert page.headers["content-type"].startswith("text/html")
        for markup in ("<script>", "<img src=x", "<i>s", "<u>w", "<q>t", "<s>li"):
            assert markup not in page.text
    shown = pages[2].text
    assert html.escape("<script>alert(1)</script>") in shown
    assert 'title="U+202E RIGHT-TO-LEFT OVERRIDE"' in shown


def test_ids_of_whatever_characters_lead_somewhere(site: Site) -> None:
    worker = "a/b?c=d&e#f %2e\u4e2d"
    case = held(site, name="s/../?&#", worker=worker)
    person = site.person("li.wei")
    page = person.get(f"/console/cases/{case}", params={"submission": "s/../?&#"}).text
    (link,) = set(re.findall(r'href="(/console/workers\?id=[^"]+)"', page))
    assert html.escape(worker) in person.get(html.unescape(link)).text
    assert person.get("/console/", params={"q": "\x00"}).status_code == 200


# --- deciding ------------------------------------------------------------------------------


def test_a_decision_moves_money_and_credit_once(each: Site) -> None:
    case = held(each)
    person = each.person("li.wei")
    page = person.get(f"/console/cases/{case}").text
    form = {"csrf": TOKEN.findall(page)[0], "verdict": "overturn", "reason": "their own draft",
            "stands": STANDS.findall(page)[0]}  # fmt: skip
    answers = [person.post(f"/console/cases/{case}/decide", data=form) for _ in range(3)]
    assert [a.status_code for a in answers] == [303, 409, 409]
    assert each.world.payout("s")["state"] == "posted"
    assert [e["kind"] for e in each.world.frame("credit")] == ["accepted"]
    (made,) = each.world.frame("case_decisions")
    assert (made["person"], made["verdict"], made["reason"]) == (
        "li.wei",
        "overturn",
        "their own draft",
    )
    assert [row["actor"] for row in each.audit("case.decided")] == ["li.wei"]
    each.world.whole()
    listed = person.get(answers[0].headers["location"]).text
    assert f"/console/cases/{case}" not in listed
    assert case in listed  # it says what was done
    assert f"/console/cases/{case}" in person.get("/console/?tab=mine").text


def test_a_decision_needs_a_verdict_and_a_reason(site: Site) -> None:
    case = held(site)
    person = site.person("li.wei")
    for verdict, reason in (("overturn", "  "), ("", "r"), ("pay", "r")):
        answer = person.decide(case, verdict, reason=reason)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert site.world.frame("case_decisions") == []


def test_an_appeal_goes_to_another_person(site: Site) -> None:
    case = held(site)
    first, second = site.person("li.wei"), site.person("zhang.min")
    assert first.decide(case, "confirm").status_code == 303
    site.house.ledger.appeal(case, worker_id="w", text="it is mine")
    assert "needs another person" in first.get("/console/?tab=appealed").text
    page = first.get(f"/console/cases/{case}").text
    assert "it is mine" in page
    assert 'name="verdict"' not in page
    stands = STANDS.findall(second.get(f"/console/cases/{case}").text)[0]
    assert first.decide(case, "confirm", stands=stands).status_code == 409
    again = Visitor(site.app)  # another key of the same person is the same person
    again.sign_in(site.key("li.wei"))
    assert again.decide(case, "overturn", stands=stands).status_code == 409
    assert site.world.payout("s")["state"] == "voided" or site.world.paid() == 0
    assert second.decide(case, "overturn").status_code == 303
    assert [d["person"] for d in site.world.frame("case_decisions")] == ["li.wei", "zhang.min"]
    standing = site.house.ledger.standing(["w"]).to_dicts()[0]
    assert (standing["confirmed"], standing["overturned"]) == (0, 1)
    site.world.whole()


def test_a_form_that_was_opened_before_the_appeal_decides_nothing(site: Site) -> None:
    case = held(site)
    early, other = site.person("early"), site.person("li.wei")
    page = early.get(f"/console/cases/{case}").text
    other.decide(case, "confirm")
    site.house.ledger.appeal(case, worker_id="w", text="it is mine")
    form = {"csrf": TOKEN.findall(page)[0], "verdict": "confirm", "reason": "r",
            "stands": STANDS.findall(page)[0]}  # fmt: skip
    assert early.post(f"/console/cases/{case}/decide", data=form).status_code == 409
    assert len(site.world.frame("case_decisions")) == 1


def test_what_a_page_says_deciding_would_do_is_what_it_does(each: Site) -> None:
    case = held(each)
    before = [each.world.frame(t) for t in ("transfers", "credit", "audit", "payouts")]
    told = {v: rehearse(each.house.ledger, case, v, person="x") for v in ("confirm", "overturn")}  # type: ignore[arg-type]
    assert [each.world.frame(t) for t in ("transfers", "credit", "audit", "payouts")] == before
    assert [c["kind"] for c in told["confirm"].credit] == ["confirmed_fraud"]
    assert rehearse(each.house.ledger, "c_none", "confirm", person="x").refused == "case.unknown"
    person = each.person("li.wei")
    page = person.get(f"/console/cases/{case}").text
    assert "1.00 CNY: escrow:CNY:t → payable:CNY:w" in page
    known = {t["transfer_id"] for t in before[0]}
    person.decide(case, "overturn")
    made = [t for t in each.world.frame("transfers") if t["transfer_id"] not in known]
    assert [(t["debit_account"], t["credit_account"], t["amount_minor"]) for t in made] == [
        (t["debit_account"], t["credit_account"], t["amount_minor"])
        for t in told["overturn"].transfers
    ]
    assert [c["kind"] for c in each.world.frame("credit")] == [
        c["kind"] for c in told["overturn"].credit
    ]


def test_a_group_is_decided_for_all_its_members(each: Site) -> None:
    for i in range(3):
        each.world.submit(f"s{i}", worker=f"w{i}")
        each.world.judge(
            f"s{i}", "block_and_review", codes=["identity.shared_device"], cluster="g/1"
        )
    each.world.settle()
    person = each.person("li.wei")
    page = person.get("/console/clusters", params={"id": "g/1"}).text
    assert page.count("/console/workers?id=w") == 3
    form = {"csrf": TOKEN.findall(page)[0], "verdict": "confirm", "reason": "one ring"}
    stale = person.post("/console/clusters?id=g%2F1", data=form | {"stands": "c_other"})
    assert stale.status_code == 409
    assert each.world.frame("credit") == []
    done = person.post(
        "/console/clusters?id=g%2F1", data=form | {"stands": STANDS.findall(page)[0]}
    )
    assert done.status_code == 303
    assert sorted(c["worker_id"] for c in each.world.frame("credit")) == ["w0", "w1", "w2"]
    each.world.whole()


def test_a_rule_is_snoozed_from_a_case(site: Site) -> None:
    case = held(site)
    person = site.person("li.wei")
    rule = next(iter(site.house.rulebook().by_id))
    form = {"csrf": person.token("/console/"), "submission": "s", "rule": rule, "subject": "worker",
            "days": "7"}  # fmt: skip
    for wrong in ({"rule": "none"}, {"subject": "ip"}, {"days": "36500"}, {"submission": "other"}):
        answer = person.post(f"/console/cases/{case}/snooze", data=form | wrong)
        assert answer.status_code in (404, 422)
    assert person.post(f"/console/cases/{case}/snooze", data=form).status_code == 303
    (made,) = site.house.listing.snoozes().to_dicts()
    assert (made["rule"], made["subject"], made["value"], made["owner"]) == (
        rule,
        "worker",
        "w",
        "li.wei",
    )
    assert [row["actor"] for row in site.audit("rule.snoozed")] == ["li.wei"]


# --- the record of who looked --------------------------------------------------------------


def test_every_view_of_evidence_is_in_the_audit_chain(site: Site) -> None:
    case = held(site)
    person = site.person("li.wei")
    person.get("/console/")
    assert site.audit("evidence.viewed") == []
    person.get(f"/console/cases/{case}")
    person.get(f"/console/cases/{case}")
    person.get("/console/workers?id=w")
    seen = [(row["actor"], row["subject"]) for row in site.audit("evidence.viewed")]
    assert seen == [("li.wei", case), ("li.wei", case), ("li.wei", "w")]
    assert AuditLog(site.house.database).verify() == []


def test_what_cannot_be_recorded_is_not_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    case = held(site, text="a secret text")
    person = site.person("li.wei")

    def broken(change: object) -> None:
        raise StoreError("store.unreachable", "the disk is full")

    monkeypatch.setattr(site.console.writer, "submit", broken)
    for path in (f"/console/cases/{case}", "/console/workers?id=w"):
        answer = person.get(path)
        assert answer.status_code == 503
        assert "a secret text" not in answer.text


# --- lists ---------------------------------------------------------------------------------


def test_the_queue_filters_sorts_and_pages(each: Site) -> None:
    each.world.task("dear", bounty=9_900)
    for i in range(60):
        each.world.submit(f"s{i:02}", worker=f"w{i:02}", task="dear" if i == 7 else "t", minute=i)
        each.world.judge(f"s{i:02}", "decline" if i % 10 == 0 else "block_and_review",
                         codes=["text.canary" if i == 5 else "file.identical"])  # fmt: skip
    each.world.settle()
    person = each.person("li.wei")

    def listed(**query: Any) -> list[str]:
        page = person.get("/console/", params=query).text
        return re.findall(r'<a class="open"[^>]*>(s\d\d)</a>', page)

    pages = [listed(page=n) for n in range(3)]
    assert [len(p) for p in pages] == [50, 10, 0]
    assert len(set(pages[0]) | set(pages[1])) == 60
    assert len(listed(kind="decline")) == 6
    assert listed(reason="text") == listed(reason="text.canary") == ["s05"]
    assert listed(q="s11") == listed(q="w11") == listed(q=each.world.case("s11")) == ["s11"]
    assert listed(sort="money")[0] == "s07"
    assert listed(q="100%") == listed(q="%") == listed(tab="appealed") == listed(tab="mine") == []
    assert listed(page="9" * 30) == listed(page="-1") == pages[0]


def test_the_queue_is_read_in_its_order_without_sorting(site: Site) -> None:
    cases = ledger.cases.c
    query = sa.select(ledger.cases).where(cases.state == "open")
    ordered = query.order_by(cases.due_at, cases.case_id).limit(50)
    text = str(ordered.compile(site.house.database.engine, compile_kwargs={"literal_binds": True}))
    with site.house.database.read() as connection:
        steps = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert "ix_cases_state_due_at_case_id" in steps[0]
    assert not any("B-TREE" in step for step in steps)


def test_metrics_name_pages_by_where_the_console_hangs(site: Site) -> None:
    case = held(site)
    me = site.person("li.wei")
    assert me.get(f"/console/cases/{case}").status_code == 200
    told = me.get("/metrics").text
    assert 'route="/console/cases/{case_id}"' in told
    assert 'route="/cases/{case_id}"' not in told
    assert 'route="/metrics"' in me.get("/metrics").text


def test_workers_and_rules_are_shown(each: Site) -> None:
    case = held(each)
    person, other = each.person("li.wei"), each.person("zhang.min")
    person.decide(case, "confirm")
    page = person.get("/console/workers?id=w").text
    assert "confirmed fraud" in page
    each.house.ledger.appeal(case, worker_id="w", text="it is mine")
    other.decide(case, "overturn")
    assert 'class="undone"' in person.get("/console/workers?id=w").text
    rules = person.get("/console/rules").text
    assert all(html.escape(rule.id) in rules for rule in each.house.rulebook().rules)


def test_quarantine_is_listed_by_code(each: Site) -> None:
    row = {"quarantine_id": "q1", "table_name": "submissions", "file": "submissions.jsonl", "line": 3,
           "row_id": None, "code": "row.bad_json", "reason": "not JSON", "raw": EVIL * 1000,
           "status": "open"}  # fmt: skip
    others = [row | {"quarantine_id": f"r{i}", "line": i, "code": "row.other"} for i in range(51)]
    with each.house.database.write() as connection:
        connection.execute(record.quarantine.insert(), [row, *others])
    person = each.person("li.wei")
    page = person.get("/console/quarantine?code=row.bad_json")
    assert "not JSON" in page.text
    assert len(page.text) < 20_000
    assert "<script>" not in page.text
    assert 'rel="next"' in person.get("/console/quarantine?code=row.other").text
    assert 'rel="next"' not in person.get("/console/quarantine?code=row.other&page=1").text


# --- pictures ------------------------------------------------------------------------------


@pytest.fixture
def pictured(site: Site) -> tuple[Site, str]:
    """A case whose submission holds a picture with EXIF, and a file that is no picture."""
    noise = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret in the metadata"
    Image.fromarray(noise).save(out, "PNG", exif=exif)
    files = [(out.getvalue(), "image/png"), (b"\x89PNG\r\n\x1a\n broken", "image/png")]
    rows = [
        {"submission_id": "s", "content_index": i, "digest": site.house.blobs.put(data),
         "media_type": kind, "name": f"{i}.png", "byte_count": len(data)}
        for i, (data, kind) in enumerate(files)
    ]  # fmt: skip
    case = held(site)
    with site.house.database.write() as connection:
        connection.execute(record.contents.insert(), rows)
    return site, case


def test_pictures_are_drawn_anew_and_only_those_of_the_case(pictured: tuple[Site, str]) -> None:
    site, case = pictured
    elsewhere = held(site, name="other", worker="v")
    person = site.person("li.wei")
    path = f"/console/cases/{case}/picture"
    shown = person.get(path, params={"submission": "s", "content": 0})
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["cache-control"] == "no-store"
    assert b"secret" not in shown.content
    with Image.open(io.BytesIO(shown.content)) as drawn:
        assert drawn.size == (60, 40)
        assert not drawn.getexif()
    assert person.get(path, params={"submission": "s", "content": 1}).status_code == 422
    for case_id, submission in ((case, "other"), (elsewhere, "s"), (case, ""), ("c_none", "s")):
        answer = person.get(f"/console/cases/{case_id}/picture", params={"submission": submission})
        assert answer.status_code == 404
    seen = [row["subject"] for row in site.audit("evidence.viewed")]
    assert seen == ["s"]


def test_an_overlay_lays_the_earlier_picture_where_it_was_found() -> None:
    earlier = np.random.default_rng(2).integers(0, 255, (100, 200, 3), np.uint8)
    mine = np.full((50, 50, 3), 90, np.uint8)
    mine[10:40, 10:40] = 0
    # The left half of the earlier picture fills the accused one: x doubles, y stays.
    half = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    laid = plates.laid(mine, earlier, half, False)
    assert laid.shape == mine.shape
    small = np.asarray(
        Image.fromarray(earlier[:, :100]).resize((50, 50), Image.Resampling.BOX), int
    )
    assert np.abs(laid[2:-2, 2:-2].astype(int) - small[2:-2, 2:-2]).mean() < 60
    away = plates.laid(mine, earlier, np.array([[1.0, 0, 5], [0, 1, 0], [0, 0, 1]]), False)
    assert (away == mine // 3 + 80).all()
    assert (plates.laid(mine, earlier, half, True) == 255 - laid).mean() > 0.9


def test_only_a_region_is_outlined() -> None:
    assert plates.box([0.1, 0.2, 0.5, 0.9]) == (0.1, 0.2, 0.5, 0.9)
    for wrong in (None, [], [0, 0, 1], [0, 0, 2, 1], ["0", 0, 1, 1], [0.5, 0, 0.5, 1], "0011"):
        assert plates.box(wrong) is None
    plain = np.zeros((100, 100, 3), np.uint8)
    drawn = plates.outlined(plain, (0.2, 0.2, 0.8, 0.8))
    assert drawn[20, 50].any()
    assert not drawn[50, 50].any()
    assert not plain.any()


# --- texts and words -----------------------------------------------------------------------


def test_texts_are_compared_letter_by_letter() -> None:
    mine, theirs = "so I w\u0430lked\u200b home!", "then he walked home."
    spans = [{"begin": 5, "end": 18, "source_begin": 8, "source_end": 20}]
    laid = letters.align(mine, theirs, spans)
    assert laid is not None
    assert [(p.kind, p.text) for p in laid.mine] == [
        ("plain", "so I "), ("passage", "1"), ("same", "w"), ("masked", "\u0430"), ("same", "lked"),
        ("hidden", "ZWSP"), ("same", " home"), ("other", "!"),
    ]  # fmt: skip
    assert [(p.kind, p.text) for p in laid.theirs][:3] == [
        ("plain", "then he "), ("passage", "1"), ("same", "w"),
    ]  # fmt: skip
    assert laid.mine[5].note == "U+200B ZERO WIDTH SPACE"


def test_no_letter_is_lost_or_moved() -> None:
    text = "".join(
        map(chr, [*range(1, 300), 0x200B, 0x202E, 0xFEFF, 0x1F600, 0x4E2D, 0xE0041, 0xD800])
    )
    told = letters.pieces(text, disguises={"a"})
    shown = "".join(
        p.text if p.kind != "hidden" else chr(int(p.note[2:].split()[0], 16)) for p in told
    )
    assert shown == text
    hidden = {p.note.split()[0] for p in told if p.kind == "hidden"}
    assert {"U+0001", "U+200B", "U+202E", "U+FEFF", "U+E0041", "U+D800"} <= hidden
    assert "U+000A" not in hidden


def test_spans_that_do_not_fit_show_nothing() -> None:
    for span in ({}, {"begin": 0, "end": 99, "source_begin": 0, "source_end": 1},
                 {"begin": 1, "end": 1, "source_begin": 0, "source_end": 1},
                 {"begin": "0", "end": 1, "source_begin": 0, "source_end": 1}):  # fmt: skip
        assert letters.align("abc", "abc", [span]) is None
    long = letters.align("x" * 50_000, "x" * 50_000, [
        {"begin": 0, "end": 50_000, "source_begin": 0, "source_end": 50_000}])  # fmt: skip
    assert long is not None
    assert sum(len(p.text) for p in long.mine if p.kind == "same") == letters.SHOWN_MAX


def test_every_word_is_in_both_languages() -> None:
    holes = re.compile(r"\{(\w+)\}")
    for key, (en, zh) in words.WORDS.items():
        assert en, key
        assert zh, key
        assert set(holes.findall(en)) == set(holes.findall(zh)), key
    used = {
        key
        for path in TEMPLATES.glob("*.html")
        for key in re.findall(r'\bt\("([a-z_.]+)"[,)]', path.read_text(encoding="utf-8"))
    }
    assert len(used) > 60
    assert used <= set(words.WORDS)


def test_the_language_follows_the_browser_and_the_person(site: Site) -> None:
    for accept, language in (("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en;q=0.5,zh;q=0.4", "en"),
                             ("fr", "en"), ("", "en"), (";q=x,,zh", "zh"), (None, "en")):  # fmt: skip
        assert words.preferred(accept) == language
    person = site.person("li.wei", **{"accept-language": "zh"})
    assert 'lang="zh"' in person.get("/console/").text
    form = {"csrf": person.token("/console/"), "language": "en"}
    assert person.post("/console/language", data=form).status_code == 303
    assert 'lang="en"' in person.get("/console/").text


def test_money_and_times_are_written_as_people_do() -> None:
    assert words.money(123_456, "CNY") == "1,234.56 CNY"
    assert words.money(5, "CNY") == "0.05 CNY"
    assert words.money(1_234, "JPY") == "1,234 JPY"
    assert words.money(-1_500, "KWD") == "−1.500 KWD"
    now = datetime(2026, 3, 1, tzinfo=UTC)
    due = words.of("en")["due"]
    assert due(datetime(2026, 3, 4, tzinfo=UTC), now) == "in 3 d"
    assert due(datetime(2026, 3, 1, 5, tzinfo=UTC), now) == "in 5 h"
    assert due(datetime(2026, 2, 1, tzinfo=UTC), now) == "overdue"


# --- the sample drop -----------------------------------------------------------------------


def test_every_case_of_the_sample_is_shown_with_its_evidence(
    demo_home: Path, tmp_path: Path
) -> None:
    with opened_site(demo_home, tmp_path) as site:
        people = [site.person("li.wei", **{"accept-language": tongue}) for tongue in ("en", "zh")]
        cases = site.console.desk.queue(Wanted(limit=200))[0]
        assert len(cases) > 30
        seen: set[str] = set()
        for number, case in enumerate(cases):
            person = people[number % 2]
            page = person.get(f"/console/cases/{case['case_id']}")
            assert page.status_code == 200
            seen |= {code for code in case["reason_codes"] if code in page.text}
            for link in dict.fromkeys(re.findall(r'src="(/console/cases/[^"]+)"', page.text)):
                answer = person.get(html.unescape(link))
                assert answer.status_code == 200, (
                    link,
                    re.findall(r"<code>.*?</code>", answer.text),
                )
                assert answer.headers["content-type"] in ("image/jpeg", "image/svg+xml")
        assert {"text.near_duplicate", "file.identical", "trajectory.replayed"} <= seen
        assert any(code.startswith("image.") for code in seen)
        group = next(case["cluster_id"] for case in cases if case["cluster_id"])
        page = people[0].get("/console/clusters", params={"id": group})
        assert 'alt="Group drawn as a graph"' in page.text
        assert "w-46" in page.text
        viewed = site.audit("evidence.viewed")
        assert {row["subject"] for row in viewed} >= {case["case_id"] for case in cases}


def test_a_copy_is_marked_on_both_sides_in_the_sample(demo_home: Path, tmp_path: Path) -> None:
    with opened_site(demo_home, tmp_path) as site:
        person = site.person("li.wei")
        case = site.world.case("park-5")
        page = person.get(f"/console/cases/{case}").text
        sides = re.findall(r'<p class="text">(.*?)</p>', page, re.DOTALL)[:2]
        marked = ["".join(re.findall(r"<mark>(.*?)</mark>", side)) for side in sides]
        assert marked[0] == marked[1]
        assert len(marked[0]) > 60
        inside = person.get(f"/console/cases/{site.world.case('minutes-4')}").text  # texts in files
        sides = re.findall(r'file 0: [^<]+</h4><p class="text">(.*?)</p>', inside, re.DOTALL)
        assert len(sides) == 2
        assert all(side.count("<mark>") == 1 and len(side) > 500 for side in sides)
        found = site.house.known.signals(["park-5"]).to_dicts()
        (signal,) = [row for row in found if row["reason_code"] == "text.contained"]
        file = drawn(site.house, signal)  # what `explain --pictures` writes says the same
        assert file is not None
        assert re.findall(r"<mark>(.*?)</mark>", file[1]) == marked
