"""Pages of the settings: channels, people, company, hours, routing, pipelines, keys, dead letters, the audit log."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from hub.web import (
    account_desk,
    settings_absences,
    settings_audit,
    settings_channel_forms,
    settings_channel_secrets,
    settings_channels,
    settings_company,
    settings_deliveries,
    settings_desk,
    settings_hours,
    settings_pipelines,
    settings_routing,
    settings_stage_rules,
    settings_teams,
    settings_tokens,
    settings_users,
)
from hub.web.visits import Page, Visit, inside

_Adds = Callable[[str, Page], None]


def add_routes(app: web.Application) -> None:
    """Add the pages. An absence may be noted by heads, too; everything else is for owners and administrators."""

    def get(path: str, page: Page) -> None:
        app.router.add_get("/settings" + path, inside(page, manages=True))

    def post(path: str, page: Page) -> None:
        app.router.add_post("/settings" + path, inside(page, manages=True))

    get("", _start)
    _channels(get, post)
    _people(get, post)
    _rules(get, post)
    get("/company", settings_company.show)
    post("/company", settings_company.save)
    get("/hours", settings_hours.show)
    post("/hours", settings_hours.save)
    get("/tokens", settings_tokens.index)
    post("/tokens", settings_tokens.add)
    post("/tokens/{token_id}/revocation", settings_tokens.revoke)
    get("/audit", settings_audit.index)
    app.router.add_get("/settings/users/{user_id}/absence", inside(settings_absences.show))
    app.router.add_post("/settings/users/{user_id}/absence", inside(settings_absences.add))
    app.router.add_post("/settings/absences/{absence_id}/cancellation", inside(settings_absences.cancel))


async def _start(visit: Visit) -> web.StreamResponse:
    return visit.go("/settings/channels")


def _channels(get: _Adds, post: _Adds) -> None:
    get("/channels", settings_channels.index)
    post("/channels", settings_channel_forms.add)
    get("/channels/new", settings_channels.kinds)
    get("/channels/new/{kind}", settings_channel_forms.blank)
    get("/channels/{connection_id}", settings_channels.show)
    post("/channels/{connection_id}", settings_channel_forms.change)
    get("/channels/{connection_id}/edit", settings_channel_forms.edit)
    post("/channels/{connection_id}/pause", settings_channels.pause)
    post("/channels/{connection_id}/resumption", settings_channels.resume)
    post("/channels/{connection_id}/test", settings_channels.check)
    post("/channels/{connection_id}/removal", settings_channels.remove)
    post("/channels/{connection_id}/groups/{group_id}/removal", settings_desk.forget)
    post("/channels/{connection_id}/secrets/{name}", settings_channel_secrets.renew)
    get("/deliveries", settings_deliveries.index)
    post("/deliveries/replay", settings_deliveries.replay_all)
    get("/deliveries/{delivery_id}", settings_deliveries.show)
    post("/deliveries/{delivery_id}/replay", settings_deliveries.replay)


def _people(get: _Adds, post: _Adds) -> None:
    get("/users", settings_users.index)
    post("/users", settings_users.add)
    get("/users/new", settings_users.blank)
    get("/users/{user_id}", settings_users.show)
    post("/users/{user_id}", settings_users.change)
    post("/users/{user_id}/desk/{link_id}/removal", account_desk.unlink_of)
    post("/teams", settings_teams.add)
    get("/teams/new", settings_teams.blank)
    get("/teams/{team_id}", settings_teams.show)
    post("/teams/{team_id}", settings_teams.change)


def _rules(get: _Adds, post: _Adds) -> None:
    get("/routing", settings_routing.index)
    post("/routing", settings_routing.add)
    get("/routing/new", settings_routing.blank)
    get("/routing/{rule_id}", settings_routing.show)
    post("/routing/{rule_id}", settings_routing.change)
    post("/routing/{rule_id}/position", settings_routing.move)
    post("/routing/{rule_id}/removal", settings_routing.remove)
    get("/pipelines", settings_pipelines.index)
    post("/pipelines", settings_pipelines.add)
    get("/pipelines/new", settings_pipelines.blank)
    get("/pipelines/{pipeline_id}", settings_pipelines.show)
    post("/pipelines/{pipeline_id}", settings_pipelines.change)
    post("/stage-rules", settings_stage_rules.add)
    get("/stage-rules/new", settings_stage_rules.blank)
    get("/stage-rules/{rule_id}", settings_stage_rules.show)
    post("/stage-rules/{rule_id}", settings_stage_rules.change)
    post("/stage-rules/{rule_id}/removal", settings_stage_rules.remove)
