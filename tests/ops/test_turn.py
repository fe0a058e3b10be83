"""What operators start for patients behind firewalls: coturn and nginx as the examples in `config/` have them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench.network.namespaces import Namespace, alone
from vardrum.control.secret import new_secret
from vardrum.control.turn import Turn
from vardrum.tests.support.coturn import (
    CONFIG,
    MEDIA,
    NAME,
    OLD_SECRET,
    RELAY,
    SECRET,
    TURN_NAME,
    Certificates,
    Coturn,
)
from vardrum.tests.support.front import Front
from vardrum.tests.support.server import VARDRUM
from vardrum.tests.support.wait import wait_until

# Where clients come from; no log may say so.
CLIENT = "203.0.113.99"
HOUR = 3600
FORBIDDEN, UNAUTHORIZED, QUOTA_REACHED = 403, 401, 486


@pytest.fixture
async def internet(tmp_path: Path) -> AsyncIterator[Namespace]:
    """The addresses of the examples, and nobody else's."""
    async with alone(tmp_path, MEDIA, RELAY, CLIENT) as made:
        yield made


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
async def coturn(tmp_path: Path, internet: Namespace, certificates: Certificates) -> AsyncIterator[Coturn]:
    async with Coturn(tmp_path / "coturn", internet, certificates) as started:
        yield started


def credential(secret: str = SECRET, *, lifetime: int = HOUR, at: float | None = None) -> dict[str, str]:
    """One of Vardrum's, for somebody new."""
    turn = Turn((f"turn:{TURN_NAME}",), secret.encode(), lifetime)
    made = turn.credential(new_secret("", os.urandom, 9), time.time() if at is None else at)
    return {"username": made.username, "password": made.password}


def to(over: str, certificates: Certificates, **more: Any) -> dict[str, Any]:
    """An attempt by UDP, TCP or TLS; `more` as `turn_client` takes it."""
    port = 443 if over == "tls" else 3478
    tls = {"name": TURN_NAME, "authority": str(certificates.authority)} if over == "tls" else {}
    return {"server": [RELAY, port], "over": over, "from": CLIENT, **tls, **more}


async def ask(internet: Namespace, *attempts: dict[str, Any]) -> list[dict[str, Any]]:
    said = await internet.run(sys.executable, "-m", "vardrum.tests.support.turn_client", json.dumps(attempts))
    found: list[dict[str, Any]] = json.loads(said)
    return found


async def test_who_has_a_credential_reaches_media_over_udp_tcp_and_tls_on_443(
    internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    found = await ask(
        internet,
        *(
            to(over, certificates, echo=[MEDIA, 40_000], attributes=True, **credential())
            for over in ("udp", "tcp", "tls")
        ),
        to("udp", certificates, echo=[MEDIA, 40_000], **credential(OLD_SECRET)),
    )
    for one in found:
        assert (one["error"], one.get("relayed"), one.get("echoed")) == (0, RELAY, True), found
    for one in found[:3]:
        assert one["attributes"] == ["ERROR-CODE", "FINGERPRINT", "NONCE", "REALM"]
    log = coturn.log()
    assert CLIENT not in log
    assert SECRET not in log


async def test_nobody_else_gets_a_relay(internet: Namespace, coturn: Coturn, certificates: Certificates) -> None:
    good = credential()
    expired = credential(at=time.time() - HOUR - 2)
    others = [
        {},
        expired,
        credential("another" * 8),
        {**good, "password": credential()["password"]},
        {**good, "username": f"{int(time.time()) + 9 * HOUR}:x"},
        # Its time written later than it was signed with.
        {**expired, "username": good["username"]},
        {"username": "admin", "password": SECRET},
        {"username": "", "password": ""},
    ]
    found = await ask(internet, *(to("udp", certificates, **one) for one in others), to("udp", certificates, **good))
    assert [one["error"] for one in found] == [UNAUTHORIZED] * len(others) + [0]
    assert CLIENT not in coturn.log()


async def test_it_relays_to_media_of_this_installation_and_to_nobody_else(
    internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    others = [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "203.0.113.11", RELAY, CLIENT, "8.8.8.8", "224.0.0.1", "239.255.255.250", "255.255.255.255",
    ]  # fmt: skip
    sixes = ["::1", "fd00::1", "fe80::1", "ff02::1", "2001:db8::1", f"::ffff:{CLIENT}", "::ffff:127.0.0.1"]
    (found,) = await ask(
        internet, to("tcp", certificates, peers=[*others, *sixes, MEDIA], tcp_relay=True, **credential())
    )
    peers = found["peers"]
    assert {one: peers[one] for one in others} == dict.fromkeys(others, FORBIDDEN)
    # A relay of IPv4 has no peers of the other kind (RFC 8656, section 12.2): whatever it says, it isn't yes.
    assert all(peers[one] != 0 for one in sixes), peers
    assert peers[MEDIA] == 0
    assert found["tcp_relay"] != 0


async def test_a_credential_that_ends_ends_nobodys_relay_and_opens_no_other(
    internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    short = credential(lifetime=3)
    ends = int(short["username"].partition(":")[0])
    (found,) = await ask(internet, to("udp", certificates, refresh_at=ends + 1.5, **short))
    assert (found["error"], found["refreshed"], found["again"]) == (0, 0, UNAUTHORIZED)


async def test_one_person_cannot_take_all_relays(
    internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    one = credential()
    # Another credential of the same person counts for the same.
    user = one["username"].partition(":")[2]
    again = Turn(("turn:x",), SECRET.encode(), 2 * HOUR).credential(user, time.time())
    mine = [one] * 40 + [{"username": again.username, "password": again.password}] * 30
    found = await ask(
        internet,
        *(to("udp", certificates, keep=True, **each) for each in mine),
        to("udp", certificates, **credential()),
    )
    assert [each["error"] for each in found] == [0] * 60 + [QUOTA_REACHED] * 10 + [0]


async def test_a_renewed_certificate_is_read_without_a_restart(
    internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    asked = to("tls", certificates, **credential())
    (before,) = await ask(internet, asked)
    certificates.renew()
    coturn.read_certificate_again()

    async def shown() -> bool:
        (after,) = await ask(internet, asked)
        return after["error"] == 0 and after["certificate"] != before["certificate"]

    await wait_until(shown, deadline=30, what="the new certificate", every=0.2)


async def test_nginx_leads_turn_and_the_website_apart_on_one_port(
    tmp_path: Path, internet: Namespace, certificates: Certificates
) -> None:
    front = Front(tmp_path / "nginx", internet, certificates)
    assert "test is successful" in await front.check()
    async with Coturn(tmp_path / "coturn", internet, certificates, behind_nginx=True) as coturn, front:
        where: dict[str, Any] = {"server": [MEDIA, 443], "from": CLIENT, "authority": str(certificates.authority)}
        found = await ask(
            internet,
            {**to("tls", certificates, echo=[MEDIA, 40_000], **credential()), **where},
            {**where, "get": "/who", "name": NAME},
            {**where, "get": "/who", "name": None},
        )
        assert (found[0]["error"], found[0]["relayed"], found[0]["echoed"]) == (0, RELAY, True)
        # The website sees people's own addresses, not nginx's.
        assert [one["body"] for one in found[1:]] == [CLIENT, CLIENT]
    assert CLIENT not in coturn.log() + front.log()


def test_the_examples_are_written_for_each_other_and_the_settings() -> None:
    """Names and ports that stand in more than one place."""
    coturn, nginx = (CONFIG / "coturn.conf").read_text(), (CONFIG / "nginx-sni.conf").read_text()
    settings = (CONFIG / "default.toml").read_text()
    for line in ("tls-listening-port=5349", "listening-ip=127.0.0.1"):
        assert line in coturn
        assert line in nginx
    assert f"{TURN_NAME} 127.0.0.1:5348;" in nginx
    assert f"turns:{TURN_NAME}:443?transport=tcp" in settings


async def test_the_doctor_asks_for_a_relay_and_says_why_there_is_none(
    tmp_path: Path, internet: Namespace, coturn: Coturn, certificates: Certificates
) -> None:
    secret = tmp_path / "secret"
    urls = (
        f"turn:{RELAY}:3478",
        f"turn:{RELAY}:3478?transport=tcp",
        f"turns:{RELAY}:443",
        f"turn:{RELAY}:9?transport=tcp",
    )

    async def findings(said: str) -> list[tuple[str, str]]:
        secret.write_text(said)
        env = [
            f"VARDRUM_TURN__URLS={','.join(urls)}",
            f"VARDRUM_TURN__SECRET_FILE={secret}",
            f"VARDRUM_DATA={tmp_path}",
            f"SSL_CERT_FILE={certificates.authority}",
        ]
        # Its status is 1: something is wrong.
        script = '"$@" || test $? = 1'
        output = await internet.run("env", *env, "sh", "-c", script, "-", VARDRUM, "doctor", "--json")
        assert said not in output
        by_name = {one["name"]: one for one in json.loads(output)["findings"]}
        return [(by_name[f"TURN {url}"]["state"], by_name[f"TURN {url}"]["what"]) for url in urls]

    good = ("ok", "gives a relay to who has a credential of ours")
    # The certificate is for a name and not for an address.
    foreign = f"its certificate isn't accepted: IP address mismatch, certificate is not valid for '{RELAY}'"
    nobody = ("wrong", "Connection refused (TCP)")
    assert await findings(SECRET) == [good, good, ("wrong", foreign), nobody]
    refused = ("wrong", "takes no credential of ours")
    assert await findings("another" * 8) == [refused, refused, ("wrong", foreign), nobody]
