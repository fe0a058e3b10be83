"""`vardrum demo --lan`: a phone in the same network comes by TLS."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest
from vardrum.control.demo import code
from vardrum.control.lan import NoAddress, address
from vardrum.tests.support.certificates import HOST
from vardrum.tests.support.server import VARDRUM, Server

LAN = "192.168.7.5"
# An interface with an address and a way out, and no world behind it.
ROUTED = f"ip address add {LAN}/24 dev lo; ip link set lo up; ip route add default dev lo src {LAN};"
ASK = f"{sys.executable} -c \"from vardrum.control import lan; print(lan.address('auto'))\""


async def alone(script: str) -> tuple[int, str]:
    """What a shell prints in a network of its own."""
    child = await asyncio.create_subprocess_exec(
        *("unshare", "--map-root-user", "--net", "sh", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, output.decode()


async def test_links_are_https_at_the_address_and_lead_in(tmp_path: Path) -> None:
    async with Server(tmp_path / "demo", command="demo", arguments=["--lan", HOST]) as demo:
        ready = demo.ready
        base = f"https://{HOST}:{demo.http_port}"
        assert ready["http"] == ready["public_url"] == base
        for who in ("staff", "patient", "relative"):
            assert ready[f"{who}_url"].startswith(base + "/j/demo#")
        trusted = ssl.create_default_context(cafile=ready["certificate"])
        # Browsers look for the address among the certificate's names, and nowhere else.
        trusted.hostname_checks_common_name = False
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as client:
            async with client.get(ready["patient_url"].partition("#")[0]) as page:
                assert page.status == 200
            secret = {"invite": ready["patient_url"].partition("#")[2]}
            async with client.post(base + "/v1/sessions", json=secret) as answer:
                session = await answer.json()
            assert session["websocket_url"] == f"wss://{HOST}:{demo.http_port}/v1/ws"
            async with client.ws_connect(session["websocket_url"], origin=base) as socket:
                await socket.send_json({"type": "hello", "token": session["token"], "device": {}})
                assert [(await socket.receive_json(timeout=10))["type"] for _ in range(2)] == ["welcome", "waiting"]
        printed = demo.process.output(100_000)
        assert code(ready["patient_url"]) in printed
        assert f"TCP port {demo.http_port}, and UDP and TCP port {ready['media'][0]}." in printed
        kept = Path(ready["certificate"])
        assert (kept.parent / "key.pem").stat().st_mode & 0o077 == 0
    assert not kept.exists()


async def test_the_address_is_that_of_the_way_out_and_nothing_is_sent_to_learn_it() -> None:
    assert await alone(ROUTED + ASK) == (0, f"{LAN}\n")


async def test_a_machine_without_a_network_is_told_what_to_do() -> None:
    status, said = await alone(f"ip link set lo up; {VARDRUM} demo --lan")
    assert (status, said.startswith("--lan: this machine has no way out")) == (1, True), said
    assert "--lan ADDRESS takes one" in said


@pytest.mark.parametrize("wrong", ["192.0.2.77", "phone", "0.0.0.0", "::", ""])
def test_an_address_that_is_not_this_machines_is_refused(wrong: str) -> None:
    with pytest.raises(NoAddress, match=f"^'{wrong}' is not an address of this machine"):
        address(wrong)
