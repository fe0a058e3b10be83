"""What the server says on the websocket (CONTRACT, Websocket): one model a message, for clients and for asyncapi.json.

Where the contract writes a list after the type, as in `slots [...]`, the list stands under the type's own name:
`{"type": "slots", "slots": [...]}`. A field with `?` in the contract is left out when there is nothing to say;
every other one is always there, and null where nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...sfu.types import Level, Reason


def _nothing(value: object) -> bool:
    return value is None


class ServerMessage(BaseModel):
    """A message or a part of one."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    def encode(self) -> str:
        """The text that goes out."""
        return self.model_dump_json()


class WelcomeRoom(ServerMessage):
    """The room, as far as somebody who waits may know it."""

    title: str | None
    care_unit: Mapping[str, Any]
    language: str
    starts_at: str
    time_zone: Annotated[str, Field(description="IANA name: in it people are shown times")]
    form: Literal["video", "phone", "chat"]
    training: Annotated[bool, Field(description="an exercise: it counts in no statistics")]
    functions: Annotated[
        list[str],
        Field(description="what is on: `chat screen sms eid feedback link_join`; what isn't listed is refused"),
    ]
    texts: Annotated[
        Mapping[str, Mapping[str, str]] | None,
        Field(
            exclude_if=_nothing,
            description="to patients and whom they bring, until they are let in: what the care unit wants them to know,"
            " by subject (`fee preparation physical_visit`) and language (`sv en fi ar`)",
        ),
    ] = None


class WelcomeParticipant(ServerMessage):
    """Oneself."""

    id: str
    role: str
    host: bool
    display_name: str
    state: str


class WelcomeSaid(ServerMessage):
    """The answer to `hello`; nothing of who is inside."""

    type: Literal["welcome"] = "welcome"
    room: WelcomeRoom
    participant: WelcomeParticipant
    slots: Mapping[str, int]
    send: Mapping[str, Any]
    media: Literal["kept", "new"]
    device_class: str


class IceServer(ServerMessage):
    """As `RTCIceServer` of W3C WebRTC."""

    urls: list[str]
    username: Annotated[str | None, Field(exclude_if=_nothing)] = None
    credential: Annotated[str | None, Field(exclude_if=_nothing)] = None


class Waiting(ServerMessage):
    """One waits; `staff_present` says whether a host is connected."""

    type: Literal["waiting"] = "waiting"
    since: str
    staff_present: bool


class Identifying(ServerMessage):
    """One sees `host`, and only them: hold up the document."""

    type: Literal["identifying"] = "identifying"
    host: str
    ice_servers: list[IceServer]


class Held(ServerMessage):
    """A host asked one to wait a moment more."""

    type: Literal["held"] = "held"


class Admitted(ServerMessage):
    """One is in; said again with newer `ice_servers` where a visit outlasts their credential."""

    type: Literal["admitted"] = "admitted"
    ice_servers: list[IceServer]


class Denied(ServerMessage):
    """A host said no; the websocket stays."""

    type: Literal["denied"] = "denied"
    reason: str | None


class Removed(ServerMessage):
    """A host sent one out; a close with 4002 follows."""

    type: Literal["removed"] = "removed"
    reason: str | None


class Ended(ServerMessage):
    """The visit is over; a close with 4002 follows."""

    type: Literal["ended"] = "ended"


class Answer(ServerMessage):
    """The answer to the `offer` or `prepare` with that `id`."""

    type: Literal["answer"] = "answer"
    id: int
    sdp: str


class Slot(ServerMessage):
    """Whom a slot shows, named by the client's own mid."""

    mid: str
    participant: str
    source: Literal["microphone", "camera", "screen"]
    paused: bool


class Slots(ServerMessage):
    """All slots that show somebody."""

    type: Literal["slots"] = "slots"
    slots: list[Slot]


class Identity(ServerMessage):
    """How somebody was identified."""

    method: str
    level: str
    by: Mapping[str, str]
    at: str


class MutedSources(ServerMessage):
    """What of somebody is off."""

    microphone: bool
    camera: bool


class ParticipantShown(ServerMessage):
    """Somebody admitted, as everyone admitted sees them."""

    id: str
    role: str
    host: bool
    display_name: str
    identity: Identity | None
    connection: Literal["none", "connecting", "connected", "lost"]
    muted: MutedSources
    hand: bool


class Participants(ServerMessage):
    """Everyone admitted, oneself too."""

    type: Literal["participants"] = "participants"
    participants: list[ParticipantShown]


class Speaking(ServerMessage):
    """Who speaks now, loudest first."""

    type: Literal["speaking"] = "speaking"
    speaking: list[str]


class Queued(ServerMessage):
    """One arrival: somebody who waits, or is being identified."""

    session: str
    participant: str
    role: str
    display_name: str
    since: str
    state: Annotated[Literal["waiting", "identifying"], Field(description="`identifying`: a host sees them now")]
    identity: Identity | None
    expected: Annotated[
        bool | None,
        Field(exclude_if=_nothing, description="false: an eID of somebody else than the portal expected was shown"),
    ] = None
    identified_as: Annotated[
        str | None, Field(exclude_if=_nothing, description="whose eID it is, by the name that it gives")
    ] = None
    connection: Literal["none", "connecting", "connected", "lost"]


class Queue(ServerMessage):
    """To hosts: everyone who waits or is being identified."""

    type: Literal["queue"] = "queue"
    queue: list[Queued]


class Send(ServerMessage):
    """How to send from now on: `microphone`, `camera`, `screen` as in `welcome.send`, only what changes."""

    model_config = ConfigDict(frozen=True, extra="allow", json_schema_serialization_defaults_required=True)
    type: Literal["send"] = "send"


class MuteOrder(ServerMessage):
    """A host turned this source off; nothing of it is forwarded until one says `muted` with false."""

    type: Literal["mute"] = "mute"
    source: Literal["microphone", "camera", "screen"]
    by: str


class Chat(ServerMessage):
    """A line of chat; `at` a time by RFC 3339."""

    type: Literal["chat"] = "chat"
    seq: int
    id: str
    participant: str
    text: str
    at: str
    to: Annotated[str | None, Field(exclude_if=_nothing)] = None


class Typing(ServerMessage):
    """The line somebody is writing, whole."""

    type: Literal["typing"] = "typing"
    participant: str
    text: str


class Hand(ServerMessage):
    """Somebody's hand is up, or no longer."""

    type: Literal["hand"] = "hand"
    participant: str
    raised: bool


class Quality(ServerMessage):
    """How well somebody is seen and heard; about oneself: how well one sees, hears, and is seen and heard.

    `reason` says whose network or phone it is: `your_network`, `their_network`, `your_phone`, `their_phone`; empty
    where all is well.
    """

    type: Literal["quality"] = "quality"
    participant: str
    level: Level
    reason: Reason


class Fallback(ServerMessage):
    """To hosts: video doesn't work for this person."""

    type: Literal["fallback"] = "fallback"
    participant: str
    phone_available: bool


class Pong(ServerMessage):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: int | str


class Stopping(ServerMessage):
    """This server is about to end, at `at` or when nothing goes on any more: visits go on with the next in seconds."""

    type: Literal["stopping"] = "stopping"
    at: str


class Error(ServerMessage):
    """Something was refused and nothing has changed; `re` the `id` or `type` that it answers."""

    type: Literal["error"] = "error"
    code: str
    detail: str
    re: Annotated[int | str | None, Field(exclude_if=_nothing)] = None


Status = Waiting | Identifying | Held | Admitted | Denied | Removed | Ended

SAID: tuple[type[ServerMessage], ...] = (
    WelcomeSaid, Waiting, Identifying, Held, Admitted, Denied, Removed, Ended, Answer, Slots, Participants, Speaking,
    Queue, Send, MuteOrder, Chat, Typing, Hand, Quality, Fallback, Pong, Stopping, Error,
)  # fmt: skip
