"""The queue of cases by when they are due, in the order in which the console shows it."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_cases_state_due_at_case_id"), "cases", ["state", "due_at", "case_id"], unique=False
    )
    op.drop_index(op.f("ix_cases_state"), table_name="cases")


def downgrade() -> None:
    op.create_index(op.f("ix_cases_state"), "cases", ["state"], unique=False)
    op.drop_index(op.f("ix_cases_state_due_at_case_id"), table_name="cases")
