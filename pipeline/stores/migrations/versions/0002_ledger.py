"""The ledger: money, credit, cases, permits, keys, the outbox and the audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("guarded", sa.Boolean(), nullable=False),
        sa.Column("debits_posted", sa.BigInteger(), nullable=False),
        sa.Column("credits_posted", sa.BigInteger(), nullable=False),
        sa.Column("debits_pending", sa.BigInteger(), nullable=False),
        sa.Column("credits_pending", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "NOT guarded OR credits_posted - debits_posted - debits_pending >= 0",
            name=op.f("ck_accounts_overdrawn"),
        ),
        sa.CheckConstraint(
            "debits_posted >= 0 AND credits_posted >= 0 AND debits_pending >= 0 AND credits_pending >= 0",
            name=op.f("ck_accounts_sums"),
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("tenant", sa.String(length=160), nullable=True),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "appeals",
        sa.Column("appeal_id", sa.String(length=40), nullable=False),
        sa.Column("case_id", sa.String(length=40), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("filed_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("appeal_id", name=op.f("pk_appeals")),
        sa.UniqueConstraint(
            "case_id", "worker_id", "ordinal", name=op.f("uq_appeals_case_id_worker_id_ordinal")
        ),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=160), nullable=False),
        sa.Column("action", sa.String(length=48), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    op.create_table(
        "case_decisions",
        sa.Column("case_id", sa.String(length=40), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("appeal_id", sa.String(length=40), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "ordinal", name=op.f("pk_case_decisions")),
        sa.UniqueConstraint("appeal_id", name=op.f("uq_case_decisions_appeal_id")),
    )
    op.create_table(
        "case_members",
        sa.Column("case_id", sa.String(length=40), nullable=False),
        sa.Column("payout_key", sa.String(length=40), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("reason_codes", sa.Text(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("ruleset_digest", sa.String(length=64), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("on_time", sa.Boolean(), nullable=False),
        sa.Column("weight_permille", sa.Integer(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "payout_key", name=op.f("pk_case_members")),
    )
    op.create_index(
        op.f("ix_case_members_payout_key"), "case_members", ["payout_key"], unique=False
    )
    op.create_index(
        op.f("ix_case_members_submission_id"), "case_members", ["submission_id"], unique=False
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("cluster_id", sa.String(length=128), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_cases")),
    )
    op.create_index(op.f("ix_cases_cluster_id"), "cases", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_cases_state"), "cases", ["state"], unique=False)
    op.create_table(
        "credit_entries",
        sa.Column("entry_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("r_milli", sa.BigInteger(), nullable=False),
        sa.Column("s_milli", sa.BigInteger(), nullable=False),
        sa.Column("weight_permille", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=True),
        sa.Column("task_id", sa.String(length=128), nullable=True),
        sa.Column("publisher_id", sa.String(length=128), nullable=True),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("ruleset_digest", sa.String(length=64), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("reverses", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["reverses"], ["credit_entries.entry_id"], name=op.f("fk_credit_entries_reverses")
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_credit_entries")),
        sa.UniqueConstraint("reverses", name=op.f("uq_credit_entries_reverses")),
        sa.UniqueConstraint("sequence", name=op.f("uq_credit_entries_sequence")),
    )
    op.create_index(
        op.f("ix_credit_entries_worker_id"), "credit_entries", ["worker_id"], unique=False
    )
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_made_at"), "idempotency", ["made_at"], unique=False)
    op.create_table(
        "ledger_heads",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("audit_sequence", sa.BigInteger(), nullable=False),
        sa.Column("audit_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ledger_heads")),
    )
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("sequence", name=op.f("uq_outbox_sequence")),
    )
    op.create_table(
        "payout_members",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("payout_key", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_payout_members")),
    )
    op.create_index(
        op.f("ix_payout_members_payout_key"), "payout_members", ["payout_key"], unique=False
    )
    op.create_table(
        "payouts",
        sa.Column("payout_key", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("publisher_id", sa.String(length=128), nullable=True),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("funded_minor", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("disbursement", sa.String(length=8), nullable=True),
        sa.Column("disbursements", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=40), nullable=True),
        sa.Column("case_kind", sa.String(length=12), nullable=True),
        sa.Column("case_state", sa.String(length=12), nullable=True),
        sa.Column("decided_codes", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("payout_key", name=op.f("pk_payouts")),
    )
    op.create_index(op.f("ix_payouts_task_id"), "payouts", ["task_id"], unique=False)
    op.create_index(op.f("ix_payouts_worker_id"), "payouts", ["worker_id"], unique=False)
    op.create_table(
        "permit_revocations",
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "revision", name=op.f("pk_permit_revocations")),
    )
    op.create_table(
        "permit_uses",
        sa.Column("permit_id", sa.String(length=64), nullable=False),
        sa.Column("payout_key", sa.String(length=40), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("permit_id", name=op.f("pk_permit_uses")),
    )
    op.create_table(
        "reports",
        sa.Column("report_id", sa.String(length=40), nullable=False),
        sa.Column("reporter_id", sa.String(length=128), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("weight_permille", sa.Integer(), nullable=False),
        sa.Column("filed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reports")),
        sa.UniqueConstraint(
            "reporter_id", "submission_id", name=op.f("uq_reports_reporter_id_submission_id")
        ),
    )
    op.create_index(op.f("ix_reports_reporter_id"), "reports", ["reporter_id"], unique=False)
    op.create_index(op.f("ix_reports_submission_id"), "reports", ["submission_id"], unique=False)
    op.create_table(
        "statements",
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("case_id", sa.String(length=40), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "language", name=op.f("pk_statements")),
    )
    op.create_index(
        op.f("ix_statements_submission_id"), "statements", ["submission_id"], unique=False
    )
    op.create_table(
        "transfers",
        sa.Column("transfer_id", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=8), nullable=False),
        sa.Column("pending_id", sa.String(length=200), nullable=True),
        sa.Column("debit_account", sa.String(length=200), nullable=False),
        sa.Column("credit_account", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("payout_key", sa.String(length=40), nullable=True),
        sa.Column("submission_id", sa.String(length=128), nullable=True),
        sa.Column("decision_id", sa.String(length=64), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "amount_minor > 0 OR phase IN ('void', 'expire')", name=op.f("ck_transfers_amount")
        ),
        sa.CheckConstraint(
            "phase IN ('single', 'pending', 'post', 'void', 'expire') "
            "AND (pending_id IS NULL) = (phase IN ('single', 'pending'))",
            name=op.f("ck_transfers_phase"),
        ),
        sa.CheckConstraint("debit_account <> credit_account", name=op.f("ck_transfers_two_sides")),
        sa.ForeignKeyConstraint(
            ["pending_id"], ["transfers.transfer_id"], name=op.f("fk_transfers_pending_id")
        ),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("pending_id", name=op.f("uq_transfers_pending_id")),
        sa.UniqueConstraint("sequence", name=op.f("uq_transfers_sequence")),
    )
    op.create_index(
        op.f("ix_transfers_credit_account"), "transfers", ["credit_account"], unique=False
    )
    op.create_index(
        op.f("ix_transfers_debit_account"), "transfers", ["debit_account"], unique=False
    )
    op.create_index(op.f("ix_transfers_payout_key"), "transfers", ["payout_key"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "endpoint_id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("since_sequence", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_webhook_endpoints")),
    )

    heads = sa.table(
        "ledger_heads",
        sa.column("name"),
        sa.column("sequence"),
        sa.column("audit_sequence"),
        sa.column("audit_hash"),
    )
    op.bulk_insert(
        heads, [{"name": "ledger", "sequence": 0, "audit_sequence": 0, "audit_hash": "0" * 64}]
    )
