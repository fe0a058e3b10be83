"""The DTLS-SRTP handshake of one peer (RFC 5764), as server, on aiortc's RTCDtlsTransport without a socket.

`_Pipe` is what RTCDtlsTransport takes for an ICE transport. What aiortc doesn't do is done around it: forgeable and
malformed records are dropped (`dtls_records`), the last flight goes out again when a ClientHello repeats, a failed
handshake gets a fresh transport, and keys are exported without making libsrtp sessions. Private names of aiortc are
used; `tests/unit/test_dtls_aiortc.py` watches them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)
from OpenSSL import SSL

from .dtls_records import Record, packed, records

DTLS_1_2 = 0xFEFD
# openssl/ssl.h; pyOpenSSL has no name for it. Idle for minutes, a connection needs no buffers.
SSL_MODE_RELEASE_BUFFERS = 0x10
MTU = 1200  # passes every path that media passes
DEADLINE = 30.0  # s from the first ClientHello; browsers give up ICE after 23 to 35
MAX_FAILURES = 10
MAX_QUEUE = 64  # records that wait for the event loop
BURST, RATE = 96.0, 32.0  # records, records/s; a handshake has about ten, each flight may repeat
MAX_EARLY = 16  # records of epoch 1 before there are keys, which OpenSSL would buffer
REPEAT_AFTER = 0.02  # s; a ClientHello comes in two datagrams, and a network may double them

# OpenSSL as server takes the first of its own list that the client offers; the numbers are IANA's (RFC 5764, RFC 7714).
PROFILES: tuple[tuple[int, SRTPProtectionProfile], ...] = (
    (7, SRTP_AEAD_AES_128_GCM),
    (8, SRTP_AEAD_AES_256_GCM),
    (1, SRTP_AES128_CM_SHA1_80),
)


@dataclass(frozen=True)
class Keys:
    """SRTP master keys of one peer.

    Attributes:
        profile: IANA number of the protection profile: 1 AES128_CM_SHA1_80, 7 AEAD_AES_128_GCM, 8 AEAD_AES_256_GCM.
        rx_key, rx_salt: of what the client sends.
        tx_key, tx_salt: of what the server sends.
    """

    profile: int
    rx_key: bytes = field(repr=False)
    rx_salt: bytes = field(repr=False)
    tx_key: bytes = field(repr=False)
    tx_salt: bytes = field(repr=False)


class Certificate(RTCCertificate):
    """The server's self-signed certificate, made once at start: `Certificate.generateCertificate()`."""

    @property
    def fingerprint(self) -> tuple[str, str]:
        """Hash name and value for `a=fingerprint`."""
        return next((one.algorithm, one.value) for one in self.getFingerprints() if one.algorithm == "sha-256")

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        # One for all handshakes, which offer the same profiles: each of its own costs a participant 30 kB.
        if self._context is not None:
            return self._context
        context = super()._create_ssl_context(srtp_profiles)
        # Nobody resumes a session; a shared context would keep thousands of them.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL_MODE_RELEASE_BUFFERS)
        # RFC 8827, section 6.5, asks for 1.2; and the record filter knows no 1.3, whose headers look different.
        context.set_min_proto_version(DTLS_1_2)
        context.set_max_proto_version(DTLS_1_2)
        self._context = context
        return context


class Handshake:
    """One peer's handshake, and its DTLS afterwards, until `close`.

    Use it on the event loop's thread. Nothing that is fed raises; what is dropped is counted in `drops`.
    """

    def __init__(
        self,
        certificate: Certificate,
        fingerprints: Sequence[tuple[str, str]],
        send: Callable[[bytes], None],
        done: Callable[[Keys], None],
        failed: Callable[[str], None],
        closed: Callable[[], None] | None = None,
    ) -> None:
        """Waits for a ClientHello.

        Args:
            fingerprints: (hash name, value) of the client's certificate, from its offer; all must match.
            send: takes each datagram for the client.
            done: takes the keys, once.
            failed: called once, when no attempt led to keys: `timeout`, or the last attempt's `handshake`,
                `fingerprint` or `srtp-profile`. Nothing is sent or taken any more.
            closed: called once, when the client has closed after `done` (close_notify).
        """
        self.drops: Counter[str] = Counter()
        self._certificate = certificate
        self._remote = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(algorithm=name, value=value) for name, value in fingerprints]
        )
        self._send, self._done, self._failed, self._closed = send, done, failed, closed
        self._failures = 0
        self._attempt: _Attempt | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._over = False
        self._allowance, self._refilled = BURST, 0.0

    @property
    def connected(self) -> bool:
        """Whether there are keys, and the client hasn't closed."""
        return not self._over and self._attempt is not None and self._attempt.keys is not None

    def feed(self, datagram: bytes) -> None:
        """Takes a datagram from an address that ICE has validated."""
        if self._over:
            return
        for record in records(datagram):
            reason = record if isinstance(record, str) else self._take(record)
            if reason is not None:
                self.drops[reason] += 1

    def close(self) -> None:
        """Ends it, with a close_notify where there are keys; may be called twice, calls nothing back."""
        if self._over:
            return
        self._end()

    def _take(self, record: Record) -> str | None:
        """Passes a record on; returns why not."""
        attempt = self._attempt
        if attempt is None and not record.client_hello:
            return "dtls-unexpected"
        if attempt is not None and (reason := attempt.needless(record)) is not None:
            return reason
        if not self._affordable():
            return "dtls-rate"
        if attempt is not None and attempt.waits_for_another(record):
            attempt.stop()
            attempt = None
        if attempt is None:
            attempt = self._attempt = self._begin(record)
        return attempt.take(record)

    def _begin(self, record: Record) -> _Attempt:
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.call_later(DEADLINE, self._expire)
        return _Attempt(self._certificate, self._remote, self._send, self._told, record.client_hello)

    def _told(self, attempt: _Attempt) -> None:
        """An attempt has keys, or has failed, or the client has closed."""
        if self._over or attempt is not self._attempt:
            return
        if attempt.reason is None and attempt.keys is not None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._done(attempt.keys)
        elif attempt.keys is not None:
            self._end()
            if self._closed is not None:
                self._closed()
        else:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                self._end()
                self._failed(attempt.reason or "handshake")
            else:
                attempt.stop()
                self._attempt = None  # the next ClientHello, usually a repeated one, gets a fresh transport

    def _expire(self) -> None:
        self._end()
        self._failed("timeout")

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._attempt is not None:
            self._attempt.stop()

    def _affordable(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._allowance = min(BURST, self._allowance + (now - self._refilled) * RATE)
        self._refilled = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class _Attempt:
    """One RTCDtlsTransport from its first record on; tells its end, and before that, if it comes to it, its keys."""

    def __init__(
        self,
        certificate: Certificate,
        remote: RTCDtlsParameters,
        send: Callable[[bytes], None],
        told: Callable[[_Attempt], None],
        hello: int,
    ) -> None:
        self.keys: Keys | None = None
        self.reason: str | None = None
        self._pipe = _Pipe(send)
        self._transport = _Transport(self._pipe, certificate)
        self._told = told
        self._early = 0
        self._hello = hello
        self._task = asyncio.get_running_loop().create_task(self._run(remote))

    def needless(self, record: Record) -> str | None:
        """Why OpenSSL needn't see a record: of a flight that it has; None where it must."""
        if self.keys is None and record.client_hello and self._pipe.flight:
            self._pipe.repeat(asyncio.get_running_loop().time())
            return "dtls-repeated"
        if self.keys is not None and record.epoch == 0:
            return "dtls-repeated"  # a client that missed our Finished repeats its own, in epoch 1
        return None

    def waits_for_another(self, record: Record) -> bool:
        """Whether this is of a ClientHello of another length than the one that OpenSSL has begun to put together.

        One forged fragment would otherwise keep OpenSSL waiting for its other half for as long as anyone does.
        """
        return not self._pipe.flight and record.client_hello not in (0, self._hello)

    def take(self, record: Record) -> str | None:
        """Passes a record on; returns why not."""
        self._early += record.epoch == 1 and self.keys is None
        if self._early > MAX_EARLY and self.keys is None:
            return "dtls-unexpected"
        return self._pipe.put(record.data)

    def stop(self) -> None:
        """Cancels everything; sends a close_notify where the handshake had got so far."""
        self._transport.shut()
        if self._transport._task is not None:
            self._transport._task.cancel()
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self, remote: RTCDtlsParameters) -> None:
        try:
            await self._transport.start(remote)
        except Exception:  # pyOpenSSL and cryptography raise more than SSL.Error at a client's odd certificate
            self.reason = self._transport.reason
        pump = self._transport._task
        if pump is None:
            self.reason = self._transport.reason
            self._told(self)
            return
        self.keys = self._transport.keys
        self._told(self)
        await asyncio.wait([pump])
        if not pump.cancelled():
            pump.exception()  # looked at, so that asyncio doesn't log it
        self.reason = "closed"
        self._told(self)


class _Transport(RTCDtlsTransport):
    """aiortc's transport in the server's role, which exports keys instead of making SRTP sessions of them."""

    def __init__(self, pipe: _Pipe, certificate: Certificate) -> None:
        super().__init__(pipe, [certificate])  # type: ignore[arg-type]  # duck-typed: `role` and `_recv` are all it asks
        self._pipe = pipe
        self._srtp_profiles = [profile for _, profile in PROFILES]
        self._set_role("server")
        self.keys: Keys | None = None
        self.reason = "handshake"

    def shut(self) -> None:
        """Sends a close_notify if the client would understand it."""
        if self.encrypted:
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
            self._flush()

    @property
    def _connection(self) -> SSL.Connection:
        if self._ssl is None:
            raise ConnectionError("not started")
        return self._ssl

    async def _do_handshake(self) -> None:
        self._connection.set_ciphertext_mtu(MTU)
        await super()._do_handshake()

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        self.reason = "fingerprint"
        super()._validate_peer_identity(remoteParameters)

    def _setup_srtp(self) -> None:
        self.reason = "srtp-profile"
        connection = self._connection
        selected = connection.get_selected_srtp_profile()
        for number, profile in PROFILES:
            if profile.openssl_profile == selected:
                length, salt = profile.key_length, profile.salt_length
                material = connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (length + salt))
                # Client key, server key, client salt, server salt (RFC 5764, section 4.2).
                cuts = [0, length, 2 * length, 2 * length + salt, 2 * (length + salt)]
                rx_key, tx_key, rx_salt, tx_salt = (material[a:b] for a, b in pairwise(cuts))
                self.keys = Keys(number, rx_key, rx_salt, tx_key, tx_salt)
                return
        self._set_state(State.FAILED)

    async def _write_ssl(self) -> None:
        self._flush()

    def _flush(self) -> None:
        """Sends all that OpenSSL has written; aiortc reads 1500 bytes at a time, which may end within a record."""
        with contextlib.suppress(SSL.Error):
            self._pipe.send(self._connection.bio_read(65_536))


class _Pipe:
    """What aiortc takes for an ICE transport."""

    role = "controlled"  # ICE-lite

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.flight: list[bytes] = []
        self._send_datagram = send
        self._sent_at = 0.0
        self._records: deque[bytes] = deque()
        self._arrived = asyncio.Event()

    def put(self, record: bytes) -> str | None:
        """Queues a record for OpenSSL; returns why not."""
        if len(self._records) >= MAX_QUEUE:
            return "dtls-queue"
        self._records.append(record)
        self._arrived.set()
        return None

    def send(self, written: bytes) -> None:
        """Sends records as one flight, and remembers it."""
        datagrams = list(packed(written, MTU))
        if datagrams:
            self.flight = datagrams
            self._sent_at = asyncio.get_running_loop().time()
        for datagram in datagrams:
            self._send_datagram(datagram)

    def repeat(self, now: float) -> None:
        """Sends the last flight again: OpenSSL would only do so after a second."""
        if now - self._sent_at >= REPEAT_AFTER:
            self._sent_at = now
            for datagram in self.flight:
                self._send_datagram(datagram)

    async def _recv(self) -> bytes:
        # Taken only after the last await: aiortc cancels this at each retransmission timeout, and a record that had
        # been taken by then would be lost.
        while not self._records:
            self._arrived.clear()
            await self._arrived.wait()
        return self._records.popleft()
