"""A room in the middle of one transaction: its people, what they may do, and what is written down about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..audit.acting import Acting, Known, acting
from ..secret import Ids, Random
from ..store import audit, models, queries
from ..store.store import Transaction
from . import views
from .contacts import Contacts
from .refused import Refused
from .rules import INSIDE, LIVE, Event, NotAllowed, RoomEvent, RoomState, State, after, room_after
from .subjects import Subjects
from .values import Actor, Function, RoomSnapshot, Verb

LOST_FOR = timedelta(minutes=5)
REOPEN_WITHIN = timedelta(minutes=10)

# What the feed calls an arrival that has come into a state; `waiting` after having been further is `held`.
ENTERED = {
    State.WAITING: "participant.waiting",
    State.IDENTIFYING: "participant.identifying",
    State.ADMITTED: "participant.admitted",
    State.LEFT: "participant.left",
    State.DENIED: "participant.denied",
    State.REMOVED: "participant.removed",
}

# What happens by itself or is a measurement; every other event is somebody's act, and in the audit trail too.
UNAUDITED = frozenset(
    {
        "room.opened",
        "room.started",
        "participant.connected",
        "participant.lost",
        "media.degraded",
        "media.restored",
        "fallback.needed",
        "feedback.given",
    }
)
# What hosts type can be anything, also the number of a document.
TYPED = frozenset({"document_type"})
# What people do to their own arrival.
THEMSELVES = frozenset({Event.ARRIVE, Event.RETURN, Event.LEAVE})


@dataclass(frozen=True)
class Policy:
    """The settings that the rules of a visit know.

    Attributes:
        public_url: what links start with, without a slash at its end.
        open_before: how long before `starts_at` a room opens.
        close_after: how long after `ends_at` it closes.
        hosts_by_link: whether a host's link is enough to come in at once (only in `demo`).
        audit_kept: how long entries of the audit trail are kept.
        read_again: for how long the same reader of the same room counts as one access in the audit trail.
        functions: what is on at care units that have chosen nothing.
        email, sms: whether there is a way to send them.
        remind_before: how long before `starts_at` people are reminded; zero: never.
    """

    public_url: str
    open_before: timedelta = timedelta(minutes=15)
    close_after: timedelta = timedelta(minutes=30)
    hosts_by_link: bool = False
    audit_kept: timedelta = timedelta(days=5 * 366)
    read_again: timedelta = timedelta(hours=1)
    functions: frozenset[Function] = frozenset(Function)
    email: bool = False
    sms: bool = False
    remind_before: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class World:
    """What an act needs from outside.

    Attributes:
        subjects: how people are recognized by a number that isn't kept.
        contacts: how phone numbers and addresses are sealed.
    """

    policy: Policy
    now: datetime
    ids: Ids
    random: Random
    subjects: Subjects
    contacts: Contacts


class Scene:
    """A room that was read inside a writing transaction; `changed` says whether anyone must hear of it."""

    def __init__(
        self,
        world: World,
        transaction: Transaction,
        room: models.Room,
        participants: Sequence[models.Participant],
        sessions: Sequence[models.Session],
    ) -> None:
        self.world = world
        self.now = world.now
        self.transaction = transaction
        self.db = transaction.db
        self.room = room
        self.participants = {one.id: one for one in participants}
        self.sessions = {one.id: one for one in sessions}
        self.changed = False

    @classmethod
    async def of(cls, world: World, transaction: Transaction, room_id: str, tenant: str | None) -> Scene:
        """Reads a room to change it. Raises Refused `not-found`."""
        room = await queries.room(transaction.db, room_id, tenant)
        if room is None:
            raise Refused("not-found", "there is no such room")
        return await cls.in_room(world, transaction, room)

    @classmethod
    async def in_room(cls, world: World, transaction: Transaction, room: models.Room) -> Scene:
        """As `of`, where the room itself was read in this transaction."""
        scene = cls(world, transaction, room, *await queries.people(transaction.db, room.id))
        if room.state == RoomState.SCHEDULED and room.opens_at <= world.now:
            scene.move_room(RoomEvent.OPEN)
        return scene

    # -- the record --

    def note(
        self,
        kind: str,
        participant: str | None = None,
        by: Actor | None = None,
        *,
        act: str | None = None,
        said: str | None = None,
        themselves: bool = False,
        **data: Any,
    ) -> None:
        """Writes an event down, with who did it, and where it is an act, in the audit trail too.

        `data` goes to portals and lies in their logs: ids and words of ours, never a name or what somebody has typed.

        Args:
            act: what the audit trail calls it, where the event's type says less.
            said: a reason that somebody has typed: for the audit trail only, where it can be erased.
            themselves: whether the participant did it.
        """
        self.changed = True
        if kind not in UNAUDITED:
            who = self._themselves(participant) if themselves and participant is not None and by is None else None
            words = {key: value for key, value in data.items() if key not in TYPED}
            self.audit(act or kind, participant, by, who=who, reason=said, **words)
        if by is not None:
            data["by"] = views.acted(by)
        self.transaction.record(
            id=self.world.ids.new("evt"),
            tenant=self.room.tenant,
            room=self.room.id,
            participant=participant,
            type=kind,
            occurred_at=self.now,
            data={key: value for key, value in data.items() if value is not None},
        )

    def audit(
        self,
        action: str,
        participant: str | None = None,
        by: Actor | None = None,
        *,
        who: Acting | None = None,
        reason: str | None = None,
        outcome: str = "done",
        **detail: Any,
    ) -> None:
        """Writes an act in this room into the audit trail, in this transaction (`store.audit.record`).

        `by` None is whoever makes the call. `detail` is ids and words of ours.
        """
        person = self.participants.get(participant or "")
        audit.record(
            self.transaction,
            action,
            tenant=self.room.tenant,
            at=self.now,
            by=who or acted(by),
            care_unit=self.room.care_unit_key,
            room=self.room.id,
            participant=participant,
            patient_ref=self.room.patient_ref,
            person_name=(person.display_name or None) if person is not None else None,
            person_ref=None if person is None else person.external_ref,
            reason=reason,
            outcome=outcome,
            detail=detail,
            random=self.world.random,
        )

    def _themselves(self, participant: str) -> Acting:
        person = self.participants[participant]
        return Acting(Known.HOST if person.host else Known.PARTICIPANT, person.id, person.display_name)

    def snapshot(self) -> RoomSnapshot:
        return views.snapshot(self.room, self.participants.values(), self.open_sessions(), self.now)

    # -- the room --

    @property
    def state(self) -> RoomState:
        return RoomState(self.room.state)

    def move_room(self, event: RoomEvent, by: Actor | None = None) -> bool:
        """Moves the room by the table; whether that changed anything. Raises Refused `state-conflict`."""
        try:
            state = room_after(self.state, event)
        except NotAllowed as error:
            raise Refused("state-conflict", str(error)) from None
        if state is self.state:
            return False
        self.room.state = state
        self.room.updated_at = self.now
        self.room.version += 1
        happened = {
            RoomEvent.OPEN: "room.opened",
            RoomEvent.POSTPONE: None,
            RoomEvent.START: "room.started",
            RoomEvent.END: "room.ended",
            RoomEvent.REOPEN: "room.reopened",
            RoomEvent.CANCEL: "room.cancelled",
        }[event]
        if happened:
            self.note(happened, by=by)
        self.changed = True
        return True

    def need_live(self) -> None:
        """Raises Refused `gone` after the end."""
        if self.state not in LIVE:
            raise Refused("gone", f"the visit is {'cancelled' if self.state is RoomState.CANCELLED else 'over'}")

    def need_open(self) -> None:
        """Raises Refused `gone` after the end, `not-open-yet` before `opens_at`."""
        self.need_live()
        if self.state is RoomState.SCHEDULED:
            opens_at = self.room.opens_at.isoformat()
            extra = {"opens_at": opens_at, "time_zone": self.room.time_zone}
            raise Refused("not-open-yet", f"the room opens at {opens_at}", extra=extra)

    def start_if_met(self) -> None:
        """A visit is in progress from when a host and someone else were first both connected."""
        if self.state is not RoomState.OPEN:
            return
        there = [
            self.participants[one.participant]
            for one in self.open_sessions()
            if one.state == State.ADMITTED and one.connection == "connected"
        ]
        if len({one.id for one in there}) > 1 and any(one.host for one in there):
            self.move_room(RoomEvent.START)

    # -- people --

    def participant(self, participant_id: str) -> models.Participant:
        """Raises Refused `not-found`."""
        try:
            return self.participants[participant_id]
        except KeyError:
            raise Refused("not-found", "there is no such participant in this room") from None

    def open_sessions(self) -> list[models.Session]:
        """Arrivals that nobody has replaced."""
        return [one for one in self.sessions.values() if one.closed_at is None]

    def current(self, participant: models.Participant) -> models.Session | None:
        session = self.sessions.get(participant.session or "")
        return None if session is None or session.closed_at is not None else session

    def arrivals(self, participant: models.Participant) -> list[models.Session]:
        """Whom a host may mean by this participant: the current arrival, and everyone else who waits by the link."""
        return [
            one
            for one in self.open_sessions()
            if one.participant == participant.id
            and one.arrived_at is not None
            and (one.id == participant.session or one.state in (State.WAITING, State.IDENTIFYING))
        ]

    def arrival(self, participant: models.Participant, session_id: str | None, verb: Verb | str) -> models.Session:
        """The one arrival that is meant. Raises Refused `session-needed`, `state-conflict` or `not-found`."""
        if session_id is not None:
            session = self.sessions.get(session_id)
            if session is None or session.participant != participant.id or session.closed_at is not None:
                raise Refused("not-found", "there is no such arrival of this participant")
            if session.arrived_at is None:
                raise Refused("state-conflict", f"cannot {verb} a browser that has not arrived")
            return session
        arrivals = self.arrivals(participant)
        if verb == Verb.MUTE:
            arrivals = [one for one in arrivals if one.state in INSIDE]
        if not arrivals:
            state = self.current(participant)
            raise Refused("state-conflict", f"cannot {verb} someone who is {state.state if state else 'invited'}")
        if len(arrivals) > 1:
            names = [one.id for one in arrivals]
            raise Refused("session-needed", "this link is open in several browsers", extra={"sessions": names})
        return arrivals[0]

    def inside(self, but: models.Session | None = None) -> int:
        """How many count towards `max_participants`."""
        return sum(one.state in INSIDE for one in self.open_sessions() if one is not but)

    def move(
        self,
        session: models.Session,
        event: Event,
        by: Actor | None = None,
        reason: str | None = None,
        **data: Any,
    ) -> bool:
        """Moves an arrival by the table; whether that changed anything. Raises Refused `state-conflict`."""
        former = State(session.state)
        try:
            state = after(former, event)
        except NotAllowed as error:
            raise Refused("state-conflict", str(error)) from None
        if state is former:
            return False
        session.state = state
        session.since = self.now
        session.reason = reason if state in (State.DENIED, State.REMOVED) else None
        if state is State.ADMITTED:
            session.admitted_browser = True
        elif event in (Event.HOLD, Event.DENY, Event.REMOVE):
            session.admitted_browser = False
        if state is not State.IDENTIFYING:
            session.identifying_host = None
        second = None if self.participants[session.participant].session == session.id else True
        kind = "participant.held" if event is Event.HOLD else ENTERED[state]
        alone = event in THEMSELVES and not data.get("lost")
        self.note(
            kind, session.participant, by, said=reason, themselves=alone, session=session.id, second=second, **data
        )
        if former is State.ADMITTED:
            self._release_whom_identifies(session.participant)
        self.start_if_met()
        return True

    def _release_whom_identifies(self, host: str) -> None:
        # Whoever was alone with this host waits again; they mustn't be left with nobody.
        for one in self.open_sessions():
            if one.identifying_host == host:
                self.move(one, Event.HOLD)

    def close(self, session: models.Session) -> None:
        """Ends an arrival for good: its token and resume secret are refused from now on."""
        if session.closed_at is None:
            was_admitted = session.state == State.ADMITTED
            session.closed_at = self.now
            session.connection = "none"
            session.lost_since = None
            session.admitted_browser = False
            self.changed = True
            if was_admitted and self.participants[session.participant].session == session.id:
                self._release_whom_identifies(session.participant)

    def host(self, participant_id: str) -> models.Participant:
        """An admitted host of this room. Raises Refused `host-not-available`."""
        participant = self.participants.get(participant_id)
        if participant is not None and participant.host:
            session = self.current(participant)
            if session is not None and session.state == State.ADMITTED:
                return participant
        raise Refused("host-not-available", "the host is not a host who is admitted to this room")

    def need_authority(self, by: Actor) -> None:
        """Raises Refused `not-allowed` when a session acts that isn't an admitted host's."""
        if by.participant is not None:
            try:
                self.host(by.participant)
            except Refused:
                raise Refused("not-allowed", "only a host who is admitted to this room may do this") from None


def acted(by: Actor | None) -> Acting:
    """Who acts, for the audit trail: a host by their session, or whom the caller names."""
    called = acting()
    if by is None:
        return called
    if by.participant is not None:
        return Acting(Known.HOST, by.participant, by.name, by.care_unit)
    known = Known.KEY if called.known is Known.SYSTEM else called.known
    return Acting(known, by.id, by.name, by.care_unit, called.key)
