"""Names are looked up beside everything else, and whatever they lead to is checked again at the socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from vardrum.control.webhooks import sending
from vardrum.control.webhooks.rules import Reason
from vardrum.control.webhooks.sending import Names, NotAllowed, NotFound, Sender
from vardrum.tests.support.receiver import Receiver
from yarl import URL


def answer(address: str) -> list[Any]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))]


async def test_a_name_server_that_hangs_delays_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked: list[str] = []

    def look_up(host: str, *_: Any) -> list[Any]:
        asked.append(host)
        if host == "hangs.example":
            release.wait(10)
        return answer("8.8.8.8")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = Names(private=False, plain=False)
    try:
        hanging = [asyncio.create_task(names.resolve("hangs.example", 443)) for _ in range(20)]
        for number in range(100):
            async with asyncio.timeout(5):
                [found] = await names.resolve(f"n{number}.example", 443)
            assert found["host"] == "8.8.8.8"
        # All who wait for the same name share one thread, also when one gives up.
        hanging[0].cancel()
        assert asked.count("hangs.example") == 1
        release.set()
        async with asyncio.timeout(5):
            done = await asyncio.gather(*hanging[1:])
        assert len(done) == 19
    finally:
        release.set()
        await names.close()


async def test_only_addresses_that_are_allowed_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    led: dict[str, list[Any]] = {
        "mixed.example": [*answer("10.0.0.1"), *answer("8.8.8.8"), *answer("::1")],
        "inside.example": answer("10.0.0.1"),
        "mapped.example": answer("::ffff:10.0.0.1"),
        "nowhere.example": [],
    }
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_: led[host])
    names = Names(private=False, plain=False)
    assert [one["host"] for one in await names.resolve("mixed.example", 443)] == ["8.8.8.8"]
    for host in ("inside.example", "mapped.example"):
        with pytest.raises(NotAllowed):
            await names.resolve(host, 443)
    with pytest.raises(NotFound):
        await names.resolve("nowhere.example", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost", "2130706433", "0x7f000001"])
async def test_the_socket_itself_goes_nowhere_inside(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async with Receiver(None) as receiver, Sender(private=False, ca_file=None, timeout=2, agent="test") as sender:
        # As if the check of the URL had been passed by.
        monkeypatch.setattr(sending, "check_url", lambda url, private: URL(url))
        for scheme in ("http", "https"):
            outcome = await sender.send(f"{scheme}://{host}:{receiver.port}/", {}, b"{}")
            # Some of these aiohttp itself can't make an address of.
            assert outcome.reason in (Reason.ADDRESS_NOT_ALLOWED, Reason.NO_ANSWER)
            assert outcome.status is None
        assert receiver.received == []
