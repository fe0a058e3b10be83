"""The handshake with an independent client: keys agree, nothing forged ends it, a lost flight costs no second."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from vardrum.sfu import dtls
from vardrum.sfu.dtls import Certificate, Handshake, Keys
from vardrum.tests.support.dtls_client import CM_SHA1_80, GCM_128, GCM_256, Call, fragmented
from vardrum.tests.support.wait import wait_until

CLIENT = Certificate.generateCertificate()


@asynccontextmanager
async def call(**arguments: Any) -> AsyncIterator[Call]:
    made = Call(client_certificate=CLIENT, **arguments)
    try:
        yield made
    finally:
        made.server.close()


async def until(condition: Callable[[], Any], what: str, deadline: float = 5.0) -> None:
    await wait_until(condition, deadline=deadline, what=what, every=0.002)


async def connected(made: Call, deadline: float = 5.0) -> Keys:
    await until(lambda: made.keys and made.client.connected, "keys on both sides", deadline)
    assert made.failures == []
    assert len(made.keys) == 1
    return made.keys[0]


def agree(made: Call) -> bool:
    keys = made.keys[0]
    return made.client.keys() == (keys.rx_key, keys.rx_salt, keys.tx_key, keys.tx_salt)


@pytest.mark.parametrize(
    ("profiles", "number", "lengths"),
    [
        ([GCM_256, GCM_128, CM_SHA1_80], 7, (16, 12)),
        ([CM_SHA1_80, GCM_256], 8, (32, 12)),
        ([CM_SHA1_80], 1, (16, 14)),
    ],
    ids=["GCM-128 although the client prefers 256", "GCM-256", "CM-SHA1-80"],
)
async def test_both_sides_have_the_same_keys(profiles: list[bytes], number: int, lengths: tuple[int, int]) -> None:
    async with call(profiles=b":".join(profiles)) as made:
        made.client.begin()
        keys = await connected(made)
        assert keys.profile == number
        assert (len(keys.rx_key), len(keys.rx_salt)) == lengths
        assert (len(keys.tx_key), len(keys.tx_salt)) == lengths
        assert agree(made)
        assert made.server.connected
        assert made.server.drops == {}


async def test_keys_are_not_in_their_text() -> None:
    assert repr(Keys(7, b"secret", b"secret", b"secret", b"secret")) == "Keys(profile=7)"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_a_client_hello_in_several_datagrams_works_in_any_order(order: tuple[int, ...]) -> None:
    async with call() as made:
        made.up = lambda _: []
        made.client.begin()
        parts = fragmented(made.sent_up[0], len(made.sent_up[0]) // 3)
        made.up = lambda datagram: [datagram]
        for index in order:
            made.server.feed(parts[index])
        # The message is the same, so the client's transcript is too.
        await connected(made)
        assert agree(made)


async def test_half_a_client_hello_and_then_all_of_it() -> None:
    async with call() as made:
        made.up = lambda _: []
        made.client.begin()
        parts = fragmented(made.sent_up[0], 100)
        made.up = lambda datagram: [datagram]
        made.server.feed(parts[0])
        made.client.repeat()
        await connected(made)
        assert agree(made)


async def test_a_lost_flight_comes_again_as_soon_as_the_client_hello_does() -> None:
    async with call() as made:
        made.down = lambda _: []
        made.client.begin()
        await until(lambda: made.sent_down, "the server's flight")
        lost = list(made.sent_down)
        made.down = lambda datagram: [datagram]
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: loop.time() - began > dtls.REPEAT_AFTER, "a repeat to be allowed")
        made.client.repeat()
        await connected(made)
        # The same bytes: OpenSSL's own timer, after a second, would have made new records of them.
        assert made.sent_down[len(lost) : 2 * len(lost)] == lost
        assert agree(made)


async def test_a_doubled_client_hello_does_not_double_the_flight() -> None:
    async with call() as made:
        made.up = lambda datagram: [datagram, datagram, datagram]
        made.client.begin()
        await connected(made)
        assert len(made.sent_down) <= 3


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_any_one_lost_datagram_is_made_good(direction: str, lost: int) -> None:
    async with call() as made:
        count = itertools.count()

        def lose(datagram: bytes) -> list[bytes]:
            return [] if next(count) == lost else [datagram]

        setattr(made, direction, lose)
        made.client.begin()
        loop = asyncio.get_running_loop()
        repeated = loop.time()

        def done_or_repeat() -> bool:
            nonlocal repeated
            if made.keys and made.client.connected:
                return True
            made.client.tick()
            if loop.time() - repeated > 0.05:  # a browser's first time-out
                repeated = loop.time()
                made.client.repeat()
            return False

        await until(done_or_repeat, "keys on both sides")
        assert agree(made)
        assert made.failures == []


async def test_a_lost_last_flight_is_sent_again_although_the_server_is_done() -> None:
    async with call() as made:
        made.client.begin()
        made.down = lambda datagram: [] if made.keys or datagram[0] == 20 else [datagram]
        await until(lambda: made.keys, "the server's keys")
        await until(lambda: any(datagram[0] == 20 for datagram in made.sent_down), "the last flight")
        assert not made.client.connected
        made.down = lambda datagram: [datagram]
        # The client's OpenSSL repeats its flight by its own timer, as new records: the old ones are replays.
        await until(made.client.tick, "the client's time-out")
        await connected(made)
        assert agree(made)


FORGED = {
    "an empty datagram": b"",
    "one byte": b"\x16",
    "a header without its record": bytes.fromhex("16fefd0000000000000063ffff"),
    "a fatal alert": bytes.fromhex("15fefd00000000000000630002022f"),
    "a close_notify": bytes.fromhex("15fefd00000000000000630002 0100".replace(" ", "")),
    "an alert as long as a datagram": bytes.fromhex("15fefd0000000000000063")
    + (1400).to_bytes(2, "big")
    + b"\x02" * 1400,
    "application data": bytes.fromhex("17fefd0000000000000063000101"),
    "a heartbeat": bytes.fromhex("18fefd0000000000000063000101"),
    "a record of TLS": bytes.fromhex("160303000000000000006300020100"),
    "a record of epoch 7": bytes.fromhex("16fefd00070000000000630001aa"),
    "a Finished in the clear": bytes.fromhex(
        "16fefd0000000000000063000d1400000100030000000000 0001aa".replace(" ", "")
    ),
    "a HelloRequest": bytes.fromhex("16fefd0000000000000063000c000000000000000000000000"),
    "a ServerHello": bytes.fromhex("16fefd0000000000000063000d02000001000000000000000001aa"),
    "a message of 16 MB": bytes.fromhex("16fefd0000000000000063000d0bffffff000100000000000001aa"),
    "a fragment beyond its message": bytes.fromhex("16fefd0000000000000063000d0b000001000100000900000001aa"),
    "half a message header": bytes.fromhex("16fefd00000000000000630004 0b000001".replace(" ", "")),
    "a ChangeCipherSpec of two bytes": bytes.fromhex("14fefd000000000000006300020101"),
    "STUN": bytes.fromhex("000100002112a442") + b"x" * 12,
    "RTP": bytes.fromhex("8060000100000001deadbeef") + b"x" * 100,
    "a long datagram": b"\x16\xfe\xfd" + b"\x00" * 60_000,
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_datagram_at_any_point_does_not_disturb(name: str) -> None:
    async with call() as made:
        made.up = lambda datagram: [FORGED[name], datagram, FORGED[name]]
        made.client.begin()
        await connected(made)
        assert agree(made)
        made.server.feed(FORGED[name])
        assert made.server.connected
        assert made.server.drops.total() >= 3
        assert made.failures == []


async def test_a_forged_alert_never_makes_us_send_one_in_the_clear() -> None:
    async with call() as made:
        made.client.begin()
        await connected(made)
        assert not any(datagram[0] == 21 and datagram[3:5] == b"\0\0" for datagram in made.sent_down)


async def test_after_a_forged_handshake_message_a_fresh_transport_serves_the_client() -> None:
    async with call() as made:
        # A Certificate that is none, from nobody, admissible by its header: OpenSSL gives up at it.
        body = bytes.fromhex("0b000004000100000000000400000001")
        forged = bytes.fromhex("16fefd000000000000006300") + bytes([len(body)]) + body
        made.down = lambda _: []
        made.client.begin()
        await until(lambda: made.sent_down, "the first flight")
        made.server.feed(forged)
        await until(lambda: made.server._attempt is None, "the first attempt to fail")
        made.down = lambda datagram: [datagram]
        made.client.repeat()
        await connected(made)
        assert agree(made)
        assert made.failures == []


async def test_a_forged_piece_of_a_client_hello_does_not_keep_the_client_waiting() -> None:
    async with call() as made:
        piece = bytes.fromhex("0100100000000000000000080102030405060708")
        made.server.feed(bytes.fromhex("16fefd0000000000000063") + len(piece).to_bytes(2, "big") + piece)
        made.client.begin()
        await connected(made)
        assert agree(made)


@pytest.mark.parametrize("kind", ["another certificate", "a second fingerprint that differs"])
async def test_a_wrong_fingerprint_gives_no_keys(kind: str) -> None:
    other = Certificate.generateCertificate().fingerprint
    expected = [other] if kind == "another certificate" else [CLIENT.fingerprint, other]
    async with call(fingerprints=expected) as made:
        for _ in range(dtls.MAX_FAILURES):
            made.client.begin()
            await until(lambda: made.failures or (made.sent_down and made.server._attempt is None), "a refusal")
            made.sent_down.clear()
            made.new_client()
        assert made.failures == ["fingerprint"]
        assert made.keys == []
        made.client.begin()
        assert made.sent_down == [], "nothing is answered any more"


async def test_a_client_without_srtp_gets_no_keys() -> None:
    async with call(profiles=b"") as made:
        made.client.begin()
        await until(lambda: made.client.connected and made.server._attempt is None, "a refusal")
        assert made.keys == []
        assert not made.server.connected


async def test_a_client_that_closes_is_told_once() -> None:
    async with call() as made:
        made.client.begin()
        await connected(made)
        made.client.close()
        await until(lambda: made.closes, "the close")
        made.server.close()
        assert made.closes == 1
        assert not made.server.connected


async def test_a_forged_close_is_not_believed() -> None:
    async with call() as made:
        made.client.begin()
        await connected(made)
        sealed = bytes.fromhex("15fefd0001000000000005001a") + b"\x07" * 26
        for _ in range(3):
            made.server.feed(sealed)
        made.client.close()
        await until(lambda: made.closes == 1, "the real close")


async def test_closing_tells_the_client() -> None:
    async with call() as made:
        made.client.begin()
        await connected(made)
        made.server.close()
        made.server.close()
        await until(lambda: made.client.closed, "the client to see the close_notify")
        assert made.closes == 0
        made.server.feed(made.sent_up[0])


async def test_a_client_that_stops_half_way_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls, "DEADLINE", 0.05)
    async with call() as made:
        made.down = lambda _: []
        made.client.begin()
        await until(lambda: made.failures, "the time-out")
        assert made.failures == ["timeout"]


async def test_no_client_hello_no_work() -> None:
    async with call() as made:
        for datagram in FORGED.values():
            made.server.feed(datagram)
        assert made.server._attempt is None
        assert made.sent_down == []


async def test_a_flood_is_bounded() -> None:
    async with call() as made:
        made.client.begin()
        await until(lambda: made.sent_down, "the first flight")
        hello = made.sent_up[0]
        sealed = bytes.fromhex("16fefd0001000000000005001a") + b"\x07" * 26
        before = len(made.sent_down)
        began = asyncio.get_running_loop().time()
        for _ in range(20_000):
            made.server.feed(hello)
            made.server.feed(sealed)
        assert made.server.drops["dtls-rate"] + made.server.drops["dtls-repeated"] > 39_000
        attempt = made.server._attempt
        assert attempt is None or len(attempt._pipe._records) <= dtls.MAX_QUEUE
        elapsed = asyncio.get_running_loop().time() - began
        assert len(made.sent_down) <= before + elapsed / dtls.REPEAT_AFTER + 1


async def test_cancelling_recv_loses_nothing() -> None:
    pipe = dtls._Pipe(lambda _: None)
    for number in range(200):
        waiting = asyncio.ensure_future(pipe._recv())
        await asyncio.sleep(0)
        pipe.put(bytes([number]))
        if number % 3 == 0:
            await asyncio.sleep(0)
        waiting.cancel()
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        got = outcome if isinstance(outcome, bytes) else await pipe._recv()
        assert got == bytes([number])


class Udp(asyncio.DatagramProtocol):
    """A Handshake on a real socket."""

    def __init__(self) -> None:
        self.handshake: Handshake | None = None
        self.peer: Any = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peer = addr
        assert self.handshake is not None
        self.handshake.feed(data)


async def test_openssls_own_client_exports_the_same_keys(tmp_path: Path) -> None:
    pem = CLIENT._cert.public_bytes(serialization.Encoding.PEM) + CLIENT._key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "client.pem").write_bytes(pem)
    loop = asyncio.get_running_loop()
    transport, udp = await loop.create_datagram_endpoint(Udp, local_addr=("127.0.0.1", 0))
    keys: list[Keys] = []
    closes: list[bool] = []
    udp.handshake = Handshake(
        Certificate.generateCertificate(),
        [CLIENT.fingerprint],
        lambda datagram: transport.sendto(datagram, udp.peer),
        keys.append,
        lambda reason: pytest.fail(reason),
        lambda: closes.append(True),
    )
    host, port = transport.get_extra_info("sockname")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-dtls1_2", "-connect", f"{host}:{port}", "-cert", str(tmp_path / "client.pem")),
        *("-use_srtp", ":".join(name.decode() for name in (CM_SHA1_80, GCM_256, GCM_128))),
        *("-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "56"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await until(lambda: keys, "keys")
        text = (await asyncio.wait_for(process.communicate(b"Q\n"), 10))[0].decode()
        await until(lambda: closes, "the close_notify")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        udp.handshake.close()
        transport.close()
    assert keys[0].profile == 7
    material = keys[0].rx_key + keys[0].tx_key + keys[0].rx_salt + keys[0].tx_salt
    assert f"Keying material: {material.hex().upper()}" in text
