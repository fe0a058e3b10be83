"""Counts of a unit's visits over a period, from the record: rules without I/O but the bounded reads they are fed by."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from statistics import median

from ..secret import Clock
from ..store import reporting
from ..store.reporting import BookedRoom, Period, Person, Piece, Rated
from ..store.store import Store
from .attendance import Happening
from .refused import FieldError, Refused
from .reports import met
from .rules import RoomState
from .values import Role

LONGEST = timedelta(days=366)
USUAL = timedelta(days=30)
# Below so many ratings nothing is said of them, and only whole such groups are: one more visit in the period must not
# tell what that one patient answered.
GROUP = 5

# What happened of it is counted; everything else in the feed isn't read.
TYPES = (
    "room.started",
    "room.ended",
    "participant.waiting",
    "participant.admitted",
    "fallback.needed",
    "fallback.used",
)


@dataclass(frozen=True)
class Spread:
    """Of some durations, in seconds; None where there are none. `p90` by nearest rank."""

    count: int
    median: float | None
    p90: float | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        if not seconds:
            return cls(0, None, None)
        ordered = sorted(seconds)
        return cls(len(ordered), median(ordered), ordered[ceil(0.9 * len(ordered)) - 1])


@dataclass(frozen=True)
class Ratings:
    """How many rated, and the means of whole groups of `GROUP` of them; None where there isn't one."""

    count: int
    technical: float | None
    visit: float | None

    @classmethod
    def of(cls, rows: Sequence[Rated]) -> Ratings:
        ordered = sorted(rows, key=lambda one: (one.given_at, one.participant))
        technical = [one.technical for one in ordered if one.technical is not None]
        visit = [one.visit for one in ordered if one.visit is not None]
        return cls(len(ordered), _mean(technical), _mean(visit))


def _mean(answers: Sequence[int]) -> float | None:
    whole = answers[: len(answers) - len(answers) % GROUP]
    return round(sum(whole) / len(whole), 1) if whole else None


@dataclass
class Tally:
    """What is counted of the visits of one unit, or of all.

    Attributes:
        booked: all that were booked for the period: `held + no_shows + not_met + cancelled + pending`.
        held: a host and somebody else met.
        no_shows: it ended, and nobody but hosts ever came.
        not_met: it ended, somebody came, and no host met them.
        pending: still to come, or just going on without having begun.
        forms: of the booked, by form.
        waited: seconds from a patient's arrival to being let in, for each who was.
        late: the same, but counted from when the visit was to begin where they came early.
        lasted: seconds that a visit that was held and is over went on.
        video: visits by video to which somebody came, the base of what follows.
        needed: of those, in how many somebody had to be phoned, as the server saw it or they said.
        used: in how many it was recorded that phone or chat was used instead.
        no_media: in how many somebody had no sound or picture 20 s after being let in.
    """

    booked: int = 0
    held: int = 0
    no_shows: int = 0
    not_met: int = 0
    cancelled: int = 0
    pending: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    waited: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    video: int = 0
    needed: int = 0
    used: int = 0
    no_media: int = 0
    ratings: list[Rated] = field(default_factory=list)
    host_ratings: list[Rated] = field(default_factory=list)


@dataclass(frozen=True)
class Statistics:
    """Of a period, by care unit, and of all together."""

    period: Period
    units: Mapping[str, Tally]
    total: Tally


class Statisticians:
    """Counts for one caller at a time: it takes a reader of the database and some of the loop's time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()

    async def statistics(
        self, tenant: str, care_unit: str | None, begins: datetime | None, ends: datetime | None
    ) -> Statistics:
        """By when visits were booked to begin; the last 30 days where nothing else is said.

        Raises:
            Refused: `invalid-query`.
        """
        ends = ends or (self._clock() if begins is None else begins + USUAL)
        begins = begins or ends - USUAL
        if not begins < ends <= begins + LONGEST:
            error = FieldError("#/to", "must be after from, and at most 366 days after it")
            raise Refused("invalid-query", "the period doesn't fit", errors=[error])
        period = Period(tenant, begins, ends, care_unit)
        units: dict[str, Tally] = {}
        total = Tally()
        async with self._turn:
            async for piece in reporting.pieces(self._store, period, TYPES):
                for unit, visit in _visits(piece):
                    for tally in (units.setdefault(unit, Tally()), total):
                        visit.count(tally)
                await asyncio.sleep(0)  # others have waited for the loop
        return Statistics(period, dict(sorted(units.items())), total)


@dataclass(frozen=True)
class _Visit:
    room: BookedRoom
    people: Mapping[str, Person]
    events: Sequence[Happening]
    ratings: Sequence[Rated]

    def count(self, tally: Tally) -> None:
        """Adds this visit."""
        room = self.room
        arriving = [one for one in self.events if one.type in ("participant.waiting", "participant.admitted")]
        came = {one.participant for one in arriving if one.participant in self.people}
        guests = {one.id for one in self.people.values() if one.id in came and not one.host}
        stretches = met(self.events)
        tally.booked += 1
        tally.forms[room.form] += 1
        if stretches:
            tally.held += 1
        elif room.state == RoomState.CANCELLED:
            tally.cancelled += 1
        elif room.state != RoomState.ENDED:
            tally.pending += 1
        elif guests:
            tally.not_met += 1
        else:
            tally.no_shows += 1
        if stretches and stretches[-1].end is not None and room.state == RoomState.ENDED:
            tally.lasted.append(sum((one.end - one.start).total_seconds() for one in stretches if one.end is not None))
        self._count_waiting(tally)
        if room.form == "video" and came:
            self._count_failures(tally)
        for rating in self.ratings:
            person = self.people.get(rating.participant)
            (tally.host_ratings if person is not None and person.host else tally.ratings).append(rating)

    def _count_waiting(self, tally: Tally) -> None:
        arrived: dict[str, datetime] = {}
        admitted: set[str] = set()
        for one in self.events:
            person = self.people.get(one.participant or "")
            if person is None or person.role != Role.PATIENT or person.id in admitted:
                continue
            if one.type == "participant.waiting":
                arrived.setdefault(person.id, one.at)
            elif one.type == "participant.admitted":
                admitted.add(person.id)
                came = arrived.get(person.id, one.at)
                tally.waited.append((one.at - came).total_seconds())
                due = max(came, self.room.starts_at)
                tally.late.append(max(0.0, (one.at - due).total_seconds()))

    def _count_failures(self, tally: Tally) -> None:
        needed = [one for one in self.events if one.type == "fallback.needed"]
        tally.video += 1
        tally.needed += bool(needed)
        tally.used += any(one.type == "fallback.used" for one in self.events)
        tally.no_media += any(one.data.get("reason") == "no_media" for one in needed)


def _visits(piece: Piece) -> Iterable[tuple[str, _Visit]]:
    people: dict[str, dict[str, Person]] = {}
    events: dict[str, list[Happening]] = {}
    ratings: dict[str, list[Rated]] = {}
    for person in piece.people:
        people.setdefault(person.room, {})[person.id] = person
    for event in piece.events:
        events.setdefault(event.room, []).append(Happening(event.at, event.type, event.participant, event.data))
    for rating in piece.ratings:
        ratings.setdefault(rating.room, []).append(rating)
    for room in piece.rooms:
        found = _Visit(room, people.get(room.id, {}), events.get(room.id, []), ratings.get(room.id, []))
        yield room.care_unit, found
