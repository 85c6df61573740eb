"""Telephone calls: what was heard of them, the record it was folded into, and their recordings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "call_events",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "external_id", "key", name=op.f("pk_call_events")),
    )
    op.create_table(
        "calls",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("contact_id", sa.BigInteger(), nullable=True),
        sa.Column("deal_id", sa.BigInteger(), nullable=True),
        sa.Column("lead_id", sa.BigInteger(), nullable=True),
        sa.Column("direction", sa.Text(), server_default="inbound", nullable=False),
        sa.Column("number", sa.Text(), server_default="", nullable=False),
        sa.Column("caller", sa.Text(), server_default="", nullable=False),
        sa.Column("callee", sa.Text(), server_default="", nullable=False),
        sa.Column("line", sa.Text(), server_default="", nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("team_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), server_default="ringing", nullable=False),
        sa.Column("ringing", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("rang", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wait_seconds", sa.Integer(), nullable=True),
        sa.Column("talk_seconds", sa.Integer(), nullable=True),
        sa.Column("is_lost", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("after_hours", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("called_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("called_back_by", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_calls_connection_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_calls_contact_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_calls_team_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_calls_user_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_contact_id", "calls", ["contact_id", "id"], unique=False)
    op.create_index(
        "ix_calls_deal_id", "calls", ["deal_id"], unique=False, postgresql_where=sa.text("deal_id IS NOT NULL")
    )
    op.create_index(
        "ix_calls_lead_id", "calls", ["lead_id"], unique=False, postgresql_where=sa.text("lead_id IS NOT NULL")
    )
    op.create_index("ix_calls_started_at", "calls", ["started_at", "id"], unique=False)
    op.create_index(
        "ix_calls_under_way",
        "calls",
        ["heard_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('ringing', 'in_progress')"),
    )
    op.create_index(
        "ix_calls_to_call_back",
        "calls",
        ["started_at", "id"],
        unique=False,
        postgresql_where=sa.text(
            "direction = 'inbound' AND status IN ('missed', 'voicemail') AND called_back_at IS NULL"
        ),
    )
    op.create_index("ix_calls_user_id", "calls", ["user_id", "id"], unique=False)
    op.create_index("uq_calls_external_id", "calls", ["connection_id", "external_id"], unique=True)
    op.create_table(
        "call_recordings",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("call_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_call_recordings_call_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_call_recordings_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_recordings")),
    )
    op.create_index(
        "ix_call_recordings_expires_at",
        "call_recordings",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index("ix_call_recordings_file_id", "call_recordings", ["file_id"], unique=False)
    op.create_index("uq_call_recordings_external_id", "call_recordings", ["call_id", "external_id"], unique=True)


def downgrade() -> None:
    op.drop_table("call_recordings")
    op.drop_table("calls")
    op.drop_table("call_events")
