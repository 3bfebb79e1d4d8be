"""The record: rows handed over, quarantine, segments, findings, assessments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "abstentions",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("detector_version", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "detector", "code", name=op.f("pk_abstentions")),
    )
    op.create_table(
        "assessments",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("risk_level", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason_codes", sa.Text(), nullable=False),
        sa.Column("signals", sa.Text(), nullable=False),
        sa.Column("abstentions", sa.Text(), nullable=False),
        sa.Column("arithmetic", sa.Text(), nullable=False),
        sa.Column("ruleset_digest", sa.String(length=64), nullable=False),
        sa.Column("detector_versions", sa.Text(), nullable=False),
        sa.Column("input_digest", sa.String(length=64), nullable=False),
        sa.Column("evaluated_at", sa.BigInteger(), nullable=False),
        sa.Column("evaluation_status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "revision", name=op.f("pk_assessments")),
    )
    op.create_index(
        op.f("ix_assessments_evaluated_at"), "assessments", ["evaluated_at"], unique=False
    )
    op.create_table(
        "assets",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_assets")),
    )
    op.create_table(
        "contents",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("content_index", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("media_claim", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("frame_count", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("submission_id", "content_index", name=op.f("pk_contents")),
    )
    op.create_index(op.f("ix_contents_digest"), "contents", ["digest"], unique=False)
    op.create_table(
        "dirty",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("doc", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_dirty")),
    )
    op.create_index(op.f("ix_dirty_depth_doc"), "dirty", ["depth", "doc"], unique=False)
    op.create_table(
        "fingerprinted",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("segment_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("submission_id", "detector", name=op.f("pk_fingerprinted")),
    )
    op.create_table(
        "lists",
        sa.Column("entry_id", sa.String(length=32), nullable=False),
        sa.Column("list", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_lists")),
    )
    op.create_index(op.f("ix_lists_subject_value"), "lists", ["subject", "value"], unique=False)
    op.create_table(
        "named_events",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("segment_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "segment_id", name=op.f("pk_named_events")),
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.String(length=32), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
    )
    op.create_index(op.f("ix_quarantine_file_line"), "quarantine", ["file", "line"], unique=False)
    op.create_table(
        "ran",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("detector_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "detector", name=op.f("pk_ran")),
    )
    op.create_table(
        "rulesets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rulesets")),
    )
    op.create_table(
        "segments",
        sa.Column("segment_id", sa.String(length=64), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("segment_id", name=op.f("pk_segments")),
    )
    op.create_index(
        op.f("ix_segments_table_name_ordinal"), "segments", ["table_name", "ordinal"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("segment_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "segment_id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "signals",
        sa.Column("signal_id", sa.String(length=32), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("detector_version", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.String(length=64), nullable=False),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("matched_submission_id", sa.String(length=128), nullable=True),
        sa.Column("matched_worker_id", sa.String(length=128), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_signals")),
    )
    op.create_index(
        op.f("ix_signals_matched_submission_id"), "signals", ["matched_submission_id"], unique=False
    )
    op.create_index(op.f("ix_signals_reason_code"), "signals", ["reason_code"], unique=False)
    op.create_index(op.f("ix_signals_submission_id"), "signals", ["submission_id"], unique=False)
    op.create_table(
        "snoozes",
        sa.Column("snooze_id", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("snooze_id", name=op.f("pk_snoozes")),
    )
    op.create_table(
        "submissions",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("doc", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=True),
        sa.Column("device_id", sa.String(length=128), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("supersedes", sa.String(length=128), nullable=True),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("row_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("doc", name=op.f("uq_submissions_doc")),
    )
    op.create_index(op.f("ix_submissions_device_id"), "submissions", ["device_id"], unique=False)
    op.create_index(op.f("ix_submissions_session_id"), "submissions", ["session_id"], unique=False)
    op.create_index(
        op.f("ix_submissions_submitted_at_submission_id"),
        "submissions",
        ["submitted_at", "submission_id"],
        unique=False,
    )
    op.create_index(op.f("ix_submissions_supersedes"), "submissions", ["supersedes"], unique=False)
    op.create_index(
        op.f("ix_submissions_task_id_submitted_at"),
        "submissions",
        ["task_id", "submitted_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_submissions_worker_id_submitted_at"),
        "submissions",
        ["worker_id", "submitted_at"],
        unique=False,
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("publisher_id", sa.String(length=128), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("brief", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("grade", sa.Text(), nullable=True),
        sa.Column("bounty_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("slots", sa.BigInteger(), nullable=True),
        sa.Column("posted_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline_at", sa.BigInteger(), nullable=True),
        sa.Column("site_lat", sa.Double(), nullable=True),
        sa.Column("site_lon", sa.Double(), nullable=True),
        sa.Column("site_radius_m", sa.Double(), nullable=True),
        sa.Column("reference_digests", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("row_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_publisher_id"), "tasks", ["publisher_id"], unique=False)
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=True),
        sa.Column("phone_verified", sa.Boolean(), nullable=True),
        sa.Column("real_name_verified", sa.Boolean(), nullable=True),
        sa.Column("social_linked", sa.Boolean(), nullable=True),
        sa.Column("payout_account_hash", sa.Text(), nullable=True),
        sa.Column("skills", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("row_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_workers")),
    )
    op.create_index(
        op.f("ix_workers_payout_account_hash"), "workers", ["payout_account_hash"], unique=False
    )
