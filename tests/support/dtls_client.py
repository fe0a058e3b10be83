"""A DTLS-SRTP client of its own (pyOpenSSL), over links in memory that can lose, double and forge datagrams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from OpenSSL import SSL
from vardrum.sfu.dtls import PROFILES, Certificate, Handshake, Keys
from vardrum.sfu.dtls_records import packed

GCM_256, GCM_128, CM_SHA1_80 = (
    b"SRTP_AEAD_AES_256_GCM",
    b"SRTP_AEAD_AES_128_GCM",
    b"SRTP_AES128_CM_SHA1_80",
)
LENGTHS = {profile.openssl_profile: (profile.key_length, profile.salt_length) for _, profile in PROFILES}


class Client:
    """The active side. Like BoringSSL in browsers, it repeats its flight when `repeat` says so, at once."""

    def __init__(
        self,
        certificate: Certificate,
        send: Callable[[bytes], None],
        *,
        profiles: bytes = b":".join([GCM_256, GCM_128, CM_SHA1_80]),
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.use_certificate(certificate._cert)
        context.use_privatekey(certificate._key)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        self.ssl = SSL.Connection(context)
        self.ssl.set_connect_state()
        self.ssl.set_ciphertext_mtu(1200)
        self.flight: list[bytes] = []
        self.connected = False
        self.failure: SSL.Error | None = None
        self.closed = False
        self._send = send

    def begin(self) -> None:
        """Sends the ClientHello."""
        self._step()

    def repeat(self) -> None:
        """Sends the last flight again, the same bytes."""
        for datagram in list(self.flight):
            self._send(datagram)

    def tick(self) -> bool:
        """Sends the last flight again as new records, where OpenSSL's own time-out (1 s at first) has come."""
        due = self.ssl.DTLSv1_get_timeout() == 0 and self.ssl.DTLSv1_handle_timeout()
        self._flush()
        return bool(due)

    def feed(self, datagram: bytes) -> None:
        self.ssl.bio_write(datagram)
        self._step()

    def close(self) -> None:
        with contextlib.suppress(SSL.Error):
            self.ssl.shutdown()
        self._flush()

    def keys(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Key and salt of what it sends, then of what it receives."""
        key, salt = LENGTHS[self.ssl.get_selected_srtp_profile()]
        material = self.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        at = 2 * key
        return material[:key], material[at : at + salt], material[key:at], material[at + salt :]

    def _step(self) -> None:
        try:
            if not self.connected:
                self.ssl.do_handshake()
                self.connected = True
            else:
                self.ssl.recv(2000)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.failure = error
        self._flush()

    def _flush(self) -> None:
        try:
            written = self.ssl.bio_read(65_536)
        except SSL.Error:
            return
        self.flight = list(packed(written, 1200))
        for datagram in self.flight:
            self._send(datagram)


class Call:
    """A client and a Handshake on one link.

    Attributes:
        up, down: decide what becomes of a datagram to the server, or to the client: the datagrams that arrive.
        sent_up, sent_down: all that was sent, whether it arrived or not.
    """

    def __init__(
        self,
        *,
        fingerprints: list[tuple[str, str]] | None = None,
        profiles: bytes = b":".join([GCM_256, GCM_128, CM_SHA1_80]),
        client_certificate: Certificate | None = None,
    ) -> None:
        self.up: Callable[[bytes], list[bytes]] = lambda datagram: [datagram]
        self.down: Callable[[bytes], list[bytes]] = lambda datagram: [datagram]
        self.sent_up: list[bytes] = []
        self.sent_down: list[bytes] = []
        self.keys: list[Keys] = []
        self.failures: list[str] = []
        self.closes = 0
        self._loop = asyncio.get_running_loop()
        self.certificate = client_certificate or Certificate.generateCertificate()
        self.client = Client(self.certificate, self._upward, profiles=profiles)
        self.server = Handshake(
            Certificate.generateCertificate(),
            [self.certificate.fingerprint] if fingerprints is None else fingerprints,
            self._downward,
            self.keys.append,
            self.failures.append,
            self._on_close,
        )

    def new_client(self) -> None:
        """The same client starts over, as after its own failure."""
        self.client = Client(self.certificate, self._upward)

    def _on_close(self) -> None:
        self.closes += 1

    def _upward(self, datagram: bytes) -> None:
        self.sent_up.append(datagram)
        for arrived in self.up(datagram):
            self._loop.call_soon(self.server.feed, arrived)

    def _downward(self, datagram: bytes) -> None:
        self.sent_down.append(datagram)
        for arrived in self.down(datagram):
            self._loop.call_soon(self.client.feed, arrived)


def fragmented(client_hello: bytes, size: int) -> list[bytes]:
    """One record with one whole handshake message, as several with `size` bytes of it each (RFC 6347, section 4.2.3).

    Their record numbers are ones that the client itself doesn't come to: a number is taken once.
    """
    header, message, body = client_hello[:13], client_hello[13:25], client_hello[25:]
    found = []
    for number, at in enumerate(range(0, len(body), size)):
        part = body[at : at + size]
        fragment = message[:6] + at.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        sequence = (int.from_bytes(header[5:11], "big") + 20 + number).to_bytes(6, "big")
        found.append(header[:5] + sequence + len(fragment).to_bytes(2, "big") + fragment)
    return found
