"""What `Visits` takes and gives: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from .rules import RoomState, State

Form = Literal["video", "phone", "chat"]
Connection = Literal["none", "connecting", "connected", "lost"]


class Role(StrEnum):
    """Who somebody is in a visit; only caregivers can be hosts."""

    PATIENT = "patient"
    RELATIVE = "relative"
    INTERPRETER = "interpreter"
    CAREGIVER = "caregiver"
    OTHER = "other"


class Verb(StrEnum):
    """What a host or a portal can do to somebody."""

    IDENTIFY = "identify"
    ADMIT = "admit"
    HOLD = "hold"
    DENY = "deny"
    REMOVE = "remove"
    MUTE = "mute"


class Function(StrEnum):
    """What a care unit can have on or off (CONTRACT, HTTP)."""

    CHAT = "chat"
    SCREEN = "screen"
    SMS = "sms"
    EID = "eid"
    FEEDBACK = "feedback"
    LINK_JOIN = "link_join"


@dataclass(frozen=True)
class Actor:
    """Who does something: a person named by the portal's `Vardrum-Actor`, or a host by their own session.

    Attributes:
        id: the portal's id of the person, or the host's participant id.
        participant: the host's participant id where a session acts, else None.
    """

    id: str
    name: str
    care_unit: str | None = None
    participant: str | None = None


@dataclass(frozen=True)
class Identity:
    """How somebody was identified.

    Attributes:
        method: `document`, `known_in_person`, or the name of an eID.
        level: `document`, or the eID's `loa1` to `loa4`.
        by: the actor, as `{"id", "name", "care_unit"?}`; for an eID the portal or the provider.
        expected: False when another subject than `expected_subject` showed an eID; None when that doesn't apply.
        name: whom the eID belongs to, as it says; hosts compare it with whom they expect.
    """

    method: str
    level: str
    by: Mapping[str, str]
    at: datetime
    expected: bool | None = None
    name: str | None = None


@dataclass(frozen=True)
class OpenedSession:
    """The answer of `POST /v1/sessions`; `token` and `resume` are known only to whoever gets this.

    Attributes:
        needs_eid: whether an eID would help them in: the room demands an identity of their role that is still missing.
    """

    id: str
    tenant: str
    token: str
    resume: str
    room: str
    participant: str
    expires_at: datetime
    care_unit: CareUnit
    title: str | None
    language: str
    display_name: str
    form: Form
    needs_eid: bool = False


@dataclass(frozen=True)
class Session:
    """One arrival, as of now.

    Attributes:
        state: of this arrival; a second arrival has its own.
        current: whether the participant's state is this arrival's.
        admitted_browser: whether it may come back without waiting.
        reason: why it was denied or removed.
        since: when it began to be in `state`.
    """

    id: str
    tenant: str
    room: str
    room_state: RoomState
    participant: str
    role: Role
    host: bool
    display_name: str
    state: State
    current: bool
    admitted_browser: bool
    identity: Identity | None
    reason: str | None
    since: datetime


@dataclass(frozen=True)
class Arrival:
    """One browser in a room snapshot: everyone who has said `hello` and isn't closed or replaced.

    Attributes:
        identifying_host: participant id of the host who looks at the document, while `identifying`.
        connection: as last written down with `Visits.connection`.
    """

    session: str
    participant: str
    state: State
    current: bool
    since: datetime
    identity: Identity | None
    identifying_host: str | None
    reason: str | None
    connection: Connection


@dataclass(frozen=True)
class Participant:
    """Somebody invited.

    Attributes:
        phone, email: sealed; `contacts.Contacts` opens them for whoever may know.
        session: the current arrival, None while `invited`.
        since: when they began to be in `state`.
    """

    id: str
    room: str
    role: Role
    host: bool
    display_name: str
    sign_language: bool
    external_ref: str | None
    phone: bytes | None
    email: bytes | None
    language: str | None
    notify: bool
    state: State
    connection: Connection
    identity: Identity | None
    session: str | None
    since: datetime
    created_at: datetime
    version: int


@dataclass(frozen=True)
class CareUnit:
    """Where care is given."""

    name: str
    hsa_id: str | None = None
    phone: str | None = None

    @property
    def key(self) -> str:
        """What it is known by in this installation."""
        return self.hsa_id or self.name


@dataclass(frozen=True)
class UnitSettings:
    """What a care unit has chosen for its visits.

    Attributes:
        functions: those that are on.
        phone: the unit's own number, for visits that were booked without one.
        texts: by subject (`fee`, `preparation`, `physical_visit`) and then by language (`sv en fi ar`).
        neutral_name: what the unit is called in messages, where its name would tell what somebody is treated for.
        version: 0 for a unit that has chosen nothing.
    """

    functions: frozenset[Function] = frozenset(Function)
    phone: str | None = None
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    neutral_name: str | None = None
    version: int = 0

    def on(self, form: str) -> frozenset[Function]:
        """What is on in a visit of this form: one without pictures has no screen, one by chat has chat."""
        if form == "video":
            return self.functions
        return (self.functions - {Function.SCREEN}) | ({Function.CHAT} if form == "chat" else set())


@dataclass(frozen=True)
class RoomSnapshot:
    """A room at one moment, read in one transaction.

    Attributes:
        unit: what its care unit has chosen; only `Visits.snapshot` reads it.
        participants: everyone invited, in order of invitation.
        arrivals: everyone who has said `hello`, second arrivals too, in order of arrival.
    """

    id: str
    tenant: str
    state: RoomState
    form: str
    training: bool
    external_ref: str | None
    patient_ref: str | None
    title: str | None
    care_unit: CareUnit
    starts_at: datetime
    ends_at: datetime
    opens_at: datetime
    closes_at: datetime
    time_zone: str
    language: str
    max_participants: int
    locked: bool
    identity_policy: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    version: int
    participants: tuple[Participant, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    unit: UnitSettings = field(default_factory=UnitSettings)

    @property
    def functions(self) -> frozenset[Function]:
        """What is on in this visit."""
        return self.unit.on(self.form)


@dataclass(frozen=True)
class Invited:
    """A participant and their link, which is told only here."""

    participant: Participant
    join_url: str | None


@dataclass(frozen=True)
class EmbedToken:
    """What a portal opens a session with, once, within a minute."""

    embed_token: str
    expires_at: datetime


@dataclass(frozen=True)
class Vouched:
    """An identity that a portal vouches for: it logged this person in."""

    method: str
    level: str
    subject: str
    name: str
