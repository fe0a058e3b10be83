"""Two questions after a visit: who may answer, how often, and what others get to know of it."""

from __future__ import annotations

from typing import Any

import pytest
from vardrum.control.store import queries
from vardrum.tests.api.installation import Installation, Reply, Visit


async def rate(visit: Visit, token: str, /, **answers: Any) -> Reply:
    return await visit.here.ask("POST", f"{visit.path}/feedback", answers, key=token, actor=None)


async def kept(visit: Visit) -> list[tuple[int | None, int | None]]:
    async with visit.here.app.store.read() as db:
        found = [await queries.rating(db, one) for one in visit.ids.values()]
        return [(one.technical, one.visit) for one in found if one is not None]


async def test_who_was_in_the_visit_rates_it_once_and_may_change_their_mind_for_ten_minutes(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    patient = await visit.admitted("Patient")
    assert (await rate(visit, patient.token, technical=2, visit=5)).status == 204
    await here.ask("POST", visit.path + "/end", {})
    await here.pass_time(minutes=9)
    assert (await rate(visit, patient.token, visit=4)).status == 204
    assert await kept(visit) == [(None, 4)]
    await here.pass_time(minutes=2)
    late = await rate(visit, patient.token, technical=1, visit=1)
    assert (late.status, late.problem) == (409, "state-conflict")
    assert await kept(visit) == [(None, 4)]
    assert [one for one in await here.events() if one[0] == "feedback.given"] == [("feedback.given", None)]


async def test_the_feed_says_neither_the_answer_nor_whose_it_was(here: Installation) -> None:
    visit = await here.book()
    patient = await visit.admitted("Patient")
    await rate(visit, patient.token, technical=1, visit=1)
    async with here.app.store.read() as db:
        event = (await queries.events(db, "north", 0, 1000))[-1]
    assert event.type == "feedback.given"
    assert (event.room, event.participant, event.data) == (visit.id, None, {})


async def test_it_may_be_given_for_an_hour_after_the_end(here: Installation) -> None:
    visit = await here.book()
    patient = await visit.admitted("Patient")
    relative = await visit.admitted("Relative")
    await here.ask("POST", visit.path + "/end", {})
    await here.pass_time(minutes=59)
    assert (await rate(visit, patient.token, technical=5)).status == 204
    await here.pass_time(minutes=2)
    over = await rate(visit, relative.token, technical=5)
    assert (over.status, over.problem) == (410, "gone")


async def test_who_was_never_let_in_has_nothing_to_rate(here: Installation) -> None:
    visit = await here.book()
    waiting = await visit.comes("Patient")
    refused = await rate(visit, waiting.token, technical=5, visit=5)
    assert (refused.status, refused.problem) == (409, "state-conflict")
    assert await kept(visit) == []


async def test_only_a_token_of_that_very_room_will_do(here: Installation) -> None:
    visit, other = await here.book(), await here.book()
    patient = await other.admitted("Patient")
    assert (await rate(visit, patient.token, visit=5)).problem == "not-found"
    assert (await rate(visit, here.key, visit=5)).problem == "not-allowed"
    assert (await rate(visit, "vrs_none", visit=5)).problem == "token-not-accepted"
    assert (await here.ask("POST", f"{visit.path}/feedback", {"visit": 5}, key="")).problem == "not-authenticated"
    assert await kept(visit) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"technical": None}, "#"),
        ({"technical": 0}, "#/technical"),
        ({"visit": 6}, "#/visit"),
        ({"visit": "5"}, "#/visit"),
        ({"visit": 4.5}, "#/visit"),
        ({"visit": 5, "text": "it hurt"}, "#/text"),
    ],
)
async def test_no_words_and_nothing_but_one_to_five(here: Installation, body: Any, pointer: str) -> None:
    visit = await here.book()
    patient = await visit.admitted("Patient")
    reply = await rate(visit, patient.token, **body)
    assert (reply.status, reply.pointers) == (422, {pointer})


async def test_a_unit_that_asks_nothing_takes_no_answer(here: Installation) -> None:
    await here.ask("PUT", "/v1/care-units/Ward%207", {"functions": ["link_join"]})
    visit = await here.book()
    patient = await visit.admitted("Patient")
    refused = await rate(visit, patient.token, visit=5)
    assert (refused.status, refused.problem, refused.body["function"]) == (409, "function-off", "feedback")


async def test_a_repeated_request_is_answered_as_the_first(here: Installation) -> None:
    visit = await here.book()
    patient = await visit.admitted("Patient")
    path = f"{visit.path}/feedback"
    for body, status in (({"visit": 5}, 204), ({"visit": 5}, 204), ({"visit": 4}, 422)):
        reply = await here.ask("POST", path, body, key=patient.token, actor=None, Idempotency_Key="one")
        assert reply.status == status
    assert await kept(visit) == [(None, 5)]
