"""…/participants: inviting, correcting, new links, vouching."""

from __future__ import annotations

from datetime import timedelta

import pytest
from vardrum.tests.api.installation import Installation

pytestmark = pytest.mark.both_databases


async def test_somebody_is_invited_in_mid_visit(here: Installation) -> None:
    visit = await here.book()
    doctor = await visit.host()
    await visit.admitted("Patient")
    person = {"role": "interpreter", "display_name": "Ines", "phone": "+46701234567"}
    for key in (here.key, doctor.token):
        reply = await here.ask("POST", f"{visit.path}/participants", person, key=key)
        assert reply.status == 201
        assert reply.body["join_url"].startswith("https://video.example.org/j/north#")
    # A host reveals phone numbers by a call of its own, which is audited.
    assert "phone" not in reply.body
    listed = await here.ask("GET", f"{visit.path}/participants?limit=2", key=doctor.token)
    rest = await here.ask("GET", f"{visit.path}/participants?cursor={listed.body['next']}", key=doctor.token)
    names = [one["display_name"] for one in (*listed.body["items"], *rest.body["items"])]
    assert names == ["Doctor", "Patient", "Relative", "Ines", "Ines"]
    assert rest.body["next"] is None


async def test_a_participant_is_corrected_with_the_newest_etag(here: Installation) -> None:
    visit = await here.book()
    read = await here.ask("GET", visit.of("Patient"))
    etag = read.headers["ETag"]
    patch = {"display_name": "Patrick", "email": "p@example.org"}
    changed = await here.ask("PATCH", visit.of("Patient"), patch, If_Match=etag)
    assert (changed.status, changed.body["display_name"], changed.body["email"]) == (200, "Patrick", "p@example.org")
    assert (await here.ask("PATCH", visit.of("Patient"), {"email": None}, If_Match=etag)).status == 412
    gone = await here.ask("PATCH", visit.of("Patient"), {"email": None}, If_Match=changed.headers["ETag"])
    assert "email" not in gone.body
    host = await here.ask("PATCH", visit.of("Patient"), {"host": True}, If_Match="*")
    assert (host.status, host.pointers) == (422, {"#/host"})


async def test_who_has_arrived_keeps_their_role(here: Installation) -> None:
    visit = await here.book()
    await visit.comes("Patient")
    reply = await here.ask("PATCH", visit.of("Patient"), {"role": "relative"}, If_Match="*")
    assert (reply.status, reply.problem) == (409, "state-conflict")


async def test_an_invitation_is_taken_back_but_not_from_somebody_inside(here: Installation) -> None:
    visit = await here.book()
    waiting = await visit.comes("Patient")
    await visit.admitted("Relative")
    assert (await here.ask("DELETE", visit.of("Relative"))).problem == "state-conflict"
    assert (await here.ask("DELETE", visit.of("Patient"))).status == 204
    assert (await here.ask("GET", visit.of("Patient"))).status == 404
    assert (await here.ask("POST", "/v1/sessions", {"resume": waiting.resume}, key="")).problem == "session-replaced"
    link = await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")
    assert (link.status, link.problem) == (401, "token-not-accepted")


async def test_a_new_link_ends_the_old_one_and_whoever_waits_by_it(here: Installation) -> None:
    visit = await here.book()
    waiting = await visit.comes("Patient")
    admitted = await visit.admitted("Relative")
    for name in ("Patient", "Relative"):
        renewed = await here.ask("POST", visit.of(name) + "/link")
        assert renewed.status == 200
        fresh = renewed.body["join_url"].partition("#")[2]
        old = await here.ask("POST", "/v1/sessions", {"invite": visit.links[name]}, key="")
        assert (old.status, old.problem) == (401, "token-not-accepted")
        assert (await here.ask("POST", "/v1/sessions", {"invite": fresh}, key="")).status == 201
    assert (await here.ask("POST", "/v1/sessions", {"resume": waiting.resume}, key="")).problem == "session-replaced"
    assert await visit.state("Patient") == "invited"
    assert (await here.ask("POST", "/v1/sessions", {"resume": admitted.resume}, key="")).status == 201
    assert await visit.state("Relative") == "admitted"


async def test_an_embed_token_works_once_and_for_a_minute(here: Installation) -> None:
    visit = await here.book()
    made = await here.ask("POST", visit.of("Patient") + "/sessions", {})
    secret = {"embed_token": made.body["embed_token"]}
    assert (await here.ask("POST", "/v1/sessions", secret, key="")).status == 201
    assert (await here.ask("POST", "/v1/sessions", secret, key="")).problem == "token-not-accepted"
    late = await here.ask("POST", visit.of("Patient") + "/sessions")
    here.now += timedelta(seconds=60)
    reply = await here.ask("POST", "/v1/sessions", {"embed_token": late.body["embed_token"]}, key="")
    assert (reply.status, reply.problem) == (401, "token-not-accepted")


async def test_vouching_needs_its_scope_for_hosts_and_identities(here: Installation) -> None:
    visit = await here.book()
    key = await here.new_key("north", ["rooms:write"])
    who = {"method": "bankid", "level": "loa3", "subject": "197001012384", "name": "Anna"}
    assert (await here.ask("POST", visit.of("Patient") + "/sessions", {}, key=key)).status == 201
    for name, body in (("Doctor", {}), ("Patient", {"identity": who})):
        reply = await here.ask("POST", visit.of(name) + "/sessions", body, key=key)
        assert (reply.status, reply.problem) == (403, "not-allowed")


async def test_a_vouched_eid_meets_the_policy_unless_it_is_anothers(here: Installation) -> None:
    people = [{"role": "patient", "display_name": "Patient", "expected_subject": "197001012384"}]
    visit = await here.book(identity_policy={"patient": "loa3"}, participants=people)
    assert "expected_subject" not in (await visit.room())["participants"][0]
    for subject, status in (("198001012384", 409), ("197001012384", 200)):
        who = {"method": "bankid", "level": "loa3", "subject": subject, "name": "Anna"}
        made = await here.ask("POST", visit.of("Patient") + "/sessions", {"identity": who})
        opened = await here.ask("POST", "/v1/sessions", {"embed_token": made.body["embed_token"]}, key="")
        await here.visits.arrive(opened.body["id"])
        reply = await visit.act("Patient", "admit", session=opened.body["id"])
        assert reply.status == status, reply
        if status == 409:
            assert reply.problem == "identity-not-met"
            assert "another person" in reply.body["detail"]
    assert reply.body["identity"]["method"] == "bankid"
    assert reply.body["identity"]["level"] == "loa3"
    # A vouched patient still waits: only hosts come in at once.
    assert [kind for kind, _ in await here.events() if kind == "participant.waiting"] == ["participant.waiting"] * 2
