"""What happens by itself: rooms open and close, the lost leave."""

from __future__ import annotations

from datetime import timedelta

from vardrum.control.store import queries
from vardrum.tests.api.installation import Installation


async def test_five_minutes_lost_is_left_and_not_a_second_less(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.admitted("Patient")
    await here.visits.connection(arrived.id, False)
    assert (await here.ask("GET", visit.of("Patient"))).body["connection"] == "lost"
    await here.pass_time(minutes=4, seconds=59)
    assert await visit.state("Patient") == "admitted"
    await here.pass_time(seconds=1)
    assert await visit.state("Patient") == "left"
    assert ("participant.left", visit.ids["Patient"]) in await here.events()


async def test_who_comes_back_in_time_is_not_lost_any_more(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.admitted("Patient")
    await here.visits.connection(arrived.id, False)
    await here.pass_time(minutes=4)
    await here.visits.connection(arrived.id, True)
    await here.pass_time(minutes=4)
    await here.visits.connection(arrived.id, False, here.now - timedelta(seconds=5))
    await here.pass_time(minutes=4)
    assert await visit.state("Patient") == "admitted"
    await here.pass_time(minutes=1)
    assert await visit.state("Patient") == "left"


async def test_a_room_opens_at_its_time(here: Installation) -> None:
    visit = await here.book(starts_at="2026-03-02T10:00:00Z", ends_at="2026-03-02T10:30:00Z")
    assert (await visit.room())["state"] == "scheduled"
    here.now += timedelta(minutes=45)  # 09:45, before anything has been written down
    assert (await visit.room())["state"] == "open"
    await visit.comes("Patient")
    kinds = [kind for kind, _ in await here.events()]
    assert kinds.count("room.opened") == 1
    await here.visits.tick()
    assert [kind for kind, _ in await here.events()].count("room.opened") == 1


async def test_a_room_closes_when_its_time_is_over_but_never_while_someone_is_in_it(here: Installation) -> None:
    empty = await here.book()
    visit = await here.book()
    await visit.host()
    patient = await visit.admitted("Patient")
    doctor = (await here.visits.snapshot(visit.id)).arrivals[0].session
    await here.pass_time(minutes=65)  # ends_at 09:35, and half an hour
    assert (await empty.room())["state"] == "ended"
    assert (await visit.room())["state"] == "in_progress"
    assert (await here.visits.arrive(patient.id)).state == "admitted"
    await here.visits.leave(patient.id)
    await here.visits.leave(doctor)
    await here.visits.tick()
    assert (await visit.room())["state"] == "ended"
    reply = await here.ask("POST", "/v1/sessions", {"resume": patient.resume}, key="")
    assert (reply.status, reply.problem) == (410, "gone")


async def test_a_visit_is_in_progress_when_a_host_and_someone_else_are_connected(here: Installation) -> None:
    visit = await here.book()
    await visit.admitted("Patient")
    await visit.admitted("Relative")
    assert (await visit.room())["state"] == "open"
    await visit.host()
    assert (await visit.room())["state"] == "in_progress"


async def test_the_record_is_gapless_in_commit_order(here: Installation) -> None:
    visit = await here.book()
    await visit.admitted("Patient")
    await visit.act("Patient", "identify", host="part_" + "0" * 36)  # refused: no trace
    await visit.act("Patient", "remove")
    async with here.app.store.read() as db:
        positions = [one.position for one in await queries.events(db, "north", 0, 1000)]
    assert positions == list(range(1, len(positions) + 1))
