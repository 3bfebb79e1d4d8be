"""What is unsettled as a queue, what stands by day as sums; indexes that nothing asks are gone."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OPEN = sa.text("parked IS NULL")
HELD = sa.text("outcome IN ('block_and_review', 'decline')")
WIDER = {
    ("task_id", "submitted_at"): ("submission_id", "worker_id"),
    ("worker_id", "submitted_at"): ("submission_id", "device_id"),
    ("device_id",): ("submitted_at", "worker_id", "submission_id"),
}
"""Indexes of submissions, and what is added so that they answer without the rows."""
KEYED = ("fingerprinted", "abstentions", "ran", "payout_members")
"""Tables with many small rows a submission: SQLite keeps them in the tree of their key alone."""
QUEUE = """
INSERT INTO unsettled (submitted_at, submission_id, generation)
SELECT s.submitted_at, s.submission_id, 1 FROM submissions s
JOIN assessments a ON a.submission_id = s.submission_id
LEFT JOIN payout_members m ON m.submission_id = s.submission_id
LEFT JOIN payouts p ON p.payout_key = m.payout_key
WHERE a.revision = (SELECT max(o.revision) FROM assessments o WHERE o.submission_id = s.submission_id)
AND (p.payout_key IS NULL OR p.submission_id <> a.submission_id OR p.revision <> a.revision
     OR p.state = 'waiting' OR p.case_state = 'open')
"""
TALLIES = """
INSERT INTO tallies (day, outcome, currency, submissions, bounty_minor)
SELECT (s.submitted_at - s.submitted_at % 86400000000) / 86400000000, coalesce(a.outcome, ''),
coalesce(t.currency, ''), count(*), coalesce(CAST(sum(t.bounty_minor) AS BIGINT), 0)
FROM submissions s LEFT JOIN tasks t ON t.task_id = s.task_id
LEFT JOIN assessments a ON a.submission_id = s.submission_id AND a.revision =
(SELECT max(o.revision) FROM assessments o WHERE o.submission_id = s.submission_id)
GROUP BY 1, 2, 3
"""


def upgrade() -> None:
    op.create_table(
        "unsettled",
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("parked", sa.String(length=10), nullable=True),
        sa.PrimaryKeyConstraint("submitted_at", "submission_id", name=op.f("pk_unsettled")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_unsettled_submitted_at_submission_id"), "unsettled",
        ["submitted_at", "submission_id"], unique=False, sqlite_where=OPEN, postgresql_where=OPEN,
    )  # fmt: skip
    op.create_table(
        "tallies",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("submissions", sa.BigInteger(), nullable=False),
        sa.Column("bounty_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "outcome", "currency", name=op.f("pk_tallies")),
    )
    op.create_index(
        op.f("ix_assessments_outcome"), "assessments", ["outcome"], unique=False,
        sqlite_where=HELD, postgresql_where=HELD,
    )  # fmt: skip
    op.create_index(
        op.f("ix_tasks_currency_bounty_minor"), "tasks", ["currency", "bounty_minor"], unique=False
    )
    op.create_index(op.f("ix_case_members_worker_id"), "case_members", ["worker_id"], unique=False)
    op.drop_index(op.f("ix_transfers_debit_account"), table_name="transfers")
    op.drop_index(op.f("ix_transfers_credit_account"), table_name="transfers")
    for columns, more in WIDER.items():
        _index(columns, (*columns, *more))
    for name in KEYED:
        _keep_by_key(name)
    op.execute(QUEUE)
    op.execute(TALLIES)


def _keep_by_key(name: str) -> None:
    """Write a table of SQLite anew, WITHOUT ROWID."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    made = sa.text(
        "SELECT sql FROM sqlite_master WHERE tbl_name = :name AND sql IS NOT NULL ORDER BY type DESC"
    )
    table, *indexes = connection.execute(made, {"name": name}).scalars().all()
    if "WITHOUT ROWID" in table:
        return
    op.rename_table(name, f"{name}_before")
    connection.exec_driver_sql(f"{table} WITHOUT ROWID")
    connection.exec_driver_sql(f"INSERT INTO {name} SELECT * FROM {name}_before")
    op.drop_table(f"{name}_before")
    for index in indexes:
        connection.exec_driver_sql(index)


def _index(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    op.drop_index(op.f(f"ix_submissions_{'_'.join(before)}"), table_name="submissions")
    name = op.f(f"ix_submissions_{'_'.join(after)}")
    op.create_index(name, "submissions", list(after), unique=False)


def downgrade() -> None:
    for columns, more in WIDER.items():
        _index((*columns, *more), columns)
    for side in ("credit_account", "debit_account"):
        op.create_index(op.f(f"ix_transfers_{side}"), "transfers", [side], unique=False)
    op.drop_index(op.f("ix_case_members_worker_id"), table_name="case_members")
    op.drop_index(op.f("ix_tasks_currency_bounty_minor"), table_name="tasks")
    op.drop_index(op.f("ix_assessments_outcome"), table_name="assessments")
    op.drop_table("tallies")
    op.drop_table("unsettled")
