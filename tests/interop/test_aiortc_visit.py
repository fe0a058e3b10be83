"""A visit of three participants without browsers: each decodes the others' numbered pictures and tones, by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from vardrum.codecs import media
from vardrum.tests.support.aiortc_client import AiortcClient
from vardrum.tests.support.portal import Invited, Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, RELATIVE
from vardrum.tests.support.wait import wait_until

PEOPLE = (3, 6, 11)  # numbers, and tones, that aren't each other's neighbours


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
    camera = viewer.of(other.id, "camera")
    newest = [one for one, _ in list(camera.seen)[-pictures:]]
    assert len(newest) == pictures, f"{len(newest)} pictures of person {other.person}"
    people = {one.person for one in newest if one is not None}
    assert people == {other.person}, f"saw {people} instead of {other.person}"
    numbers = [one.frame for one in newest if one is not None]
    assert numbers == sorted(set(numbers)), f"frames out of order: {numbers}"
    assert len(numbers) >= pictures - 1, "pictures that can't be read"
    heard = viewer.of(other.id, "microphone").tone()
    assert heard == other.person % media.TONES, f"heard {heard} instead of {other.person}"
    return True


async def test_three_see_and_hear_each_other_by_name(portal: Portal) -> None:
    people = [DOCTOR, PATIENT, RELATIVE]
    invited = await portal.book(people, **NO_DOCUMENTS)
    clients = [client(portal, one, person) for one, person in zip(invited, PEOPLE, strict=True)]
    try:
        await asyncio.gather(*(admitted(portal, a, b) for a, b in zip(clients, invited, strict=True)))
        pairs = [(a, b) for a in clients for b in clients if a is not b]
        for viewer in clients:
            await viewer.until(lambda viewer=viewer: len(viewer.slots) == 2, "two others in the slots")
            assert set(viewer.slots) == {other.id for other in clients if other is not viewer}
            await viewer.wish(360)
        await wait_until(
            lambda: all(recognises(viewer, other) for viewer, other in pairs),
            deadline=30,
            what="everyone recognises everyone",
        )
        for viewer, other in pairs:
            camera, microphone = viewer.slots[other.id]["camera"], viewer.slots[other.id]["microphone"]
            assert int(camera) > int(microphone)
            _, size = viewer.of(other.id, "camera").seen[-1]
            assert size == (640, 360)
        names = {one.id: str(person["display_name"]) for one, person in zip(clients, people, strict=True)}
        assert all(one.participants == names for one in clients)
    finally:
        await asyncio.gather(*(one.close() for one in clients))
