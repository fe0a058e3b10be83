"""Letting people in and out: who may, from which state, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from vardrum.control.visits.values import Actor, Vouched
from vardrum.tests.api.installation import Installation

pytestmark = pytest.mark.both_databases


async def test_a_patient_waits_is_identified_and_admitted(here: Installation) -> None:
    visit = await here.book(identity_policy={})
    doctor = await visit.host()
    await visit.comes("Patient")
    assert await visit.state("Patient") == "waiting"
    too_soon = await visit.act("Patient", "admit")
    assert (too_soon.status, too_soon.problem) == (409, "identity-not-met")
    seen = await visit.act("Patient", "identify", key=doctor.token)
    assert seen.body["state"] == "identifying"
    body = {"method": "document", "document_type": "passport"}
    known = await here.ask("PUT", visit.of("Patient") + "/identity", body, key=doctor.token)
    assert known.body["identity"]["method"] == "document"
    assert known.body["identity"]["by"] == {"id": visit.ids["Doctor"], "name": "Doctor"}
    admitted = await visit.act("Patient", "admit", key=doctor.token)
    assert (admitted.status, admitted.body["state"]) == (200, "admitted")
    assert (await visit.room())["state"] == "in_progress"
    kinds = [kind for kind, participant in await here.events() if participant == visit.ids["Patient"]]
    expected = ["invited", "waiting", "connected", "identifying", "identified", "admitted"]
    assert kinds == [f"participant.{kind}" for kind in expected]


async def test_the_portals_person_stands_in_the_record(here: Installation) -> None:
    visit = await here.book(identity_policy={})
    await visit.comes("Patient")
    reply = await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "known_in_person"})
    assert reply.body["identity"]["by"] == {"id": "nurse-1", "name": "Nils Nurse", "care_unit": "Ward 7"}
    assert (await visit.act("Patient", "admit")).status == 200


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([], ["identify", "admit", "hold", "deny", "remove", "mute"]),
        (["come"], ["mute"]),
        (["come", "admit"], ["identify", "deny"]),
        (["come", "deny"], ["identify", "mute"]),
        (["come", "remove"], ["identify", "deny", "mute"]),
        (["come", "admit", "leave"], ["identify", "admit", "deny", "mute"]),
    ],
)
async def test_what_does_not_fit_the_state_is_refused_and_changes_nothing(
    here: Installation, steps: list[str], refused: list[str]
) -> None:
    visit = await here.book()
    await visit.host()
    session = None
    for step in steps:
        if step == "come":
            session = (await visit.comes("Patient")).id
        elif step == "leave":
            assert session is not None
            await here.visits.leave(session)
        else:
            assert (await visit.act("Patient", step)).status == 200
    before = await visit.room()
    for verb in refused:
        body = {"host": visit.ids["Doctor"]} if verb == "identify" else {}
        reply = await visit.act("Patient", verb, **body)
        assert (reply.status, reply.problem) == (409, "state-conflict"), verb
    assert await visit.room() == before


async def test_repeating_what_is_so_already_is_no_error_and_no_event(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    await visit.comes("Patient")
    host = {"host": visit.ids["Doctor"]}
    for verb, body in (("hold", {}), ("identify", host), ("deny", {}), ("admit", {}), ("remove", {})):
        first = await visit.act("Patient", verb, **body)
        events = await here.events()
        assert (await visit.act("Patient", verb, **body)).body == first.body, verb
        assert await here.events() == events


async def test_admit_undoes_deny_and_remove_and_hold_works_everywhere(here: Installation) -> None:
    visit = await here.book()
    arrived = await visit.comes("Patient")
    for undone in ("deny", "remove"):
        await visit.act("Patient", "hold")
        assert (await visit.act("Patient", undone)).body["state"] in ("denied", "removed")
        assert (await visit.act("Patient", "admit")).body["state"] == "admitted"
    await here.visits.leave(arrived.id)
    for verb in ("remove", "hold"):
        assert (await visit.act("Patient", verb)).status == 200
    assert await visit.state("Patient") == "waiting"


async def test_only_one_person_is_alone_with_a_host(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    await visit.comes("Patient")
    await visit.comes("Relative")
    assert (await visit.act("Patient", "identify")).pointers == {"#/host"}
    wrong = await visit.act("Patient", "identify", host=visit.ids["Relative"])
    assert (wrong.status, wrong.problem) == (409, "host-not-available")
    assert (await visit.act("Patient", "identify", host=visit.ids["Doctor"])).status == 200
    second = await visit.act("Relative", "identify", key=doctor.token)
    assert (second.status, second.problem) == (409, "host-busy")
    # The host goes: nobody stays behind alone.
    await visit.act("Doctor", "hold")
    assert await visit.state("Patient") == "waiting"


async def test_a_full_room_admits_nobody_more_and_identifying_counts(here: Installation) -> None:
    visit = await here.book(max_participants=2)
    doctor = await visit.host()
    await visit.comes("Patient")
    await visit.comes("Relative")
    assert (await visit.act("Patient", "identify", key=doctor.token)).status == 200
    full = await visit.act("Relative", "admit")
    assert (full.status, full.problem) == (409, "room-full")
    assert (await visit.act("Patient", "admit")).status == 200
    assert (await visit.act("Patient", "hold")).status == 200
    assert (await visit.act("Relative", "admit")).status == 200


async def test_admission_by_key_names_the_acting_person(here: Installation) -> None:
    visit = await here.book()
    await visit.comes("Patient")
    path = visit.of("Patient") + "/admit"
    missing = await here.ask("POST", path, {}, actor=None)
    assert (missing.status, missing.problem) == (422, "invalid-header")
    for header in ("!!", "e30", "eyJpZCI6MX0", "W10", "x" * 3000):
        reply = await here.ask("POST", path, {}, actor=None, Vardrum_Actor=header)
        assert (reply.status, reply.problem) == (422, "invalid-header"), header
    assert await visit.state("Patient") == "waiting"


async def test_a_host_who_waits_admits_nobody_not_even_themselves(here: Installation) -> None:
    visit = await here.book()
    host = await visit.comes("Doctor")
    assert await visit.state("Doctor") == "waiting"
    await visit.comes("Patient")
    for name in ("Doctor", "Patient"):
        reply = await visit.act(name, "admit", key=host.token)
        assert (reply.status, reply.problem) == (403, "not-allowed")


async def test_a_session_token_of_anyone_else_or_for_another_room_does_nothing(here: Installation) -> None:
    visit, other = await here.book(), await here.book()
    doctor = await visit.host()
    patient = await visit.admitted("Patient")
    await other.comes("Patient")
    assert (await visit.act("Relative", "admit", key=patient.token)).status == 403
    assert (await other.act("Patient", "admit", key=doctor.token)).status == 404
    assert (await here.ask("GET", visit.path, key=doctor.token)).status == 403
    assert (await visit.act("Patient", "hold", key=doctor.token[:-1] + "A")).status in (200, 401)
    assert (await visit.act("Patient", "hold", key="vrs_" + "A" * 43)).status == 401


async def test_lock_keeps_new_arrivals_out_and_lets_the_admitted_return(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    patient = await visit.admitted("Patient")
    opened = await visit.open("Relative")
    locked = await here.ask("POST", f"{visit.path}/lock", {}, key=doctor.token)
    assert (locked.status, locked.body["locked"]) == (200, True)
    reply = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Relative"]}, key="")
    assert (reply.status, reply.problem) == (409, "room-locked")
    with pytest.raises(Exception, match="room-locked"):
        await here.visits.arrive(opened.id)
    await here.visits.leave(patient.id)
    back = await here.ask("POST", "/v1/sessions", {"resume": patient.resume}, key="")
    assert (await here.visits.arrive(back.body["id"])).state == "admitted"
    assert (await here.ask("POST", f"{visit.path}/unlock", {}, key=doctor.token)).body["locked"] is False
    await visit.comes("Relative")


async def test_end_and_reopen(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    patient = await visit.admitted("Patient")
    for _ in range(2):
        ended = await here.ask("POST", f"{visit.path}/end", {}, key=doctor.token)
        assert (ended.status, ended.body["state"]) == (200, "ended")
    assert (await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")).status == 410
    assert (await visit.act("Patient", "hold")).problem == "state-conflict"
    await here.pass_time(minutes=9)
    reopened = await here.ask("POST", f"{visit.path}/reopen", {}, key=doctor.token)
    assert (reopened.status, reopened.body["state"]) == (200, "open")
    back = await here.ask("POST", "/v1/sessions", {"resume": patient.resume}, key="")
    assert (await here.visits.arrive(back.body["id"])).state == "admitted"
    await here.visits.arrive(doctor.id)
    assert (await visit.room())["state"] == "in_progress"
    await here.ask("POST", f"{visit.path}/end", {})
    await here.pass_time(minutes=11)
    late = await here.ask("POST", f"{visit.path}/reopen", {})
    assert (late.status, late.problem) == (409, "state-conflict")
    gone = await here.ask("POST", f"{visit.path}/reopen", {}, key=doctor.token)
    assert (gone.status, gone.problem) == (410, "gone")


async def test_mute_is_told_to_whoever_listens(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    await visit.admitted("Patient")
    heard: list[tuple[str, str | None]] = []

    async def listen(room: str, participant: str, by: object) -> None:
        heard.append((participant, getattr(by, "participant", None)))

    here.visits.subscribe_mutes(listen)
    assert (await visit.act("Patient", "mute", key=doctor.token)).status == 200
    assert heard == [(visit.ids["Patient"], visit.ids["Doctor"])]


async def test_a_host_of_whom_too_little_is_known_waits_like_anyone(here: Installation) -> None:
    visit = await here.book(identity_policy={"caregiver": "loa3"})
    doctor = await visit.host()
    assert await visit.state("Doctor") == "waiting"
    refused = await visit.act("Doctor", "admit")
    assert (refused.status, refused.problem) == (409, "identity-not-met")
    weak = Vouched("freja", "loa2", "19700101-2384", "Dora Doctor")
    strong = replace(weak, level="loa3")
    by = Actor("freja", "Freja")
    for who, state in ((weak, "waiting"), (strong, "admitted")):
        kept = await here.visits.identity_of(doctor.id, who, by)
        after, _ = await here.visits.record_eid(doctor.id, kept)
        assert after.state == state
    other = await here.book(identity_policy={"caregiver": "loa3"})
    made = await here.ask("POST", other.of("Doctor") + "/sessions", {"identity": asdict(strong)})
    opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
    assert (await here.visits.arrive(opened.body["id"])).state == "admitted"


async def test_an_eid_lets_nobody_in_who_came_by_a_link(here: Installation) -> None:
    visit = await here.book(identity_policy={"caregiver": "loa3"})
    doctor = await visit.comes("Doctor")
    who = Vouched("freja", "loa3", "19700101-2384", "Dora Doctor")
    kept = await here.visits.identity_of(doctor.id, who, Actor("freja", "Freja"))
    after, counts = await here.visits.record_eid(doctor.id, kept)
    assert (after.state, counts) == ("waiting", True)
