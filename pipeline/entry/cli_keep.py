"""``backup``, ``restore``, ``upkeep``, ``erase``, ``train``, ``drift``, ``flows``, ``doctor``: upkeep."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import UsageError

train = typer.Typer(no_args_is_help=True, help="Fit models on the platform's own material.")
flows = typer.Typer(no_args_is_help=True, help="Schedules: register the deployments on Prefect.")
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    for command in (backup, restore, upkeep, erase, drift, doctor):
        app.command()(command)
    app.add_typer(train, name="train")
    app.add_typer(flows, name="flows")


def backup(
    target: Annotated[Path, typer.Argument(help="a new folder")],
    seal: Annotated[
        bool, typer.Option("--seal", help="readable only while each worker's key is there")
    ] = False,
    home: Home = None,
) -> None:
    """Write a back-up: one snapshot of every table, and the files that its rows name."""
    from pipeline.stores.backup import back_up
    from pipeline.stores.sealed import Seals

    with house(home) as opened, opened.worker_keys() as keys:
        places = opened.blobs.objects, opened.segments.objects
        seals = Seals(keys=keys) if seal else None
        told = back_up(opened.database, *places, target, now=opened.settings.now(), seals=seals)
    people.print(
        f"{len(told['tables'])} tables, {told['segments']} segments, {told['blobs']} files"
    )


def restore(
    source: Annotated[Path, typer.Argument(help="folder of a back-up")], home: Home = None
) -> None:
    """Bring a back-up into an empty home, and prove its books and its audit chain.

    A sealed one opens by HOME/keys/workers.db; whose key is gone is erased. Exit status 1 says that
    books or chain do not hold.
    """
    from pipeline.stores.backup import restore as bring_back
    from pipeline.stores.sealed import Seals

    with house(home) as opened, opened.worker_keys() as keys:
        seals = Seals(keys=keys)
        places = opened.blobs.objects, opened.segments.objects
        bring_back(opened.database, *places, source, seals=seals)
        for worker_id in sorted(seals.lost):
            count = opened.upkeep().erase_worker(worker_id)
            told = {"submissions": count, "by": "key"}
            opened.ledger.note("operator", "worker.erased", worker_id, told)
        faults = opened.ledger.reconcile() + opened.audit().verify()
    for fault in faults:
        people.print(fault, markup=False, style="bold red")
    people.print("restored; the books balance and the chain is whole" if not faults else "restored")
    if seals.lost:
        people.print(f"{len(seals.lost)} workers have no key any more and were erased")
    raise typer.Exit(1 if faults else 0)


def upkeep(
    keep_traces_days: Annotated[
        int, typer.Option(help="days that raw behaviour logs are kept")
    ] = 30,
    keep_strokes_days: Annotated[
        int, typer.Option(help="days that strokes are kept to know a replay by")
    ] = 90,
    home: Home = None,
) -> None:
    """Compact segments, forget traces and strokes that are old enough, sweep what killed runs left."""
    from pipeline.line import STROKES

    with house(home) as opened:
        keeper = opened.upkeep()
        now = opened.settings.now()
        gone = keeper.retain_events(since=(now - timedelta(days=keep_traces_days)).date())
        evicted = keeper.evict(STROKES, before=now - timedelta(days=keep_strokes_days))
        told = keeper.compact()
        swept = opened.segments.sweep()
    people.print(
        f"{gone} segments of old traces removed, strokes of {evicted} hand-ins evicted, "
        f"{told.before} segments joined into {told.after}, {swept} orphans swept"
    )


def erase(
    worker_id: Annotated[str, typer.Argument(help="whose text, files, traces and evidence go")],
    yes: Annotated[bool, typer.Option("--yes", help="do it without asking")] = False,
    home: Home = None,
) -> None:
    """Erase what one worker wrote, sent and did. Ids and ledger entries stay. It cannot be undone."""
    if not yes:
        typer.confirm(f"Erase everything that {worker_id} handed in?", abort=True)
    with house(home) as opened, opened.worker_keys() as keys:
        count = opened.upkeep().erase_worker(worker_id)
        sealed = keys.destroy(worker_id)
        told = {"submissions": count, "key_destroyed": sealed}
        opened.ledger.note("operator", "worker.erased", worker_id, told)
    people.print(f"{count} submissions emptied" + (", key destroyed" if sealed else ""))


def drift(
    days: Annotated[int, typer.Option(help="days of the window under test")] = 1,
    reference_days: Annotated[int, typer.Option(help="days of the window before it")] = 28,
    until: Annotated[
        str | None, typer.Option(help="RFC 3339 time; by default the newest hand-in")
    ] = None,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Compare every finding and the score with the window before. Exit status 1: shifted or silent."""
    from pipeline.line import drift_of

    with house(home) as opened:
        rows = drift_of(
            opened,
            days=days,
            reference_days=reference_days,
            until=datetime.fromisoformat(until) if until else None,
        )
    bad = [r for r in rows if r.state in ("shifted", "silent")]
    if form is Format.json:
        write_json([{n: getattr(r, n) for n in r.__slots__} for r in rows])
    else:
        shown = [
            (r.name, r.state, r.n_reference, r.n_today, f"{r.rate_reference:.4f}", f"{r.rate_today:.4f}",
             "" if r.psi is None else f"{r.psi:.3f}", "" if r.p_value is None else f"{r.p_value:.2g}")
            for r in rows
        ]  # fmt: skip
        columns = ("finding", "state", "n before", "n now", "rate before", "rate now", "PSI", "p")
        page.print(table(f"Drift, {days} d against {reference_days} d", columns, shown))
    raise typer.Exit(1 if bad else 0)


@train.command("trajectory")
def train_trajectory(
    drop: Annotated[
        Path | None, typer.Argument(help="labelled drop; by default the platform's own")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="truth.jsonl of the drop")] = None,
    home: Home = None,
) -> None:
    """Fit the model of automation and its calibration; what rested on older ones is judged anew."""
    from pipeline.line import calibrate, judge, learn_trajectory, take_in

    if (drop is None) != (truth is None):
        raise UsageError("train.labels", "name a drop and its --truth, or neither")
    with house(home) as opened:
        if drop is not None and truth is not None:
            take_in(opened, drop)
            names = learn_trajectory(opened, truth)
        else:
            names = calibrate(opened, always=True)
        changed = judge(opened)
    people.print(f"fitted {', '.join(names) or 'nothing'}; {changed} assessments changed")


@train.command("pictures")
def train_pictures(
    folder: Annotated[
        Path | None, typer.Argument(help="folder of pictures; by default what was handed in")
    ] = None,
    shipped: Annotated[bool, typer.Option("--shipped", help="go back to what ships")] = False,
    home: Home = None,
) -> None:
    """Train the words that pictures are looked up by; every picture is then read and judged anew."""
    from pipeline.line import judge, keep_vocabulary, learn_pictures

    if folder is not None and (shipped or not folder.is_dir()):
        raise UsageError("train.folder", "name a folder of pictures, or --shipped, or neither")
    with house(home) as opened:
        if shipped:
            from detectors.image import vocabulary

            keep_vocabulary(opened, vocabulary.shipped().to_bytes())
            digest = vocabulary.shipped().digest
        else:
            digest = learn_pictures(opened, folder)
        changed = judge(opened)
    people.print(f"vocabulary {digest[:16]}; {changed} assessments changed")


@flows.callback()
def schedules() -> None:
    """Schedules: register the deployments on Prefect."""


@flows.command("deploy")
def deploy(
    inbox: Annotated[Path, typer.Option(help="folder in which drops arrive")] = Path("inbox"),
    notify: Annotated[
        str | None, typer.Option(help="UUID of a Prefect notification block, told of failures")
    ] = None,
    home: Home = None,
) -> None:
    """Register the deployments of prefect.yaml on the server of PREFECT_API_URL. Safe to repeat."""
    with house(home) as opened:
        place = opened.settings.home
    more = ["--notify", notify] if notify else []
    done = subprocess.run(
        [sys.executable, "-m", "flows.deploy", "--inbox", str(inbox), "--home", str(place), *more],
        check=False,
    )
    raise typer.Exit(2 if done.returncode else 0)


def doctor(form: AsFormat = Format.text, home: Home = None) -> None:
    """Say what is misconfigured, missing or stale. Exit status 1 says that something is."""
    from pipeline.doctor import examine

    with house(home) as opened:
        findings = examine(opened)
    if form is Format.json:
        write_json([{"check": f.check, "state": f.state, "told": f.told} for f in findings])
    else:
        rows = [(f.check, f.state, f.told) for f in findings]
        page.print(table("Doctor", ("check", "state", "what to do"), rows))
    raise typer.Exit(1 if any(f.state != "ok" for f in findings) else 0)
