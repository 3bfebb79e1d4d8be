"""Holdback: what is kept back of a payout, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEPT = sa.text("kept_until IS NOT NULL")


def upgrade() -> None:
    op.add_column(
        "payouts", sa.Column("kept_minor", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("payouts", sa.Column("kept_until", sa.BigInteger(), nullable=True))
    op.create_index(
        op.f("ix_payouts_kept_until"), "payouts", ["kept_until"], unique=False,
        sqlite_where=KEPT, postgresql_where=KEPT,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index(op.f("ix_payouts_kept_until"), table_name="payouts")
    with op.batch_alter_table("payouts") as table:
        table.drop_column("kept_until")
        table.drop_column("kept_minor")
