"""Deliveries: marked copies that were handed over."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=16), nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("key_id", "serial", name=op.f("pk_deliveries")),
    )
    for column in ("submission_id", "worker_id", "delivered_at"):
        op.create_index(op.f(f"ix_deliveries_{column}"), "deliveries", [column], unique=False)


def downgrade() -> None:
    op.drop_table("deliveries")
