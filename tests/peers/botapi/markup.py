"""Keyboards under messages, checked as Telegram checks them.

https://core.telegram.org/bots/api#inlinekeyboardmarkup, #replykeyboardmarkup, #replykeyboardremove, #forcereply.
"""

from __future__ import annotations

from typing import Any

from tests.peers.botapi.arguments import address
from tests.peers.botapi.errors import bad, unplayed

LONGEST_DATA = 64
MOST_BUTTONS = 100
_ACTIONS = (
    "callback_data",
    "url",
    "web_app",
    "login_url",
    "switch_inline_query",
    "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat",
    "copy_text",
    "callback_game",
    "pay",
)


def checked(given: Any, *, is_private: bool) -> dict[str, Any] | None:
    """Return a reply markup as it will be shown; None if there is none.

    Raises:
        Refused: Telegram would not take it.
    """
    if given is None or given == {}:
        return None
    if not isinstance(given, dict):
        raise bad("object expected as reply markup")
    if "inline_keyboard" in given:
        rows = _rows(given["inline_keyboard"], "inline keyboard")
        shown = [[_inline(button, is_private) for button in row] for row in rows]
        if sum(map(len, shown)) > MOST_BUTTONS:
            raise bad("reply markup is too long")
        return {"inline_keyboard": [row for row in shown if row]} if any(shown) else None
    if "keyboard" in given:
        rows = _rows(given["keyboard"], "keyboard")
        return {**given, "keyboard": [[_plain(button, is_private) for button in row] for row in rows]}
    if given.get("remove_keyboard") is True or given.get("force_reply") is True:
        _placeholder(given)
        return dict(given)
    raise bad("can't parse reply keyboard markup JSON object")


def _rows(given: Any, name: str) -> list[list[Any]]:
    if not isinstance(given, list):
        raise bad(f'field "{name.replace(" ", "_")}" of the ReplyMarkup must be an Array')
    for row in given:
        if not isinstance(row, list):
            raise bad(f'field "{name.replace(" ", "_")}" of the ReplyMarkup must be an Array of Arrays')
    return given


def _placeholder(given: dict[str, Any]) -> None:
    if len(str(given.get("input_field_placeholder") or "")) > 64:
        raise bad("input field placeholder is too long")


def _inline(button: Any, is_private: bool) -> dict[str, Any]:
    if not isinstance(button, dict):
        raise bad("can't parse inline keyboard button: expected an Object")
    if not isinstance(button.get("text"), str) or not button["text"].strip():
        raise bad("can't parse inline keyboard button: Text of the button must be non-empty")
    given = [name for name in _ACTIONS if button.get(name) is not None]
    if not given:
        raise bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if len(given) > 1:
        raise bad("can't parse inline keyboard button: exactly one of the optional fields must be used")
    action = given[0]
    if action in ("web_app", "copy_text") and not isinstance(button[action], dict):
        raise bad(f'can\'t parse inline keyboard button: Field "{action}" must be of type Object')
    if action == "callback_data" and not 1 <= len(str(button[action]).encode()) <= LONGEST_DATA:
        raise bad("BUTTON_DATA_INVALID")
    if action == "url":
        _check_url(str(button[action]))
    if action == "web_app":
        if not is_private:
            raise bad("BUTTON_TYPE_INVALID")
        address = str(button[action].get("url", ""))
        if not address.startswith("https://"):
            raise bad(f"inline keyboard button Web App URL '{address}' is invalid: Only HTTPS links are allowed")
    if action == "copy_text" and not 1 <= len(str(button[action].get("text", ""))) <= 256:
        raise bad("BUTTON_COPY_TEXT_INVALID")
    if action in ("login_url", "callback_game", "pay"):
        raise unplayed(f"a button with {action}")
    return {
        "text": button["text"],
        action: button[action],
        **{key: button[key] for key in ("style", "icon_custom_emoji_id") if key in button},
    }


def _check_url(url: str) -> None:
    if url.startswith("tg://"):
        return
    if "://" in url and not url.startswith(("http://", "https://")):
        raise bad(f"inline keyboard button URL '{url}' is invalid: Unsupported URL protocol")
    parts = address(url if "://" in url else f"http://{url}")
    if parts is None or "." not in str(parts.hostname):
        raise bad(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")


def _plain(button: Any, is_private: bool) -> dict[str, Any]:
    shown = {"text": button} if isinstance(button, str) else button
    if not isinstance(shown, dict) or not isinstance(shown.get("text"), str):
        raise bad('can\'t parse keyboard button: Field "text" must be of type String')
    if not is_private and shown.get("request_contact"):
        raise bad("phone number can be requested in private chats only")
    if not is_private and shown.get("request_location"):
        raise bad("location can be requested in private chats only")
    return dict(shown)
