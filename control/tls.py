"""TLS by two files: new connections get what stands in them now, and none of those that there are is touched."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from .secret import Clock

log = structlog.get_logger(__name__)

# Seconds; who renews writes two files one after the other, and nobody waits for it.
LOOK_EACH = 2.0
# A chain is some 6 kB.
LARGEST_FILE = 256 * 1024


class BadPair(Exception):
    """Certificate and key can't be used; the message says which setting, which file and why, and nothing of the key."""


@dataclass(frozen=True)
class Pair:
    """What two files hold.

    Attributes:
        chain: the server's own certificate, and those that lead to its authority.
        context: gives it and its chain to who connects.
        digests: of both files, to know them again.
    """

    chain: tuple[x509.Certificate, ...]
    context: ssl.SSLContext
    digests: tuple[bytes, bytes]

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def ends(self) -> datetime:
        return self.leaf.not_valid_after_utc


def load(certificate: Path, key: Path) -> Pair:
    """Reads and checks both files (PEM). That the certificate has expired is for the caller to say. Raises BadPair."""
    public, secret = _read("http.certificate", certificate), _read("http.key", key)
    chain = _chain(certificate, public)
    _check_key(certificate, key, chain[0], secret)
    context = _context()
    try:
        # Never asked for: an encrypted key was refused, and the question would wait for somebody at a terminal.
        context.load_cert_chain(certificate, key, password=str)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise BadPair(f"http.certificate: {certificate}: can't be used with {key}: {reason}") from None
    digests = _digest(public), _digest(secret)
    # OpenSSL read the files itself, a moment later.
    if digests != (_digest(_read("http.certificate", certificate)), _digest(_read("http.key", key))):
        raise BadPair(f"http.certificate: {certificate}: was changed while it was read")
    return Pair(chain, context, digests)


class Served:
    """The certificate of this server, over all its renewals.

    Attributes:
        context: for the listener; each handshake gets the newest pair that could be used.
        pair: that pair.
        refused: whether the files hold something else now, which can't be used.
    """

    def __init__(self, certificate: Path, key: Path, clock: Clock) -> None:
        """Raises BadPair."""
        self._files = certificate, key
        self._clock = clock
        self.pair = load(certificate, key)
        self.refused = False
        self._seen: object = self.pair.digests
        if self.pair.ends <= clock():
            log.error("the certificate has expired; browsers refuse it", expired=self.pair.ends.isoformat())
        # It has no pair of its own. To load one into a living context would leave a key of another type beside it, and
        # a new certificate without its key where that fails.
        self.context = _context()
        self.context.sni_callback = self._choose

    def metrics(self) -> dict[str, float]:
        """For `Metrics.add`; gauges both."""
        return {"expires_timestamp_seconds": self.pair.ends.timestamp(), "refused": self.refused}

    async def watch(self) -> None:
        """Looks at the files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EACH)
            try:
                await asyncio.to_thread(self.look)
            except Exception:
                log.exception("looking at the certificate failed")

    def look(self) -> None:
        """Takes what the files hold, if that is new and can be used; what is wrong with it is said once."""
        seen: object
        try:
            certificate, key = self._files
            seen = _digest(_read("http.certificate", certificate)), _digest(_read("http.key", key))
        except BadPair as error:
            seen = str(error)
        if seen == self._seen:
            return
        try:
            pair = load(*self._files)
            if pair.ends <= self._clock():
                raise BadPair(f"http.certificate: {self._files[0]}: has expired ({pair.ends:%Y-%m-%d})")
        except BadPair as error:
            self.refused = True
            log.error("the new certificate can't be used; the former one stays", reason=str(error))
        else:
            renewed = pair.digests != self.pair.digests
            self.pair, self.refused, seen = pair, False, pair.digests
            if renewed:
                log.info("new connections get a new certificate", expires=pair.ends.isoformat())
        self._seen = seen

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        # Also without a name (RFC 6066, section 3): OpenSSL asks for each ClientHello.
        connection.context = self.pair.context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9325, section 3.1.1
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(setting: str, file: Path) -> bytes:
    try:
        if file.exists() and not file.is_file():
            raise BadPair(f"{setting}: {file}: is not a file")
        with file.open("rb") as opened:
            found = opened.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise BadPair(f"{setting}: {file}: there is no such file") from None
    except OSError as error:
        raise BadPair(f"{setting}: {file}: can't be read: {error.strerror}") from None
    if len(found) > LARGEST_FILE:
        raise BadPair(f"{setting}: {file}: is too large")
    return found


def _chain(file: Path, public: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(public))
    except ValueError:
        expected = "expected PEM: the server's own first, then those that lead to its authority"
        raise BadPair(f"http.certificate: {file}: holds no certificate ({expected})") from None


def _check_key(certificate: Path, file: Path, leaf: x509.Certificate, secret: bytes) -> None:
    try:
        # The only key format of PEM that TLS servers share; how many bits are enough, OpenSSL says.
        key = load_pem_private_key(secret, password=None)
        belongs = _bits(key.public_key()) == _bits(leaf.public_key())
    except TypeError:
        raise BadPair(f"http.key: {file}: is encrypted (expected one without a passphrase)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadPair(f"http.key: {file}: holds no private key (expected PEM)") from None
    if not belongs:
        raise BadPair(f"http.key: {file}: doesn't belong to the certificate in {certificate}")


def _bits(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
