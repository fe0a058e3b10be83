"""What memory knows of one arrival: everything that nobody writes down and that is gone after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ...sfu.types import SlotView, Wish
from ..visits.rules import State
from .chat import Hearing
from .client import Client
from .client_messages import Wishes
from .presence import Presence
from .server_messages import IceServer, Quality
from .troubles import Troubles


@dataclass
class Relay:
    """What one arrival was told of the TURN server.

    Attributes:
        user: what the TURN server knows it by.
        servers: with the newest credential.
        renew_at: when it gets another, seconds, monotonic.
    """

    user: str
    servers: list[IceServer]
    renew_at: float


@dataclass
class Present:
    """One arrival of a room, with or without a websocket.

    Attributes:
        session: the arrival's id.
        participant: whose arrival it is.
        key: the name that media knows it by: the participant's id, or the session's where two arrivals of one
            participant have media at once (a second browser is being identified while the first is inside).
        written: the connection as it was last written down.
        state: the arrival's, at the last snapshot; None before.
        held: it waits because a host put it on hold.
        muted: what is off, as said by itself or by a host.
        muted_by: which of it a host turned off, and who that was.
        wishes: what it wants to see, as last said.
        wished: the same, as media was told last.
        slots: whom its slots show, by media keys.
        quality: how well it sees and hears each participant, itself included, as media said last.
        troubles: its own with media.
        waits_since: when it began to wait for a host, also while it is being identified; None on hold.
        expected: since when its first media is awaited, seconds, monotonic.
        relay: what it was told of the TURN server.
        prepared: the node's peer was made while this arrival waits, and doesn't count yet: a network that lets no
            media through makes nobody lost who only waits.
        called: it is written down that this person needs to be phoned, and hosts have been told.
    """

    session: str
    participant: str
    key: str
    presence: Presence
    written: bool = False
    client: Client | None = None
    state: State | None = None
    held: bool = False
    muted: dict[str, bool] = field(default_factory=lambda: {"microphone": False, "camera": False})
    muted_by: dict[str, str] = field(default_factory=dict)
    hand: bool = False
    wishes: Wishes | None = None
    wished: tuple[list[Wish], str | None] | None = None
    hearing: Hearing = field(default_factory=Hearing)
    slots: Sequence[SlotView] = ()
    quality: dict[str, Quality] = field(default_factory=dict)
    troubles: Troubles = field(default_factory=Troubles)
    waits_since: datetime | None = None
    expected: float | None = None
    relay: Relay | None = None
    prepared: bool = False
    called: bool = False
