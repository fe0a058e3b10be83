"""/openapi.json, health, metrics, and the pages with their headers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
from jsonschema import Draft202012Validator
from vardrum.control.api.server import TABLE
from vardrum.control.settings import DATABASE
from vardrum.control.store.store import Store
from vardrum.control.visits.refused import PROBLEMS
from vardrum.tests.api.installation import Installation
from vardrum.tests.support.wait import wait_until


def schema(document: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


async def test_openapi_lists_every_route_and_every_problem(here: Installation) -> None:
    document = (await here.ask("GET", "/openapi.json", key="")).body
    assert document["openapi"] == "3.1.0"
    listed = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert listed == {(route.method, route.path) for route in TABLE}
    types = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert types == [f"https://video.example.org/problems/{name}" for name in PROBLEMS]
    for calls in document["paths"].values():
        for call in calls.values():
            assert call["summary"]
    assert len({call["operationId"] for calls in document["paths"].values() for call in calls.values()}) == len(TABLE)
    # Every reference leads somewhere.
    for name in re.findall(r"#/components/schemas/(\w+)", str(document)):
        assert name in document["components"]["schemas"]


async def test_answers_are_as_openapi_says(here: Installation) -> None:
    document = (await here.ask("GET", "/openapi.json", key="")).body
    visit = await here.book(title="x", external_ref="y")
    await visit.admitted("Patient")
    await here.ask("PUT", visit.of("Patient") + "/identity", {"method": "document"})
    answers = {
        "RoomView": await visit.room(),
        "RoomList": (await here.ask("GET", "/v1/rooms")).body,
        "ParticipantView": (await here.ask("GET", visit.of("Patient"))).body,
        "ParticipantList": (await here.ask("GET", f"{visit.path}/participants")).body,
        "SessionView": (await here.ask("POST", "/v1/sessions", {"invite": visit.links["Patient"]}, key="")).body,
        "EmbedTokenView": (await here.ask("POST", visit.of("Patient") + "/sessions", {})).body,
        "AuditList": (await here.ask("GET", "/v1/audit")).body,
        "ErasureView": (await here.ask("DELETE", "/v1/people/nobody")).body,
        "Problem": (await here.ask("POST", "/v1/rooms", {})).body,
    }
    for name, answer in answers.items():
        assert [error.message for error in schema(document, name).iter_errors(answer)] == []
    assert list(schema(document, "RoomBody").iter_errors(here.booking())) == []
    assert list(schema(document, "RoomBody").iter_errors({**here.booking(), "extra": 1}))


async def test_health_and_readiness(here: Installation) -> None:
    assert (await here.ask("GET", "/healthz", key="")).body == {"status": "ok"}
    assert (await here.ask("GET", "/readyz", key="")).body == {"status": "ready"}
    await here.app.store.stop()
    file = here.app.settings.data / DATABASE
    file.rename(file.with_suffix(".away"))
    gone = await here.ask("GET", "/readyz", key="")
    assert (gone.status, gone.problem) == (503, "unavailable")
    assert int(gone.headers["Retry-After"]) > 0
    assert (await here.ask("GET", "/healthz", key="")).status == 200


async def test_the_page_of_a_link_asks_no_third_party_for_anything(here: Installation) -> None:
    async with here.http.get(here.app.url + "/j/north") as page:
        assert page.status == 200
        assert page.content_type == "text/html"
        html = await page.text()
        policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == "'self' wss://video.example.org"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "camera=(self)" in page.headers["Permissions-Policy"]
        assert "Server" not in page.headers
    assert not re.search(r"(src|href)=\"(?!/static/)", html)
    for path in re.findall(r"(?:src|href)=\"(/static/[^\"]+)", html):
        async with here.http.get(here.app.url + path) as asset:
            assert asset.status == 200, path
            assert asset.headers["Content-Security-Policy"]
            tag = asset.headers["ETag"]
        async with here.http.get(here.app.url + path, headers={"If-None-Match": tag}) as asset:
            assert asset.status == 304


async def test_modules_are_served_as_javascript(here: Installation) -> None:
    async with here.http.get(here.app.url + "/static/js/main.js") as module:
        assert module.status == 200
        assert module.content_type == "text/javascript"


async def test_metrics_have_a_listener_of_their_own(tmp_path: Path) -> None:
    async with Installation(tmp_path, {"metrics": {"listen": "127.0.0.1:0"}}) as here:
        await here.book()
        assert here.app.metrics_url is not None
        async with aiohttp.ClientSession() as client, client.get(here.app.metrics_url) as answer:
            text = await answer.text()
        assert 'vardrum_http_answers_total{method="POST",route="/v1/rooms",status="201"} 1.0' in text
        assert "room_" not in text
        assert (await here.ask("GET", "/metrics")).status == 404


async def test_nobody_needs_to_ask_for_a_database_to_be_known_to_be_writable_again(here: Installation) -> None:
    # As after a night on which the disk was full for a moment, and nobody has come since.
    await query_only(here.app.store, "ON")
    refused = await here.ask("POST", "/v1/rooms", here.booking())
    assert (refused.status, refused.problem) == (503, "unavailable")
    assert here.app.store.metrics()["unwritable"]
    await query_only(here.app.store, "OFF")
    await wait_until(lambda: not here.app.store.metrics()["unwritable"], deadline=20, what="the next try")


async def query_only(store: Store, value: str) -> None:
    async with store._database.writer.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.execute_fetchall(f"PRAGMA query_only={value}")
