"""A visit as it went: attendance, waiting, identity, quality and fallback, as JSON and as FHIR."""

from __future__ import annotations

from typing import Any

import pytest
from fhir.resources.R4B.encounter import Encounter
from vardrum.tests.api.installation import ACTOR, Installation, Visit

FHIR = "application/fhir+json"
UNIT = {"name": "Ward 7", "hsa_id": "SE2321000016-1A2B"}


async def report(visit: Visit) -> Any:
    reply = await visit.here.ask("GET", visit.path + "/report")
    assert reply.status == 200, reply
    assert reply.headers["Vary"] == "Accept"
    return reply.body


async def encounter(visit: Visit) -> Any:
    reply = await visit.here.ask("GET", visit.path + "/report", Accept=FHIR)
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, FHIR)
    Encounter.model_validate(reply.body)
    return reply.body


def of(body: Any, visit: Visit, name: str) -> Any:
    return next(one for one in body["attendance"] if one["participant"] == visit.ids[name])


def at(minutes: float) -> str:
    return f"2026-03-02T09:{int(minutes):02d}:{round(minutes % 1 * 60):02d}Z"


async def a_visit(here: Installation, **fields: Any) -> Visit:
    """Patient waits from 9:01 to 9:04, host from 9:03; sound only from 9:06 to 9:08; lost from 9:10 to 9:11; phoned."""
    visit = await here.book(care_unit=UNIT, patient_ref="p-17", external_ref="b-1", **fields)
    await here.pass_time(minutes=1)
    patient = await visit.comes("Patient")
    await here.pass_time(minutes=2)
    host = await visit.host()
    await here.pass_time(minutes=1)
    reply = await here.ask(
        "PUT", visit.of("Patient") + "/identity", {"method": "document", "document_type": "passport"}
    )
    assert reply.status == 200
    await visit.act("Patient", "admit")
    await here.pass_time(minutes=2)
    await here.visits.happened(
        patient.id, "media.degraded", {"level": "sound_only", "reason": "network", "way": "down"}
    )
    await here.pass_time(minutes=2)
    await here.visits.happened(patient.id, "media.restored", {"level": "good", "reason": "network"})
    await here.pass_time(minutes=2)
    await here.visits.connection(patient.id, False)
    await here.visits.happened(patient.id, "fallback.needed", {"reason": "silent"})
    await here.pass_time(minutes=1)
    await here.visits.connection(patient.id, True)
    await here.pass_time(minutes=4)
    await here.visits.leave(host.id)
    await here.pass_time(minutes=5)
    await here.ask("POST", visit.path + "/end", {})
    return visit


async def test_a_report_says_who_was_there_from_when_to_when_and_how_well(here: Installation) -> None:
    visit = await a_visit(here)
    body = await report(visit)
    assert (body["state"], body["held"], body["started_at"], body["ended_at"]) == ("ended", True, at(4), at(20))
    assert (body["seconds"], body["complete"]) == (16 * 60, True)
    patient, host, relative = (of(body, visit, name) for name in ("Patient", "Doctor", "Relative"))
    assert patient["waited"] == [{"begins": at(1), "ends": at(4), "seconds": 180.0}]
    assert patient["attended"] == [{"begins": at(4), "ends": at(20), "seconds": 960.0}]
    assert patient["quality"] == {
        "down": {"good": 780.0, "poor": 0.0, "sound_only": 120.0, "lost": 60.0},
        "up": {"good": 900.0, "poor": 0.0, "sound_only": 0.0, "lost": 60.0},
    }
    assert host["attended"] == [{"begins": at(3), "ends": at(15), "seconds": 720.0}]
    assert (relative["came"], relative["attended"], relative["quality"]) == (False, [], None)
    [check] = patient["identity"]
    assert (check["method"], check["document_type"], check["level"]) == ("document", "passport", "document")
    assert (check["by"], check["at"]) == (ACTOR, at(4))
    assert (relative["identity"], host["identity"]) == ([], [])
    assert [one["data"] for one in body["fallback"]["needed"]] == [{"reason": "silent"}]
    assert body["fallback"]["phone_used"] is False
    types = [one["type"] for one in body["timeline"]]
    assert types[:2] == ["room.created", "room.opened"]
    assert types.count("participant.invited") == 3
    assert types[-1] == "room.ended"
    assert body["timeline"][-1]["by"] == ACTOR


async def test_what_a_portal_vouched_for_is_an_identity_too_and_no_subject_is_told(here: Installation) -> None:
    visit = await here.book()
    identity = {"method": "siths", "level": "loa3", "subject": "SE-very-secret", "name": "Patient Name"}
    made = await here.ask("POST", visit.of("Patient") + "/sessions", {"identity": identity})
    opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
    await here.visits.arrive(opened.body["id"])
    reply = await here.ask("GET", visit.path + "/report")
    [check] = of(reply.body, visit, "Patient")["identity"]
    assert (check["method"], check["level"], check["by"]["id"]) == ("siths", "loa3", ACTOR["id"])
    assert "SE-very-secret" not in str(reply.body)


async def test_a_visit_that_goes_on_is_reported_up_to_now(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    await visit.admitted("Patient")
    await here.pass_time(minutes=7)
    body = await report(visit)
    assert (body["state"], body["seconds"], body["ended_at"]) == ("in_progress", 420.0, None)
    assert of(body, visit, "Patient")["attended"] == [{"begins": at(0), "seconds": 420.0}]


async def test_coming_back_leaving_and_a_second_browser_are_counted_once(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    first = await visit.admitted("Patient")
    await here.pass_time(minutes=2)
    second = await visit.comes("Patient")  # the same link in another browser, which waits
    await here.pass_time(minutes=1)
    await visit.act("Patient", "admit", session=second.id)  # closes the first
    await here.pass_time(minutes=1)
    await here.visits.leave(second.id)
    await here.pass_time(minutes=1)
    await here.visits.arrive(second.id)  # back without waiting
    await here.pass_time(minutes=1)
    await visit.act("Patient", "hold")
    await here.pass_time(minutes=1)
    await visit.act("Patient", "remove")
    patient = of(await report(visit), visit, "Patient")
    assert [(one["begins"], one["ends"]) for one in patient["attended"]] == [(at(0), at(4)), (at(5), at(6))]
    assert [(one["begins"], one["ends"]) for one in patient["waited"]] == [(at(0), at(0)), (at(6), at(7))]
    assert first.participant == second.participant


async def test_a_lost_phone_has_left_when_it_was_lost_and_comes_back_after_a_reopening(here: Installation) -> None:
    visit = await here.book()
    await visit.host()
    patient, relative = await visit.admitted("Patient"), await visit.admitted("Relative")
    await here.pass_time(minutes=2)
    await here.visits.connection(relative.id, False)
    await here.pass_time(minutes=6)  # five minutes later the relative has left
    await here.ask("POST", visit.path + "/end", {})
    await here.pass_time(minutes=2)
    await here.ask("POST", visit.path + "/reopen", {})
    await here.pass_time(minutes=1)
    await here.visits.arrive(patient.id)
    await here.pass_time(minutes=3)
    await here.ask("POST", visit.path + "/end", {})
    body = await report(visit)
    spans = [(one["begins"], one["ends"]) for one in of(body, visit, "Patient")["attended"]]
    assert spans == [(at(0), at(8)), (at(11), at(14))]
    assert [one["ends"] for one in of(body, visit, "Relative")["attended"]] == [at(2)]


async def test_another_tenants_visit_has_no_report(here: Installation) -> None:
    visit = await here.book()
    reply = await here.ask("GET", visit.path + "/report", key=await here.new_key("south"))
    assert (reply.status, reply.problem) == (404, "not-found")


async def test_an_encounter_is_what_fhir_says_it_is(here: Installation) -> None:
    visit = await a_visit(here)
    body = await encounter(visit)
    assert body["class"]["code"] == "VR"
    assert body["status"] == "finished"
    assert body["period"] == {"start": at(4), "end": at(20)}
    assert body["length"]["value"] == 16.0
    assert body["serviceProvider"]["identifier"] == {"system": "urn:oid:1.2.752.29.4.19", "value": UNIT["hsa_id"]}
    assert body["serviceProvider"]["display"] == "Ward 7"
    assert body["subject"]["identifier"]["value"] == "p-17"
    assert {one["value"] for one in body["identifier"]} == {visit.id, "b-1"}
    [host] = body["participant"]
    assert (host["individual"]["display"], host["type"][0]["coding"][0]["code"]) == ("Doctor", "PPRF")
    assert host["period"] == {"start": at(3), "end": at(15)}
    assert "Patient" not in str(body["participant"])
    assert "security" not in body["meta"]


async def test_every_state_of_a_room_has_a_status_of_an_encounter(here: Installation) -> None:
    people = [
        {"role": "caregiver", "display_name": "Doctor", "host": True},
        {"role": "patient", "display_name": "Patient"},
        {"role": "relative", "display_name": "Relative"},
        {"role": "interpreter", "display_name": "Interpreter"},
        {"role": "caregiver", "display_name": "Colleague"},
        {"role": "other", "display_name": "Other"},
    ]
    visit = await here.book(participants=people, training=True)
    assert (await encounter(visit))["status"] == "planned"
    await visit.comes("Patient")
    body = await encounter(visit)
    assert (body["status"], body["meta"]["security"][0]["code"]) == ("arrived", "HTEST")
    assert "subject" not in body
    assert "identifier" not in body["serviceProvider"]
    await visit.host()
    await visit.act("Patient", "admit")
    for name in ("Relative", "Interpreter", "Colleague", "Other"):
        await visit.admitted(name)
    body = await encounter(visit)
    assert (body["status"], "end" in body["period"]) == ("in-progress", False)
    codes = [one["type"][0]["coding"][0]["code"] for one in body["participant"]]
    assert codes == ["PPRF", "PART", "translator", "SPRF", "PART"]
    await here.ask("POST", visit.path + "/end", {})
    assert (await encounter(visit))["status"] == "finished"

    alone = await here.book()
    await here.ask("POST", alone.path + "/end", {})
    assert (await encounter(alone))["status"] == "cancelled", "it never began"
    cancelled = await here.book()
    await here.ask("DELETE", cancelled.path)
    assert (await encounter(cancelled))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/json, application/fhir+json", "application/json"),
        ("application/fhir+json, */*;q=0.1", FHIR),
        ("application/json;q=0.5, application/fhir+json;q=0.9", FHIR),
        ("APPLICATION/FHIR+JSON", FHIR),
        ("application/fhir+json;q=0, */*", "application/json"),
        ("application/fhir+json;q=nan", "application/json"),
        ("text/plain", "application/json"),
        (",;q=,;;/" * 500, "application/json"),
    ],
)
async def test_accept_decides_and_json_is_what_everyone_else_gets(here: Installation, accept: str, kind: str) -> None:
    visit = await here.book()
    reply = await here.ask("GET", visit.path + "/report", Accept=accept)
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, kind)
