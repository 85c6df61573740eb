"""Methods about the bot itself: who it is, how its updates come, which commands it offers."""

from __future__ import annotations

import re
from typing import Any

from tests.peers.botapi.arguments import address
from tests.peers.botapi.calls import Call, Methods
from tests.peers.botapi.chats import Json
from tests.peers.botapi.errors import bad
from tests.peers.botapi.updates import Courier, Hook

_SCOPES = {
    "default": (),
    "all_private_chats": (),
    "all_group_chats": (),
    "all_chat_administrators": (),
    "chat": ("chat_id",),
    "chat_administrators": ("chat_id",),
    "chat_member": ("chat_id", "user_id"),
}
_TEXTS = {"Name": ("name", 64), "Description": ("description", 512), "ShortDescription": ("short_description", 120)}
PORTS = (443, 80, 88, 8443)


async def get_me(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getme."""
    return {
        **call.bot.user.json(),
        "can_join_groups": call.bot.can_join_groups,
        "can_read_all_group_messages": call.bot.reads_all,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
        "has_topics_enabled": False,
        "allows_users_to_create_topics": False,
        "can_manage_bots": False,
        "supports_guest_queries": False,
    }


async def log_out(call: Call) -> bool:
    """https://core.telegram.org/bots/api#logout, #close. Nothing moves: there is one server."""
    call.bot.queue.interrupt("terminated by logOut or close request")
    return True


async def get_updates(call: Call) -> list[Json]:
    """https://core.telegram.org/bots/api#getupdates."""
    arguments = call.arguments
    call.bot.queue.allow(arguments.object("allowed_updates"))
    limit = arguments.whole("limit", 100)
    return await call.bot.queue.fetch(
        arguments.whole("offset"), limit if 0 < limit <= 100 else 100, min(max(arguments.whole("timeout"), 0), 50)
    )


async def set_webhook(call: Call) -> Any:
    """https://core.telegram.org/bots/api#setwebhook. An empty address deletes it."""
    url, secret = call.arguments.text("url").strip(), call.arguments.text("secret_token")
    if not url:
        return await delete_webhook(call)
    parts = address(url)
    if parts is None:
        raise bad("bad webhook: invalid URL specified")
    if not call.allow_http:
        if parts.scheme != "https":
            raise bad("bad webhook: An HTTPS URL must be provided for webhook")
        if (parts.port or 443) not in PORTS:
            raise bad("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    if len(secret) > 256:
        raise bad("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad("secret token contains unallowed characters")
    connections = min(max(call.arguments.whole("max_connections", 40), 1), 100)
    await _stop(call)
    queue = call.bot.queue
    queue.interrupt("terminated by setWebhook request")
    if call.arguments.flag("drop_pending_updates"):
        queue.pending.clear()
    queue.allow(call.arguments.object("allowed_updates"))
    queue.hook = Hook(url, secret, connections)
    call.bot.courier = Courier(queue, queue.hook, call.session, call.answered, call.retry_pause)
    return True


async def _stop(call: Call) -> None:
    if call.bot.courier:
        await call.bot.courier.stop()
        call.bot.courier = None
    call.bot.queue.hook = None


async def delete_webhook(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletewebhook."""
    await _stop(call)
    if call.arguments.flag("drop_pending_updates"):
        call.bot.queue.pending.clear()
    return True


async def get_webhook_info(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getwebhookinfo."""
    queue = call.bot.queue
    queue.forget_old()
    found: Json = {
        "url": queue.hook.url if queue.hook else "",
        "has_custom_certificate": False,
        "pending_update_count": len(queue.pending),
    }
    if queue.hook:
        found |= {"max_connections": queue.hook.connections, "ip_address": "127.0.0.1"}
        if queue.hook.last_error:
            found |= {"last_error_date": queue.hook.last_error_at, "last_error_message": queue.hook.last_error}
    return {**found, "allowed_updates": list(queue.allowed)} if queue.allowed else found


# --- commands ---


def _scope(call: Call) -> tuple[str, str]:
    given = call.arguments.object("scope") or {"type": "default"}
    if not isinstance(given, dict) or str(given.get("type")) not in _SCOPES:
        raise bad("can't parse BotCommandScope: Unsupported type specified")
    needed = _SCOPES[given["type"]]
    if any(not given.get(name) for name in needed):
        raise bad(f"can't parse BotCommandScope: Can't find field \"{needed[-1]}\"")
    language = call.arguments.text("language_code")
    if language and not re.fullmatch(r"[a-z]{2}", language):
        raise bad("invalid language code specified")
    return ":".join([given["type"], *(str(given[name]) for name in needed)]), language


async def set_my_commands(call: Call) -> bool:
    """https://core.telegram.org/bots/api#setmycommands: at most 100, names of 1-32 lower-case Latin letters."""
    given = call.arguments.object("commands")
    if not isinstance(given, list):
        raise bad("can't parse commands: expected an Array of BotCommand")
    if len(given) > 100:
        raise bad("BOT_COMMANDS_TOO_MUCH")
    for one in given:
        if not isinstance(one, dict) or not re.fullmatch(r"/?[a-z0-9_]{1,32}", str(one.get("command", ""))):
            raise bad("BOT_COMMAND_INVALID")
        if not 1 <= len(str(one.get("description", "")).strip()) <= 256:
            raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
    kept = [{"command": one["command"].lstrip("/"), "description": one["description"].strip()} for one in given]
    call.bot.commands[_scope(call)] = kept
    return True


async def get_my_commands(call: Call) -> list[Json]:
    """https://core.telegram.org/bots/api#getmycommands."""
    return call.bot.commands.get(_scope(call), [])


async def delete_my_commands(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletemycommands."""
    call.bot.commands.pop(_scope(call), None)
    return True


def _texts(what: str) -> Methods:
    """Make the methods that set and get one of the bot's texts: https://core.telegram.org/bots/api#setmyname."""
    name, longest = _TEXTS[what]

    async def change(call: Call) -> bool:
        text = call.arguments.text(name)
        if len(text) > longest:
            raise bad(f"bot {name.replace('_', ' ')} is too long")
        call.bot.texts[name, call.arguments.text("language_code")] = text
        if name == "name" and text and not call.arguments.text("language_code"):
            call.bot.user.first_name = text
        return True

    async def tell(call: Call) -> Json:
        kept = call.bot.texts
        found = kept.get((name, call.arguments.text("language_code"))) or kept.get((name, ""), "")
        return {name: found or (call.bot.user.first_name if name == "name" else "")}

    return {f"setMy{what}": change, f"getMy{what}": tell}


METHODS: Methods = {
    "getMe": get_me,
    "logOut": log_out,
    "close": log_out,
    "getUpdates": get_updates,
    "setWebhook": set_webhook,
    "deleteWebhook": delete_webhook,
    "getWebhookInfo": get_webhook_info,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "deleteMyCommands": delete_my_commands,
    **_texts("Name"),
    **_texts("Description"),
    **_texts("ShortDescription"),
}
