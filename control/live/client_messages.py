"""What a client may say on the websocket (CONTRACT, Websocket): one model a message, nothing beyond it accepted."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ...sfu.types import DeviceStats, Limitation

# An offer has 30-60 kB, so 256 kB is room enough; everything longer is refused before it is parsed.
MESSAGE_LIMIT = 256 * 1024
# Frames in one report: 16 pictures of 60 frames/s for a minute are 57,600.
FRAMES_LIMIT = 100_000
# The largest integer that every JSON reader keeps exact (RFC 8259, section 6).
SAFE_INTEGER = 2**53 - 1

Id = Annotated[str, Field(min_length=1, max_length=64)]
Source = Literal["microphone", "camera", "screen"]


class ClientMessage(BaseModel):
    """Strict: `"1"` is no integer, an unknown field is an error, as is NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DeviceSaid(ClientMessage):
    """The device, as far as its browser tells; memory in GiB, `network` an effective connection type."""

    memory: float | None = Field(default=None, ge=0, le=65_536)
    cores: int | None = Field(default=None, ge=0, le=65_536)
    mobile: bool | None = None
    network: str | None = Field(default=None, max_length=32)
    save_data: bool | None = None
    efficient: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=32)


class Hello(ClientMessage):
    """The first message, with the token of `POST /v1/sessions`."""

    type: Literal["hello"]
    token: str = Field(min_length=1, max_length=512)
    device: DeviceSaid
    last_chat: int | None = Field(default=None, ge=0, le=SAFE_INTEGER)


class Ping(ClientMessage):
    """Answered by `pong` with the same `id`."""

    type: Literal["ping"]
    id: int | Id

    @model_validator(mode="after")
    def _bounded(self) -> Ping:
        if isinstance(self.id, int) and abs(self.id) > SAFE_INTEGER:
            raise ValueError("id is beyond 2^53")
        return self


class OfferSaid(ClientMessage):
    """An SDP offer; `restart` an ICE restart of the peer one has, else a new peer that replaces it."""

    type: Literal["offer"]
    id: int = Field(ge=0, le=SAFE_INTEGER)
    sdp: str = Field(max_length=MESSAGE_LIMIT)
    restart: bool


class PrepareSaid(ClientMessage):
    """As `offer`, of somebody who waits: a peer without media, which is theirs once they are let in."""

    type: Literal["prepare"]
    id: int = Field(ge=0, le=SAFE_INTEGER)
    sdp: str = Field(max_length=MESSAGE_LIMIT)


class WishSaid(ClientMessage):
    """A picture on screen; `max_height` in pixels, its shorter side."""

    participant: Id
    source: Literal["camera", "screen"]
    max_height: int = Field(ge=1, le=16_384)


class Wishes(ClientMessage):
    """Every picture that is on screen now; what isn't listed isn't sent."""

    type: Literal["wishes"]
    # A room has at most 16 people, with a camera each, and one screen.
    show: list[WishSaid] = Field(max_length=64)
    pin: Id | None = None


class Muted(ClientMessage):
    """One's own microphone or camera was turned off or on."""

    type: Literal["muted"]
    source: Literal["microphone", "camera"]
    muted: bool


class ChatSaid(ClientMessage):
    """A line of chat; said twice with the same `id`, it counts once."""

    type: Literal["chat"]
    id: Id
    text: str = Field(min_length=1, max_length=4000)
    to: Id | None = None


class TypingSaid(ClientMessage):
    """The whole line as it is now, empty when it has been sent or deleted."""

    type: Literal["typing"]
    text: str = Field(max_length=4000)


class Sharing(ClientMessage):
    """One's screen is shown from now on, or no longer."""

    type: Literal["sharing"]
    on: bool


class Stats(ClientMessage):
    """What the page has measured since its former report, some 2 s ago; meaning and units as in `sfu.types`."""

    type: Literal["stats"]
    seconds: float = Field(ge=0, le=60)
    decoded: int = Field(default=0, ge=0, le=FRAMES_LIMIT)
    dropped: int = Field(default=0, ge=0, le=FRAMES_LIMIT)
    decode_ms: float | None = Field(default=None, ge=0, le=60_000)
    limitation: Limitation | None = None
    battery: float | None = Field(default=None, ge=0, le=1)
    pictures: int = Field(default=0, ge=0, le=64)
    height: int = Field(default=0, ge=0, le=16_384)
    codecs: list[Annotated[str, Field(min_length=1, max_length=32)]] = Field(default_factory=list, max_length=4)

    def figures(self) -> DeviceStats:
        """The same in media's words."""
        return DeviceStats(
            seconds=self.seconds,
            decoded=self.decoded,
            dropped=self.dropped,
            decode_ms=self.decode_ms,
            limitation=self.limitation,
            battery=self.battery,
            pictures=self.pictures,
            height=self.height,
            codecs=tuple(self.codecs),
        )


class HandSaid(ClientMessage):
    """One's hand is up, or no longer."""

    type: Literal["hand"]
    raised: bool


class Help(ClientMessage):
    """Video doesn't work for this person: they ask to be phoned."""

    type: Literal["help"]
    kind: Literal["phone"]


class Leave(ClientMessage):
    """The visit is over for this person."""

    type: Literal["leave"]


class Decision(ClientMessage):
    """A host decides about a participant; `session` picks one of several arrivals. Same rules as HTTP."""

    type: Literal["identify", "admit", "hold", "deny", "remove", "mute"]
    participant: Id
    session: Id | None = None


class IdentitySaid(ClientMessage):
    """A host records how somebody was identified."""

    type: Literal["identity"]
    participant: Id
    session: Id | None = None
    method: Literal["document", "known_in_person"]
    document_type: str | None = Field(default=None, min_length=1, max_length=64)


class RoomDecision(ClientMessage):
    """A host decides about the room."""

    type: Literal["lock", "unlock", "end"]


AfterHello = (
    Ping
    | OfferSaid
    | PrepareSaid
    | Wishes
    | Muted
    | ChatSaid
    | TypingSaid
    | Sharing
    | Stats
    | HandSaid
    | Help
    | Leave
    | Decision
    | IdentitySaid
    | RoomDecision
)
Said = Hello | AfterHello

READER: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="type")])


class Unreadable(Exception):
    """A message that fits no schema; nothing has changed.

    Attributes:
        code: `bad-message` or `unknown-type`.
        detail: what was expected, for the developer of the page; holds nothing of what was said.
        re: the `id` or `type` that the message had, where it had one.
    """

    def __init__(self, code: str, detail: str, re: str | int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.re = re


def read(text: str) -> Said:
    """The message that `text` is.

    Raises:
        Unreadable: for whatever else, however it is broken.
    """
    try:
        return READER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Unreadable("bad-message", "not JSON (RFC 8259)") from None
        if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
            raise Unreadable("unknown-type", "`type` is none that this server knows", about(text)) from None
        # The first part of the location is the tag itself, which `re` or the code already says.
        where = "/".join(str(part) for part in first["loc"][1:])[:200]
        detail = f"/{where}: {first['msg']}" if where else str(first["msg"])
        raise Unreadable("bad-message", detail[:300], about(text)) from None
    except (RecursionError, ValueError) as error:
        raise Unreadable("bad-message", "not a JSON object that can be read") from error


def about(text: str) -> str | int | None:
    """What an `error` answers: the message's `id` where it has a short one, else its `type`."""
    try:
        message: Any = json.loads(text)
    except (RecursionError, ValueError):
        return None
    if not isinstance(message, dict):
        return None
    for key in ("id", "type"):
        value = message.get(key)
        if isinstance(value, str) and 0 < len(value) <= 64:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= SAFE_INTEGER:
            return value
    return None
