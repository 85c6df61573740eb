from __future__ import annotations

from channels.email.threads import message_id
from webhooks.request import RawRequest

SECRET = "a secret of ours"
SETTINGS = {
    "address": "support@hub.test",
    "imap_host": "imap.hub.test",
    "smtp_host": "smtp.hub.test",
    "password": "a password of ours",
    "secret": SECRET,
}

OURS = message_id(SECRET.encode(), "184467.0", "hub.test", "")
"""The Message-ID of a letter that we sent first to somebody."""

PLAIN = """\
Received: from mx.example.com by mx.hub.test; Fri, 20 Nov 2026 08:59:30 +0000
From: =?utf-8?b?0JLQtdGA0LA=?= <Vera@Example.com>
To: support@hub.test
Subject: =?utf-8?b?0KbQtdC90LA=?=
Message-ID: <1@example.com>
Date: Fri, 20 Nov 2026 11:59:00 +0300
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Сколько стоит доставка?
"""

ANSWER = f"""\
From: Vera <vera@example.com>
To: support@hub.test
Subject: Re: Offer
Message-ID: <2@example.com>
In-Reply-To: {OURS}
References: {OURS}
Date: Fri, 20 Nov 2026 08:59:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

Yes, please.

On Fri, 20 Nov 2026 at 08:00, support@hub.test wrote:
> Shall we send it?
--c
Content-Type: text/html; charset=utf-8

<p>Yes, <b>please</b>.<script>alert(1)</script></p><div class="gmail_quote">On Fri wrote:<blockquote>Shall
we?</blockquote></div>
--c--
--b
Content-Type: application/pdf; name="plan.pdf"
Content-Disposition: attachment; filename="plan.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjcK
--b--
"""

BOUNCE = f"""\
Return-Path: <>
From: MAILER-DAEMON@mx.hub.test (Mail Delivery System)
To: support@hub.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <3@mx.hub.test>
Auto-Submitted: auto-replied
Date: Fri, 20 Nov 2026 08:59:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.hub.test

Final-Recipient: rfc822; nobody@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--b
Content-Type: text/rfc822-headers

From: support@hub.test
To: nobody@example.com
Message-ID: {OURS}
--b--
"""

DELAYED = BOUNCE.replace("Action: failed", "Action: delayed").replace("Status: 5.1.1", "Status: 4.4.1")

AWAY = """\
From: Ivan <ivan@example.com>
To: support@hub.test
Subject: Automatic reply: Offer
Message-ID: <4@example.com>
Auto-Submitted: auto-replied
Date: Fri, 20 Nov 2026 08:59:00 +0000

I am on holiday.
"""

OUR_OWN = """\
From: Support <support@hub.test>
To: Vera <vera@example.com>
Subject: From another program
Message-ID: <5@phone.hub.test>
Date: Fri, 20 Nov 2026 08:59:00 +0000

I will call you.
"""


def request(letter: str | bytes, **more: str) -> RawRequest:
    """Make a letter into what the listener delivers."""
    body = letter if isinstance(letter, bytes) else letter.replace("\n", "\r\n").encode()
    headers = {
        "x-folder": "INBOX",
        "x-uidvalidity": "7",
        "x-uid": "1",
        "x-internal-date": "20-Nov-2026 08:59:30 +0000",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return RawRequest(body, "IMAP", headers)


REQUESTS = [request(letter) for letter in (PLAIN, ANSWER, BOUNCE, DELAYED, AWAY, OUR_OWN)]
