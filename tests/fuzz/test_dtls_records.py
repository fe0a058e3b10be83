"""Whatever is fed to a handshake, nothing is raised, memory stays bounded, and an honest client still gets through."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from vardrum.sfu import dtls
from vardrum.sfu.dtls import Certificate
from vardrum.sfu.dtls_records import HEADER, MAX_DATAGRAM, Record, packed, records
from vardrum.tests.support.dtls_client import Call
from vardrum.tests.support.wait import wait_until

CLIENT = Certificate.generateCertificate()

header = st.builds(
    lambda kind, version, epoch, sequence, length: kind + version + epoch + sequence + length,
    st.sampled_from([b"\x14", b"\x15", b"\x16", b"\x17", b"\x00", b"\x80"]),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.sampled_from([b"\0\0", b"\0\1", b"\0\2"]),
    st.binary(min_size=6, max_size=6),
    st.one_of(st.integers(0, 64), st.just(65_535)).map(lambda n: n.to_bytes(2, "big")),
)
message = st.builds(
    lambda kind, sizes, body: bytes([kind]) + b"".join(size.to_bytes(n, "big") for size, n in sizes) + body,
    st.sampled_from([0, 1, 2, 11, 15, 16, 20, 255]),
    st.tuples(
        st.tuples(st.integers(0, 40), st.just(3)),
        st.tuples(st.integers(0, 4), st.just(2)),
        st.tuples(st.integers(0, 40), st.just(3)),
        st.tuples(st.integers(0, 40), st.just(3)),
    ),
    st.binary(max_size=40),
)
datagrams = st.one_of(
    st.binary(max_size=3000),
    st.lists(st.tuples(header, st.one_of(st.binary(max_size=64), message)).map(b"".join), max_size=5).map(b"".join),
)


@given(datagrams)
def test_what_passes_is_whole_and_in_order(datagram: bytes) -> None:
    passed = [record for record in records(datagram) if isinstance(record, Record)]
    at = 0
    for record in passed:
        assert len(record.data) == HEADER + int.from_bytes(record.data[11:13], "big")
        found = datagram.find(record.data, at)
        assert found >= at
        at = found + len(record.data)
        assert record.epoch in (0, 1)
        assert not (record.epoch == 0 and record.content_type in (21, 23))
    assert not passed or len(datagram) <= MAX_DATAGRAM


@given(st.binary(max_size=4000), st.integers(1, 1500))
def test_packing_never_raises_and_adds_nothing(flight: bytes, mtu: int) -> None:
    assert sum(map(len, packed(flight, mtu))) <= len(flight)


@given(before=st.lists(datagrams, max_size=6), between=st.lists(datagrams, max_size=6))
@settings(max_examples=40, deadline=None)
def test_an_honest_client_gets_through_whatever_else_is_fed(before: list[bytes], between: list[bytes]) -> None:
    async def run() -> None:
        made = Call(client_certificate=CLIENT)
        try:
            noise = iter(between)
            for datagram in before:
                made.server.feed(datagram)
            made.up = lambda datagram: [*([one] if (one := next(noise, None)) is not None else []), datagram]
            made.client.begin()
            loop = asyncio.get_running_loop()
            repeated = loop.time()

            def connected() -> bool:
                nonlocal repeated
                if loop.time() - repeated > 0.05 and not made.client.connected:
                    repeated = loop.time()
                    made.client.repeat()
                    # What a forged record of epoch 0 has ended, OpenSSL's client begins anew only as a new client.
                    if made.client.failure is not None or made.server._attempt is None:
                        made.new_client()
                        made.client.begin()
                made.client.tick()
                return bool(made.keys) and made.client.connected

            await wait_until(connected, deadline=10, what="keys on both sides", every=0.002)
            assert made.failures == []
            attempt = made.server._attempt
            assert attempt is not None
            assert len(attempt._pipe._records) <= dtls.MAX_QUEUE
        finally:
            made.server.close()

    asyncio.run(run())


@given(
    st.data(),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1200), st.integers(1, 255)), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_mutated_flights_never_raise_nor_give_keys_that_differ(
    data: st.DataObject, changes: list[tuple[int, int, int]]
) -> None:
    async def run() -> None:
        made = Call(client_certificate=CLIENT)
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        try:
            count = -1

            def mutate(datagram: bytes) -> list[bytes]:
                nonlocal count
                count += 1
                changed = bytearray(datagram)
                for number, place, mask in changes:
                    if number == count:
                        changed[place % len(changed)] ^= mask
                return [bytes(changed)]

            made.up = mutate
            made.client.begin()
            for _ in range(200):
                await asyncio.sleep(0)
            if made.keys and made.client.connected:
                keys = made.keys[0]
                assert made.client.keys() == (keys.rx_key, keys.rx_salt, keys.tx_key, keys.tx_salt)
        finally:
            made.server.close()
            for _ in range(5):
                await asyncio.sleep(0)
        assert problems == []

    asyncio.run(run())
