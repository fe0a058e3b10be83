"""Admission beside a small model of it, with hosts who act at the same time; and whom media may flow between.

The model knows the contract's "People" and nothing of the code. What is done at once must come out as if it had been
done one after the other in some order; and media is never told of a sight or a sound that no such order allows.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from vardrum.control.visits.refused import Refused
from vardrum.control.visits.values import Actor, Role, Verb
from vardrum.sfu.room import may_receive
from vardrum.tests.api.websocket_house import House
from vardrum.tests.support.postgres import TEMPLATE, PostgresServer
from vardrum.tests.support.wait import wait_until

HOSTS, OTHERS = ("Doctor", "Second"), ("Patient", "Relative", "Friend")
EVERYONE = (*HOSTS, *OTHERS)
PORTAL = "portal"  # acts for its own staff, and may do what a host may, but look at a document
MOST = 3


# -- the model --


@dataclass(frozen=True)
class One:
    """Somebody: state, the host who identifies them, whether a document was seen, whether this browser was let in."""

    state: str = "invited"
    host: str = ""
    document: bool = False
    known: bool = False


World = tuple[One, ...]  # in the order of EVERYONE
Deed = tuple[str, str, str]  # what, to whom, by whom


def inside(world: World, name: str) -> bool:
    return world[EVERYONE.index(name)].state in ("admitted", "identifying")


def after(world: World, deed: Deed) -> World | None:
    """The world after a deed; None where it is refused."""
    what, whom, by = deed
    one = world[EVERYONE.index(whom)]
    authority = by == PORTAL or (by in HOSTS and world[EVERYONE.index(by)].state == "admitted")
    full = sum(inside(world, name) for name in EVERYONE if name != whom) >= MOST
    new = one
    if what == "come":
        back = "admitted" if one.known and not full else "waiting"
        new = replace(one, state={"invited": "waiting", "left": back}.get(one.state, one.state))
    elif what == "leave":
        if one.state == "invited":
            return None
        new = replace(one, state=one.state if one.state in ("denied", "removed") else "left", host="")
    elif not authority or one.state == "invited":
        return None
    elif what == "document":
        if whom == by or one.state not in ("waiting", "identifying", "admitted"):
            return None
        new = replace(one, document=True)
    elif what == "identify":
        if by == PORTAL or (one.state != "waiting" and (one.state, one.host) != ("identifying", by)):
            return None
        if one.state == "waiting" and (full or any(other.host == by for other in world)):
            return None
        new = replace(one, state="identifying", host=by)
    elif what == "admit":
        unidentified = whom == "Patient" and not one.document
        if one.state == "left" or (one.state != "admitted" and (full or unidentified)):
            return None
        new = replace(one, state="admitted", host="", known=True)
    elif what == "hold":
        new = replace(one, state="waiting", host="", known=False)
    elif what == "deny":
        if one.state not in ("waiting", "identifying", "denied"):
            return None
        new = replace(one, state="denied", host="")
    elif what == "remove":
        new = replace(one, state="removed", host="", known=False)
    now = tuple(new if name == whom else other for name, other in zip(EVERYONE, world, strict=True))
    # Whoever is alone with a host who goes waits again.
    gone = {name for name, other in zip(EVERYONE, now, strict=True) if other.state != "admitted"}
    return tuple(replace(other, state="waiting", host="") if other.host in gone else other for other in now)


def sights(world: World) -> set[tuple[str, str]]:
    """Who may see and hear whom."""
    alone = {one.host: name for name, one in zip(EVERYONE, world, strict=True) if one.host}
    pairs = set(alone.items())
    together = [name for name in EVERYONE if world[EVERYONE.index(name)].state == "admitted" and name not in alone]
    return pairs | {(b, a) for a, b in pairs} | set(itertools.permutations(together, 2))


# -- what is compared with it --

ANYBODY, HOST = st.sampled_from(EVERYONE), st.sampled_from((*HOSTS, PORTAL))


def does(
    *what: str, whom: st.SearchStrategy[str] = ANYBODY, by: st.SearchStrategy[str] = HOST
) -> st.SearchStrategy[Deed]:
    return st.tuples(st.sampled_from(what), whom, by)


# Weighted so that rooms fill: some are let in more often than anybody leaves.
DEEDS = st.one_of(
    does("admit", "document"),
    does("admit"),
    does("identify", whom=st.sampled_from(OTHERS), by=st.just("Doctor")),
    does("admit", "identify", "document", "hold", "deny", "remove"),
    does("leave", "come"),
    does("admit", "identify", by=ANYBODY),
)


class Admission(RuleBasedStateMachine):
    """A room of the real thing: database, rules, live room, media node; on PostgreSQL where `postgres` is one."""

    postgres: PostgresServer | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="vardrum-admission-")))
        self.database = self.stack.enter_context(self.postgres.database(TEMPLATE)) if self.postgres else ""

    @initialize()
    def opens(self) -> None:
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.house = await House(self.folder, database=self.database).__aenter__()
        people = [(name, Role.CAREGIVER) for name in HOSTS]
        people += list(zip(OTHERS, (Role.PATIENT, Role.RELATIVE, Role.OTHER), strict=True))
        self.room = await self.house.room(*people, max_participants=MOST, identity_policy={"patient": "document"})
        # Without a websocket nobody would tell media.
        self.page = await self.room.host("Doctor")
        snapshot = await self.house.visits.snapshot(self.room.id)
        self.sessions = {"Doctor": snapshot.arrivals[0].session}
        for name in EVERYONE[1:]:
            self.sessions[name] = (await self.house.visits.open_session(invite=self.room.secrets[name])).id
        self.names = {id: name for name, id in self.room.ids.items()}
        for name in EVERYONE[1:-1]:
            await self.house.visits.arrive(self.sessions[name])
        self.world: World = (One("admitted", known=True), *[One("waiting")] * (len(EVERYONE) - 2), One())

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.runner.run(self.house.__aexit__())
        self.runner.close()
        self.stack.close()

    @rule(deeds=st.lists(DEEDS, min_size=1, max_size=3))
    def happens_at_once(self, deeds: list[Deed]) -> None:
        self.runner.run(self._happen(deeds))

    async def _happen(self, deeds: list[Deed]) -> None:
        told = self.house.node.told_persons = []
        accepted = await asyncio.gather(*(self._do(*deed) for deed in deeds))
        snapshot = await self.house.visits.snapshot(self.room.id)
        states = {self.names[one.id]: str(one.state) for one in snapshot.participants}
        orders = list(self._orders(deeds, accepted, states))
        assert orders, f"{deeds} came out as {accepted} and {states} from {self.world}"
        self.world = orders[0][-1]
        await wait_until(self._media_knows, deadline=5, what=f"media as {sights(self.world)}", every=0.01)
        allowed = set().union(*(sights(world) for order in orders for world in order))
        for persons in told:
            seen = self._seen(persons)
            assert seen <= allowed, f"{seen - allowed} after {deeds} from {orders[0][0]}"

    async def _do(self, what: str, whom: str, by: str) -> bool:
        visits, room, person = self.house.visits, self.room.id, self.room.ids[whom]
        actor = Actor(by, by, participant=self.room.ids.get(by))
        try:
            if what == "come":
                await visits.arrive(self.sessions[whom])
            elif what == "leave":
                await visits.leave(self.sessions[whom])
            elif what == "document":
                await visits.record_identity(room, person, "document", actor)
            else:
                await visits.act(room, person, Verb(what), actor)
        except Refused:
            return False
        return True

    def _orders(self, deeds: list[Deed], accepted: list[bool], states: dict[str, str]) -> Iterator[list[World]]:
        """The worlds that each order of the deeds goes through, where it explains what came of them."""
        for order in itertools.permutations(range(len(deeds))):
            worlds, fits = [self.world], True
            for at in order:
                world = after(worlds[-1], deeds[at])
                fits = fits and (world is not None) == accepted[at]
                worlds.append(worlds[-1] if world is None else world)
            if fits and [one.state for one in worlds[-1]] == [states[name] for name in EVERYONE]:
                yield worlds

    def _seen(self, persons: list) -> set[tuple[str, str]]:
        return {
            (self.names[a.id], self.names[b.id])
            for a in persons
            for b in persons
            if a.id != b.id and may_receive(a, b, persons)
        }

    def _media_knows(self) -> bool:
        seen, wanted = self._seen(self.house.node.persons.get(self.room.id, [])), sights(self.world)
        assert seen == wanted, f"media lets {seen}, not {wanted}"
        return True


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 12), ("postgresql", 6)])
def test_what_is_done_at_once_comes_out_as_in_some_order(
    request: pytest.FixtureRequest, kind: str, examples: int
) -> None:
    class Here(Admission):
        postgres = request.getfixturevalue("postgres") if kind == "postgresql" else None

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
