"""Random walks through a visit: whatever people do in whatever order, what must hold holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from vardrum.control.visits.refused import PROBLEMS, Refused
from vardrum.control.visits.rules import INSIDE, LIVE, State
from vardrum.control.visits.values import Actor, RoomSnapshot, Verb
from vardrum.tests.api.installation import Installation, Visit

pytestmark = pytest.mark.both_databases

STEPS = 250
# The rules are the same; what differs is what the database does beneath them.
STEPS_ON_POSTGRESQL = 100
PORTAL = Actor("nurse-1", "Nils Nurse")
NAMES = ("Doctor", "Second", "Patient", "Relative", "Other")


def check(room: RoomSnapshot) -> None:
    """What holds at every moment."""
    sessions = {one.session: one for one in room.arrivals}
    inside = [one for one in room.arrivals if one.state in INSIDE]
    assert len(inside) <= room.max_participants
    admitted = Counter(one.participant for one in room.arrivals if one.state is State.ADMITTED)
    assert all(count == 1 for count in admitted.values()), "two browsers of one person are in the room"
    hosts = {one.id for one in room.participants if one.host and one.state is State.ADMITTED}
    watched = Counter(one.identifying_host for one in room.arrivals if one.state is State.IDENTIFYING)
    assert set(watched) <= hosts, "somebody is alone with nobody"
    assert all(count == 1 for count in watched.values()), "two people are alone with the same host"
    for one in room.arrivals:
        assert (one.identifying_host is not None) == (one.state is State.IDENTIFYING)
        if one.state is State.ADMITTED:
            assert one.current, "a browser is in the room that isn't the participant's"
    for person in room.participants:
        current = sessions.get(person.session or "")
        assert person.state is (State.INVITED if current is None else current.state)


class Walker:
    """Does one random thing after the other; being refused is fine, being broken isn't."""

    def __init__(self, here: Installation, visit: Visit, seed: int) -> None:
        self._here = here
        self._visit = visit
        self._chance = random.Random(seed)
        self._sessions: list[str] = []
        self._resumes: list[str] = []
        self.refused: Counter[str] = Counter()

    async def step(self) -> None:
        steps: list[tuple[Callable[[], Awaitable[object]], int]] = [
            (self._comes, 6),
            (self._vouched, 2),
            (self._resumes_session, 3),
            (self._leaves, 3),
            (self._acts, 14),
            (self._is_identified, 3),
            (self._network, 3),
            (self._time, 2),
            (self._locks, 1),
            (self._ends, 1),
            (self._renews, 1),
        ]
        [step] = self._chance.choices([one for one, _ in steps], [weight for _, weight in steps])
        try:
            await step()
        except Refused as refused:
            self.refused[refused.name] += 1

    @property
    def _person(self) -> str:
        return self._visit.ids[self._chance.choice(NAMES)]

    @property
    def _session(self) -> str:
        return self._chance.choice(self._sessions or ["sess_none"])

    async def _arrive(self, **secret: str) -> None:
        opened = await self._here.visits.open_session(**secret)
        self._sessions.append(opened.id)
        self._resumes.append(opened.resume)
        if self._chance.random() < 0.9:
            await self._here.visits.arrive(opened.id)

    async def _comes(self) -> None:
        await self._arrive(invite=self._visit.links[self._chance.choice(NAMES)])

    async def _vouched(self) -> None:
        made = await self._here.visits.embed_token(self._visit.id, self._person, None, tenant="north")
        await self._arrive(embed_token=made.embed_token)

    async def _resumes_session(self) -> None:
        await self._arrive(resume=self._chance.choice(self._resumes or ["none"]))

    async def _leaves(self) -> None:
        await self._here.visits.leave(self._session)

    async def _by(self) -> Actor:
        host = self._visit.ids[self._chance.choice(("Doctor", "Second"))]
        return Actor(host, "Host", participant=host) if self._chance.random() < 0.5 else PORTAL

    async def _acts(self) -> None:
        verb = self._chance.choice([*Verb, Verb.ADMIT, Verb.ADMIT, Verb.IDENTIFY])
        session = self._session if self._chance.random() < 0.4 else None
        host = self._visit.ids["Doctor"] if self._chance.random() < 0.7 else None
        await self._here.visits.act(self._visit.id, self._person, verb, await self._by(), session=session, host=host)

    async def _is_identified(self) -> None:
        method = self._chance.choice(("document", "known_in_person"))
        await self._here.visits.record_identity(self._visit.id, self._person, method, await self._by())

    async def _network(self) -> None:
        await self._here.visits.connection(self._session, self._chance.random() < 0.5)

    async def _time(self) -> None:
        await self._here.pass_time(seconds=self._chance.choice((1, 30, 200, 301)))

    async def _locks(self) -> None:
        lock = self._here.visits.lock if self._chance.random() < 0.3 else self._here.visits.unlock
        await lock(self._visit.id, PORTAL)

    async def _ends(self) -> None:
        end = self._here.visits.end if self._chance.random() < 0.3 else self._here.visits.reopen
        await end(self._visit.id, PORTAL)

    async def _renews(self) -> None:
        name = self._chance.choice(NAMES)
        invited = await self._here.visits.renew_link(self._visit.id, self._visit.ids[name])
        self._visit.links[name] = str(invited.join_url).partition("#")[2]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_people_do_what_must_hold_holds(tmp_path: Path, database: str, seed: int) -> None:
    async with Installation(tmp_path, {"database_url": database}) as here:
        roles = {"Doctor": "caregiver", "Second": "caregiver", "Patient": "patient", "Relative": "relative"}
        people = [
            {"role": roles.get(name, "other"), "display_name": name, "host": name in ("Doctor", "Second")}
            for name in NAMES
        ]
        visit = await here.book(participants=people, max_participants=3, ends_at="2026-03-02T20:00:00Z")
        walker = Walker(here, visit, seed)
        told: list[str] = []

        async def listen(room: str) -> None:
            told.append(room)

        here.visits.subscribe(listen)
        former = await here.visits.snapshot(visit.id)
        steps = STEPS_ON_POSTGRESQL if database else STEPS
        for _ in range(steps):
            heard = len(told)
            await walker.step()
            room = await here.visits.snapshot(visit.id)
            check(room)
            if (room.participants, room.arrivals, room.locked) != (former.participants, former.arrivals, former.locked):
                assert len(told) > heard, "something changed and nobody was told"
            if former.state in LIVE:
                assert room.state is not former.state or room.version >= former.version
            former = room
        # A walk that is always or never refused shows nothing.
        assert set(walker.refused) <= set(PROBLEMS)
        assert steps / 20 < walker.refused.total() < steps * 0.9
