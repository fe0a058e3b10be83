"""A real nginx in front, as `config/nginx.conf` says, and people who pretend to be others."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vardrum.tests.support.certificates import Certificates
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.nginx import NAME, Nginx
from vardrum.tests.support.portal import create_key
from vardrum.tests.support.prometheus import CONFIG
from vardrum.tests.support.server import Server

FORGED = {"X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": "http", "X-Real-IP": "203.0.113.1"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    env = {
        "VARDRUM_PUBLIC_URL": f"https://{NAME}",
        "VARDRUM_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "VARDRUM_HTTP__REFUSED_PER_MINUTE": "2",
        "VARDRUM_LOG__LEVEL": "debug",
    }
    async with Server(tmp_path / "server", env=env) as running:
        yield running


@pytest.fixture
async def nginx(server: Server, tmp_path: Path) -> AsyncIterator[Nginx]:
    certificates = Certificates(tmp_path / "tls")
    certificates.use(certificates.make(NAME))
    async with Nginx(tmp_path / "nginx", certificates, server.http.removeprefix("http://")) as running:
        yield running


async def test_what_the_server_has_comes_through_it_and_only_by_https(server: Server, nginx: Nginx) -> None:
    key = await create_key(server)
    async with nginx.client() as http:
        async with http.get(nginx.https + "/j/test") as page:
            assert page.status == 200
            assert f"wss://{NAME}" in page.headers["Content-Security-Policy"]
            assert page.headers.getall("Strict-Transport-Security") == ["max-age=31536000"]
        async with http.get(nginx.https + "/v1/rooms", headers={"Authorization": f"Bearer {key}"}) as rooms:
            assert (await rooms.json())["items"] == []
        for origin in (f"https://{NAME}", None):
            async with http.ws_connect(nginx.https + "/v1/ws", origin=origin) as socket:
                await socket.send_json({"type": "hello", "token": "vrs_" + "a" * 43, "device": {}})
                said = json.loads((await socket.receive(timeout=10)).data)
                assert (said["type"], said["code"]) == ("error", "token-not-accepted")
        for origin in ("https://elsewhere.example", f"https://{NAME}.example"):
            # Nor by a forged header that names the page's own host.
            async with http.get(
                nginx.https + "/v1/ws",
                headers={**FORGED, "Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket"},
            ) as refused:
                assert refused.status == 403
        # The Host is the client's own word, and no place to send anybody to.
        for headers in ({}, {"Host": "elsewhere.example"}):
            async with http.get(nginx.http + "/j/test?x=1", headers=headers, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, nginx.https + "/j/test?x=1")
        limit = tomllib.loads((CONFIG / "default.toml").read_text())["http"]["max_body"]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        for size, status in ((limit, 422), (limit + 1, 413)):
            for base in (nginx.https, server.http):
                async with http.post(base + "/v1/rooms", data=b" " * size, headers=headers) as answer:
                    assert answer.status == status, (base, size)


async def test_who_guesses_waits_whoever_they_claim_to_be(nginx: Nginx, server: Server) -> None:
    secret = "vri_" + "b" * 22
    async with nginx.client() as http:
        statuses = []
        for number in range(4):
            claimed = {**FORGED, "X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
            async with http.post(nginx.https + "/v1/sessions", json={"invite": secret}, headers=claimed) as answer:
                statuses.append(answer.status)
        assert statuses == [401, 401, 429, 429]
    # And nothing of it is written down by either.
    assert leaks(nginx.logged(), [secret, "/v1/sessions"]) == []
    assert leaks(server.process.output(100_000), [secret]) == []
