"""The tables. Times are microseconds since 1970 (UTC); secrets are SHA-256 hashes of them, never themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Dialect, ForeignKey, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Time(TypeDecorator[datetime]):
    """An instant. SQLite has no type with a zone, and text in mixed offsets doesn't sort; a number does everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: Time, dict[str, Any]: JSON(none_as_null=True), list[str]: JSON, bytes: LargeBinary}  # noqa: RUF012


class Tenant(Base):
    """A region or clinic; nothing is shared between two of them. `id` is its name in links."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    # The `position` of its newest event; events may be deleted, and their numbers never come again.
    last_event: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    scopes: Mapped[list[str]]
    secret: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Room(Base):
    __tablename__ = "rooms"
    __table_args__ = (
        # One live room an external_ref, kept by the database: two portals' workers may ask at the same time.
        Index(
            "one_live_room_per_external_ref",
            "tenant",
            "external_ref",
            unique=True,
            sqlite_where=text("state in ('scheduled', 'open', 'in_progress')"),
            postgresql_where=text("state in ('scheduled', 'open', 'in_progress')"),
        ),
        Index("rooms_by_state_and_time", "state", "opens_at", "closes_at"),
        Index("rooms_by_care_unit", "tenant", "care_unit_key"),
        Index("rooms_by_retention", "retained", "ended_at"),
        Index("rooms_by_start", "tenant", "starts_at"),
    )

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    form: Mapped[str] = mapped_column(String(16))
    training: Mapped[bool] = mapped_column(Boolean, default=False)
    external_ref: Mapped[str | None] = mapped_column(String(200))
    patient_ref: Mapped[str | None] = mapped_column(String(200))
    title: Mapped[str | None] = mapped_column(String(200))
    care_unit: Mapped[dict[str, Any]]
    # What the unit is known by everywhere: its `hsa_id`, else its name.
    care_unit_key: Mapped[str] = mapped_column(String(200))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    time_zone: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(35))
    max_participants: Mapped[int] = mapped_column(Integer)
    locked: Mapped[bool] = mapped_column(Boolean, default=False)
    identity_policy: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    # When it was over: ended, or cancelled.
    ended_at: Mapped[datetime | None]
    # How much of it is still kept: see `retention.py`.
    retained: Mapped[int] = mapped_column(Integer, default=0)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Participant(Base):
    """Somebody invited. Their state is that of the arrival `session`, which is kept here too, to be listed by."""

    __tablename__ = "participants"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    room: Mapped[str] = mapped_column(ForeignKey("rooms.id"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    host: Mapped[bool] = mapped_column(Boolean, default=False)
    display_name: Mapped[str] = mapped_column(String(200))
    sign_language: Mapped[bool] = mapped_column(Boolean, default=False)
    external_ref: Mapped[str | None] = mapped_column(String(200))
    # How somebody is reached, and the secret of their link until the last message with it has gone: sealed with the
    # keyring (`visits.contacts`). `phone` and `email` are of before there was one, and empty since.
    phone: Mapped[str | None] = mapped_column(String(32))
    email: Mapped[str | None] = mapped_column(String(254))
    phone_sealed: Mapped[bytes | None]
    email_sealed: Mapped[bytes | None]
    link_sealed: Mapped[bytes | None]
    language: Mapped[str | None] = mapped_column(String(35))
    notify: Mapped[bool] = mapped_column(Boolean, default=False)
    # A mark (`visits.subjects`), never the number itself.
    expected_subject: Mapped[str | None] = mapped_column(String(200))
    link: Mapped[bytes | None] = mapped_column(unique=True)
    # No foreign key: sessions refer to participants, and a circle of keys helps nobody.
    session: Mapped[str | None] = mapped_column(String(48))
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer, default=1)


class Session(Base):
    """One arrival: a browser that exchanged a secret for a token.

    `token` and `resume` are what it was given last; the former ones work until those have been used, so that a lost
    answer locks nobody out.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("sessions_lost", "lost_since"),)

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    room: Mapped[str] = mapped_column(ForeignKey("rooms.id"), index=True)
    participant: Mapped[str] = mapped_column(ForeignKey("participants.id"), index=True)
    token: Mapped[bytes] = mapped_column(unique=True)
    former_token: Mapped[bytes | None] = mapped_column(unique=True)
    resume: Mapped[bytes] = mapped_column(unique=True)
    former_resume: Mapped[bytes | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime]
    arrived_at: Mapped[datetime | None]
    # Whether the portal vouched for it (an embed token); a vouched host comes in at once.
    vouched: Mapped[bool] = mapped_column(Boolean, default=False)
    # Whether it may come back without waiting: it was admitted, and not put on hold or removed since.
    admitted_browser: Mapped[bool] = mapped_column(Boolean, default=False)
    identifying_host: Mapped[str | None] = mapped_column(String(48))
    identity: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(String(500))
    connection: Mapped[str] = mapped_column(String(16), default="none")
    lost_since: Mapped[datetime | None]
    # Replaced by another browser, or its link was renewed.
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class EmbedToken(Base):
    __tablename__ = "embed_tokens"

    secret: Mapped[bytes] = mapped_column(primary_key=True)
    participant: Mapped[str] = mapped_column(ForeignKey("participants.id"), index=True)
    identity: Mapped[dict[str, Any] | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Login(Base):
    """A login by OpenID Connect that has begun: for a session in a room, or (without one) for staff.

    `state` and `browser` are hashes of what the provider sends back and of the cookie of the browser that began. Nonce
    and PKCE's verifier are made from both secrets, and so aren't here at all.
    """

    __tablename__ = "logins"

    state: Mapped[bytes] = mapped_column(primary_key=True)
    browser: Mapped[bytes]
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    provider: Mapped[str] = mapped_column(String(64))
    session: Mapped[str | None] = mapped_column(String(48))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    # Set once the provider has sent the browser back: a state is good once.
    returned_at: Mapped[datetime | None]
    # What the one-time code of a finished login is worth: hash of the code, and the identity as it is kept.
    code: Mapped[bytes | None] = mapped_column(unique=True)
    identity: Mapped[dict[str, Any] | None]


class StaffSession(Base):
    """Somebody of a care unit's staff, by a token that expires."""

    __tablename__ = "staff_sessions"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    token: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(String(200))
    user_name: Mapped[str] = mapped_column(String(200))
    care_unit: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class StaffCode(Base):
    """What a browser exchanges for a staff session, once, within a minute."""

    __tablename__ = "staff_codes"

    code: Mapped[bytes] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    user_id: Mapped[str] = mapped_column(String(200))
    user_name: Mapped[str] = mapped_column(String(200))
    care_units: Mapped[list[str]]
    # The cookie's hash, where the browser itself has logged in; None where a portal hands the code over.
    browser: Mapped[bytes | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Event(Base):
    """What happened; everything that listens reads from here. Made by `Transaction.record`.

    `position` is the tenant's: 1, 2, 3 …, without a gap and in the order of commits.
    """

    __tablename__ = "events"
    __table_args__ = (Index("events_in_order", "tenant", "position", unique=True),)

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    position: Mapped[int] = mapped_column(BigInteger)
    room: Mapped[str] = mapped_column(ForeignKey("rooms.id"), index=True)
    participant: Mapped[str | None] = mapped_column(String(48))
    type: Mapped[str] = mapped_column(String(48))
    occurred_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class CareUnit(Base):
    """What a care unit has chosen for its visits; one that has chosen nothing has no row."""

    __tablename__ = "care_units"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    # What the unit is known by everywhere: its `hsa_id`, else its name.
    care_unit: Mapped[str] = mapped_column(String(200), primary_key=True)
    functions: Mapped[list[str]]
    phone: Mapped[str | None] = mapped_column(String(32))
    texts: Mapped[dict[str, Any]]
    neutral_name: Mapped[str | None] = mapped_column(String(200))
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer, default=1)


class Rating(Base):
    """What one participant thought of a visit; it goes with its room, and is shown only among others."""

    __tablename__ = "ratings"

    participant: Mapped[str] = mapped_column(ForeignKey("participants.id", ondelete="CASCADE"), primary_key=True)
    room: Mapped[str] = mapped_column(ForeignKey("rooms.id", ondelete="CASCADE"), index=True)
    technical: Mapped[int | None] = mapped_column(Integer)
    visit: Mapped[int | None] = mapped_column(Integer)
    given_at: Mapped[datetime]


class Message(Base):
    """One e-mail or SMS that is to be sent, or was; what it says is made when it is sent: nothing personal is here."""

    __tablename__ = "messages"
    __table_args__ = (Index("messages_due", "state", "channel", "due_at"),)

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    room: Mapped[str] = mapped_column(ForeignKey("rooms.id", ondelete="CASCADE"), index=True)
    participant: Mapped[str] = mapped_column(ForeignKey("participants.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str] = mapped_column(String(8))
    # waiting, sending, sent, skipped (nobody needs it any more) or dead (it couldn't be sent)
    state: Mapped[str] = mapped_column(String(8))
    # When it is to be tried, or tried again.
    due_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    reason: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]


class Answer(Base):
    """What a request with an Idempotency-Key was answered, readable only with the credentials and that key."""

    __tablename__ = "answers"

    key: Mapped[bytes] = mapped_column(primary_key=True)
    request: Mapped[bytes]
    nonce: Mapped[bytes]
    sealed: Mapped[bytes]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AuditEntry(Base):
    """One entry of a tenant's audit trail: see `audit/entry.py`. It outlives the room that it is about.

    `at` is a number and `detail` is text, so that an entry is hashed as it is kept.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("audit_by_room", "tenant", "room"),
        Index("audit_by_patient", "tenant", "patient_ref"),
        Index("audit_by_person", "tenant", "person_ref"),
        Index("audit_by_actor", "tenant", "actor_id"),
        Index("audit_by_time", "tenant", "at"),
        Index("audit_by_action", "tenant", "action"),
    )

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(48))
    outcome: Mapped[str] = mapped_column(String(16))
    care_unit: Mapped[str | None] = mapped_column(String(200))
    known: Mapped[str] = mapped_column(String(16))
    actor_key: Mapped[str | None] = mapped_column(String(48))
    actor_care_unit: Mapped[str | None] = mapped_column(String(200))
    room: Mapped[str | None] = mapped_column(String(48))
    participant: Mapped[str | None] = mapped_column(String(48))
    detail: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str | None] = mapped_column(String(200))
    actor_name: Mapped[str | None] = mapped_column(String(200))
    patient_ref: Mapped[str | None] = mapped_column(String(200))
    person_name: Mapped[str | None] = mapped_column(String(200))
    person_ref: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(String(500))
    salts: Mapped[bytes]
    digests: Mapped[bytes]
    erased_by: Mapped[int | None] = mapped_column(BigInteger)
    hash: Mapped[bytes]


class AuditHead(Base):
    """The end of a tenant's audit trail; whoever writes an entry changes this row in the same transaction.

    `exported_number` and `exported_line` (SHA-256 of the line) are those of the last signed head in the export file.
    """

    __tablename__ = "audit_heads"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]
    exported_number: Mapped[int] = mapped_column(BigInteger, default=0)
    exported_line: Mapped[bytes | None]


class Webhook(Base):
    """Where a portal wants to be told; `position` is that of the last event that has been looked at for it.

    `events` are the types it wants, empty for all. `secrets` is sealed: see `webhooks.signing`.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    events: Mapped[list[str]]
    secrets: Mapped[bytes]
    position: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    # Of the first try that failed since one succeeded.
    failing_since: Mapped[datetime | None]
    # The same of tries that weren't answered at all, since one was.
    away_since: Mapped[datetime | None]
    # The receiver said that it is gone (410).
    disabled_at: Mapped[datetime | None]
    # Its deliveries go bit by bit, and then the row.
    deleted_at: Mapped[datetime | None]


class Delivery(Base):
    """One event on its way to one webhook.

    `due_at` says when it is tried next; what is pending without it waits for an earlier event of its room. What was
    asked for again is outside the order of its room.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("one_delivery_per_event_and_webhook", "event", "hook", unique=True),
        Index("deliveries_due", "hook", "due_at"),
        Index("deliveries_by_room", "hook", "room", "position"),
        Index("deliveries_by_state", "hook", "state", "queued_at"),
    )

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    hook: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    # An event that is erased is told to nobody any more.
    event: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    room: Mapped[str] = mapped_column(String(48))
    type: Mapped[str] = mapped_column(String(48))
    position: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    in_order: Mapped[bool] = mapped_column(Boolean, default=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    queued_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    milliseconds: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(String(32))
