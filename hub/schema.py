"""Every module that defines tables, loaded so that all of them are known before anything is mapped or migrated."""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import MetaData

from core.kernel.db import Base

MODULES = (
    "core.kernel.events",
    "core.kernel.jobs",
    "core.staff.workspace",
    "core.staff.teams",
    "core.staff.users",
    "core.staff.sessions",
    "core.staff.tokens",
    "core.staff.absences",
    "core.staff.audit",
    "core.connections",
    "core.people.contacts",
    "core.people.merging",
    "core.talk.conversations",
    "core.talk.attachments",
    "core.talk.outbox",
    "core.talk.pace",
    "core.talk.statuses",
    "core.talk.referrals",
    "core.talk.templates",
    "core.talk.calls",
    "core.talk.canned",
    "core.talk.viewings",
    "core.sales.pipelines",
    "core.sales.leads",
    "core.sales.deals",
    "core.work.tasks",
    "core.work.routing_rules",
    "core.work.notifications",
    "webhooks.deliveries",
    "hub.api.idempotency",
    "hub.desk.records",
)


def load() -> MetaData:
    """Import every module with tables and return what they define."""
    for name in MODULES:
        import_module(name)
    return Base.metadata
