"""What happened: the rows handed over, their files, quarantine, segments, findings, assessments.

``submissions.doc`` is the small integer that similarity indexes know a submission by. ``dirty`` is
the queue of submissions that are to be judged anew; ``depth`` says from where: 0 from their
fingerprints, 1 from the detectors, 2 from the detectors that read other detectors' signals.
"""

import sqlalchemy as sa

from pipeline.stores.tables import Instant, metadata

HELD = "outcome IN ('block_and_review', 'decline')"
"""Where a payout is held or refused: few rows of many, found by an index of their own."""

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("task_id", sa.String(128), primary_key=True),
    sa.Column("publisher_id", sa.String(128), index=True),
    sa.Column("title", sa.Text),
    sa.Column("brief", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("language", sa.Text),
    sa.Column("grade", sa.Text),
    sa.Column("bounty_minor", sa.BigInteger),
    sa.Column("currency", sa.String(3)),
    sa.Column("slots", sa.BigInteger),
    sa.Column("posted_at", Instant),
    sa.Column("deadline_at", Instant),
    sa.Column("site_lat", sa.Double),
    sa.Column("site_lon", sa.Double),
    sa.Column("site_radius_m", sa.Double),
    sa.Column("reference_digests", sa.Text, nullable=False),
    sa.Column("extra", sa.Text, nullable=False),
    sa.Column("row_digest", sa.String(64), nullable=False),
    sa.Index(None, "currency", "bounty_minor"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("worker_id", sa.String(128), primary_key=True),
    sa.Column("registered_at", Instant),
    sa.Column("phone_verified", sa.Boolean),
    sa.Column("real_name_verified", sa.Boolean),
    sa.Column("social_linked", sa.Boolean),
    sa.Column("payout_account_hash", sa.Text, index=True),
    sa.Column("skills", sa.Text, nullable=False),
    sa.Column("extra", sa.Text, nullable=False),
    sa.Column("row_digest", sa.String(64), nullable=False),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("doc", sa.BigInteger, nullable=False, unique=True),
    sa.Column("task_id", sa.String(128), nullable=False),
    sa.Column("worker_id", sa.String(128), nullable=False),
    sa.Column("claimed_at", Instant),
    sa.Column("submitted_at", Instant, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("session_id", sa.String(128), index=True),
    sa.Column("device_id", sa.String(128)),
    sa.Column("ip", sa.Text),
    sa.Column("supersedes", sa.String(128), index=True),
    sa.Column("extra", sa.Text, nullable=False),
    sa.Column("row_digest", sa.String(64), nullable=False),
    sa.Index(None, "task_id", "submitted_at", "submission_id", "worker_id"),
    sa.Index(None, "worker_id", "submitted_at", "submission_id", "device_id"),
    sa.Index(None, "device_id", "submitted_at", "worker_id", "submission_id"),
    sa.Index(None, "submitted_at", "submission_id"),
)
"""The indexes by task, worker and device hold what counters and rooms ask of many rows: the rows
themselves, with their texts, lie elsewhere and far apart."""

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("content_index", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("media_claim", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("byte_count", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("frame_count", sa.Integer),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("quarantine_id", sa.String(32), primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("row_id", sa.Text),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("raw", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Index(None, "file", "line"),
)
"""``line`` counts from 1 in text files and is the row, from 0, of a Parquet file; ``status`` is
``open``, ``replayed`` or ``dropped``."""

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("segment_id", sa.String(64), primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("partition", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("row_count", sa.BigInteger, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Index(None, "table_name", "ordinal"),
)
"""Parquet files that count. A file that no row names is an orphan of a killed run, and is swept."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("session_id", sa.String(128), primary_key=True),
    sa.Column("segment_id", sa.String(64), primary_key=True),
    sa.Column("at_first", sa.Double),
    sa.Column("at_last", sa.Double),
)
"""Which event segments hold events of a session, and from when to when (client's clock, ms; null
where that was not recorded)."""

session_clocks = sa.Table(
    "session_clocks",
    metadata,
    sa.Column("session_id", sa.String(128), primary_key=True),
    sa.Column("delay_ms", sa.Double, nullable=False),
)
"""The least time from ``at`` to ``received_at`` of a session: how far the server's clock is ahead."""

named_events = sa.Table(
    "named_events",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("segment_id", sa.String(64), primary_key=True),
)
"""Which event segments hold events that name a submission."""

fingerprinted = sa.Table(
    "fingerprinted",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("detector", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("segment_id", sa.String(64)),
    sqlite_with_rowid=False,
)
"""In which segment a detector's fingerprints of a submission stand; null where it made none. Rows of
a submission in any other segment are stale."""

dirty = sa.Table(
    "dirty",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("doc", sa.BigInteger, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Index(None, "depth", "doc"),
)
"""The queue of what is to be judged anew. ``generation`` grows with every mark, so that work begun
before a mark cannot tick it off."""

signals = sa.Table(
    "signals",
    metadata,
    sa.Column("signal_id", sa.String(32), primary_key=True),
    sa.Column("submission_id", sa.String(128), nullable=False, index=True),
    sa.Column("detector", sa.String(64), nullable=False),
    sa.Column("detector_version", sa.Text, nullable=False),
    sa.Column("reason_code", sa.String(64), nullable=False, index=True),
    sa.Column("strength", sa.Double, nullable=False),
    sa.Column("p_value", sa.Double),
    sa.Column("matched_submission_id", sa.String(128), index=True),
    sa.Column("matched_worker_id", sa.String(128)),
    sa.Column("evidence", sa.Text, nullable=False),
)
"""The newest findings of each submission; what earlier evaluations found is in ``assessments``."""

abstentions = sa.Table(
    "abstentions",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("detector", sa.String(64), primary_key=True),
    sa.Column("code", sa.String(64), primary_key=True),
    sa.Column("detector_version", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

ran = sa.Table(
    "ran",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("detector", sa.String(64), primary_key=True),
    sa.Column("detector_version", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Which detectors have looked at a submission, and in which version."""

assessments = sa.Table(
    "assessments",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("risk_level", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason_codes", sa.Text, nullable=False),
    sa.Column("signals", sa.Text, nullable=False),
    sa.Column("abstentions", sa.Text, nullable=False),
    sa.Column("arithmetic", sa.Text, nullable=False),
    sa.Column("ruleset_digest", sa.String(64), nullable=False),
    sa.Column("detector_versions", sa.Text, nullable=False),
    sa.Column("input_digest", sa.String(64), nullable=False),
    sa.Column("evaluated_at", Instant, nullable=False),
    sa.Column("evaluation_status", sa.Text, nullable=False),
    sa.Index(None, "evaluated_at"),
    sa.Index(None, "outcome", sqlite_where=sa.text(HELD), postgresql_where=sa.text(HELD)),
)
"""Every evaluation that said something new, append-only; the one with the highest revision stands."""

unsettled = sa.Table(
    "unsettled",
    metadata,
    sa.Column("submitted_at", Instant, primary_key=True),
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("parked", sa.String(10)),
    sa.Index(
        None, "submitted_at", "submission_id", sqlite_where=sa.text("parked IS NULL"),
        postgresql_where=sa.text("parked IS NULL"),
    ),
    sqlite_with_rowid=False,
)  # fmt: skip
"""The queue of what a settlement is to look at, in order of submission: what was judged, or whose task
or payout changed, since it was last looked at. ``parked`` says what it waits for: ``unpriced`` until its
task's price is known, ``unslotted`` until a place comes free. ``generation`` as in ``dirty``."""

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(20), primary_key=True),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("submissions", sa.BigInteger, nullable=False),
    sa.Column("bounty_minor", sa.BigInteger, nullable=False),
)
"""How many hand-ins a day (since the epoch, UTC) have, by the outcome that stands ("" waits to be judged)
and currency ("" is not known); kept in the transaction of what it counts."""

assets = sa.Table(
    "assets",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)
"""Trained models, calibrations, key registries: bytes in the blob store, the newest version stands."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("serial", sa.String(16), primary_key=True),
    sa.Column("submission_id", sa.String(128), nullable=False, index=True),
    sa.Column("worker_id", sa.String(128), nullable=False, index=True),
    sa.Column("task_id", sa.String(128), nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("delivered_at", Instant, nullable=False, index=True),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64)),
)
"""Marked copies that were handed over: which serial went to whom. ``line`` is what the watermark room
reads, with a thumbnail of the picture; ``digest`` names the copy where it is kept."""

rulesets = sa.Table(
    "rulesets",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("first_used_at", Instant, nullable=False),
)
"""Every rulebook that ever scored, by digest: ``source`` is its canonical JSON."""

lists = sa.Table(
    "lists",
    metadata,
    sa.Column("entry_id", sa.String(32), primary_key=True),
    sa.Column("list", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(32), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("added_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Index(None, "subject", "value"),
)
"""Allow, block and watch lists. An entry is ended by its expiry, never deleted."""

snoozes = sa.Table(
    "snoozes",
    metadata,
    sa.Column("snooze_id", sa.String(32), primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("subject", sa.String(32), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("added_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
)
"""One rule silenced for one subject, from a case, until it expires."""
