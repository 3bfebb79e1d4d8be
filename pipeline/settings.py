"""The settings: the environment is read here and nowhere else.

==============================  ====================================================================
``BOUNTYGUARD_HOME``            folder of the embedded stores (default ``.bountyguard``)
``BOUNTYGUARD_DATABASE_URL``    ``postgresql://…``; without it, SQLite inside the home
``BOUNTYGUARD_OBJECTS``         ``s3://bucket/prefix`` (``gs://``, ``az://``) for files and segments, with
                                the keys in its own environment (``AWS_…``); without it, the home
``BOUNTYGUARD_WORKERS``         processes that judge side by side on this machine (default 1)
``BOUNTYGUARD_PART``            submissions that one process is given at a time (default 2048)
``BOUNTYGUARD_RULES``           folder of rulebooks (default: those that ship)
``BOUNTYGUARD_RULE_APPROVALS``  people behind a step that makes a rule count (default 1; 2: four eyes)
``BOUNTYGUARD_HOLDBACK``        ``PERCENT:DAYS:FIRST``, as in ``10:14:20``: a tenth of a worker's first 20
                                payouts is kept back for 14 days (default: nothing)
``BOUNTYGUARD_CLOCK``           a fixed RFC 3339 time instead of the clock, for replays and tests
``BOUNTYGUARD_CHECKPOINTS``     file of the audit chain's signed checkpoints; better on other storage
``BOUNTYGUARD_DASK``            ``tcp://…`` of a Dask scheduler for the flows
``BOUNTYGUARD_CONSOLE_URL``     ``https://…/console`` as analysts reach it: the flows' pages link to it
==============================  ====================================================================
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.model.errors import UsageError
from pipeline.review.holdback import NOTHING_KEPT, Holdback, read_holdback


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set. Raises ``UsageError`` on a value that cannot be read."""

    home: Path
    database_url: str
    rules: Path | None = None
    fixed_clock: datetime | None = None
    checkpoints_file: Path | None = None
    dask: str | None = None
    objects: str | None = None
    workers: int = 1
    part: int = 2_048
    rule_approvals: int = 1
    holdback: Holdback = NOTHING_KEPT
    console_url: str | None = None

    @property
    def checkpoints(self) -> Path:
        """Where the audit chain's checkpoints are written."""
        return self.checkpoints_file or self.home / "audit" / "checkpoints.jsonl"

    def place(self, what: str) -> str | Path:
        """Where files of that kind (``blobs``, ``lake``) lie: a folder of the home, or a URL."""
        return f"{self.objects.rstrip('/')}/{what}" if self.objects else self.home / what

    def now(self) -> datetime:
        """Return the time: the clock's, or the fixed one of a replay."""
        return self.fixed_clock or datetime.now(UTC)


def load_settings(
    environment: Mapping[str, str] | None = None, *, home: Path | None = None
) -> Settings:
    """Read the settings; ``home`` (the ``--home`` option) goes before the environment."""
    env = os.environ if environment is None else environment
    place = (home or Path(env.get("BOUNTYGUARD_HOME") or ".bountyguard")).expanduser().resolve()
    return Settings(
        home=place,
        database_url=env.get("BOUNTYGUARD_DATABASE_URL") or f"sqlite:///{place / 'bountyguard.db'}",
        rules=_path(env.get("BOUNTYGUARD_RULES")),
        fixed_clock=_clock(env.get("BOUNTYGUARD_CLOCK")),
        checkpoints_file=_path(env.get("BOUNTYGUARD_CHECKPOINTS")),
        dask=env.get("BOUNTYGUARD_DASK") or None,
        objects=env.get("BOUNTYGUARD_OBJECTS") or None,
        workers=_count(env, "BOUNTYGUARD_WORKERS", 1),
        part=_count(env, "BOUNTYGUARD_PART", 2_048),
        rule_approvals=_count(env, "BOUNTYGUARD_RULE_APPROVALS", 1),
        holdback=_holdback(env.get("BOUNTYGUARD_HOLDBACK")),
        console_url=_web(env.get("BOUNTYGUARD_CONSOLE_URL")),
    )


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser().resolve() if value else None


def _web(value: str | None) -> str | None:
    if not value:
        return None
    if not re.fullmatch(r"https?://[^\s()<>\[\]|]+", value):
        raise UsageError("settings.url", f"BOUNTYGUARD_CONSOLE_URL={value!r} is no web address")
    return value.rstrip("/")


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise UsageError("settings.number", f"{name}={value!r} is no number of 1 and more")
    return int(value)


def _holdback(value: str | None) -> Holdback:
    if not value:
        return NOTHING_KEPT
    try:
        return read_holdback(value)
    except ValueError as error:
        raise UsageError("settings.holdback", f"BOUNTYGUARD_HOLDBACK={error}") from error


def _clock(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        fixed = datetime.fromisoformat(value)
    except ValueError as error:
        raise UsageError(
            "settings.clock", f"BOUNTYGUARD_CLOCK={value!r} is no RFC 3339 time"
        ) from error
    if fixed.tzinfo is None:
        raise UsageError("settings.clock", f"BOUNTYGUARD_CLOCK={value!r} has no offset from UTC")
    return fixed.astimezone(UTC)
