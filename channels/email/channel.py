"""A mailbox: letters come in by IMAP and go out by SMTP.

Reaches   anybody with an e-mail address, also first
Set up    the mailbox's address, its two servers, user and password (Gmail, Yandex, Mail.ru and others want an
          "application password" made for us; Microsoft 365 and Google Workspace want XOAUTH2). What lay in the mailbox
          before is left alone, unless `import_days` says otherwise
Calls us  nobody does: a listener reads the folder (see `mailbox`), each letter becomes a request with the method IMAP
Checks    such a request can only come from our listener: one that came over HTTP is refused. That From is true nobody
          vouches for, so that addresses are as good as typed; VERIFIED they are only if the mail server named in
          `authserv_id` found DMARC or an aligned DKIM signature to pass (RFC 8601), whatever others may claim
Repeats   the same Message-ID is one letter for ever; without it, the same content is
Quirks    answers are told by our own Message-IDs, which carry the conversation and a signature made with `secret`;
          bounces become failures of what we sent; a letter from our own address to others was written in another mail
          program, and is kept as ours, as is what lies in the folder of sent letters where `sent_watched` names one
          (only if it goes to somebody who is known: a mailbox has private letters too). Our people answer notifications
          at name+desk.code@…, whatever the settings say of plus addresses for customers: a letter to such an address is
          no customer's (see `desk`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.config import JsonDict

from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Group,
    Listening,
    Media,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.email import desk, imap, incoming, letters, outgoing
from channels.email.folders import Folders
from channels.email.mailbox import METHOD, USUAL_PACE, Pace, Watch
from channels.email.oauth import Tokens
from channels.email.servers import Login, Security, Server
from channels.email.smtp import Post
from channels.errors import ChannelError, Misconfigured, Unauthorised
from core.kernel import addresses
from core.kernel.addresses import EMAIL, Address
from core.kernel.envelopes import Event
from core.kernel.waiting import end
from webhooks.errors import Refused
from webhooks.request import RawRequest, Reply

_MOST_TEXT = 200_000
_ADVANCED: JsonDict = {"advanced": True}


class Email:
    """Receives and sends the letters of one mailbox."""

    kind: ClassVar[str] = "email"
    title: ClassVar[str] = "E-mail"
    group: ClassVar[Group] = "email"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=_MOST_TEXT,
        caption=_MOST_TEXT,
        media={kind: Media(outgoing.MOST_BYTES) for kind in ("image", "audio", "voice", "video", "sticker", "file")},
        album=30,
        capabilities=frozenset({Capability.SUBJECT, Capability.HTML, Capability.REPLY_TO, Capability.START}),
        addresses=(EMAIL,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        address: str = Field(title="Address", description="The mailbox's own: letters come from it.")
        imap_host: str = Field(title="IMAP server", description="Such as imap.example.com.", min_length=1)
        imap_port: int = Field(993, title="IMAP port", ge=1, le=65535)
        imap_security: Security = Field(
            "tls", title="Encryption of IMAP", description="tls is usual with port 993, starttls with 143."
        )
        smtp_host: str = Field(title="SMTP server", description="Such as smtp.example.com.", min_length=1)
        smtp_port: int = Field(465, title="SMTP port", ge=1, le=65535)
        smtp_security: Security = Field(
            "tls", title="Encryption of SMTP", description="tls is usual with port 465, starttls with 587."
        )
        user: str = Field("", title="User", description="Empty: the address.")
        password: SecretStr = Field(
            title="Password",
            description="Many providers want one made for this program only. With XOAUTH2: the refresh token, or an "
            "access token if there is no address of a token service.",
            min_length=1,
        )
        auth: Literal["password", "xoauth2"] = Field("password", title="Way to sign in")
        folder: str = Field("INBOX", title="Folder to watch", min_length=1)
        sent_folder: str = Field(
            "",
            title="Folder for letters we send",
            description="A copy is put there. Empty: none; Gmail and Microsoft keep copies by themselves.",
        )
        sent_watched: str = Field(
            "",
            title="Folder of sent letters to read",
            description="What colleagues answer from a mail program of their own then stands in the conversation, and "
            "nobody waits any more. Such as Sent or [Gmail]/Sent Mail. Empty: none. Letters to people who are not "
            "known here are left alone.",
        )
        sender_name: str = Field(
            "", title="Name of the sender", description="Shown beside the address.", json_schema_extra=_ADVANCED
        )
        import_days: int = Field(
            0,
            title="Days of old letters to bring in",
            description="When the mailbox is first read. 0: only what comes from now on.",
            ge=0,
            le=3650,
            json_schema_extra=_ADVANCED,
        )
        reply_plus: bool = Field(
            False,
            title="Answers to a plus address",
            description="Replies are asked to go to name+code@…, which tells the conversation even where a program "
            "drops our identifiers. The provider must deliver such addresses to the mailbox.",
            json_schema_extra=_ADVANCED,
        )
        authserv_id: str = Field(
            "",
            title="Name by which the mail server reports its checks",
            description="The first word of Authentication-Results in a letter received, such as mx.google.com. Empty: "
            "senders count as unverified.",
            json_schema_extra=_ADVANCED,
        )
        certificate: str = Field(
            "",
            title="Certificate of the servers",
            description="In PEM, only where an authority of one's own signed it.",
            json_schema_extra=_ADVANCED,
        )
        token_url: str = Field(
            "", title="Address of the token service", description="For XOAUTH2.", json_schema_extra=_ADVANCED
        )
        client_id: str = Field("", title="Client id", description="For XOAUTH2.", json_schema_extra=_ADVANCED)
        client_secret: SecretStr = Field(
            SecretStr(""), title="Client secret", description="For XOAUTH2.", json_schema_extra=_ADVANCED
        )
        secret: SecretStr = Field(
            SecretStr(""),
            title="Secret of our identifiers",
            description="Signs the Message-IDs of what we send. Changing it makes old conversations harder to tell.",
            json_schema_extra={"made": True, "advanced": True},
        )

        @field_validator("address")
        @classmethod
        def _is_address(cls, value: str) -> str:
            found = addresses.email(value)
            if found is None:
                raise ValueError(f"{value!r} is no e-mail address")
            return found

        @field_validator(
            "imap_host", "smtp_host", "folder", "sent_folder", "sent_watched", "user", "authserv_id", "token_url"
        )
        @classmethod
        def _is_one_line(cls, value: str) -> str:
            if not value.isprintable():
                raise ValueError("it has to be one line")
            return value.strip()

        @field_validator("sent_watched")
        @classmethod
        def _is_another_folder(cls, value: str, info: ValidationInfo) -> str:
            if value and value.casefold() == str(info.data.get("folder", "")).casefold():
                raise ValueError("what customers write would be taken for ours: sent letters lie in another folder")
            return value

    def __init__(self, settings: Settings, pace: Pace = USUAL_PACE) -> None:
        self._settings = settings
        self._pace = pace
        self._address = settings.address
        # signed without a secret they still tell our conversations, only could somebody make them up
        self._key = (settings.secret.get_secret_value() or settings.address).encode("utf-8", "surrogatepass")
        password = settings.password.get_secret_value()
        tokens = None
        if settings.auth == "xoauth2":
            client_secret = settings.client_secret.get_secret_value()
            tokens = Tokens(
                password, token_url=settings.token_url, client_id=settings.client_id, client_secret=client_secret
            )
        self._reader = incoming.Reader(self._address, self._key, settings.authserv_id, sent=settings.sent_watched)
        self._login = Login(settings.user or settings.address, password, tokens)
        self._imap = Server(settings.imap_host, settings.imap_port, settings.imap_security, settings.certificate)
        smtp = Server(settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.certificate)
        self._post = Post(smtp, self._login, patience=pace.patience, acceptance=pace.acceptance)

    # --- in ---

    async def run(self, listening: Listening) -> None:
        """Watch the mailbox until cancelled.

        Raises:
            Unauthorised, Misconfigured: somebody has to change the settings.
        """
        settings = self._settings
        watch = Watch(
            self._imap, self._login, settings.folder, self.route, import_days=settings.import_days, pace=self._pace
        )
        if not settings.sent_watched:
            await watch.run(listening)
            return
        folders = Folders(listening)
        tasks = {
            asyncio.create_task(watch.run(folders.first()), name="letters received"),
            asyncio.create_task(self._watch_sent(folders.other(settings.sent_watched)), name="letters sent"),
        }
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*tasks)
        for task in ended:
            task.result()

    async def _watch_sent(self, listening: Listening) -> None:
        """Watch the folder of sent letters. That it is not there keeps nobody from reading what comes."""
        folder = self._settings.sent_watched
        while True:
            try:
                await Watch(self._imap, self._login, folder, self.route, pace=self._pace).run(listening)
            except Unauthorised:
                raise
            except Misconfigured as error:
                listening.is_ill(f"What colleagues send is not read: {error}")
                await asyncio.sleep(self._pace.longest)

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that a letter comes from our listener.

        Raises:
            Refused: it came over HTTP.
        """
        if request.method != METHOD or request.url or request.path or request.client:
            raise Refused("Letters are read from the mailbox; this address takes none.")

    def route(self, request: RawRequest) -> Routed:
        """Tell letters apart by their Message-ID, else by what they say; what somebody and we write keeps its order."""
        return incoming.route(request, sent=self._settings.sent_watched)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a letter: a message, or what became of letters we sent.

        Raises:
            Malformed: the mail server would not give it.
        """
        return self._reader.events(request, context)

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return a file of the letter; None if there is no such part."""
        return letters.read_part(request.body, part)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: nobody waits for it."""
        return Reply()

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as a letter, and keep a copy where the settings say so.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        letter = await outgoing.compose(
            part,
            address=self._address,
            name=self._settings.sender_name,
            key=self._key,
            now=tools.now(),
            replies_by_plus=self._settings.reply_plus,
        )
        try:
            said = await self._post.send(letter, self._address, part.peer, tools)
            detail = tools.http.masked(said)
            if self._settings.sent_folder and (trouble := await self._keep(letter.whole(), tools)):
                detail = f"It was sent, but no copy could be put into {self._settings.sent_folder}: {trouble}"
        finally:
            letter.close()
        return Receipt((incoming.plain_id(letter.message_id),), context=letter.context, detail=detail[:500])

    async def _keep(self, content: bytes, tools: Tools) -> str:
        """Put a copy into the folder of sent letters; return what prevented it. It was sent, whatever comes of this."""
        try:
            async with imap.signed_in(self._imap, self._login, tools, self._pace.patience) as mailbox:
                await mailbox.append(self._settings.sent_folder, content)
        except ChannelError as error:
            return str(error)
        return ""

    def peer_of(self, address: Address) -> str | None:
        """Return the address itself: whoever has one can be written to."""
        return address.value if address.scheme == EMAIL else None

    def address_of(self, peer: str) -> Address:
        """Return the peer in the canonical spelling."""
        return Address(EMAIL, addresses.email(peer) or peer)

    def desk_address(self, token: str) -> str:
        """Return the address at which one of our people answers a notification; "" where the mailbox can have none."""
        return desk.address(self._address, token)

    @property
    def takes_plus(self) -> bool:
        """Whether somebody said that the provider delivers plus addresses to the mailbox."""
        return self._settings.reply_plus

    async def check(self, tools: Tools) -> Checked:
        """Sign in to both servers and open the folders, without reading or sending anything.

        Raises:
            ChannelError: one of them does not let us.
        """
        async with imap.signed_in(self._imap, self._login, tools, self._pace.patience) as mailbox:
            folder = await mailbox.select(self._settings.folder)
            has_idle = mailbox.has_idle
            folders = await mailbox.folders()
            if self._settings.sent_watched:
                await mailbox.select(self._settings.sent_watched)
        largest = await self._post.check(self._address, tools)
        facts = {
            "Letters in the folder": str(folder.letters),
            "New letters": "are told at once" if has_idle else f"are asked for every {self._pace.poll:.0f} s",
            "Largest letter sent": f"{largest / 2**20:.0f} MB" if largest else "not said",
        }
        detail = f"Letters to {self._address} can be read, and sent by {self._settings.smtp_host}."
        if self._settings.sent_folder and self._settings.sent_folder not in folders:
            detail += f" The folder {self._settings.sent_folder} is not there yet; it is made with the first letter."
        return Checked(detail, facts)
