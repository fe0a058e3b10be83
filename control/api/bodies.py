"""What requests carry and what answers show: the words of the contract as pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ..keyring import Unreadable
from ..visits.contacts import Contacts, Kind
from ..visits.fallback import Mode, Outcome
from ..visits.identity import Demand
from ..visits.invitations import NewParticipant
from ..visits.rules import RoomState, State
from ..visits.values import Connection, Form, Identity, Participant, Role, RoomSnapshot
from .fields import (
    MISSING,
    Body,
    Email,
    Instant,
    Language,
    Name,
    ParticipantId,
    Phone,
    Reason,
    Secret,
    SessionId,
    Shown,
    TimeZone,
    View,
)

Policy = dict[Role, Demand]
MaxParticipants = Annotated[int, Field(ge=2, le=16)]


class _NotNull:
    """For a merge patch's field that can be changed, or not mentioned, but not taken away."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kept: list[JsonSchemaValue] = [one for one in handler(schema)["anyOf"] if one != {"type": "null"}]
        return kept[0]

    @staticmethod
    def _check(value: Any) -> Any:
        if value is None:
            raise ValueError("can't be taken away")
        return value


NotNull = _NotNull()


def _host_is_caregiver(host: bool, role: Role) -> None:
    if host and role is not Role.CAREGIVER:
        raise ValueError("only a caregiver can be a host")


class CareUnitBody(Body):
    name: Name
    hsa_id: Name | None = None
    phone: Phone | None = None


class CareUnitPatch(Body):
    """A merge patch (RFC 7396) of a care unit."""

    name: Annotated[Name | None, NotNull] = None
    hsa_id: Name | None = None
    phone: Phone | None = None


class ParticipantBody(Body):
    """Somebody to be invited."""

    role: Role
    display_name: Name
    host: bool = False
    sign_language: bool = False
    external_ref: Name | None = None
    phone: Phone | None = None
    email: Email | None = None
    language: Language | None = None
    notify: bool = False
    expected_subject: Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _host_is_caregiver(self.host, self.role)
        return self

    def new(self) -> NewParticipant:
        return NewParticipant(**{name: getattr(self, name) for name in type(self).model_fields})


class RoomBody(Body):
    """A visit to be booked."""

    care_unit: CareUnitBody
    starts_at: Instant
    ends_at: Instant
    form: Form = "video"
    training: bool = False
    external_ref: Name | None = None
    patient_ref: Name | None = None
    title: Name | None = None
    time_zone: TimeZone = "Europe/Stockholm"
    language: Language = "sv"
    max_participants: MaxParticipants = 8
    identity_policy: Policy = Field(default_factory=dict)
    participants: Annotated[list[ParticipantBody], Field(max_length=32)] = Field(default_factory=list)


class RoomPatch(Body):
    """A merge patch (RFC 7396) of a room: null takes an optional field away."""

    care_unit: Annotated[CareUnitPatch | None, NotNull] = None
    starts_at: Annotated[Instant | None, NotNull] = None
    ends_at: Annotated[Instant | None, NotNull] = None
    form: Annotated[Form | None, NotNull] = None
    training: Annotated[bool | None, NotNull] = None
    external_ref: Name | None = None
    patient_ref: Name | None = None
    title: Name | None = None
    time_zone: Annotated[TimeZone | None, NotNull] = None
    language: Annotated[Language | None, NotNull] = None
    max_participants: Annotated[MaxParticipants | None, NotNull] = None
    identity_policy: Annotated[dict[Role, Demand | None] | None, NotNull] = None


class ParticipantPatch(Body):
    """A merge patch (RFC 7396) of a participant: null takes an optional field away."""

    role: Annotated[Role | None, NotNull] = None
    host: Annotated[bool | None, NotNull] = None
    display_name: Annotated[Name | None, NotNull] = None
    sign_language: Annotated[bool | None, NotNull] = None
    external_ref: Name | None = None
    phone: Phone | None = None
    email: Email | None = None
    language: Language | None = None
    notify: Annotated[bool | None, NotNull] = None
    expected_subject: Name | None = None


class ActBody(Body):
    """What goes with admitting, holding, denying, removing and muting; all of it may be missing."""

    reason: Reason | None = None
    session: SessionId | None = None


class IdentifyBody(ActBody):
    host: ParticipantId | None = None


class IdentityBody(Body):
    """How a host knows who it is."""

    method: Literal["document", "known_in_person"]
    document_type: Name | None = None
    session: SessionId | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.document_type is not None and self.method != "document":
            raise ValueError("document_type belongs to the method document")
        return self


class FallbackBody(Body):
    """By what the visit went on when video failed, and how that went."""

    mode: Mode
    outcome: Annotated[
        Outcome,
        Field(
            description="`completed`: the visit was held that way; `resumed`: it went on by video; `no_answer`: nobody "
            "was reached; `rebooked`: a new time was agreed"
        ),
    ]


class VouchedIdentity(Body):
    """An eID by which the portal has logged somebody in."""

    method: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    level: Annotated[str, Field(pattern=r"^loa[1-4]$")]
    subject: Name
    name: Name

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method in ("document", "known_in_person"):
            raise ValueError("method must be an eID; a host records documents")
        return self


class VouchBody(Body):
    identity: VouchedIdentity | None = None


_SAID: JsonDict = {"type": "string"}
_NOT: JsonDict = {"type": "null"}


class SessionBody(Body):
    """One secret; with an embed_token also the resume secret of a browser that has been here before, if it has one."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["invite"], "properties": {"invite": _SAID, "embed_token": _NOT, "resume": _NOT}},
                {"required": ["embed_token"], "properties": {"invite": _NOT, "embed_token": _SAID}},
                {"required": ["resume"], "properties": {"invite": _NOT, "embed_token": _NOT, "resume": _SAID}},
            ]
        }
    )

    invite: Secret | None = None
    embed_token: Secret | None = None
    resume: Secret | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = {name for name in ("invite", "embed_token", "resume") if getattr(self, name) is not None}
        if len(given) != 1 and given != {"embed_token", "resume"}:
            raise ValueError("expected one of invite, embed_token and resume, or an embed_token with a resume")
        return self


class LinkBody(Body):
    """Nothing is needed."""


class CareUnitView(View):
    name: str
    hsa_id: str | None = MISSING
    phone: str | None = MISSING


class ActorView(View):
    id: str
    name: str
    care_unit: str | None = MISSING


class IdentityView(View):
    method: str
    level: str
    by: ActorView
    at: Shown

    @classmethod
    def of(cls, identity: Identity) -> IdentityView:
        return cls(method=identity.method, level=identity.level, by=ActorView(**identity.by), at=identity.at)


def _opened(contacts: Contacts | None, participant: str, kind: Kind, sealed: bytes | None) -> str | None:
    try:
        return None if contacts is None else contacts.open(participant, kind, sealed)
    except Unreadable:
        # The rest of the answer is worth having; whoever asks for the number itself is told why there is none.
        return None


class ParticipantView(View):
    """Somebody invited; `join_url` only where a link was just made."""

    id: str
    room: str
    role: Role
    host: bool
    display_name: str
    sign_language: bool
    external_ref: str | None = MISSING
    phone: str | None = MISSING
    email: str | None = MISSING
    language: str | None = MISSING
    notify: bool
    state: State
    connection: Connection
    identity: IdentityView | None = None
    join_url: str | None = MISSING

    @classmethod
    def of(cls, one: Participant, join_url: str | None = None, *, contact: Contacts | None) -> ParticipantView:
        """`contact` None leaves out how to reach them: a host reveals that by a call of its own, which is audited."""
        return cls(
            id=one.id,
            room=one.room,
            role=one.role,
            host=one.host,
            display_name=one.display_name,
            sign_language=one.sign_language,
            external_ref=one.external_ref,
            phone=_opened(contact, one.id, "phone", one.phone),
            email=_opened(contact, one.id, "email", one.email),
            language=one.language,
            notify=one.notify,
            state=one.state,
            connection=one.connection,
            identity=None if one.identity is None else IdentityView.of(one.identity),
            join_url=join_url,
        )


class RoomView(View):
    """A visit."""

    id: str
    state: RoomState
    form: Form
    training: bool
    external_ref: str | None = MISSING
    patient_ref: str | None = MISSING
    title: str | None = MISSING
    care_unit: CareUnitView
    starts_at: Shown
    ends_at: Shown
    opens_at: Shown
    closes_at: Shown
    time_zone: str
    language: str
    max_participants: int
    locked: bool
    identity_policy: Policy
    participants: list[ParticipantView]
    created_at: Shown
    updated_at: Shown

    @classmethod
    def of(
        cls, room: RoomSnapshot, links: dict[str, str | None] | None = None, *, contact: Contacts | None
    ) -> RoomView:
        links = links or {}
        people = [ParticipantView.of(one, links.get(one.id), contact=contact) for one in room.participants]
        same = ("id", "state", "form", "training", "external_ref", "patient_ref", "title", "starts_at", "ends_at")
        also = ("opens_at", "closes_at", "time_zone", "language", "max_participants", "locked", "created_at")
        return cls(
            **{name: getattr(room, name) for name in (*same, *also, "updated_at")},
            care_unit=CareUnitView(name=room.care_unit.name, hsa_id=room.care_unit.hsa_id, phone=room.care_unit.phone),
            identity_policy={Role(role): Demand(demand) for role, demand in room.identity_policy.items()},
            participants=people,
        )


class RoomList(View):
    items: list[RoomView]
    next: str | None


class ParticipantList(View):
    items: list[ParticipantView]
    next: str | None


class PhoneView(View):
    """The number to phone somebody by, as E.164."""

    phone: str


class EmbedTokenView(View):
    embed_token: str
    expires_at: Shown


class AboutView(View):
    """What the check of camera and microphone shows of the visit, before the first `hello`."""

    care_unit: CareUnitView
    title: str | None = MISSING
    language: str
    display_name: str
    form: Form


class LoginView(View):
    """A provider that somebody can log in by."""

    provider: str
    label: str


class SessionView(View):
    """A session; `token` and `resume` are told only here."""

    id: str
    token: str
    resume: str
    websocket_url: str
    room: str
    participant: str
    expires_at: Shown
    about: AboutView
    logins: list[LoginView] = Field(description="Providers to log in by, where the room still wants an identity.")
