"""How each kind of channel is set up, in words: what one needs, and what to do where.

The addresses and secrets that the steps speak of are shown beside them. What stands in quotes is called so by the
provider; most of their pages exist in English, so these words stay as they are in every language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from channels.contract import Group
from hub.web import desk_guides, telephony_guides
from hub.web.words import N_


class Guide(NamedTuple):
    """What a kind needs, in one sentence, and how it is set up."""

    needs: str = ""
    steps: tuple[str, ...] = ()


GROUP_TITLES: Final[Mapping[Group, str]] = {
    "form": N_("Website and forms"),
    "chat": N_("Chat on your site"),
    "messenger": N_("Messengers"),
    "email": N_("E-mail"),
    "sms": N_("SMS"),
    "telephony": N_("Telephony"),
    "desk": N_("Desk: your own people's messenger"),
}

CHOICES: Final[Mapping[str, str]] = {
    "tls": "TLS",
    "starttls": "STARTTLS",
    "none": N_("not encrypted"),
    "password": N_("user and password"),
    "xoauth2": "XOAUTH2",
    "webhook": N_("The provider calls this hub"),
    "polling": N_("This hub asks the provider"),
    "gsm": "GSM",
    "latin1": "Latin-1",
    "plus": N_("with a plus"),
    "digits": N_("digits alone"),
    "right": N_("right"),
    "left": N_("left"),
    "auto": N_("as the visitor's device"),
    "light": N_("light"),
    "dark": N_("dark"),
    "nothing": N_("nothing"),
    "name": N_("the name"),
    "email": N_("an e-mail address"),
    "phone": N_("a phone number"),
}
"""The values one can choose in forms, in words; others are shown as they are."""

_NOT_CALLED = frozenset({"desk_matrix", "email", "smpp"})

_META_WEBHOOK = N_(
    "There, under “Webhooks”, enter the hook's address and the verify token below, and press “Verify and save”."
)
_META_SECRETS = N_(
    "At developers.facebook.com make an app of the type Business. Copy its app secret from App settings → Basic."
)
_TOKEN_KEPT = N_("Keep the address to yourself: whoever knows it can send requests in your forms' name.")
_SAVE_REGISTERS = N_("Save. The hub tells the provider by itself where to call; nothing is pasted.")
_WRITE_AND_SEE = N_("Write to the account from another phone: the message appears under Conversations.")

GUIDES: Final[Mapping[str, Guide]] = {
    "webform": Guide(
        N_("A form on your own site, or a ready page of ours. Takes a minute."),
        (
            N_("Save. You get a ready page that you can try at once."),
            N_("Paste the tag into your site, or put the address into the action of a form you have."),
        ),
    ),
    "widget": Guide(
        N_("A chat in the corner of your site. Takes a minute."),
        (N_("Save, and paste the tag into every page on which the chat shall be, before </body>."),),
    ),
    "forms_tilda": Guide(
        N_("A site built with Tilda, on a plan with webhooks."),
        (
            N_("Save, and copy the address with the token."),
            N_("In Tilda: Site settings → Forms → Webhook, paste it; tick “Send cookies” and “Send UTM tags”."),
            N_("Connect the webhook to every form and publish the pages anew."),
            _TOKEN_KEPT,
        ),
    ),
    "forms_wordpress": Guide(
        N_("WordPress with Elementor Pro, Contact Form 7, Gravity Forms or WPForms."),
        (
            N_("Save, and copy the address with the token."),
            N_("Elementor Pro: the form → Actions after submit → Webhook, paste it there, switch on “Advanced data”."),
            N_("Contact Form 7: add a plugin such as “CF7 to Webhook” and paste it there."),
            N_("Gravity Forms and WPForms: their Webhooks add-on, request method POST, all fields."),
            _TOKEN_KEPT,
        ),
    ),
    "forms_jotform": Guide(
        N_("An account at JotForm."),
        (
            N_("Save, and copy the address with the token."),
            N_("In JotForm: the form → Settings → Integrations → Webhooks, paste it."),
            _TOKEN_KEPT,
        ),
    ),
    "forms_typeform": Guide(
        N_("A Typeform account on a plan with webhooks."),
        (
            N_("Save, and copy the address and the secret."),
            N_("In Typeform: the form → Connect → Webhooks → Add a webhook, paste the address."),
            N_("Edit the webhook, paste the secret, and switch it on: a new one is off."),
        ),
    ),
    "forms_webflow": Guide(
        N_("A site built with Webflow."),
        (
            N_("Save with the client secret left empty, and copy the address with the token."),
            N_("In Webflow: Site settings → Apps & integrations → Webhooks → Form submission, paste it."),
            N_("If an app of yours makes the webhook through Webflow's API, enter its client secret here instead."),
        ),
    ),
    "forms_google": Guide(
        N_("Google Ads with a lead form."),
        (
            N_("Save, and copy the address and the key."),
            N_("In Google Ads: the lead form → Export leads → Other data integration options → Webhook, paste both."),
            N_("Press “Send test data”: the test appears here within seconds."),
        ),
    ),
    "forms_meta": Guide(
        N_("Lead forms on Facebook or Instagram, an app at Meta, and a long-lived access token of the Page."),
        (
            _META_SECRETS,
            N_("Give the token of the Page the rights leads_retrieval, pages_manage_metadata, pages_read_engagement."),
            _META_WEBHOOK,
            N_("Choose the object Page, subscribe to the field leadgen, and subscribe the Page to the app."),
            N_("In Business Suite → Integrations → Leads access, give the app access to the leads."),
        ),
    ),
    "telegram": Guide(
        N_("A bot of yours: @BotFather makes one in a minute."),
        (
            N_("In Telegram, write /newbot to @BotFather and choose a name."),
            N_("Copy the token it shows, paste it here."),
            _SAVE_REGISTERS,
            N_("If this hub has no public https address, choose that it asks Telegram."),
        ),
    ),
    "whatsapp": Guide(
        N_("WhatsApp Business at Meta itself: an app, a number and an access token."),
        (
            _META_SECRETS,
            N_("Add the product WhatsApp. Under API setup, copy the phone number ID, not the number itself."),
            N_(
                "In Business settings make a system user, and a token that does not expire, "
                "with whatsapp_business_messaging and whatsapp_business_management."
            ),
            _META_WEBHOOK,
            N_("Choose WhatsApp Business Account and subscribe to the field messages."),
            _WRITE_AND_SEE,
        ),
    ),
    "whatsapp_360dialog": Guide(
        N_("A WhatsApp number at 360dialog."),
        (
            N_("In 360dialog's Hub make an API key for the number, paste it here."),
            _SAVE_REGISTERS,
            _WRITE_AND_SEE,
        ),
    ),
    "messenger": Guide(
        N_("A Facebook Page, an app at Meta, and a long-lived access token of the Page."),
        (
            _META_SECRETS,
            N_("Add the product Messenger; under API setup connect the Page and make its token."),
            _META_WEBHOOK,
            N_(
                "Choose the object Page and subscribe to messages, messaging_postbacks, messaging_referrals, "
                "message_deliveries, message_reads, message_reactions, message_edits and message_echoes."
            ),
            _WRITE_AND_SEE,
        ),
    ),
    "instagram": Guide(
        N_("A professional Instagram account, an app at Meta, and a long-lived access token."),
        (
            _META_SECRETS,
            N_("Add the product Instagram, connect the account and copy its ID and its token."),
            _META_WEBHOOK,
            N_(
                "Choose the object Instagram and subscribe to messages, messaging_postbacks, messaging_referral, "
                "messaging_seen, message_reactions and message_edit."
            ),
            N_("In Instagram's app: Settings → Messages → Connected tools, allow access to messages."),
            _WRITE_AND_SEE,
        ),
    ),
    "viber": Guide(
        N_("A Viber bot: since 2024 they are made for companies, under a commercial contract."),
        (
            N_("In the Viber Admin Panel open the bot and copy its token, paste it here."),
            _SAVE_REGISTERS,
            _WRITE_AND_SEE,
        ),
    ),
    "vk": Guide(
        N_("A VK community that you administer."),
        (
            N_("In VK: Manage → API usage → Access tokens, make a key for messages, photos, files and management."),
            N_("Under Callback API, choose the API version 5.199 and copy “String that the server must return”."),
            N_("Enter the community's number, the key and the string here, and save: the hub adds its address in VK."),
            N_("If VK does not let it: add the address and the secret key below by hand, press “Confirm”."),
            N_("Under Messages, switch on messages of the community."),
        ),
    ),
    "max": Guide(
        N_("A MAX bot of a company, approved by MAX."),
        (
            N_("At business.max.ru: Chat bots → Integration, copy the token, paste it here."),
            _SAVE_REGISTERS,
            N_("If this hub has no public https address at port 443, choose that it asks MAX."),
        ),
    ),
    "line": Guide(
        N_("A LINE official account with the Messaging API."),
        (
            N_("In the LINE Developers Console open the channel: copy the channel secret under Basic settings."),
            N_("Under Messaging API issue a long-lived channel access token; paste both here."),
            N_("Save: the hub enters its address. Then switch on “Use webhook” there; only people can do that."),
            N_("In the LINE Official Account Manager switch off greeting and automatic answers."),
        ),
    ),
    "slack": Guide(
        N_("A Slack workspace in which you may install apps."),
        (
            N_(
                "At api.slack.com make an app; give the bot chat:write, im:history, im:write, users:read, files:read "
                "and files:write."
            ),
            N_("Install it into the workspace; copy the bot token and the signing secret, save them here."),
            N_(
                "Under Event Subscriptions paste the hook's address and subscribe the bot to message.im; "
                "under Interactivity paste the same address."
            ),
            N_("Under App Home allow messages to the bot."),
        ),
    ),
    "matrix": Guide(
        N_("A Matrix homeserver that you or somebody you know administers."),
        (
            N_("Enter the homeserver's address and save: you get a registration file, this once."),
            N_("On the homeserver, save it as a file and name it in app_service_config_files (Synapse); restart it."),
            N_("People write to the bot, or invite it into a room. Encrypted rooms cannot be read."),
        ),
    ),
    "mattermost": Guide(
        N_("A Mattermost server and a bot account on it."),
        (
            N_("In Mattermost: Integrations → Bot Accounts → Add Bot Account, copy the access token, paste it here."),
            N_("People write to the bot directly, or name it in a channel it belongs to."),
            N_("For public channels, add an outgoing webhook with the address below, and enter its token here."),
        ),
    ),
    "email": Guide(
        N_("A mailbox: its address, its IMAP and SMTP servers, and a password."),
        (
            N_("Gmail, Yandex and Mail.ru: allow IMAP in the mailbox's settings and make an application password."),
            N_("Microsoft 365 and Google Workspace may want XOAUTH2: enter the refresh token as the password."),
            N_("Save. Letters that come from now on appear here; what lies in the mailbox is left alone."),
        ),
    ),
    "sms_twilio": Guide(
        N_("A Twilio account with a number, a messaging service or a WhatsApp sender."),
        (
            N_("In Twilio's console copy the account SID and the auth token."),
            N_("Enter the number as +…, and save: the hub sets the number's webhook by itself."),
            N_("For a messaging service or WhatsApp, paste the address there, “A message comes in”, method POST."),
        ),
    ),
    "sms_vonage": Guide(
        N_("A Vonage account with a number."),
        (
            N_("In the dashboard's API settings copy the API key, the API secret and the signature secret."),
            N_("Switch on signed webhooks there, with the method that you choose here."),
            N_("Paste the address as webhook for incoming SMS and for delivery receipts."),
        ),
    ),
    "sms_plivo": Guide(
        N_("A Plivo account with a number."),
        (
            N_("In the console copy the auth ID and the auth token."),
            N_("Make an application whose message URL is the address, method POST, and give it the number."),
        ),
    ),
    "sms_telnyx": Guide(
        N_("A Telnyx account, a number and its messaging profile."),
        (
            N_("In the portal, under API keys, make a key and copy the public key."),
            N_("In the number's messaging profile paste the address as its webhook; or enter the profile's id here."),
        ),
    ),
    "sms_messagebird": Guide(
        N_("A MessageBird (Bird) account with a number."),
        (
            N_("In the dashboard, under Developers, make a live access key and copy the signing key."),
            N_("Make a flow for the number that forwards messages to the address, by POST."),
        ),
    ),
    "sms_infobip": Guide(
        N_("An Infobip account: API key, base URL and a sender."),
        (
            N_("In the portal make an API key with the rights to send SMS, and copy the base URL of your account."),
            N_("Have the number forward incoming messages to the address, as JSON."),
            N_("Infobip signs nothing: enter a shared secret here and add ?token=… to the address there."),
        ),
    ),
    "sms_smsc": Guide(
        N_("An account at SMSC.ru, or at a service with the same software."),
        (
            N_("In the account's settings make a login for the API; enter it here."),
            N_("Paste the address there as handler of statuses and of incoming messages."),
            N_("To be sure of who calls, enter a shared secret here and add ?token=… to the address there."),
        ),
    ),
    "sms_http": Guide(
        N_("Kannel, Jasmin, or any gateway that is spoken to over HTTP."),
        (
            N_("Enter the gateway's address for sending; for Kannel it ends with /cgi-bin/sendsms."),
            N_("Save, and copy the address with the token."),
            N_(
                "Kannel: in the sms-service, get-url is that address with "
                "&from=%p&to=%P&text=%b&ts=%T&coding=%c&udh=%u&id=%I behind it, and max-messages = 0."
            ),
            N_("Others: have incoming messages and reports posted to that address."),
        ),
    ),
    "smpp": Guide(
        N_("A line to an SMS centre: host, port, system ID and password."),
        (
            N_("Tell the provider this server's IP address, if they want to know it."),
            N_("Enter what they gave you and save. Nothing else may use the same system ID meanwhile."),
        ),
    ),
    **{kind: Guide(*each) for kind, each in telephony_guides.GUIDES.items()},
    **{kind: Guide(*each) for kind, each in desk_guides.GUIDES.items()},
}


def guide_of(kind: str) -> Guide:
    """Return the guide of a kind; an empty one where none was written."""
    return GUIDES.get(kind, Guide())


def is_called(kind: str, settings: Mapping[str, Any]) -> bool:
    """Whether a provider calls our hook, so that its address is worth showing."""
    return kind not in _NOT_CALLED and settings.get("mode") != "polling"
