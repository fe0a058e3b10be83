"""A visit of three participants without browsers: each decodes the others' numbered pictures and tones, by name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from vardrum.bench.aiortc_client import AiortcClient
from vardrum.bench.aiortc_tracks import Picture
from vardrum.codecs import media
from vardrum.tests.support.portal import Invited, Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.visit import DOCTOR, INTERPRETER, NO_DOCUMENTS, PATIENT, RELATIVE
from vardrum.tests.support.wait import wait_until

OFFER = Path(__file__).parents[1] / "unit" / "data" / "sdp" / "offer-aiortc.sdp"
PEOPLE = (3, 6, 11, 14)  # numbers, and tones, that aren't each other's neighbours


@pytest.fixture
async def portal(server: Server) -> AsyncIterator[Portal]:
    async with Portal(server.http, await create_key(server)) as opened:
        yield opened


def client(portal: Portal, invited: Invited, person: int) -> AiortcClient:
    secret = invited.join_url.partition("#")[2]
    return AiortcClient(portal.base, person, secret={"invite": secret})


async def admitted(portal: Portal, one: AiortcClient, invited: Invited) -> None:
    """Arrives, is let in by the portal, and has media."""
    await one.arrive()
    if one.state == "waiting":
        await portal.act(invited, "admit")
    await one.join()


def recognises(viewer: AiortcClient, other: AiortcClient, pictures: int = 20) -> bool:
    """Whether the viewer has lately seen and heard the other, and nobody else, where the server says that they are."""
    newest = [picture.seen for picture in list(viewer.of(other.id, "camera").pictures)[-pictures:]]
    assert len(newest) == pictures, f"{len(newest)} pictures of person {other.person}"
    people = {one.person for one in newest if one is not None}
    assert people == {other.person}, f"saw {people} instead of {other.person}"
    numbers = [one.frame for one in newest if one is not None]
    assert numbers == sorted(set(numbers)), f"frames out of order: {numbers}"
    assert len(numbers) >= pictures - 1, "pictures that can't be read"
    heard = viewer.of(other.id, "microphone").tone()
    assert heard == other.person % media.TONES, f"heard {heard} instead of {other.person}"
    return True


async def until_recognised(viewers: Sequence[AiortcClient], others: Sequence[AiortcClient]) -> None:
    """Until every viewer recognises each of the others, having wished for them at full height."""
    pairs = [(viewer, other) for viewer in viewers for other in others if viewer is not other]
    for viewer in viewers:
        wanted = {other.id for other in others if other is not viewer}
        await viewer.until(lambda viewer=viewer, wanted=wanted: wanted <= viewer.slots.keys(), "slots")  # type: ignore[misc]
        await viewer.wish(360)
    await wait_until(
        lambda: all(recognises(viewer, other) for viewer, other in pairs),
        deadline=30,
        what="everyone recognises everyone",
    )


def misnamed(viewer: AiortcClient, people: Mapping[str, int]) -> list[Picture]:
    """The pictures that stood under somebody else's name, once whoever has it had been seen there.

    Before that a page shows nothing (CONTRACT, "Slots"), which is as well: aiortc's jitter buffer keeps the former's
    last picture until packets with another time come.
    """
    found = []
    for watched in viewer.watched.values():
        under, known = None, False
        for picture in watched.pictures:
            if picture.under != under:
                under, known = picture.under, False
            if under is None or picture.seen is None:
                continue
            right = picture.seen.person == people[under]
            if known and not right:
                found.append(picture)
            known = known or right
    return found


@asynccontextmanager
async def visit(
    portal: Portal, people: Sequence[Mapping[str, Any]], numbers: Sequence[int] = PEOPLE, **room: Any
) -> AsyncIterator[Visit]:
    """Clients for the invited, none of them there yet; all closed in the end."""
    invited = await portal.book(people, **NO_DOCUMENTS, **room)
    clients = [client(portal, one, person) for one, person in zip(invited, numbers, strict=False)]
    try:
        yield Visit(invited, clients)
    finally:
        await asyncio.gather(*(one.close() for one in clients))


@dataclass
class Visit:
    invited: list[Invited]
    clients: list[AiortcClient]

    def people(self) -> dict[str, int]:
        """The person's number by participant."""
        return {one.id: who.person for one, who in zip(self.invited, self.clients, strict=True)}


async def test_three_see_and_hear_each_other_by_name(portal: Portal) -> None:
    people = [DOCTOR, PATIENT, RELATIVE]
    async with visit(portal, people) as made:
        clients = made.clients
        await asyncio.gather(*(admitted(portal, a, b) for a, b in zip(clients, made.invited, strict=True)))
        await until_recognised(clients, clients)
        for viewer in clients:
            assert set(viewer.slots) == {other.id for other in clients if other is not viewer}
            assert misnamed(viewer, made.people()) == []
            for other in set(clients) - {viewer}:
                assert viewer.of(other.id, "camera").pictures[-1].size == (640, 360)
        names = {one.id: str(person["display_name"]) for one, person in zip(clients, people, strict=True)}
        assert all(one.participants == names for one in clients)


async def test_whoever_waits_gets_no_media_and_nobody_gets_theirs(portal: Portal) -> None:
    async with visit(portal, [DOCTOR, PATIENT, RELATIVE]) as made:
        doctor, patient, waiting = made.clients
        for one, who in ((doctor, made.invited[0]), (patient, made.invited[1])):
            await admitted(portal, one, who)
        await waiting.arrive()
        with pytest.raises(AssertionError, match="refused"):
            await waiting.offer(OFFER.read_bytes().decode("ascii"))
        await until_recognised([doctor, patient], [doctor, patient])
        assert {said["type"] for said in waiting.heard} == {"welcome", "waiting", "error"}
        assert waiting.watched == {}
        assert set(doctor.slots) == {patient.id}
        # Let in, it needs nothing but its offer.
        await portal.act(made.invited[2], "admit")
        await waiting.join()
        await until_recognised(made.clients, made.clients)


async def test_a_slot_that_changes_hands_never_shows_the_former_under_the_new_name(portal: Portal) -> None:
    # A room for three, so that whoever comes third has to get the slot of whoever left.
    async with visit(portal, [DOCTOR, PATIENT, RELATIVE, INTERPRETER], max_participants=3) as made:
        doctor, patient, relative, interpreter = made.clients
        for one, who in zip(made.clients[:3], made.invited[:3], strict=True):
            await admitted(portal, one, who)
        await until_recognised([doctor, patient, relative], [doctor, patient, relative])
        former = doctor.slots[relative.id]
        await relative.leave()
        await doctor.until(lambda: relative.id not in doctor.slots, "the slot is free")
        await admitted(portal, interpreter, made.invited[3])
        await until_recognised([doctor, patient, interpreter], [doctor, patient, interpreter])
        assert doctor.slots[interpreter.id] == former
        for viewer in (doctor, patient, interpreter):
            assert misnamed(viewer, made.people()) == []


async def test_a_new_connection_replaces_the_former_without_disturbing_the_others(portal: Portal) -> None:
    async with visit(portal, [DOCTOR, PATIENT, RELATIVE]) as made:
        for one, who in zip(made.clients, made.invited, strict=True):
            await admitted(portal, one, who)
        await until_recognised(made.clients, made.clients)
        doctor, patient, relative = made.clients
        slots = doctor.slots
        before = doctor.of(relative.id, "camera").decoded
        await patient.join()
        await until_recognised(made.clients, made.clients)
        assert doctor.slots == slots
        assert doctor.of(relative.id, "camera").decoded > before
        assert all(misnamed(viewer, made.people()) == [] for viewer in made.clients)


async def test_media_stops_on_hold_and_comes_back_without_an_offer(portal: Portal) -> None:
    async with visit(portal, [DOCTOR, PATIENT]) as made:
        doctor, patient = made.clients
        for one, who in zip(made.clients, made.invited, strict=True):
            await admitted(portal, one, who)
        await until_recognised(made.clients, made.clients)
        await portal.act(made.invited[1], "hold")
        await doctor.until(lambda: doctor.slots == {}, "the doctor's slot is empty")
        await patient.until(lambda: patient.state in ("held", "waiting") and patient.slots == {}, "held")
        offers = sum(said["type"] == "answer" for said in patient.heard)
        await portal.act(made.invited[1], "admit")
        await until_recognised(made.clients, made.clients)
        assert sum(said["type"] == "answer" for said in patient.heard) == offers
        assert all(misnamed(viewer, made.people()) == [] for viewer in made.clients)


async def test_pictures_in_h264_are_recognised_as_well(portal: Portal) -> None:
    async with visit(portal, [DOCTOR, PATIENT]) as made:
        doctor, patient = made.clients
        await admitted(portal, doctor, made.invited[0])
        await patient.arrive()
        await portal.act(made.invited[1], "admit")
        await patient.join(codec="video/H264")
        await until_recognised(made.clients, made.clients)
        assert misnamed(doctor, made.people()) == []


async def test_rooms_live_on_shards_of_their_own(tmp_path: Path) -> None:
    async with (
        Server(tmp_path / "server", shards=2) as server,
        Portal(server.http, await create_key(server)) as portal,
        visit(portal, [DOCTOR, PATIENT]) as one,
        visit(portal, [DOCTOR, PATIENT], PEOPLE[2:]) as other,
        ClientSession() as prometheus,
    ):
        assert len(set(server.ready["media"])) == 2
        for made in (one, other):
            for who, invited in zip(made.clients, made.invited, strict=True):
                await admitted(portal, who, invited)
        await until_recognised(one.clients, one.clients)
        await until_recognised(other.clients, other.clients)
        async with prometheus.get(server.ready["metrics"]) as answer:
            figures = await answer.text()
        for shard in (0, 1):
            assert f'vardrum_engine_shard_peers{{shard="{shard}"}} 2.0\n' in figures
        memory = re.search(r"^vardrum_engine_peer_memory_bytes (\S+)$", figures, re.MULTILINE)
        assert memory
        assert 4 * 20_000 < float(memory[1]) < 4 * 2_000_000
