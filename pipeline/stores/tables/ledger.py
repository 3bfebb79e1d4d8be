"""Money, credit, permits, cases, the outbox and the audit chain.

Append-only are ``transfers``, ``credit_entries``, ``case_decisions``, ``appeals``, ``reports``,
``statements`` and ``audit``: their rows are never changed. ``accounts`` and ``payouts`` are sums of
these, kept beside them for speed and proved from them by ``Ledger.reconcile``.
"""

import sqlalchemy as sa

from pipeline.stores.tables import Instant, metadata

heads = sa.Table(
    "ledger_heads",
    metadata,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("audit_sequence", sa.BigInteger, nullable=False),
    sa.Column("audit_hash", sa.String(64), nullable=False),
)
"""One row. Whoever writes to the books locks it first, so the books have one writer at a time."""

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.String(200), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("guarded", sa.Boolean, nullable=False),
    sa.Column("debits_posted", sa.BigInteger, nullable=False),
    sa.Column("credits_posted", sa.BigInteger, nullable=False),
    sa.Column("debits_pending", sa.BigInteger, nullable=False),
    sa.Column("credits_pending", sa.BigInteger, nullable=False),
    sa.CheckConstraint(
        "debits_posted >= 0 AND credits_posted >= 0 AND debits_pending >= 0 AND credits_pending >= 0",
        name="sums",
    ),
    sa.CheckConstraint(
        "NOT guarded OR credits_posted - debits_posted - debits_pending >= 0", name="overdrawn"
    ),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("transfer_id", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("phase", sa.String(8), nullable=False),
    sa.Column("pending_id", sa.String(200), sa.ForeignKey("transfers.transfer_id"), unique=True),
    sa.Column("debit_account", sa.String(200), nullable=False),
    sa.Column("credit_account", sa.String(200), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("payout_key", sa.String(40), index=True),
    sa.Column("submission_id", sa.String(128)),
    sa.Column("decision_id", sa.String(64)),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.CheckConstraint("amount_minor > 0 OR phase IN ('void', 'expire')", name="amount"),
    sa.CheckConstraint("debit_account <> credit_account", name="two_sides"),
    sa.CheckConstraint(
        "phase IN ('single', 'pending', 'post', 'void', 'expire') "
        "AND (pending_id IS NULL) = (phase IN ('single', 'pending'))",
        name="phase",
    ),
)
"""``pending`` reserves; a ``post``, ``void`` or ``expire`` resolves it once: ``pending_id`` is unique."""

payouts = sa.Table(
    "payouts",
    metadata,
    sa.Column("payout_key", sa.String(40), primary_key=True),
    sa.Column("task_id", sa.String(128), nullable=False, index=True),
    sa.Column("worker_id", sa.String(128), nullable=False, index=True),
    sa.Column("publisher_id", sa.String(128)),
    sa.Column("submission_id", sa.String(128), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("funded_minor", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("disbursement", sa.String(8)),
    sa.Column("disbursements", sa.Integer, nullable=False),
    sa.Column("kept_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("kept_until", Instant),
    sa.Column("case_id", sa.String(40)),
    sa.Column("case_kind", sa.String(12)),
    sa.Column("case_state", sa.String(12)),
    sa.Column("decided_codes", sa.Text, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
    sa.Index(
        None, "kept_until", sqlite_where=sa.text("kept_until IS NOT NULL"),
        postgresql_where=sa.text("kept_until IS NOT NULL"),
    ),
)  # fmt: skip
"""``disbursement`` is the state of the newest instruction, the ``disbursements``-th; ``kept_minor`` is
what holdback keeps of ``amount_minor`` until ``kept_until``."""

payout_members = sa.Table(
    "payout_members",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("payout_key", sa.String(40), nullable=False, index=True),
    sqlite_with_rowid=False,
)
"""A submission belongs to one payout, for ever."""

credit_entries = sa.Table(
    "credit_entries",
    metadata,
    sa.Column("entry_id", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    sa.Column("worker_id", sa.String(128), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("r_milli", sa.BigInteger, nullable=False),
    sa.Column("s_milli", sa.BigInteger, nullable=False),
    sa.Column("weight_permille", sa.Integer, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("submission_id", sa.String(128)),
    sa.Column("task_id", sa.String(128)),
    sa.Column("publisher_id", sa.String(128)),
    sa.Column("decision_id", sa.String(64), nullable=False),
    sa.Column("rule", sa.Text),
    sa.Column("ruleset_digest", sa.String(64)),
    sa.Column("revision", sa.Integer),
    sa.Column("reverses", sa.String(200), sa.ForeignKey("credit_entries.entry_id"), unique=True),
)

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("case_id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("cluster_id", sa.String(128), index=True),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Index(None, "state", "due_at", "case_id"),
)
"""``state`` sums up ``case_decisions``: ``open``, ``confirmed``, ``overturned``, ``withdrawn``,
``lapsed`` (nobody decided in time, and nothing more happens), ``appealed`` (confirmed, and an appeal
waits)."""

case_members = sa.Table(
    "case_members",
    metadata,
    sa.Column("case_id", sa.String(40), primary_key=True),
    sa.Column("payout_key", sa.String(40), primary_key=True, index=True),
    sa.Column("submission_id", sa.String(128), nullable=False, index=True),
    sa.Column("worker_id", sa.String(128), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("reason_codes", sa.Text, nullable=False),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("ruleset_digest", sa.String(64), nullable=False),
    sa.Column("decision_id", sa.String(64), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("on_time", sa.Boolean, nullable=False),
    sa.Column("weight_permille", sa.Integer, nullable=False),
    sa.Column("joined_at", Instant, nullable=False),
)

case_decisions = sa.Table(
    "case_decisions",
    metadata,
    sa.Column("case_id", sa.String(40), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("verdict", sa.String(12), nullable=False),
    sa.Column("person", sa.String(128), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("appeal_id", sa.String(40), unique=True),
    sa.Column("at", Instant, nullable=False),
)

appeals = sa.Table(
    "appeals",
    metadata,
    sa.Column("appeal_id", sa.String(40), primary_key=True),
    sa.Column("case_id", sa.String(40), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("worker_id", sa.String(128), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("filed_at", Instant, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.UniqueConstraint("case_id", "worker_id", "ordinal"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("report_id", sa.String(40), primary_key=True),
    sa.Column("reporter_id", sa.String(128), nullable=False, index=True),
    sa.Column("submission_id", sa.String(128), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("weight_permille", sa.Integer, nullable=False),
    sa.Column("filed_at", Instant, nullable=False),
    sa.UniqueConstraint("reporter_id", "submission_id"),
)

statements = sa.Table(
    "statements",
    metadata,
    sa.Column("decision_id", sa.String(64), primary_key=True),
    sa.Column("language", sa.String(8), primary_key=True),
    sa.Column("case_id", sa.String(40), nullable=False),
    sa.Column("submission_id", sa.String(128), nullable=False, index=True),
    sa.Column("worker_id", sa.String(128), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
)

permit_uses = sa.Table(
    "permit_uses",
    metadata,
    sa.Column("permit_id", sa.String(64), primary_key=True),
    sa.Column("payout_key", sa.String(40), nullable=False),
    sa.Column("used_at", Instant, nullable=False),
)

permit_revocations = sa.Table(
    "permit_revocations",
    metadata,
    sa.Column("submission_id", sa.String(128), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
)
"""Permits of that evaluation and of earlier ones are void."""

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("caller", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False, index=True),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("tenant", sa.String(160)),
    sa.Column("per_minute", sa.Integer, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("revoked_at", Instant),
)
"""Only the SHA-256 of a secret is kept. ``tenant``: null, ``publisher:<id>`` or ``worker:<id>``."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("message_id", sa.String(64), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
)

endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("endpoint_id", sa.String(40), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),
    sa.Column("since_sequence", sa.BigInteger, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
)

deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("message_id", sa.String(64), primary_key=True),
    sa.Column("endpoint_id", sa.String(40), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", Instant),
    sa.Column("last_error", sa.Text),
    sa.Column("delivered_at", Instant),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.String(160), nullable=False),
    sa.Column("action", sa.String(48), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False, index=True),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

TABLES = (
    heads, accounts, transfers, payouts, payout_members, credit_entries, cases, case_members,
    case_decisions, appeals, reports, statements, permit_uses, permit_revocations, idempotency,
    api_keys, outbox, endpoints, deliveries, audit,
)  # fmt: skip
