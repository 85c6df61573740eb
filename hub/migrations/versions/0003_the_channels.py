"""The channels: what is sent and what became of it, files, merges, templates, canned replies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "early_statuses",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), server_default="", nullable=False),
        sa.Column("error_text", sa.Text(), server_default="", nullable=False),
        sa.Column("is_dead", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_early_statuses")),
    )
    op.create_index("ix_early_statuses_external_id", "early_statuses", ["connection_id", "external_id"], unique=False)
    op.create_index("ix_early_statuses_received_at", "early_statuses", ["received_at"], unique=False)
    op.create_table(
        "files",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("preview", sa.Text(), nullable=True),
        sa.Column("width", sa.BigInteger(), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("uq_files_sha256", "files", ["sha256"], unique=True)
    op.create_table(
        "merges",
        sa.Column("kept_id", sa.BigInteger(), nullable=False),
        sa.Column("gone_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("kept", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("gone", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")),
    )
    op.create_index("ix_merges_gone_id", "merges", ["gone_id"], unique=False)
    op.create_index("ix_merges_kept_id", "merges", ["kept_id", "id"], unique=False)
    op.create_table(
        "paces",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Double(), server_default="1", nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_paces")),
    )
    op.create_table(
        "provider_exchanges",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sent", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answered", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("took", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_exchanges")),
    )
    op.create_index("ix_provider_exchanges_connection_id", "provider_exchanges", ["connection_id", "id"], unique=False)
    op.create_index("ix_provider_exchanges_message_id", "provider_exchanges", ["message_id", "id"], unique=False)
    op.create_table(
        "referrals",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("attribution", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "peer", name=op.f("pk_referrals")),
    )
    op.create_table(
        "viewings",
        sa.Column("conversation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_writing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_viewings")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "canned_replies",
        sa.Column("shortcut", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("team_id", sa.BigInteger(), nullable=True),
        sa.Column("author_id", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_canned_replies_team_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canned_replies")),
    )
    op.create_index("uq_canned_replies_shortcut", "canned_replies", ["shortcut"], unique=True)
    op.create_table(
        "merged_rows",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("merge_id", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["merge_id"], ["merges.id"], name=op.f("fk_merged_rows_merge_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merged_rows")),
    )
    op.create_index("ix_merged_rows_merge_id", "merged_rows", ["merge_id", "id"], unique=False)
    op.create_table(
        "message_templates",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("is_usable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["connections.id"], name=op.f("fk_message_templates_connection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_templates")),
    )
    op.create_index(
        "uq_message_templates_name", "message_templates", ["connection_id", "name", "language"], unique=True
    )
    op.create_table(
        "attachments",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="file", nullable=False),
        sa.Column("content_id", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("part", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_attachments_file_id")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attachments_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
    )
    op.create_index("ix_attachments_file_id", "attachments", ["file_id"], unique=False)
    op.create_index(
        "ix_attachments_unsent",
        "attachments",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("message_id IS NULL"),
    )
    op.create_index("uq_attachments_position", "attachments", ["message_id", "position"], unique=True)
    op.create_table(
        "message_ids",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="sent", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_ids_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("connection_id", "external_id", name=op.f("pk_message_ids")),
    )
    op.create_index("ix_message_ids_message_id", "message_ids", ["message_id"], unique=False)
    op.create_table(
        "message_parts",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_parts_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "position", name=op.f("pk_message_parts")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('record_ids')"), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_outbox_message_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_connection_id", "outbox", ["connection_id"], unique=False)
    op.create_index(
        "ix_outbox_due_at", "outbox", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index(
        "ix_outbox_lane", "outbox", ["lane", "id"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index("uq_outbox_message_id", "outbox", ["message_id"], unique=True)
    op.add_column("connections", sa.Column("trouble", sa.Text(), nullable=True))
    op.add_column("connections", sa.Column("account", sa.Text(), nullable=True))
    op.add_column(
        "connections", sa.Column("cursor", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column("connections", sa.Column("last_sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("peer", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "conversations",
        sa.Column("context", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column("conversations", sa.Column("replies_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("last_inbound_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_conversations_peer", "conversations", ["connection_id", "peer"], unique=False)
    op.create_index(
        "ix_conversations_snoozed",
        "conversations",
        ["snoozed_until"],
        unique=False,
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
    op.create_index("ix_conversations_status", "conversations", ["status", "last_message_at", "id"], unique=False)
    op.create_index(
        "ix_conversations_waiting",
        "conversations",
        ["waiting_since", "id"],
        unique=False,
        postgresql_where=sa.text("waiting_since IS NOT NULL"),
    )
    op.add_column("identities", sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("identities", sa.Column("blocked_because", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("html", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("quoted", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("subject", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("group_key", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("pieces", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("messages", sa.Column("reply_to_id", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("is_automatic", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("messages", sa.Column("uncertain", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("messages", sa.Column("error_code", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("error_text", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("template", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("messages", sa.Column("dropped", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("messages", sa.Column("earlier", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("messages", sa.Column("reactions", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("messages", sa.Column("send_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("read_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_messages_group_key",
        "messages",
        ["connection_id", "group_key"],
        postgresql_where=sa.text("group_key IS NOT NULL"),
    )
    op.add_column(
        "workspace", sa.Column("merges_attested", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_index(
        "ix_notifications_contact_id",
        "notifications",
        ["contact_id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.execute(
        """
        INSERT INTO attachments (message_id, position, name, content_type, size, delivery_id, part, state, created_at)
        SELECT m.id, f.number - 1, left(f.file->>'name', 255), left(f.file->>'content_type', 120),
               (f.file->>'size')::bigint, m.delivery_id, (f.file->>'part')::bigint, 'pending', m.created_at
        FROM messages m, jsonb_array_elements(m.attachments) WITH ORDINALITY AS f(file, number)
        WHERE jsonb_typeof(m.attachments) = 'array'
        """
    )
    op.execute(
        """
        INSERT INTO jobs (lane, kind, args, due_at, created_at)
        SELECT 'file:' || m.conversation_id, 'attachment.fetch', jsonb_build_object('attachment_id', a.id), now(), now()
        FROM attachments a JOIN messages m ON m.id = a.message_id
        """
    )
    op.execute("UPDATE conversations SET last_inbound_at = last_message_at")
    op.drop_column("messages", "attachments")


def downgrade() -> None:
    op.add_column("messages", sa.Column("attachments", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.execute(
        """
        UPDATE messages m SET attachments = f.files FROM (
            SELECT message_id, jsonb_agg(jsonb_build_object('name', name, 'content_type', content_type, 'size', size,
                   'part', part) ORDER BY position) AS files
            FROM attachments WHERE part IS NOT NULL GROUP BY message_id
        ) f WHERE f.message_id = m.id
        """
    )
    op.drop_index(
        "ix_notifications_contact_id",
        table_name="notifications",
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.drop_column("workspace", "merges_attested")
    op.drop_index("ix_messages_group_key", table_name="messages", postgresql_where=sa.text("group_key IS NOT NULL"))
    op.drop_column("messages", "deleted_at")
    op.drop_column("messages", "edited_at")
    op.drop_column("messages", "read_at")
    op.drop_column("messages", "delivered_at")
    op.drop_column("messages", "sent_at")
    op.drop_column("messages", "send_at")
    op.drop_column("messages", "reactions")
    op.drop_column("messages", "earlier")
    op.drop_column("messages", "dropped")
    op.drop_column("messages", "template")
    op.drop_column("messages", "error_text")
    op.drop_column("messages", "error_code")
    op.drop_column("messages", "uncertain")
    op.drop_column("messages", "is_automatic")
    op.drop_column("messages", "reply_to_id")
    op.drop_column("messages", "pieces")
    op.drop_column("messages", "group_key")
    op.drop_column("messages", "subject")
    op.drop_column("messages", "quoted")
    op.drop_column("messages", "html")
    op.drop_column("identities", "blocked_because")
    op.drop_column("identities", "blocked_at")
    op.drop_index(
        "ix_conversations_waiting", table_name="conversations", postgresql_where=sa.text("waiting_since IS NOT NULL")
    )
    op.drop_index("ix_conversations_status", table_name="conversations")
    op.drop_index(
        "ix_conversations_snoozed", table_name="conversations", postgresql_where=sa.text("snoozed_until IS NOT NULL")
    )
    op.drop_index("ix_conversations_peer", table_name="conversations")
    op.drop_column("conversations", "last_inbound_at")
    op.drop_column("conversations", "snoozed_until")
    op.drop_column("conversations", "replies_until")
    op.drop_column("conversations", "context")
    op.drop_column("conversations", "peer")
    op.drop_column("connections", "checked_at")
    op.drop_column("connections", "last_sent_at")
    op.drop_column("connections", "cursor")
    op.drop_column("connections", "account")
    op.drop_column("connections", "trouble")
    op.drop_index("uq_outbox_message_id", table_name="outbox")
    op.drop_index("ix_outbox_lane", table_name="outbox", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_index("ix_outbox_due_at", table_name="outbox", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_index("ix_outbox_connection_id", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("message_parts")
    op.drop_index("ix_message_ids_message_id", table_name="message_ids")
    op.drop_table("message_ids")
    op.drop_index("uq_attachments_position", table_name="attachments")
    op.drop_index("ix_attachments_unsent", table_name="attachments", postgresql_where=sa.text("message_id IS NULL"))
    op.drop_index("ix_attachments_file_id", table_name="attachments")
    op.drop_table("attachments")
    op.drop_index("uq_message_templates_name", table_name="message_templates")
    op.drop_table("message_templates")
    op.drop_index("ix_merged_rows_merge_id", table_name="merged_rows")
    op.drop_table("merged_rows")
    op.drop_index("uq_canned_replies_shortcut", table_name="canned_replies")
    op.drop_table("canned_replies")
    op.drop_table("viewings")
    op.drop_table("referrals")
    op.drop_index("ix_provider_exchanges_message_id", table_name="provider_exchanges")
    op.drop_index("ix_provider_exchanges_connection_id", table_name="provider_exchanges")
    op.drop_table("provider_exchanges")
    op.drop_table("paces")
    op.drop_index("ix_merges_kept_id", table_name="merges")
    op.drop_index("ix_merges_gone_id", table_name="merges")
    op.drop_table("merges")
    op.drop_index("uq_files_sha256", table_name="files")
    op.drop_table("files")
    op.drop_index("ix_early_statuses_received_at", table_name="early_statuses")
    op.drop_index("ix_early_statuses_external_id", table_name="early_statuses")
    op.drop_table("early_statuses")
