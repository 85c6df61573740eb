"""What Meta tells of a Page and of an Instagram account: their messages, and the leads of a Page's forms.

Both objects have one shape, so one reading serves Messenger, Instagram and lead forms. Nothing here raises: what is
not what it should be reads as absent, and what nobody knows becomes no event.

Source    Meta, "Messenger Platform: Webhook events", "Instagram Messaging: Webhooks", "Lead Ads: Webhooks", and the
          public payloads of open-source gateways. The names of reactions are from memory
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from channels.fields import Fields
from channels.whatsapp_events import place
from core.kernel.addresses import Address
from core.kernel.envelopes import (
    Attachment,
    Attribution,
    Changed,
    Claim,
    Event,
    Incoming,
    MediaKind,
    Pending,
    Problem,
    Signal,
    Status,
    Trust,
)
from webhooks import charsets

MESSENGER = "messenger"
INSTAGRAM = "instagram"
LEADS = "forms_meta"
WINDOW = timedelta(hours=24)
OUR_MARK = "switchyard:"
"""What stands before a part's id in `metadata`, which Messenger repeats in the echo of what we sent."""

_MEDIA: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video", "file": "file"}
_THUMBS_UP = frozenset({"369239263222822", "369239343222814", "369239383222810"})
_SITES = {MESSENGER: "https://www.facebook.com", INSTAGRAM: "https://www.instagram.com"}
_REACTIONS = {
    "love": "❤️",
    "like": "👍",
    "dislike": "👎",
    "smile": "😆",
    "haha": "😆",
    "wow": "😮",
    "sad": "😢",
    "angry": "😠",
    "yes": "👍",
    "no": "👎",
}
_GET_STARTED = frozenset({"get_started", "getstarted", "get_started_payload"})
_HAPPENINGS = ("message", "postback", "reaction", "message_edit", "read", "delivery", "referral", "optin")


def read(document: Fields, kind: str, received_at: datetime, windows: Mapping[str, timedelta]) -> Iterator[Event]:
    """Read every happening of every entry; `windows` holds the accounts that may answer for longer than a day."""
    seen: set[tuple[str, str]] = set()
    for entry in document.items("entry"):
        owner = entry.id("id")
        for item in _happenings(entry):
            for event in _read_one(item, kind, owner, received_at, windows):
                if isinstance(event, Incoming):
                    key = (event.account, event.external_id)
                    if key in seen:
                        continue
                    seen.add(key)
                yield event
        for change in entry.items("changes"):
            if change.text("field") == "leadgen" and kind == MESSENGER:
                yield from _lead(change.at("value"), owner)


def peers(document: Fields) -> Iterator[str]:
    """Name whom the events are about, cheaply, for the order in which requests are worked off."""
    for entry in document.items("entry"):
        owner = entry.id("id")
        for item in _happenings(entry):
            yield _sides(item, owner)[1]
        for change in entry.items("changes"):
            if change.text("field") == "leadgen":
                yield f"lead:{change.id('value', 'leadgen_id')}"


def claim_of(kind: str, owner: str, peer: str) -> Claim:
    """Return the address of somebody: ids are given out for each Page or Instagram account anew."""
    return Claim(Address(kind, f"{owner}:{peer}"), peer, Trust.ATTESTED)


def _happenings(entry: Fields) -> Iterator[Fields]:
    """Yield what happened, also what another app is in charge of (`standby`) and tests of Meta's console."""
    yield from entry.items("messaging")
    yield from entry.items("standby")
    for change in entry.items("changes"):
        value = change.at("value")
        if value.id("sender", "id") and any(name in value for name in _HAPPENINGS):
            yield value


def _sides(item: Fields, owner: str) -> tuple[str, str]:
    """Tell our side from the other one. The entry names ours; where it is neither, the direction tells."""
    sender, recipient = item.id("sender", "id"), item.id("recipient", "id")
    if sender == owner:
        return sender, recipient
    if recipient == owner:
        return recipient, sender
    return (sender, recipient) if item.flag("message", "is_echo") else (recipient, sender)


def _read_one(
    item: Fields, kind: str, owner: str, received_at: datetime, windows: Mapping[str, timedelta]
) -> Iterator[Event]:
    ours, peer = _sides(item, owner)
    if "policy_enforcement" in item or "policy-enforcement" in item:
        policy = item.at("policy_enforcement") or item.at("policy-enforcement")
        account = f"{kind}:{ours or owner}"
        yield Problem(account=account, kind="other", detail=_line(policy.text("action"), policy.text("reason")))
        return
    if not ours or not peer or ours == peer:
        return
    account = f"{kind}:{ours}"
    occurred_at = item.moment("timestamp")
    is_ours = item.flag("message", "is_echo") or item.id("sender", "id") == ours
    attribution = _attribution(item)
    claims = (claim_of(kind, ours, peer),)
    if "message" in item:
        message = item.at("message")
        mid = message.id("mid")
        if message.flag("is_deleted"):
            if mid:
                yield Changed(account=account, peer=peer, occurred_at=occurred_at, external_id=mid, change="deleted")
            return
        mark = message.text("metadata")
        if is_ours and mark.startswith(OUR_MARK) and mid:
            # what we sent ourselves: it did go, which is news where the answer to our request was lost
            our_id = mark.removeprefix(OUR_MARK)[:100]
            yield Status(
                account=account, peer=peer, occurred_at=occurred_at, status="sent", external_id=mid, our_id=our_id
            )
            return
        text, attachments = _content(message, kind)
        payload = message.text("quick_reply", "payload")
        fields = {"payload": payload} if payload and payload != text else {}
        if not (text or attachments):
            return
        story = message.text("reply_to", "story", "url")
        quoted = f"Story: {story}" if story else ""
        reply_to = message.id("reply_to", "mid")
    elif "postback" in item:
        postback = item.at("postback")
        text, payload = postback.text("title"), postback.text("payload")
        mid = postback.id("mid")
        if kind == MESSENGER and payload.lower() in _GET_STARTED:
            yield Signal(
                account=account,
                peer=peer,
                occurred_at=occurred_at,
                kind="started",
                claims=claims,
                attribution=attribution,
            )
            return
        text = text or payload
        fields = {"payload": payload} if payload and payload != text else {}
        attachments, quoted, reply_to = (), "", ""
        if not text:
            return
    else:
        yield from _quiet(item, account, peer, occurred_at, claims, attribution)
        return
    if title := _referral(item).text("ads_context_data", "ad_title"):
        fields["ad_title"] = title
    yield Incoming(
        account=account,
        peer=peer,
        occurred_at=occurred_at,
        external_id=mid or _made_id(item),
        claims=claims,
        text=text,
        quoted=quoted,
        reply_to=reply_to,
        replies_until=None if is_ours else (occurred_at or received_at) + windows.get(account, WINDOW),
        fields=fields,
        attachments=attachments,
        attribution=attribution,
        is_ours=is_ours,
    )


def _quiet(
    item: Fields,
    account: str,
    peer: str,
    occurred_at: datetime | None,
    claims: tuple[Claim, ...],
    attribution: Attribution,
) -> Iterator[Event]:
    """Read what happened without words."""
    if "reaction" in item:
        reaction = item.at("reaction")
        name = reaction.text("reaction").lower()
        emoji = reaction.text("emoji") or _REACTIONS.get(name, "👍" if name else "")
        if mid := reaction.id("mid"):
            text = "" if reaction.text("action") == "unreact" else emoji
            yield Changed(
                account=account, peer=peer, occurred_at=occurred_at, external_id=mid, change="reaction", text=text
            )
    elif "message_edit" in item:
        edit = item.at("message_edit")
        if mid := edit.id("mid"):
            yield Changed(
                account=account,
                peer=peer,
                occurred_at=occurred_at,
                external_id=mid,
                change="edited",
                text=edit.text("text"),
            )
    elif "delivery" in item:
        yield from _reached(item.at("delivery"), "delivered", account, peer, occurred_at)
    elif "read" in item:
        yield from _reached(item.at("read"), "read", account, peer, occurred_at)
    elif "referral" in item or ("optin" in item and attribution.reference):
        yield Signal(
            account=account,
            peer=peer,
            occurred_at=occurred_at,
            kind="started",
            claims=claims,
            attribution=attribution,
        )


def _reached(
    report: Fields, reached: Literal["delivered", "read"], account: str, peer: str, occurred_at: datetime | None
) -> Iterator[Status]:
    """Read a mark: the ids it names, or everything sent before its watermark."""
    mids = [mid for mid in [*(item.id() for item in report.items("mids")), report.id("mid")] if mid]
    for mid in dict.fromkeys(mids):
        yield Status(account=account, peer=peer, occurred_at=occurred_at, status=reached, external_id=mid)
    watermark = report.moment("watermark")
    if not mids and watermark:
        yield Status(account=account, peer=peer, occurred_at=watermark, status=reached, up_to=True)


def _content(message: Fields, kind: str) -> tuple[str, tuple[Attachment, ...]]:
    """Return the words of a message and its files; what cannot be fetched is told in words, with its link."""
    lines = [message.text("text")] if message.text("text") else []
    files: list[Attachment] = []
    for item in message.items("attachments"):
        sort, payload = item.text("type"), item.at("payload")
        url = payload.text("url") or item.text("url") or item.text("URL")
        if sort == "location":
            lat, long = payload.text("coordinates", "lat"), payload.text("coordinates", "long")
            lines.append(place(lat, long, item.text("title")))
        elif sort == "like_heart":
            lines.append("❤️")
        elif sort in _MEDIA and url.startswith(("https://", "http://")):
            is_sticker = bool(payload.id("sticker_id"))
            if payload.id("sticker_id") in _THUMBS_UP:
                lines.append("👍")
            files.append(_file(url, sort, "sticker" if is_sticker else _MEDIA[sort]))
        else:
            lines.append(_link(sort, payload, item.text("title"), url, kind))
    if not lines and not files and message.flag("is_unsupported"):
        lines.append("[unsupported message: see it in the app]")
    return "\n".join(line for line in dict.fromkeys(lines) if line), tuple(files)


def _file(url: str, sort: str, kind: MediaKind) -> Attachment:
    try:
        name = charsets.clean(unquote(PurePosixPath(urlsplit(url).path).name)).strip()
    except ValueError:
        name = ""
    return Attachment(name[-150:] or sort, "", 0, reference=url, kind=kind)


def _link(sort: str, payload: Fields, title: str, url: str, kind: str) -> str:
    """Write a share, a reel, a mention in a story or anything else as a line of text."""
    if url.startswith("/"):
        url = _SITES[kind] + url
    title = payload.text("title") or title
    words = " ".join(word for word in (title, url) if word)
    what = sort.replace("_", " ")[:40]
    if sort == "fallback" and words:
        return words
    return f"[{what}] {words}".strip() if what or words else ""


def _referral(item: Fields) -> Fields:
    for path in (("referral",), ("message", "referral"), ("postback", "referral"), ("optin", "referral")):
        if found := item.at(*path):
            return found
    return Fields(None)


def _attribution(item: Fields) -> Attribution:
    """Read the link (`m.me/<page>?ref=…`), the advertisement or the page the person came by."""
    referral = _referral(item)
    reference = referral.text("ref") or item.text("optin", "ref")
    return Attribution(
        reference=reference[:2_000] or None,
        ad=referral.id("ad_id") or None,
        referrer=referral.text("referer_uri")[:2_000] or None,
    )


def _lead(value: Fields, owner: str) -> Iterator[Pending]:
    lead, page = value.id("leadgen_id"), value.id("page_id") or owner
    if not lead:
        return
    names = ("form_id", "ad_id", "adgroup_id", "page_id", "created_time")
    hints = {name: value.id(name) for name in names if value.id(name)}
    yield Pending(
        account=f"{LEADS}:{page}" if page else "",
        occurred_at=value.moment("created_time"),
        external_id=lead,
        reference=lead,
        hints=hints,
    )


def _line(*words: str) -> str:
    return " ".join(" ".join(words).split())[:500] or "Meta gave no reason"


def _made_id(item: Fields) -> str:
    """Make an id for what has none (a postback of old), the same at every reading."""
    return hashlib.blake2b(msgspec.json.encode(item.value), digest_size=16).hexdigest()
