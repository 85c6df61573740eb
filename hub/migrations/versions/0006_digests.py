"""Digests at the desk, each given once, and people who come back by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "desk_digests",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_desk_digests_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "kind", "day", name=op.f("pk_desk_digests")),
    )
    op.add_column("users", sa.Column("presence_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_users_presence_until",
        "users",
        ["presence_until"],
        unique=False,
        postgresql_where=sa.text("presence_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_users_presence_until", table_name="users", postgresql_where=sa.text("presence_until IS NOT NULL"))
    op.drop_column("users", "presence_until")
    op.drop_table("desk_digests")
