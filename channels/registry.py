"""Which kinds of channel there are. To add one, write its module and add its line here.

A module is imported when its kind is first used: some bring libraries that take seconds and a hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from pydantic import ValidationError

from channels.contract import Channel, ChannelSettings
from core.kernel.errors import NotFound, Rejected

KINDS: Mapping[str, str] = {
    "desk_matrix": "channels.desk_matrix:MatrixDesk",
    "desk_mattermost": "channels.desk_mattermost:MattermostDesk",
    "desk_slack": "channels.desk_slack:SlackDesk",
    "desk_telegram": "channels.desk_telegram:TelegramDesk",
    "email": "channels.email.channel:Email",
    "forms_google": "channels.forms_google:GoogleLeadForms",
    "forms_jotform": "channels.forms_jotform:JotForms",
    "forms_meta": "channels.forms_meta:MetaLeads",
    "forms_tilda": "channels.forms_tilda:TildaForms",
    "forms_typeform": "channels.forms_typeform:TypeformForms",
    "forms_webflow": "channels.forms_webflow:WebflowForms",
    "forms_wordpress": "channels.forms_wordpress:WordPressForms",
    "instagram": "channels.instagram:Instagram",
    "line": "channels.line:Line",
    "matrix": "channels.matrix:Matrix",
    "mattermost": "channels.mattermost:Mattermost",
    "max": "channels.max:Max",
    "messenger": "channels.messenger:Messenger",
    "slack": "channels.slack:Slack",
    "smpp": "channels.smpp:Smpp",
    "sms_http": "channels.sms_http:HttpSms",
    "sms_infobip": "channels.sms_infobip:InfobipSms",
    "sms_messagebird": "channels.sms_messagebird:MessageBirdSms",
    "sms_plivo": "channels.sms_plivo:PlivoSms",
    "sms_smsc": "channels.sms_smsc:SmscSms",
    "sms_telnyx": "channels.sms_telnyx:TelnyxSms",
    "sms_twilio": "channels.sms_twilio:TwilioSms",
    "sms_vonage": "channels.sms_vonage:VonageSms",
    "telegram": "channels.telegram.channel:Telegram",
    "viber": "channels.viber:Viber",
    "vk": "channels.vk:Vk",
    "voice_asterisk": "channels.voice_asterisk:AsteriskVoice",
    "voice_binotel": "channels.voice_binotel:BinotelVoice",
    "voice_freeswitch": "channels.voice_freeswitch:FreeSwitchVoice",
    "voice_http": "channels.voice_http:HttpVoice",
    "voice_mango": "channels.voice_mango:MangoVoice",
    "voice_twilio": "channels.voice_twilio:TwilioVoice",
    "voice_uis": "channels.voice_uis:UisVoice",
    "voice_zadarma": "channels.voice_zadarma:ZadarmaVoice",
    "webform": "channels.webform:WebForm",
    "whatsapp": "channels.whatsapp:CloudWhatsApp",
    "whatsapp_360dialog": "channels.whatsapp_360dialog:DialogWhatsApp",
    "widget": "channels.widget:Widget",
}
"""kind → where its class is."""


def channel_class(kind: str) -> type[Channel]:
    """Return the class of a kind.

    Raises:
        NotFound: there is no such kind; the message names those there are.
    """
    if kind not in KINDS:
        raise NotFound("kind of channel", f"{kind!r}. There are: {', '.join(sorted(KINDS))}")
    module, _, name = KINDS[kind].partition(":")
    return cast("type[Channel]", getattr(import_module(module), name))


def settings_class(kind: str) -> type[ChannelSettings]:
    """Return the form of a kind's own settings, for pages and for telling them from those of every connection.

    Raises:
        NotFound: there is no such kind.
    """
    return channel_class(kind).Settings


def build(kind: str, settings: Mapping[str, Any]) -> Channel:
    """Make a channel from the settings of its kind; those that every connection has are the caller's to keep.

    Raises:
        NotFound: there is no such kind.
        Rejected: a setting is missing, unknown or wrong; `field` is its name.
    """
    found = channel_class(kind)
    try:
        checked = found.Settings(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        known = ", ".join(found.Settings.model_fields) or "none"
        reason = first["msg"].removeprefix("Value error, ")
        hint = f" The settings of {kind} are: {known}." if first["type"] == "extra_forbidden" else ""
        raise Rejected(
            "The setting %(name)s of %(kind)s is not right: %(reason)s.%(hint)s",
            name=field,
            kind=kind,
            reason=reason,
            hint=hint,
            field=field,
        ) from None
    return cast("Callable[[ChannelSettings], Channel]", found)(checked)
