"""Pages in a portal's frame: who may frame and read what, and an embed_token in a browser that has been here before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.tests.api.installation import Installation, Reply, Visit

PORTAL = "https://portal.region.example"
SECOND = "https://journal.region.example:8443"
ELSEWHERE = "https://elsewhere.example"


@pytest.fixture
async def framed(tmp_path: Path) -> AsyncIterator[Installation]:
    """North has two portals, south has none."""
    async with Installation(tmp_path, {"tenants": {"north": {"origins": [PORTAL, SECOND]}}}) as here:
        yield here


async def headers(here: Installation, path: str, method: str = "GET", **sent: str) -> dict[str, str]:
    async with here.http.request(method, here.app.url + path, headers=sent) as answer:
        return dict(answer.headers)


def ancestors(found: dict[str, str]) -> str:
    policy = dict(part.strip().split(" ", 1) for part in found["Content-Security-Policy"].split(";"))
    return policy["frame-ancestors"]


async def test_only_a_tenants_own_portals_may_frame_its_pages(framed: Installation) -> None:
    north = await headers(framed, "/j/north")
    assert ancestors(north) == f"{PORTAL} {SECOND}"
    assert "X-Frame-Options" not in north, "it would forbid what frame-ancestors allows"
    for path in ("/j/south", "/j/nobody", "/j/north/x", "/static/js/main.js", "/v1/rooms", "/healthz", "/embed.js"):
        assert ancestors(await headers(framed, path)) == "'none'", path
    assert (await headers(framed, "/j/south"))["X-Frame-Options"] == "DENY"


async def test_a_portals_page_may_read_the_element_and_nothing_else(framed: Installation) -> None:
    for origin in (PORTAL, SECOND):
        found = await headers(framed, "/embed.js", Origin=origin)
        assert found["Access-Control-Allow-Origin"] == origin
        assert found["Content-Type"].startswith("text/javascript")
    for origin in (ELSEWHERE, "null", PORTAL + ".elsewhere.example", PORTAL.upper()):
        found = await headers(framed, "/embed.js", Origin=origin)
        assert "Access-Control-Allow-Origin" not in found, origin
        assert found["Vary"] == "Origin", "a cache must not give one portal's answer to another page"
    tag = (await headers(framed, "/embed.js", Origin=PORTAL))["Etag"]
    kept = {"Origin": PORTAL, "If-None-Match": tag}
    async with framed.http.get(framed.app.url + "/embed.js", headers=kept) as again:
        assert (again.status, again.headers["Access-Control-Allow-Origin"]) == (304, PORTAL)

    asks = {"Origin": PORTAL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for path in ("/v1/sessions", "/v1/rooms", "/embed.js", "/j/north", "/static/js/main.js", "/openapi.json"):
        for method in ("OPTIONS", "GET", "POST"):
            if (path, method) != ("/embed.js", "GET"):
                found = await headers(framed, path, method, **asks)
                assert not [name for name in found if name.lower().startswith("access-control-")], (method, path)


async def test_what_a_browser_sends_without_asking_first_opens_no_session(framed: Installation) -> None:
    visit = await framed.book()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        raw = b'{"invite": "%s"}' % visit.links["Patient"].encode()
        reply = await framed.ask("POST", "/v1/sessions", raw=raw, key="", Content_Type=kind, Origin=ELSEWHERE)
        assert (reply.status, reply.problem) == (422, "invalid-body")


async def vouch(visit: Visit, name: str, **body: object) -> str:
    reply = await visit.here.ask("POST", visit.of(name) + "/sessions", body)
    assert reply.status == 201, reply
    return str(reply.body["embed_token"])


async def opened(visit: Visit, **body: str) -> Reply:
    return await visit.here.ask("POST", "/v1/sessions", body, key="")


async def test_an_embed_token_says_where_it_leads(framed: Installation) -> None:
    visit = await framed.book()
    token = await vouch(visit, "Patient")
    assert token.split(".")[1:] == ["north", visit.ids["Patient"]]
    # And to nothing else: the whole of it is the secret.
    for other in (token.replace(".north.", ".south."), token.replace(visit.ids["Patient"], visit.ids["Relative"])):
        reply = await opened(visit, embed_token=other)
        assert (reply.status, reply.problem) == (401, "token-not-accepted")
    assert (await opened(visit, embed_token=token)).body["participant"] == visit.ids["Patient"]


async def test_a_page_that_is_loaded_again_comes_back_with_a_new_token(here: Installation) -> None:
    visit = await here.book()
    first = (await opened(visit, embed_token=await vouch(visit, "Patient"))).body
    await here.visits.arrive(first["id"])
    await visit.act("Patient", "admit")

    again = await opened(visit, embed_token=await vouch(visit, "Patient"), resume=first["resume"])
    assert again.status == 201
    assert again.body["id"] == first["id"]
    assert again.body["resume"] != first["resume"]
    await here.visits.arrive(first["id"])
    assert await visit.state("Patient") == "admitted"

    # Without what that browser has kept, it is another one, and waits beside the first.
    other = (await opened(visit, embed_token=await vouch(visit, "Patient"))).body
    assert other["id"] != first["id"]
    await here.visits.arrive(other["id"])
    assert (await here.visits.session(other["token"])).state == "waiting"
    assert await visit.state("Patient") == "admitted"


async def test_who_waits_is_told_of_as_identified_when_the_portal_vouches_again(here: Installation) -> None:
    visit = await here.book(identity_policy={"patient": "loa3"})
    first = (await opened(visit, embed_token=await vouch(visit, "Patient"))).body
    await here.visits.arrive(first["id"])
    assert (await visit.act("Patient", "admit")).problem == "identity-not-met"
    eid = {"method": "bankid", "level": "loa3", "subject": "x", "name": "Patient"}
    token = await vouch(visit, "Patient", identity=eid)
    again = (await opened(visit, embed_token=token, resume=first["resume"])).body
    assert again["id"] == first["id"]
    assert ("participant.identified", visit.ids["Patient"]) in await here.events()
    assert (await visit.act("Patient", "admit")).body["identity"]["method"] == "bankid"


async def test_somebody_elses_resume_secret_beside_a_token_counts_for_nothing(here: Installation) -> None:
    visit, other = await here.book(), await here.book()
    relative = await visit.admitted("Relative")
    elsewhere = await other.admitted("Patient")
    for resume in (relative.resume, elsewhere.resume, "vrr_unknown"):
        reply = await opened(visit, embed_token=await vouch(visit, "Patient"), resume=resume)
        assert reply.status == 201
        assert reply.body["participant"] == visit.ids["Patient"]
        assert reply.body["id"] not in (relative.id, elsewhere.id)
    assert (await opened(visit, resume=relative.resume)).status == 201, "and is as good as before"


async def test_a_token_that_was_used_opens_nothing_with_a_resume_secret_beside_it(here: Installation) -> None:
    visit = await here.book()
    token = await vouch(visit, "Patient")
    first = (await opened(visit, embed_token=token)).body
    reply = await opened(visit, embed_token=token, resume=first["resume"])
    assert (reply.status, reply.problem) == (401, "token-not-accepted")
    assert (await opened(visit, resume=first["resume"])).body["id"] == first["id"]
    for body in ({"invite": "x", "resume": "y"}, {"invite": "x", "embed_token": "y"}, {}):
        assert (await opened(visit, **body)).problem == "invalid-body"


async def test_a_host_who_waits_comes_in_once_the_portal_vouches(here: Installation) -> None:
    visit = await here.book()
    by_link = await visit.comes("Doctor")
    assert await visit.state("Doctor") == "waiting"
    vouched = (await opened(visit, embed_token=await vouch(visit, "Doctor"), resume=by_link.resume)).body
    await here.visits.arrive(vouched["id"])
    assert await visit.state("Doctor") == "admitted"
    # And keeps the session over a reload: nobody sees them replaced.
    again = (await opened(visit, embed_token=await vouch(visit, "Doctor"), resume=vouched["resume"])).body
    assert again["id"] == vouched["id"]
