"""Traces: when a session's events of a segment were made, and how its clock stands."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("at_first", sa.Double(), nullable=True))
    op.add_column("sessions", sa.Column("at_last", sa.Double(), nullable=True))
    op.create_table(
        "session_clocks",
        sa.Column("session_id", sa.String(length=128), nullable=False),
        sa.Column("delay_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_clocks")),
    )
