"""How each messenger of the desk is set up, in words; see hub.web.channel_guides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hub.web.words import N_

_LINK = N_("Everybody of you opens their profile here and links their account: “Your messenger” says how.")
_TEST = N_("Press “Test”: it says what the bot is called.")

GUIDES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "desk_telegram": (
        N_("A Telegram bot for your own people, not the one that customers write to. Takes a minute."),
        (
            N_("In Telegram, write /newbot to @BotFather and choose a name, such as “Desk of our company”."),
            N_("Copy the token it shows, paste it here and save. The hub fetches what is written; nothing is pasted."),
            _TEST,
            _LINK,
            N_(
                "For a topic to each conversation: switch on topics in a group, add the bot as an administrator who "
                "may manage topics, and write /team there."
            ),
        ),
    ),
    "desk_slack": (
        N_("A Slack workspace of your own in which you may install apps."),
        (
            N_(
                "At api.slack.com make an app; give the bot chat:write, im:history, files:read and files:write, and "
                "for channels channels:history and groups:history."
            ),
            N_("Install it into the workspace; copy the bot token and the signing secret, save them here."),
            N_(
                "Under Event Subscriptions paste the hook's address and subscribe the bot to message.im, and for "
                "channels to message.channels, message.groups, member_left_channel, channel_left and channel_archive."
            ),
            N_("Under Interactivity paste the same address. Under App Home allow messages to the bot."),
            N_("Commands begin with ! there, such as !take: what begins with / Slack keeps to itself."),
            _LINK,
        ),
    ),
    "desk_mattermost": (
        N_("A Mattermost server of your own and a bot account on it."),
        (
            N_("In Mattermost: Integrations → Bot Accounts → Add Bot Account, copy the access token, paste it here."),
            N_("Add the bot to the team, and to the channels in which you want to work."),
            N_(
                "Buttons need that the server reaches this hub. If that is in your own network, name its host in the "
                "System Console under “Allow untrusted internal connections”."
            ),
            N_("Commands begin with ! there, such as !take: what begins with / the server keeps to itself."),
            _LINK,
        ),
    ),
    "desk_matrix": (
        N_("A Matrix homeserver and a user for the bot on it."),
        (
            N_("Make a user for the bot and log in as it once, in Element for example."),
            N_("Copy its access token: All settings → Help & About. Do not log out: that would end the token."),
            N_("Enter the homeserver's address, the bot's whole name and the token here, and save."),
            N_("Start a direct chat with the bot that is not encrypted: encrypted rooms cannot be read."),
            N_("There are no buttons on Matrix: what can be pressed elsewhere is typed, such as !take."),
            _LINK,
        ),
    ),
}
"""What each kind needs, in one sentence, and how it is set up."""
