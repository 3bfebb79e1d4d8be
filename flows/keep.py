"""What is scheduled beside the line: judging anew, calibration, drift, the books, upkeep, backtests.

Every flow is one coarse task over functions that the command line runs too, safe to run again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from detectors.collusion.sweep import sweep
from flows.spread import judge, settings_of
from pipeline import line
from pipeline.bootstrap import House, open_house
from pipeline.rulebook import load

T = TypeVar("T")
DEPTH_RULES, DEPTH_CIRCUMSTANCES, DEPTH_DETECTORS = 2, 1, 0
"""How much is done again: rules alone, findings that rest on others too, or fingerprints too."""


class Incident(RuntimeError):
    """A check failed: the run is to fail too, so that the automation tells somebody."""


@task(retries=3, retry_delay_seconds=10, timeout_seconds=6 * 3_600)
def keep(home: str | None, work: Callable[[House], T]) -> T:
    """Open the house of these settings and do one piece of work in it."""
    with open_house(settings_of(home)) as house:
        return work(house)


@flow(name="bountyguard-rescore")
def rescore_flow(
    home: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    depth: int = DEPTH_RULES,
) -> int:
    """Judge again what was handed in within a window (without one, everything).

    ``depth``: 2 after a change of rules, 1 for findings that rest on others, 0 after a change of a
    detector. Returns how many assessments were added: a second run adds none.
    """

    keep(home, _queued(since, until, depth))
    return judge(home)


@flow(name="bountyguard-backfill", timeout_seconds=7 * 86_400)
def backfill_flow(
    since: datetime, until: datetime, home: str | None = None, depth: int = DEPTH_DETECTORS
) -> dict[str, int]:
    """Judge a past window again, day by day (UTC); return how many assessments each day added.

    A day is a partition: judged whole before the next, so that a run that was killed and is run again
    finds the days before it done and adds nothing to them. What is found of a submission rests on
    those before it, whenever it is judged.
    """
    begin = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [begin + timedelta(days=n) for n in range((until - begin) // timedelta(days=1) + 1)]
    progress = create_progress_artifact(0.0, key="backfill", description="Days of this backfill")
    added: dict[str, int] = {}
    for number, start in enumerate(starts, 1):
        first, last = max(start, since), min(start + timedelta(days=1), until)
        if first < last and keep(home, _queued(first, last, depth)):
            added[f"{start:%Y-%m-%d}"] = judge(home)
        update_progress_artifact(progress, 100.0 * number / len(starts))  # type: ignore[arg-type]
    return added


def _queued(since: datetime | None, until: datetime | None, depth: int) -> Callable[[House], int]:
    """Make the work of queueing a window; it returns how many submissions that is."""

    def work(house: House) -> int:
        return house.work.queue_window(since, until, depth=depth)

    return work


@flow(name="bountyguard-collusion")
def collusion_flow(home: str | None = None, until: datetime | None = None) -> int:
    """Look at the windows that hold this moment for groups that only later arrivals made visible."""

    def work(house: House) -> int:
        found = sweep(house.known, until or house.settings.now())
        for name, (verdicts, submissions) in found.assets.items():
            line.keep_wide(house, name, verdicts, submissions)
        house.work.queue(found.submission_ids, depth=DEPTH_CIRCUMSTANCES)
        return len(found.submission_ids)

    keep(home, work)
    return judge(home)


@flow(name="bountyguard-recalibrate")
def recalibrate_flow(home: str | None = None) -> list[str]:
    """Fit what is fitted on the platform's own people, and judge anew what rested on the old fit."""

    names = keep(home, lambda house: list(line.calibrate(house, always=True)))
    judge(home)
    return names


@flow(name="bountyguard-drift")
def drift_flow(
    home: str | None = None, days: int = 1, reference_days: int = 28, until: datetime | None = None
) -> list[dict[str, Any]]:
    """Compare findings and scores with the window before; fail where a detector went silent."""

    def work(house: House) -> list[dict[str, Any]]:
        rows = line.drift_of(house, days=days, reference_days=reference_days, until=until)
        return [{name: getattr(r, name) for name in r.__slots__} for r in rows]

    rows = keep(home, work)
    create_table_artifact(rows, key="drift", description=f"{days} d against {reference_days} d")
    silent = [r["name"] for r in rows if r["state"] == "silent"]
    if silent:
        raise Incident(f"went silent: {', '.join(silent)}")
    return rows


@flow(name="bountyguard-settle")
def settle_flow(home: str | None = None) -> None:
    """Settle what is decided, then prove the books and the audit chain; fail where they do not hold."""

    def work(house: House) -> list[str]:
        line.settle(house)
        return house.ledger.reconcile() + house.audit().verify(house.audit_keys().verify_hex)

    faults = keep(home, work)
    told = "\n".join(f"- {f}" for f in faults) or "The books balance and the chain is whole."
    create_markdown_artifact(f"# Reconciliation\n\n{told}", key="reconciliation")
    if faults:
        raise Incident(f"{len(faults)} faults in the books; the first: {faults[0]}")


@flow(name="bountyguard-compact")
def compact_flow(home: str | None = None) -> dict[str, int]:
    """Join small segments and sweep what killed runs left behind."""

    def work(house: House) -> dict[str, int]:
        told = house.upkeep().compact()
        return {"before": told.before, "after": told.after, "swept": house.segments.sweep()}

    return keep(home, work)


@flow(name="bountyguard-retain")
def retain_flow(
    home: str | None = None, keep_traces_days: int = 30, keep_strokes_days: int = 90
) -> int:
    """Forget raw traces and strokes that are old enough; return the number of trace segments removed."""

    def work(house: House) -> int:
        now = house.settings.now()
        house.upkeep().evict(line.STROKES, before=now - timedelta(days=keep_strokes_days))
        return house.upkeep().retain_events(since=(now - timedelta(days=keep_traces_days)).date())

    return keep(home, work)


@flow(name="bountyguard-backtest")
def backtest_flow(
    rules: str,
    home: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Say what a folder of rules would have done in a window: money, people, false holds."""

    def work(house: House) -> dict[str, Any]:
        book = load(sorted(Path(rules).glob("*.toml")))
        told = line.backtest_of(house, book, since=since, until=until)
        return {
            "submissions": told.submissions,
            "digest": told.digest,
            "money": told.money.to_dicts(),
        }

    told = keep(home, work)
    create_table_artifact(told["money"], key="backtest", description=f"Rules {told['digest'][:16]}")
    return told
