"""What an empty workspace begins with: a team, a pipeline that asks for a call, always-open hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STAGES = (
    ("First call", "open"),
    ("Qualified", "open"),
    ("Proposal", "open"),
    ("Payment", "open"),
    ("Won", "won"),
    ("Lost", "lost"),
)
LOST_REASONS = ("Too expensive", "Chose somebody else", "Not now", "Could not be reached", "Other")


def upgrade() -> None:
    """Add the first content. Times are the database's: a migration has no other clock."""
    run = op.get_bind().execute
    run(
        sa.text(
            "INSERT INTO workspace (id, name, country, currency, time_zone, language, schedule, created_at) VALUES "
            "(1, '', 'RU', 'RUB', 'Europe/Moscow', 'en', CAST(:schedule AS jsonb), now())"
        ),
        {"schedule": '{"always_open": true, "time_zone": "Europe/Moscow"}'},
    )
    run(sa.text("INSERT INTO teams (name, joined_by_role, created_at) VALUES ('Sales', 'manager', now())"))
    pipeline = run(
        sa.text("INSERT INTO pipelines (name, is_default, created_at) VALUES ('Sales', true, now()) RETURNING id")
    ).scalar_one()
    first = None
    for position, (name, category) in enumerate(STAGES):
        stage = run(
            sa.text(
                "INSERT INTO stages (pipeline_id, name, position, category, created_at) "
                "VALUES (:pipeline, :name, :position, :category, now()) RETURNING id"
            ),
            {"pipeline": pipeline, "name": name, "position": position, "category": category},
        ).scalar_one()
        first = first or stage
    run(
        sa.text(
            "INSERT INTO stage_rules (stage_id, title, kind, due_minutes, reminder_minutes, escalation, created_at) "
            "VALUES (:stage, 'Call back', 'call', 15, 10, CAST(:escalation AS jsonb), now())"
        ),
        {"stage": first, "escalation": '[{"after": 0, "to": "head"}]'},
    )
    for position, name in enumerate(LOST_REASONS):
        run(
            sa.text("INSERT INTO lost_reasons (name, position, created_at) VALUES (:name, :position, now())"),
            {"name": name, "position": position},
        )


def downgrade() -> None:
    """Take the first content away; what people made since must be gone before."""
    for table in ("lost_reasons", "stage_rules", "stages", "pipelines", "teams", "workspace"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
