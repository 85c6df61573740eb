"""Methods that ask about chats, people and files."""

from __future__ import annotations

from tests.peers.botapi.calls import Call, Methods
from tests.peers.botapi.chats import Json
from tests.peers.botapi.errors import bad
from tests.peers.botapi.media import MOST_DOWNLOAD

_PERMISSIONS = (
    "can_send_messages",
    "can_send_audios",
    "can_send_documents",
    "can_send_photos",
    "can_send_videos",
    "can_send_video_notes",
    "can_send_voice_notes",
    "can_send_polls",
    "can_send_other_messages",
    "can_add_web_page_previews",
    "can_react_to_messages",
    "can_edit_tag",
    "can_change_info",
    "can_invite_users",
    "can_pin_messages",
    "can_manage_topics",
)


async def get_chat(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getchat, `ChatFullInfo`."""
    chat = call.chat(writes=False)
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    found: Json = {
        **chat.json(),
        "accent_color_id": abs(chat.id) % 7,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(gifts, False),
    }
    if chat.username or (chat.user and chat.user.username):
        found["active_usernames"] = [chat.username or (chat.user.username if chat.user else "")]
    if not chat.is_private:
        may = ("can_change_info", "can_pin_messages", "can_manage_topics")
        found["permissions"] = {name: name not in may for name in _PERMISSIONS}
    if chat.pinned:
        newest = chat.pinned[max(chat.pinned)]
        found["pinned_message"] = {k: v for k, v in newest.data.items() if k != "reply_to_message"}
    shown: Json = call.world.seen_by(call.bot, found)
    return shown


async def get_chat_member(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getchatmember."""
    chat, user = call.chat(writes=False), call.user()
    member = chat.members.get(user.id)
    if member is None:
        if user.id not in call.bot.met:
            raise bad("PARTICIPANT_ID_INVALID")
        return {"user": user.json(), "status": "left"}
    return member.json(topics=chat.kind == "supergroup")


async def get_chat_administrators(call: Call) -> list[Json]:
    """https://core.telegram.org/bots/api#getchatadministrators: other bots are left out."""
    chat = call.chat(writes=False)
    if chat.is_private:
        raise bad("there are no administrators in the private chat")
    return [
        member.json(topics=chat.kind == "supergroup")
        for number, member in chat.members.items()
        if member.status in ("creator", "administrator") and (not member.user.is_bot or number == call.bot.id)
    ]


async def get_chat_member_count(call: Call) -> int:
    """https://core.telegram.org/bots/api#getchatmembercount."""
    chat = call.chat(writes=False)
    return sum(chat.member(number) is not None for number in chat.members)


async def leave_chat(call: Call) -> bool:
    """https://core.telegram.org/bots/api#leavechat."""
    chat = call.chat()
    if chat.is_private:
        raise bad("chat member status can't be changed in private chats")
    call.world.change_member(chat, call.bot.user, call.bot.user, "left")
    call.world.post(chat, call.bot.user, {"left_chat_member": call.bot.user.json()}, is_service=True)
    return True


async def get_file(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getfile: up to 20 MB."""
    given = call.arguments.text("file_id")
    if not given:
        raise bad("invalid file_id")
    file = call.world.file_by(call.bot, given)
    if file is None:
        raise bad("wrong file_id or the file is temporarily unavailable")
    if len(file.content) > MOST_DOWNLOAD:
        raise bad("file is too big")
    found = {
        "file_id": given,
        "file_unique_id": file.unique_id,
        "file_size": len(file.content),
        "file_path": file.path,
    }
    return found


async def get_user_profile_photos(call: Call) -> Json:
    """https://core.telegram.org/bots/api#getuserprofilephotos."""
    photos = call.user().photos
    offset, limit = call.arguments.whole("offset"), call.arguments.whole("limit", 100)
    if offset < 0:
        raise bad("invalid offset specified")
    shown = photos[offset : offset + (limit if 0 < limit <= 100 else 100)]
    return {"total_count": len(photos), "photos": call.world.seen_by(call.bot, shown)}


METHODS: Methods = {
    "getChat": get_chat,
    "getChatMember": get_chat_member,
    "getChatAdministrators": get_chat_administrators,
    "getChatMemberCount": get_chat_member_count,
    "getChatMembersCount": get_chat_member_count,
    "leaveChat": leave_chat,
    "getFile": get_file,
    "getUserProfilePhotos": get_user_profile_photos,
}
