"""``rules``: what analysts do with the rulebook before, while and after it is in force."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.entry.context import Home, house, settings
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import UsageError

if TYPE_CHECKING:
    from pipeline.rulebook import Rulebook
    from pipeline.rulebook.backtest import Backtest

app = typer.Typer(
    no_args_is_help=True,
    help="The rulebook: check and try rules, move them through their life, undo what they did.",
)

Files = Annotated[
    list[Path] | None,
    typer.Argument(help="rule files, or a folder of them; without any, the rulebook in force"),
]
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]


def read(files: list[Path] | None) -> "Rulebook":
    """Load the named rule files, or those of the settings. Raises with every problem of every file."""
    from pipeline import rulebook

    if files:
        missing = [str(f) for f in files if not f.exists()]
        if missing:
            raise UsageError("rules.absent", f"there is no {', '.join(missing)}")
        return rulebook.load(
            [p for f in files for p in (sorted(f.glob("*.toml")) if f.is_dir() else [f])]
        )
    folder = settings().rules
    return rulebook.load(sorted(folder.glob("*.toml"))) if folder else rulebook.shipped()


@app.command()
def check(files: Files = None, form: AsFormat = Format.text) -> None:
    """Check rule files: every problem at once, each with line, caret, why and the nearest name."""
    book = read(files)
    if form is Format.json:
        write_json({"digest": book.digest, "rules": len(book.rules), "problems": []})
    else:
        people.print(f"{len(book.rules)} rules, digest {book.digest[:16]}: no problem found")


@app.command("test")
def run_cases(files: Files = None, form: AsFormat = Format.text) -> None:
    """Run each rule's own cases. Exit status 1 says that one failed."""
    results = read(files).test()
    failed = [r for r in results if not r.passed]
    if form is Format.json:
        write_json(
            {
                "cases": len(results),
                "failed": [{"rule": r.rule, "case": r.case, "told": r.told} for r in failed],
            }
        )
    else:
        if failed:
            rows = [(r.rule, r.case, r.told) for r in failed]
            page.print(table("Cases that failed", ("rule", "case", "what happened"), rows))
        people.print(f"{len(results) - len(failed)} of {len(results)} cases hold")
    raise typer.Exit(1 if failed else 0)


@app.command("list")
def list_(files: Files = None, form: AsFormat = Format.text) -> None:
    """List the rules: id, status, family, points, and why each is there."""
    book = read(files)
    if form is Format.json:
        for rule in book.rules:
            write_json(
                {"id": rule.id, "status": rule.status, "family": rule.family, "kind": rule.kind,
                 "points": rule.points, "hard": rule.hard, "when": rule.when, "why": rule.why}
            )  # fmt: skip
        return
    rows = [(r.id, r.status, r.family, r.hard or r.points, r.why) for r in book.rules]
    page.print(
        table(f"Rulebook {book.digest[:16]}", ("id", "status", "family", "points", "why"), rows)
    )


Since = Annotated[datetime | None, typer.Option(help="only what was handed in from then on")]
Until = Annotated[datetime | None, typer.Option(help="only what was handed in before then")]
Truth = Annotated[Path | None, typer.Option(help="labels; by default what people finally decided")]


@app.command()
def backtest(
    files: Files = None,
    truth: Truth = None,
    since: Since = None,
    until: Until = None,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Say what a rulebook would have done: money held and released, people touched, each rule's hits.

    It judges anew what the detectors found; nothing is written.
    """
    from pipeline.line import backtest_of
    from pipeline.rulebook.telling import tell_backtest

    book = read(files)
    with house(home) as opened:
        found = backtest_of(opened, book, truth=truth, since=_utc(since), until=_utc(until))
    if form is Format.json:
        write_json(_told(found))
    else:
        for line in tell_backtest(found):
            page.print(line, markup=False, highlight=False)


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _told(found: "Backtest") -> dict[str, object]:
    shares = {n: getattr(found, n) for n in ("precision", "recall", "false_holds")}
    return {
        "digest": found.digest,
        "submissions": found.submissions,
        "workers": found.workers,
        "workers_held": found.workers_held,
        "honest_workers_held": found.honest_workers_held,
        "overturns_predicted": found.overturns_predicted,
        "money": found.money.to_dicts(),
        "rules": found.rules.to_dicts(),
    } | {
        n: {"hits": s.hits, "of": s.of, "share": s.share, "interval95": s.interval}
        for n, s in shares.items()
    }


@app.command()
def diff(
    before: Annotated[
        Path, typer.Argument(help="rule file or folder; '-' for the rulebook in force")
    ],
    after: Annotated[
        Path, typer.Argument(help="rule file or folder; '-' for the rulebook in force")
    ],
    truth: Truth = None,
    since: Since = None,
    until: Until = None,
    home: Home = None,
) -> None:
    """Say what changes from one rulebook to another: money, people, hits won and lost, with examples."""
    from pipeline.line import backtest_of
    from pipeline.rulebook.backtest import diff as compare
    from pipeline.rulebook.telling import tell_diff

    books = [read(None if str(p) == "-" else [p]) for p in (before, after)]
    with house(home) as opened:
        tests = [
            backtest_of(opened, b, truth=truth, since=_utc(since), until=_utc(until)) for b in books
        ]
    for line in tell_diff(compare(tests[0], tests[1])):
        page.print(line, markup=False, highlight=False)


@app.command()
def use(home: Home = None) -> None:
    """Judge everything known anew by the rulebook in force; nothing is fingerprinted again."""
    from pipeline.line import judge

    with house(home) as opened:
        opened.work.queue_all(depth=2)
        added = judge(opened)
    people.print(f"{added} assessments changed")
