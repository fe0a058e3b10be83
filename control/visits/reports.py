"""What became of a visit: read off the record, for the journal of whoever booked it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ..secret import Clock
from ..store import audit, models, queries, reporting
from ..store.store import Store
from . import views
from .attendance import Attendance, Happening, Stretch, attendance
from .identity import BY_HOST
from .refused import Refused
from .values import Role, RoomSnapshot

# A visit of an hour brings some dozens; more than these are somebody's network that came and went all day.
MAX_EVENTS = 5000


@dataclass(frozen=True)
class Check:
    """One time that somebody was identified; `expected` False: as somebody else than the portal said."""

    at: datetime
    method: str
    level: str
    by: Mapping[str, str]
    document_type: str | None = None
    expected: bool | None = None


@dataclass(frozen=True)
class Attended:
    """One participant's part in the visit; `times` None where they never came."""

    participant: str
    role: Role
    host: bool
    display_name: str
    external_ref: str | None
    times: Attendance | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Fallback:
    """When video failed: `needed` as events are, `used` as hosts recorded it."""

    needed: tuple[Happening, ...]
    used: tuple[Happening, ...]

    @property
    def phone_used(self) -> bool:
        """Whether somebody had to be phoned."""
        return any(one.data.get("mode") == "phone" for one in self.used)


@dataclass(frozen=True)
class Report:
    """A visit as it went.

    Attributes:
        now: up to when everything that still goes on is counted.
        met: when a host and somebody else were both there, from the first `room.started`.
        complete: False where more happened than `MAX_EVENTS`; the rest is in the feed.
    """

    room: RoomSnapshot
    now: datetime
    timeline: tuple[Happening, ...]
    people: tuple[Attended, ...]
    met: tuple[Stretch, ...]
    fallback: Fallback
    complete: bool

    @property
    def started_at(self) -> datetime | None:
        return self.met[0].start if self.met else None


@dataclass(frozen=True)
class Reports:
    """Reads what was written down."""

    store: Store
    clock: Clock

    async def report(self, room: str, *, tenant: str) -> Report:
        """Of one visit, in any state. Raises Refused `not-found`."""
        now = self.clock()
        async with self.store.read() as db:
            row = await queries.room(db, room, tenant)
            if row is None:
                raise Refused("not-found", "there is no such room")
            people = await reporting.people(db, room)
            arrivals = await reporting.arrivals(db, room)
            events = await reporting.events(db, room, MAX_EVENTS + 1)
            # Events name nobody; a journal wants to know who it was.
            names = await audit.names(db, tenant, room)
        return made(row, people, arrivals, events, now, names)


def made(
    room: models.Room,
    people: Sequence[models.Participant],
    arrivals: Sequence[models.Session],
    events: Sequence[models.Event],
    now: datetime,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The report from its rows; `names` of those who acted, by id."""
    timeline = tuple(happening(one, names) for one in events[:MAX_EVENTS])
    times = attendance(timeline, now)
    attended = tuple(
        Attended(
            participant=one.id,
            role=Role(one.role),
            host=one.host,
            display_name=one.display_name,
            external_ref=one.external_ref,
            times=times.get(one.id),
            checks=_checks(one.id, timeline, arrivals),
        )
        for one in people
    )
    fallback = Fallback(
        needed=tuple(one for one in timeline if one.type == "fallback.needed"),
        used=tuple(one for one in timeline if one.type == "fallback.used"),
    )
    snapshot = views.snapshot(room, [], [], now)
    return Report(snapshot, now, timeline, attended, met(timeline), fallback, len(events) <= MAX_EVENTS)


def happening(row: models.Event, names: Mapping[str, str] = MappingProxyType({})) -> Happening:
    by, data = row.data.get("by"), row.data
    if by and by.get("id") in names:
        data = {**data, "by": {**by, "name": names[by["id"]]}}
    return Happening(row.occurred_at, row.type, row.participant, data)


def met(timeline: Sequence[Happening]) -> tuple[Stretch, ...]:
    """When a host and somebody else were in the visit: from each start to the end that followed."""
    found: list[Stretch] = []
    started: datetime | None = None
    for one in timeline:
        if one.type == "room.started":
            started = started or one.at
        elif one.type == "room.ended" and started is not None:
            found.append(Stretch(started, one.at))
            started = None
    return (*found, *([] if started is None else [Stretch(started, None)]))


def _checks(participant: str, timeline: Sequence[Happening], arrivals: Sequence[models.Session]) -> tuple[Check, ...]:
    """What hosts recorded is in the feed; what a portal vouched for came with the browser that it let in."""
    found = {}
    for one in timeline:
        if one.type == "participant.identified" and one.participant == participant:
            found[one.data.get("session"), one.data.get("method"), one.at] = _recorded(one.at, one.data)
    for arrival in arrivals:
        kept = views.identity(arrival.identity) if arrival.participant == participant else None
        if kept is not None and arrival.arrived_at is not None:
            document_type = (arrival.identity or {}).get("document_type")
            check = Check(kept.at, kept.method, kept.level, kept.by, document_type, kept.expected)
            found[arrival.id, kept.method, kept.at] = check
    return tuple(sorted(found.values(), key=lambda one: one.at))


def _recorded(at: datetime, data: Mapping[str, Any]) -> Check:
    method = str(data.get("method", ""))
    level = str(data.get("level") or ("document" if method in BY_HOST else ""))
    return Check(at, method, level, data.get("by", {}), data.get("document_type"), data.get("expected"))
