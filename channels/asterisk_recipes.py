"""What to paste into Asterisk's own files, so that it lets the hub in, asks it who rings, and records."""

from __future__ import annotations

from typing import NamedTuple


class Recipe(NamedTuple):
    """A file of Asterisk's, and what goes into it."""

    name: str
    body: str


_MANAGER = """\
[general]
enabled = yes
bindaddr = 0.0.0.0
timestampevents = yes

[switchyard]
secret = CHOOSE-A-LONG-ONE
deny = 0.0.0.0/0.0.0.0
permit = ADDRESS-OF-THIS-SERVER/255.255.255.255
read = call,agent,dialplan,dtmf
write = call,originate,reporting
"""
# A name is what a stranger typed: it stands in no expression and in no argument that Asterisk takes apart.
_DIALPLAN = """\
[switchyard-who]
; sets the caller's name, and MANAGER: the extension of whoever looks after them and can be rung now
exten => s,1,Set(CURLOPT(conntimeout)=1)
 same => n,Set(CURLOPT(httptimeout)=2)
 same => n,Set(ADVICE=${{CURL({url}&number=${{URIENCODE(${{CALLERID(num)}})}})}})
 same => n,Set(MANAGER=${{FILTER(0-9A-Za-z,${{CUT(ADVICE,|,1)}})}})
 same => n,Set(WHO=${{CUT(ADVICE,|,2)}})
 same => n,GotoIf($[${{LEN(${{WHO}})}} = 0]?done)
 same => n,Set(CALLERID(name)=${{WHO}})
 same => n(done),Return()

[switchyard-record]
; /var/spool/asterisk/monitor/YEAR/MONTH/DAY/….wav, from when two people talk
exten => s,1,MixMonitor(${{STRFTIME(${{EPOCH}},,%Y/%m/%d)}}/${{CHANNEL(linkedid)}}.wav,b)
 same => n,Return()

; where calls come in, for example:
; exten => _X.,1,Gosub(switchyard-who,s,1)
;  same => n,Gosub(switchyard-record,s,1)
;  same => n,ExecIf($["${{MANAGER}}" != ""]?Dial(PJSIP/${{MANAGER}},15))
;  same => n,Dial(PJSIP/101&PJSIP/102,30)
;  same => n,Hangup()
"""


def templates(hook_url: str) -> tuple[Recipe, ...]:
    """Return what goes into which file; `hook_url` is our address with its token."""
    address, _, query = hook_url.partition("?")
    question = f"{address}/lookup?format=plain" + (f"&{query}" if query else "")
    return Recipe("manager.conf", _MANAGER), Recipe("extensions.conf", _DIALPLAN.format(url=question))
