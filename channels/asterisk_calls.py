"""Asterisk's calls, followed from event to event: whose a channel is, who talks, when the last one is gone.

What an event means depends on those before it, so each that matters is given notes: the call, the leg, what happened.
They are kept with the event, so that reading it again needs none of the others. No clock and no line: the same events
give the same notes, and what is known can be written down and taken up by another process.

How Asterisk tells of a call was seen at Asterisk 16. A call is the channels of one Linkedid. Where bridges join two
calls, Asterisk gives all channels in them the older Linkedid, but says so only with the next event of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from channels.asterisk_channels import Call, Channel, Note, Plan, calls_of, duration_of, said

_MOST_FILES = 20
_MOST_DIGITS = 10  # pressed in menus by one caller
_MENUS = frozenset(("background", "backgrounddetect", "waitexten", "read"))
_MESSAGES = frozenset(("VM_MESSAGEFILE", "RECORDED_FILE"))
_OUTCOMES = {
    "BUSY": "busy",
    "CONGESTION": "failed",
    "CHANUNAVAIL": "failed",
    "NOANSWER": "missed",
    "CANCEL": "canceled",
}
_RANG_OUT = ("1", "3")  # reasons of OriginateResponse: nobody picked up


class Calls:
    """The calls of one Asterisk. `kept` is what `keep` returned before; what cannot be read of it is left out."""

    def __init__(self, plan: Plan, kept: Any = None) -> None:
        self._plan = plan
        self._calls: dict[str, Call] = {}
        self._where: dict[str, Call] = {}
        self._bridges: dict[str, set[str]] = {}
        self._entered = 0
        self._handlers: dict[str, Callable[[Mapping[str, str]], list[Note]]] = {
            "Newchannel": self._newchannel,
            "DialBegin": self._dial_begin,
            "DialEnd": self._dial_end,
            "BridgeEnter": self._bridge_enter,
            "BridgeLeave": self._bridge_leave,
            "Hangup": self._hangup,
            "Hold": lambda fields: self._hold(fields, holds=True),
            "Unhold": lambda fields: self._hold(fields, holds=False),
            "BlindTransfer": self._blind_transfer,
            "AttendedTransfer": self._attended_transfer,
            "QueueCallerJoin": self._queue_join,
            "Newexten": self._newexten,
            "DTMFEnd": self._digit,
            "VarSet": self._varset,
            "OriginateResponse": self._originated,
        }
        for call in calls_of(kept):
            self._calls[call.id] = call
            for uid, channel in call.channels.items():
                self._where[uid] = call
                self._entered = max(self._entered, channel.entered)
                if channel.bridge:
                    self._bridges.setdefault(channel.bridge, set()).add(uid)

    @property
    def are_any(self) -> bool:
        """Whether a call is under way."""
        return bool(self._calls)

    def keep(self) -> list[dict[str, Any]]:
        """Return what is known of the calls under way, as JSON can hold it."""
        return [msgspec.to_builtins(call) for call in self._calls.values()]

    def take(self, name: str, fields: Mapping[str, str]) -> list[Note]:
        """Take the next event; return what it means."""
        notes = self._follow(fields, "") + self._follow(fields, "Dest")
        handler = self._handlers.get(name)
        return notes if handler is None else notes + handler(fields)

    def compare(
        self, channels: Sequence[Mapping[str, str]], *, now: datetime, lost_at: datetime
    ) -> list[tuple[Mapping[str, str], list[Note]]]:
        """Compare with the channels there are (CoreShowChannels), after a time without events; return what that means.

        Calls that are gone ended at `lost_at`, for all we know; others began when Asterisk says.
        """
        found: list[tuple[Mapping[str, str], list[Note]]] = []
        there = {uid: fields for fields in channels if (uid := said(fields, "Uniqueid"))}
        for uid in [uid for uid in self._where if uid not in there]:
            call, gone = self._where[uid], {"Uniqueid": uid, "Linkedid": self._where[uid].id}
            call.detail = "It ended while the line to Asterisk was down"
            notes = self._gone(uid)
            found.append((gone, [{**note, "at": lost_at.isoformat()} for note in notes]))
        for uid, fields in sorted(there.items(), key=lambda each: (each[0] != said(each[1], "Linkedid"), each[0])):
            is_new = uid not in self._where
            notes = self._follow(fields, "")
            if is_new:
                began = (now - duration_of(said(fields, "Duration"))).isoformat()
                notes += [{**note, "at": began} for note in self._adopt(uid, fields)]
            self._enter(uid, said(fields, "BridgeId"))
            found.append((fields, notes))
        for call in list(self._calls.values()):
            found.append(({"Linkedid": call.id}, self._talks(call)))
        return [(fields, notes) for fields, notes in found if notes]

    # --- channels, calls, bridges ---

    def _follow(self, fields: Mapping[str, str], prefix: str) -> list[Note]:
        """Note that a channel is called otherwise now, or is part of another call."""
        uid, name, linked = (said(fields, prefix + field) for field in ("Uniqueid", "Channel", "Linkedid"))
        call = self._where.get(uid)
        if call is None:
            return []
        channel = call.channels[uid]
        if name and name != channel.name and not name.endswith(">"):  # <ZOMBIE>, <MASQ>
            self._plan.rename(channel, name)
        return self._move(uid, linked) if linked and linked != call.id else []

    def _move(self, uid: str, linked: str) -> list[Note]:
        old = self._where[uid]
        call = self._calls.setdefault(linked, Call(linked))
        channel = call.channels[uid] = old.channels.pop(uid)
        self._where[uid] = call
        notes = [] if old.channels else self._end(old)
        return notes + self._tell(call, uid, channel, {})

    def _tell(self, call: Call, uid: str, channel: Channel, fields: Mapping[str, str]) -> list[Note]:
        """Say that a call is there, once a channel of it is somebody's."""
        if call.is_told or not channel.role:
            return []
        call.is_told, call.first = True, uid
        note = {"caller": "", "callee": "", "line": ""}
        dialled = "" if channel.is_called else said(fields, "Exten")
        dialled = dialled if any(letter.isdigit() for letter in dialled) else ""
        if channel.role == "outside" and not channel.is_called:
            call.direction = "inbound"
            note = {"caller": said(fields, "CallerIDNum"), "callee": dialled, "line": dialled}
        elif channel.role == "outside":
            call.direction = "outbound"
        else:
            note["caller"] = channel.extension
            if self._plan.is_long(dialled) or self._plan.ours(call.id):
                # what is really called is told by DialBegin: without the prefix for a line out
                call.direction, call.dialled = "outbound", dialled
            else:
                note["callee"] = dialled
        return [self._plan.note(call, "started", direction=call.direction, **note)]

    def _end(self, call: Call) -> list[Note]:
        """Say that a call is over, and what was recorded of it: Asterisk closes the file before it hangs up."""
        self._calls.pop(call.id, None)
        if not call.is_told:
            return []
        is_vain = call.direction == "outbound" and not call.is_answered
        outcome = (call.outcome or "canceled") if is_vain else ""
        notes = [self._plan.note(call, "ended", outcome=outcome, callee=call.dialled, detail=call.detail)]
        files = [*(call.files if call.is_answered else ()), *call.messages]
        return notes + [self._plan.note(call, "recorded", file=path) for path in files]

    def _gone(self, uid: str) -> list[Note]:
        call = self._where.pop(uid)
        channel = call.channels.pop(uid)
        self._leave(uid, channel)
        if not call.channels:
            return self._end(call)
        if channel.role == "phone" and call.is_told and uid != call.first:
            return [self._plan.note(call, "left", leg_id=uid, extension=channel.extension)]
        return []

    def _enter(self, uid: str, bridge: str) -> None:
        call = self._where.get(uid)
        if call is None or call.channels[uid].bridge == bridge:
            return
        channel = call.channels[uid]
        self._leave(uid, channel)
        if bridge:
            self._entered += 1
            channel.bridge, channel.entered = bridge, self._entered
            self._bridges.setdefault(bridge, set()).add(uid)

    def _leave(self, uid: str, channel: Channel) -> None:
        others = self._bridges.get(channel.bridge, set()) - {uid}
        self._bridges[channel.bridge] = others
        if not others:
            del self._bridges[channel.bridge]
        channel.bridge = ""

    def _talks(self, call: Call) -> list[Note]:
        """Say who talks, where that is somebody else than before.

        Talking is to be in a bridge with another: a queue, a menu or a machine that picks up is in none, and who is
        rung first for a call that we asked for talks only once the other side is there.
        """
        bridged = {
            uid: channel for uid, channel in call.channels.items() if len(self._bridges.get(channel.bridge, ())) > 1
        }
        able = {uid: channel for uid, channel in bridged.items() if channel.role == "phone"}
        if call.direction == "inbound":
            able = able or {uid: each for uid, each in bridged.items() if each.role == "outside" and each.is_called}
        elif call.direction == "outbound":
            able = able if any(channel.role == "outside" for channel in bridged.values()) else {}
        else:
            able.pop(call.first, None)
        if not able or not call.is_told:
            return []
        uid = max(able, key=lambda each: able[each].entered)
        if uid == call.talker:
            return []
        call.talker, call.is_answered = uid, True
        able[uid].rings = False
        return [self._plan.note(call, "answered", leg_id=uid, extension=able[uid].extension)]

    # --- events ---

    def _newchannel(self, fields: Mapping[str, str]) -> list[Note]:
        uid = said(fields, "Uniqueid")
        return [] if not uid or uid in self._where else self._add(uid, self._plan.channel(fields), fields)

    def _add(self, uid: str, channel: Channel, fields: Mapping[str, str]) -> list[Note]:
        linked = said(fields, "Linkedid") or uid
        call = self._where[uid] = self._calls.setdefault(linked, Call(linked))
        call.channels[uid] = channel
        return self._tell(call, uid, channel, fields)

    def _adopt(self, uid: str, fields: Mapping[str, str]) -> list[Note]:
        """Take up a channel whose beginning was missed."""
        channel = self._plan.channel(fields)
        notes = self._add(uid, channel, fields)
        call = self._where[uid]
        if uid == call.first:
            return notes
        if channel.role == "outside" and channel.is_called and call.direction != "inbound":
            notes += self._called_out(call, channel, said(fields, "CallerIDNum"), "")
        elif channel.role == "phone" and said(fields, "ChannelStateDesc") == "Ringing":
            notes += self._rings(call, uid, channel)
        return notes

    def _dial_begin(self, fields: Mapping[str, str]) -> list[Note]:
        uid = said(fields, "DestUniqueid")
        call = self._where.get(uid)
        if call is None:
            return []
        channel, number = call.channels[uid], self._plan.number_in(said(fields, "DialString"))
        if channel.role == "phone" and self._plan.is_long(number):
            channel.role = "outside"
        if channel.role == "outside":
            number = number or said(fields, "DestCallerIDNum")
            channel.extension = number
            if call.direction != "inbound":
                shown = said(fields, "CallerIDNum")
                return self._called_out(call, channel, number, shown if self._plan.is_long(shown) else "")
        if not channel.role or (uid == call.first and not said(fields, "Uniqueid")):
            return []  # a step in between, or the phone of a colleague who asked for the call
        return self._rings(call, uid, channel)

    def _called_out(self, call: Call, channel: Channel, number: str, shown: str) -> list[Note]:
        call.direction, call.dialled, call.outcome = "outbound", "", ""
        channel.extension = number
        line = "" if shown.lstrip("+") == number.lstrip("+") else shown
        return [self._plan.note(call, "started", direction="outbound", callee=number, line=line)]

    def _rings(self, call: Call, uid: str, channel: Channel) -> list[Note]:
        if channel.rings:
            return []
        channel.rings = True
        return [self._plan.note(call, "ringing", leg_id=uid, extension=channel.extension)]

    def _dial_end(self, fields: Mapping[str, str]) -> list[Note]:
        uid, status = said(fields, "DestUniqueid"), said(fields, "DialStatus")
        call = self._where.get(uid)
        if call is None:
            return []
        channel = call.channels[uid]
        if channel.role == "outside" and call.direction == "outbound":
            call.outcome = _OUTCOMES.get(status, "")
        if status == "ANSWER" or not channel.rings:
            return []
        channel.rings = False  # a queue says it twice
        return [self._plan.note(call, "left", leg_id=uid, extension=channel.extension, detail=status.lower())]

    def _bridge_enter(self, fields: Mapping[str, str]) -> list[Note]:
        uid, swapped = said(fields, "Uniqueid"), said(fields, "SwapUniqueid")
        if (before := self._where.get(swapped)) is not None:
            self._leave(swapped, before.channels[swapped])
        call = self._where.get(uid)
        if call is None:
            return []
        if said(fields, "BridgeTechnology") != "holding_bridge":  # parked, or an agent who waits
            self._enter(uid, said(fields, "BridgeUniqueid"))
        notes = []
        for other in sorted(self._bridges.get(call.channels[uid].bridge, ())):
            if self._where[other] is not call:
                notes += self._move(other, call.id)
        return notes + self._talks(call)

    def _bridge_leave(self, fields: Mapping[str, str]) -> list[Note]:
        uid = said(fields, "Uniqueid")
        call = self._where.get(uid)
        if call is not None and call.channels[uid].bridge == said(fields, "BridgeUniqueid"):
            self._leave(uid, call.channels[uid])
        return []

    def _hangup(self, fields: Mapping[str, str]) -> list[Note]:
        uid = said(fields, "Uniqueid")
        call = self._where.get(uid)
        if call is None:
            return []
        call.detail = call.detail if said(fields, "Cause") in ("", "0") else said(fields, "Cause-txt")
        return self._gone(uid)

    def _hold(self, fields: Mapping[str, str], *, holds: bool) -> list[Note]:
        uid = said(fields, "Uniqueid")
        call = self._where.get(uid)
        if call is None or call.channels[uid].role != "phone" or call.channels[uid].holds == holds:
            return []
        channel = call.channels[uid]
        channel.holds = holds
        return [self._plan.note(call, "held" if holds else "resumed", leg_id=uid, extension=channel.extension)]

    def _blind_transfer(self, fields: Mapping[str, str]) -> list[Note]:
        call = self._where.get(said(fields, "TransfereeUniqueid")) or self._where.get(
            said(fields, "TransfererUniqueid")
        )
        to = said(fields, "Extension")
        if call is None or said(fields, "Result") not in ("Success", ""):
            return []
        whom = {"detail": to} if self._plan.is_long(to) else {"extension": to}
        return [self._plan.note(call, "transferred", leg_id=said(fields, "TransfererUniqueid"), **whom)]

    def _attended_transfer(self, fields: Mapping[str, str]) -> list[Note]:
        to = self._plan.extension(said(fields, "TransferTargetChannel"), said(fields, "TransferTargetCallerIDNum"))
        return self._transferred(fields, "OrigTransferer", to)

    def _transferred(self, fields: Mapping[str, str], by: str, to: str) -> list[Note]:
        leg_id = said(fields, f"{by}Uniqueid")
        call = self._where.get(said(fields, "TransfereeUniqueid")) or self._where.get(leg_id)
        if call is None or not call.is_told or said(fields, "Result") not in ("Success", ""):
            return []
        whom = {"detail": to} if self._plan.is_long(to) else {"extension": to}
        return [self._plan.note(call, "transferred", leg_id=leg_id, **whom)]

    def _queue_join(self, fields: Mapping[str, str]) -> list[Note]:
        call = self._where.get(said(fields, "Uniqueid"))
        return (
            [] if call is None or not call.is_told else [self._plan.note(call, "queued", detail=said(fields, "Queue"))]
        )

    def _newexten(self, fields: Mapping[str, str]) -> list[Note]:
        if said(fields, "Application").lower() not in _MENUS:
            return []
        call, menu = self._where.get(said(fields, "Uniqueid")), said(fields, "Context")
        if call is None or not call.awaits_somebody or call.menu == menu:
            return []
        call.menu = menu
        return [self._plan.note(call, "menu", detail=menu)]

    def _digit(self, fields: Mapping[str, str]) -> list[Note]:
        uid = said(fields, "Uniqueid")
        call = self._where.get(uid)
        if call is None or uid != call.first or not call.awaits_somebody or call.digits >= _MOST_DIGITS:
            return []
        if said(fields, "Direction") != "Received":
            return []
        call.digits += 1
        return [self._plan.note(call, "menu", detail=said(fields, "Digit"))]

    def _varset(self, fields: Mapping[str, str]) -> list[Note]:
        call, name, path = self._where.get(said(fields, "Uniqueid")), said(fields, "Variable"), said(fields, "Value")
        if call is None or not path:
            return []
        if name == "MIXMONITOR_FILENAME" and path not in call.files and len(call.files) < _MOST_FILES:
            call.files.append(path)
        if name not in _MESSAGES or not call.awaits_somebody or path in call.messages[:_MOST_FILES]:
            return []
        call.messages = [*call.messages, path][:_MOST_FILES]
        return [self._plan.note(call, "voicemail")]

    def _originated(self, fields: Mapping[str, str]) -> list[Note]:
        """Read what became of a call we asked for. A phone that cannot be rung at all gets no channel."""
        uid, reason = said(fields, "Uniqueid"), said(fields, "Reason")
        if said(fields, "Response") != "Failure" or not self._plan.ours(uid):
            return []
        outcome = "canceled" if reason in _RANG_OUT else "failed"
        phone = self._plan.extension(said(fields, "Channel"), "")
        detail = f"{phone} did not pick up" if reason in _RANG_OUT else f"{phone} could not be rung, or declined"
        call = self._where.get(uid)
        if call is not None:
            call.outcome, call.detail = outcome, detail
            return []
        call = Call(uid)
        return [
            self._plan.note(call, "started", direction="outbound", caller=phone, callee=said(fields, "Exten")),
            self._plan.note(call, "ended", outcome=outcome, detail=detail),
        ]
