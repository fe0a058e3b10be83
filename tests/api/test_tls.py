"""A server that speaks TLS itself, and one behind a proxy that does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from vardrum.control.app import CannotStart
from vardrum.tests.api.installation import Installation
from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.support.certificates import HOST, Certificates
from vardrum.tests.support.logs import leaks
from vardrum.tests.support.server import Server
from vardrum.tests.support.wait import wait_until


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path / "tls")
    made.use(made.make())
    return made


@pytest.fixture
async def server(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Server]:
    async with Server(tmp_path / "server", env={"VARDRUM_LOG__LEVEL": "debug", **certificates.env}) as running:
        yield running


async def test_a_renewed_certificate_is_used_without_a_restart_and_websockets_go_on(
    server: Server, certificates: Certificates
) -> None:
    assert server.http.startswith("https://127.0.0.1:")
    assert server.ready["public_url"] == server.http
    connector = aiohttp.TCPConnector(ssl=certificates.client())
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.get(server.http + "/j/north") as page:
            assert page.headers["Strict-Transport-Security"]
            assert f"wss://{server.http.removeprefix('https://')}" in page.headers["Content-Security-Policy"]
        async with http.ws_connect(server.http + "/v1/ws") as socket:
            first = await certificates.shown(server.http_port)
            certificates.use(certificates.make(days=60, rsa=True))

            async def renewed() -> bool:
                return await certificates.shown(server.http_port) != first

            await wait_until(renewed, deadline=20, what="the new certificate is shown")
            second = await certificates.shown(server.http_port)
            async with http.get(server.ready["metrics"]) as answer:
                text = await answer.text()
            figure = "vardrum_certificate_expires_timestamp_seconds "
            (line,) = [one for one in text.splitlines() if one.startswith(figure)]
            assert float(line.removeprefix(figure)) == second.not_valid_after_utc.timestamp()

            torn = certificates.make()
            secret = (torn / "privkey.pem").read_text()
            (torn / "privkey.pem").write_text(secret[:150])
            certificates.use(torn)

            async def refused() -> bool:
                async with http.get(server.ready["metrics"]) as answer:
                    return "\nvardrum_certificate_refused 1.0\n" in await answer.text()

            await wait_until(refused, deadline=20, what="the torn key is refused")
            assert await certificates.shown(server.http_port) == second
            # It has gone on all the while.
            await socket.send_str("x")
            assert (await socket.receive_json(timeout=10))["code"] == "bad-message"
    async with aiohttp.ClientSession() as stranger:
        for url in (server.http.replace("https:", "http:"), server.http):
            # It speaks no TLS, or says that it doesn't trust this certificate.
            with pytest.raises(aiohttp.ClientError):
                await stranger.get(url + "/healthz")
    assert await certificates.shown(server.http_port) == second
    log = server.process.output(100_000)
    (line,) = [one for one in log.splitlines() if "the new certificate can't be used" in one]
    assert json.loads(line)["reason"] == f"http.key: {certificates.key}: holds no private key (expected PEM)"
    assert leaks(log, secret.splitlines()[1:3]) == []


async def test_a_start_with_a_pair_that_cannot_be_used_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    (certificates.certificate.parent / "privkey.pem").write_bytes((certificates.make() / "privkey.pem").read_bytes())
    sentence = f"http.key: {certificates.key}: doesn't belong to the certificate in {certificates.certificate}\n"
    assert await vardrum("config", "check", env=certificates.env) == (1, "", sentence)
    http = {"host": HOST, "port": 0, "certificate": str(certificates.certificate), "key": str(certificates.key)}
    with pytest.raises(CannotStart) as error:
        await Installation(tmp_path / "data", {"http": http}).__aenter__()
    assert f"{error.value}\n" == sentence


async def test_only_pages_that_came_by_tls_are_to_be_asked_for_by_tls(tmp_path: Path) -> None:
    for trusted, said in (([], {"https": False}), (["127.0.0.1"], {"http": False, "https": True})):
        http = {"host": "127.0.0.1", "port": 0, "trusted_proxies": trusted}
        async with Installation(tmp_path / str(len(trusted)), {"http": http}) as here:
            for scheme, expected in said.items():
                headers = {"X-Forwarded-Proto": scheme}
                async with here.http.get(here.app.url + "/j/north", headers=headers) as page:
                    assert ("Strict-Transport-Security" in page.headers) == expected


async def test_guessing_is_counted_by_who_guesses_and_not_by_what_they_claim(tmp_path: Path) -> None:
    async def guess(here: Installation, claimed: str) -> int:
        reply = await here.ask("POST", "/v1/sessions", {"invite": "vri_" + "a" * 22}, key="", X_Forwarded_For=claimed)
        return reply.status

    http = {"host": "127.0.0.1", "port": 0, "refused_per_minute": 1}
    async with Installation(tmp_path / "alone", {"http": http}) as here:
        assert [await guess(here, f"198.51.100.{number}") for number in range(3)] == [401, 429, 429]
    async with Installation(tmp_path / "behind", {"http": {**http, "trusted_proxies": ["127.0.0.1"]}}) as here:
        # The last one is what the proxy saw.
        assert [await guess(here, f"203.0.113.{number}, 198.51.100.1") for number in range(3)] == [401, 429, 429]
        assert await guess(here, "203.0.113.1, 198.51.100.2") == 401
