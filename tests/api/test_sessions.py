"""Coming, coming back, and coming a second time."""

from __future__ import annotations

from pathlib import Path

import pytest
from vardrum.control.store import queries
from vardrum.control.visits.refused import Refused, TokenRefused
from vardrum.tests.api.installation import Installation

pytestmark = pytest.mark.both_databases


async def resumed(here: Installation, resume: str, status: int = 201) -> dict[str, str]:
    reply = await here.ask("POST", "/v1/sessions", {"resume": resume}, key="")
    assert reply.status == status, reply
    body: dict[str, str] = reply.body
    return body


async def test_a_session_says_where_to_connect_and_until_when(here: Installation) -> None:
    visit = await here.book()
    reply = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert reply.status == 201
    assert reply.body["websocket_url"] == "wss://video.example.org/v1/ws"
    assert reply.body["expires_at"] == (await visit.room())["closes_at"]
    assert reply.body["room"] == visit.id
    about, room = reply.body["about"], await visit.room()
    assert about["care_unit"]["name"] == room["care_unit"]["name"]
    assert (about["language"], about["display_name"]) == ("sv", "Patient")
    # Nobody has said hello yet.
    assert await visit.state("Patient") == "invited"


@pytest.mark.both_databases(False)  # refused before any database is asked
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"invite": "a", "resume": "b"}, 422),
        ({"invite": None}, 422),
        ({"invite": 1}, 422),
        ({"invite": ""}, 422),
        ({"invite": "x" * 201}, 422),
        ({"token": "x"}, 422),
        ({"invite": "AAAAAAAAAAAAAAAAAAAAAA"}, 401),
        ({"embed_token": "vre_x"}, 401),
        ({"resume": "vrr_x"}, 401),
        ({"invite": "' or 1=1 --"}, 401),
        ({"invite": "å\u0000"}, 401),
    ],
)
async def test_secrets_that_are_no_secrets(here: Installation, body: dict[str, object], status: int) -> None:
    await here.book()
    reply = await here.ask("POST", "/v1/sessions", body, key="")
    assert reply.status == status
    assert reply.problem == ("invalid-body" if status == 422 else "token-not-accepted")


async def test_a_secret_opens_only_what_it_is_for(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.comes("Patient")
    for body in ({"invite": arrived.resume}, {"resume": visit.links["Patient"]}, {"embed_token": arrived.token}):
        assert (await here.ask("POST", "/v1/sessions", body, key="")).problem == "token-not-accepted"
    assert (await here.ask("GET", visit.path, key=arrived.token)).status == 403
    assert (await here.ask("GET", visit.path, key=arrived.resume)).status == 401


async def test_the_former_resume_secret_works_until_the_new_one_is_used(here: Installation) -> None:
    visit = await here.book()
    first = await visit.admitted("Patient")
    lost = await resumed(here, first.resume)  # the answer never arrives
    second = await resumed(here, first.resume)
    assert second["id"] == first.id == lost["id"]
    third = await resumed(here, second["resume"])  # arrived, and used
    await resumed(here, first.resume, 401)
    await resumed(here, lost["resume"], 401)
    await resumed(here, second["resume"])  # the former of the newest
    assert third["id"] == first.id


async def test_the_former_token_works_until_the_new_one_is_used(here: Installation) -> None:
    visit = await here.book()
    first = await visit.admitted("Patient")
    fresh = await resumed(here, first.resume)
    assert (await here.visits.session(first.token)).id == first.id
    assert (await here.visits.session(fresh["token"])).id == first.id
    with pytest.raises(TokenRefused, match="token-not-accepted"):
        await here.visits.session(first.token)


async def test_who_was_admitted_returns_without_waiting_unless_held_or_removed(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.admitted("Patient")
    await here.visits.leave(arrived.id)
    assert await visit.state("Patient") == "left"
    assert (await here.visits.arrive(arrived.id)).state == "admitted"
    for verb, expected in (("hold", "waiting"), ("remove", "removed")):
        await visit.act("Patient", verb)
        assert (await here.visits.leave(arrived.id)).state == ("left" if verb == "hold" else "removed")
        fresh = await resumed(here, arrived.resume)
        assert (await here.visits.arrive(fresh["id"])).state == expected
        arrived.resume = fresh["resume"]


async def test_who_left_while_waiting_waits_again(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.comes("Patient")
    assert (await here.visits.leave(arrived.id)).state == "left"
    assert (await here.visits.arrive(arrived.id)).state == "waiting"


async def test_the_same_link_in_another_browser_waits_and_disturbs_nobody(here: Installation) -> None:
    visit = await here.book()
    first = await visit.admitted("Patient")
    before = (await here.ask("GET", visit.of("Patient"))).body
    second = await visit.comes("Patient")
    assert second.id != first.id
    assert (await here.visits.session(second.token)).state == "waiting"
    assert (await here.visits.session(first.token)).state == "admitted"
    assert (await here.ask("GET", visit.of("Patient"))).body == before
    for verb in ("admit", "hold", "deny", "remove"):
        reply = await visit.act("Patient", verb)
        assert (reply.status, reply.problem) == (409, "session-needed")
        assert reply.body["sessions"] == [first.id, second.id]
    assert (await visit.act("Patient", "mute")).status == 200


async def test_admitting_the_second_browser_closes_the_first(here: Installation) -> None:
    visit = await here.book(identity_policy={"patient": "document"}, max_participants=2)
    await visit.host()
    await visit.comes("Patient")
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "document"})
    first = (await here.visits.snapshot(visit.id)).arrivals[-1].session
    assert (await visit.act("Patient", "admit")).status == 200
    second = await visit.comes("Patient")
    # It is unidentified: somebody else may have found the link.
    refused = await visit.act("Patient", "admit", session=second.id)
    assert (refused.status, refused.problem) == (409, "identity-not-met")
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "known_in_person", "session": second.id})
    admitted = await visit.act("Patient", "admit", session=second.id)
    assert (admitted.status, admitted.body["state"]) == (200, "admitted")
    assert admitted.body["identity"]["method"] == "known_in_person"
    with pytest.raises(Refused, match="session-replaced"):
        await here.visits.arrive(first)
    assert [one.session for one in (await here.visits.snapshot(visit.id)).arrivals][-1] == second.id


async def test_turning_a_second_browser_away_leaves_the_first_alone(here: Installation) -> None:
    visit = await here.book()
    first = await visit.admitted("Patient")
    second = await visit.comes("Patient")
    denied = await visit.act("Patient", "deny", session=second.id, reason="Wrong person")
    assert (denied.status, denied.body["state"]) == (200, "admitted")
    assert (await here.visits.session(second.token)).reason == "Wrong person"
    assert (await here.visits.session(first.token)).state == "admitted"
    assert (await visit.act("Patient", "hold")).status == 200  # only one is meant again


async def test_no_link_leads_back_in_for_somebody_removed(here: Installation) -> None:
    visit = await here.book()
    await visit.admitted("Patient")
    await visit.act("Patient", "remove", reason="Disturbed")
    second = await visit.comes("Patient")
    assert (await here.visits.session(second.token)).state == "removed"
    assert (await here.visits.session(second.token)).reason == "Disturbed"
    # A host who changes their mind finds the browser they are at now.
    assert (await visit.act("Patient", "admit")).status == 200
    assert (await here.visits.session(second.token)).state == "admitted"


async def test_a_host_vouched_for_in_another_browser_takes_over_at_once(here: Installation) -> None:
    visit = await here.book()
    first = await visit.host()
    second = await visit.host()
    assert (await here.visits.session(second.token)).state == "admitted"
    with pytest.raises(TokenRefused, match="session-replaced"):
        await here.visits.session(first.token)


async def test_a_link_is_not_a_place_to_fill_the_queue_from(here: Installation) -> None:
    visit = await here.book()
    await visit.admitted("Patient")
    for _ in range(8):
        await visit.comes("Patient")
    reply = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert (reply.status, reply.problem) == (429, "too-many-requests")
    assert int(reply.headers["Retry-After"]) > 0
    for _ in range(20):  # opened and never used
        await visit.open("Relative")
    async with here.app.store.read() as db:
        _, sessions = await queries.people(db, visit.id)
        kept = [one for one in sessions if one.participant == visit.ids["Relative"]]
    assert len(kept) <= 9


async def test_hosts_come_in_by_link_only_where_the_setting_says_so(tmp_path: Path) -> None:
    for by_link, expected in ((False, "waiting"), (True, "admitted")):
        async with Installation(tmp_path / str(by_link), {"hosts": {"by_link": by_link}}) as here:
            visit = await here.book()
            await visit.comes("Doctor")
            assert await visit.state("Doctor") == expected
            await visit.comes("Patient")
            assert await visit.state("Patient") == "waiting"


async def test_everything_is_as_it_was_after_a_restart(tmp_path: Path, database: str) -> None:
    async with Installation(tmp_path / "data", {"database_url": database}) as here:
        visit = await here.book()
        patient = await visit.admitted("Patient")
        waiting = await visit.comes("Relative")
        key = here.key
    async with Installation(tmp_path / "data", {"database_url": database}) as here:
        assert (await here.visits.session(patient.token)).state == "admitted"
        assert (await here.visits.session(waiting.token)).state == "waiting"
        reply = await here.ask("GET", visit.of("Patient"), key=key)
        assert (reply.body["state"], reply.body["connection"]) == ("admitted", "lost")
        await here.visits.arrive(patient.id)
        reply = await here.ask("GET", visit.of("Patient"), key=key)
        assert (reply.body["state"], reply.body["connection"]) == ("admitted", "connected")
        # Whoever doesn't come back within five minutes has left.
        await here.pass_time(minutes=5)
        assert (await here.ask("GET", visit.of("Relative"), key=key)).body["state"] == "left"
        assert (await here.ask("GET", visit.of("Patient"), key=key)).body["state"] == "admitted"
