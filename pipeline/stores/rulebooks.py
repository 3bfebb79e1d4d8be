"""Rulebooks as they were and as they stand: every revision by digest, the steps of rules, and a pin.

Rule files say what analysts wrote. On top of them lie the *steps* that were taken since (a rule moved
to shadow, rolled out to 10 %), each valid as long as the file still says what it said when the step
was taken: who edits the file speaks last. A *pin* puts an old revision in the place of the files.
Both are assets, as are proposed steps and the promise of few false holds: every version is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import orjson
import polars as pl
import sqlalchemy as sa

from pipeline.model import frames
from pipeline.model.errors import UsageError
from pipeline.rulebook.book import Rule, Rulebook, Status
from pipeline.rulebook.life import Step
from pipeline.rulebook.restoring import restore
from pipeline.rulebook.risk import Promise, Threshold
from pipeline.stores.assets import Assets
from pipeline.stores.database import Database
from pipeline.stores.fetch import fetch, fetch_by_ids
from pipeline.stores.tables import record

STEPS: Final = "rules.steps"
PIN: Final = "rules.pin"
PROPOSALS: Final = "rules.proposals"
PROMISE: Final = "rules.promise"
REVISIONS: Final[frames.Schema] = {"digest": pl.String(), "first_used_at": frames.UTC}
DECIDED: Final[frames.Schema] = {
    "submission_id": pl.String(),
    "revision": pl.Int64(),
    "outcome": pl.String(),
    "ruleset_digest": pl.String(),
}


class Rulebooks:
    """Keeps every rulebook that ever scored, and says which one is in force."""

    def __init__(self, database: Database, assets: Assets, now: Callable[[], datetime]) -> None:
        self._database = database
        self._assets = assets
        self._now = now

    def keep(self, book: Rulebook) -> None:
        """Record a revision by its digest; known ones stay as they are."""
        row = {"digest": book.digest, "source": book.canonical().decode(),
               "first_used_at": self._now()}  # fmt: skip
        with self._database.write() as connection:
            self._database.insert_new(connection, record.rulesets, [row])

    def revisions(self) -> pl.DataFrame:
        """Return every revision that ever scored, oldest first: a REVISIONS frame."""
        with self._database.read() as connection:
            found = fetch(connection, sa.select(record.rulesets), REVISIONS)
        return found.sort("first_used_at", "digest")

    def find(self, digest: str) -> Rulebook:
        """Return the revision whose digest begins so (8 characters and more).

        Raises ``UsageError('rules.no_such_revision')`` where none or several do.
        """
        table = record.rulesets.c
        query = sa.select(table.digest, table.source).where(
            table.digest.startswith(digest, autoescape=True)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.limit(2)).all() if len(digest) >= 8 else []
        if len(rows) != 1:
            told = "more than one revision" if rows else "no revision"
            raise UsageError("rules.no_such_revision", f"{told} is named {digest!r}")
        return restore(rows[0].source, rows[0].digest)

    def in_force(self, written: Rulebook) -> Rulebook:
        """Return what judges: the pinned revision or else the files, with the steps taken since."""
        base = self._base(written)
        taken = {
            rule.id: (step["to"], float(step["share"]))
            for rule in base.rules
            if (step := self.steps().get(rule.id)) and _still_says(rule, step)
        }
        return base.with_status(taken) if taken else base

    def steps(self) -> dict[str, dict[str, Any]]:
        """Return the steps by rule: was, was_share, to, share, by, approved_by, why, at."""
        kept = self._assets.get(STEPS)
        found: dict[str, dict[str, Any]] = orjson.loads(kept) if kept else {}
        return found

    def step(
        self, written: Rulebook, after: Rulebook, rule_id: str, *, by: str, why: str,
        approved_by: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Keep that a rule now stands as it does in ``after``."""
        base, now = self._base(written).by_id[rule_id], after.by_id[rule_id]
        steps = self.steps()
        steps[rule_id] = {
            "was": base.status, "was_share": base.share, "to": now.status, "share": now.share,
            "by": by, "why": why, "approved_by": list(approved_by), "at": self._now().isoformat(),
        }  # fmt: skip
        data = orjson.dumps(steps, option=orjson.OPT_SORT_KEYS)
        self._assets.put(STEPS, data, note=f"{rule_id} to {now.status}", now=self._now())
        others = [p for p in self._proposals() if p["rule"] != rule_id]
        if len(others) != len(self._proposals()):
            self._assets.put(PROPOSALS, orjson.dumps(others), note=rule_id, now=self._now())

    def forget_steps(self) -> None:
        """Let every rule stand as the revision in force says."""
        self._assets.put(STEPS, b"{}", note="none", now=self._now())

    def proposed(self, wanted: Step) -> tuple[str, ...]:
        """Return who has proposed or approved that very step and waits for others."""
        for kept in self._proposals():
            if (kept["rule"], kept["to"], kept["share"]) == (wanted.rule, wanted.to, wanted.share):
                return tuple(kept["behind"])
        return ()

    def propose(self, wanted: Step) -> None:
        """Keep a step that waits for others to approve it, in the place of any other for that rule."""
        others = [p for p in self._proposals() if p["rule"] != wanted.rule]
        made = {
            "rule": wanted.rule, "to": wanted.to, "share": wanted.share, "why": wanted.why,
            "behind": sorted({wanted.by, *wanted.approved_by}),
        }  # fmt: skip
        self._assets.put(
            PROPOSALS, orjson.dumps([*others, made]), note=wanted.rule, now=self._now()
        )

    def _proposals(self) -> list[dict[str, Any]]:
        kept = self._assets.get(PROPOSALS)
        found: list[dict[str, Any]] = orjson.loads(kept) if kept else []
        return found

    def decisions(self, submission_ids: Sequence[str]) -> pl.DataFrame:
        """Return every evaluation of those submissions: a DECIDED frame."""
        table = record.assessments
        with self._database.read() as connection:
            return fetch_by_ids(
                connection, sa.select(table), table.c.submission_id, submission_ids, DECIDED
            )

    def promise(self, digest: str, made: Promise | None) -> None:
        """Keep the promise of few false holds of that revision; None ends it."""
        told = None if made is None else {
            "alpha": made.alpha,
            "slices": {name: asdict(t) for name, t in made.slices.items()},
        }  # fmt: skip
        data = orjson.dumps({"digest": digest, "promise": told}, option=orjson.OPT_SORT_KEYS)
        self._assets.put(PROMISE, data, note=digest, now=self._now())

    def promised(self, book: Rulebook) -> Promise | None:
        """Return the promise that was made for this very revision; None where there is none."""
        kept = self._assets.get(PROMISE)
        told = orjson.loads(kept) if kept else {}
        if told.get("digest") != book.digest or not told.get("promise"):
            return None
        thresholds = {n: Threshold(**t) for n, t in told["promise"]["slices"].items()}
        return Promise(alpha=told["promise"]["alpha"], slices=thresholds)

    def pin(self, digest: str | None) -> None:
        """Put a revision in the place of the files; None gives the word back to the files."""
        self._assets.put(PIN, orjson.dumps(digest), note=digest or "the files", now=self._now())

    def pinned(self) -> str | None:
        """Return the digest of the pinned revision; None where the files have the word."""
        kept = self._assets.get(PIN)
        digest: str | None = orjson.loads(kept) if kept else None
        return digest

    def _base(self, written: Rulebook) -> Rulebook:
        digest = self.pinned()
        return written if digest is None else self.find(digest)


def _still_says(rule: Rule, step: dict[str, Any]) -> bool:
    was: tuple[Status, float] = (step["was"], float(step["was_share"]))
    return (rule.status, rule.share) == was
