"""What is said of certificates that can't be used, and that a renewal can only make things better."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs
from vardrum.control import tls
from vardrum.control.tls import BadPair, Served
from vardrum.tests.support.certificates import HOST, Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority whose first pair is served."""
    made = Certificates(tmp_path / "tls")
    made.use(made.make())
    return made


def now() -> datetime:
    return datetime.now(UTC)


def served(certificates: Certificates) -> Served:
    return Served(certificates.certificate, certificates.key, now)


@asynccontextmanager
async def listening(one: Served) -> AsyncIterator[int]:
    """The port of a server that says nothing."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=one.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def encrypted(key: Path) -> bytes:
    loaded = load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize("rsa", [False, True])
async def test_new_connections_get_the_renewed_certificate_whatever_its_key(
    certificates: Certificates, rsa: bool
) -> None:
    one = served(certificates)
    async with listening(one) as port:
        assert await certificates.shown(port) == one.pair.leaf
        certificates.use(certificates.make(HOST, "video.example", days=80, rsa=not rsa))
        one.look()
        new = one.pair.leaf
        for name in (HOST, "video.example"):  # without a name in the handshake, and with one
            assert await certificates.shown(port, name) == new
        # Who could take either kind of key is not given the former one.
        certificates.use(certificates.make(days=85, rsa=rsa))
        one.look()
        assert new != one.pair.leaf == await certificates.shown(port)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("gone", "http.key: {key}: there is no such file"),
        ("torn key", "http.key: {key}: holds no private key (expected PEM)"),
        ("torn certificate", "http.certificate: {certificate}: holds no certificate (expected PEM: "),
        ("torn chain", "http.certificate: {certificate}: "),
        ("another key", "http.key: {key}: doesn't belong to the certificate in {certificate}"),
        ("swapped", "http.certificate: {certificate}: holds no certificate"),
        ("encrypted", "http.key: {key}: is encrypted (expected one without a passphrase)"),
        ("folder", "http.key: {key}: is not a file"),
        ("huge", "http.certificate: {certificate}: is too large"),
        ("expired", "http.certificate: {certificate}: has expired ("),
    ],
)
async def test_what_cannot_be_used_is_said_once_and_the_former_pair_stays(
    certificates: Certificates, what: str, sentence: str
) -> None:
    one = served(certificates)
    former = one.pair
    new = certificates.make(days=-1 if what == "expired" else 60)
    certificate, key = new / "fullchain.pem", new / "privkey.pem"
    secret = key.read_text()
    if what in ("gone", "folder"):
        key.unlink()
    if what == "folder":
        key.mkdir()
    if what == "torn key":
        key.write_text(secret[:100])
    if what == "torn certificate":
        certificate.write_text(certificate.read_text()[:200])
    if what == "torn chain":
        certificate.write_text(certificate.read_text() + "-----BEGIN CERTIFICATE-----\nMIIB\n")
    if what == "another key":
        key.write_bytes((certificates.make() / "privkey.pem").read_bytes())
    if what == "swapped":
        certificate.write_text(secret)
    if what == "encrypted":
        key.write_bytes(encrypted(key))
    if what == "huge":
        certificate.write_bytes(certificate.read_bytes() + b" " * tls.LARGEST_FILE)
    certificates.use(new)
    with capture_logs() as lines:
        one.look()
        one.look()
    expected = sentence.format(certificate=certificates.certificate, key=certificates.key)
    assert [(line["log_level"], line["reason"].startswith(expected)) for line in lines] == [("error", True)], lines
    assert not any(part in str(lines) for part in secret.splitlines()[1:-1])
    assert (one.pair, one.metrics()["refused"]) == (former, True)
    async with listening(one) as port:
        assert await certificates.shown(port) == former.leaf
    if what != "expired":
        with pytest.raises(BadPair) as error:
            served(certificates)
        assert str(error.value).startswith(expected)
    certificates.use(certificates.make())
    one.look()
    assert one.pair != former
    assert not one.metrics()["refused"]


def test_an_expired_certificate_does_not_keep_a_server_from_starting_but_is_said(certificates: Certificates) -> None:
    certificates.use(certificates.make(days=-1))
    with capture_logs() as lines:
        one = served(certificates)
    assert [line["log_level"] for line in lines] == ["error"]
    assert one.metrics()["expires_timestamp_seconds"] < now().timestamp()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_was_here_before_a_renewal_may_still_resume(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    one = served(certificates)
    context = certificates.client()
    context.minimum_version = context.maximum_version = version
    async with listening(one) as port:
        session, _ = await asyncio.to_thread(come, port, context)
        _, resumed = await asyncio.to_thread(come, port, context, session)
        assert resumed
        certificates.use(certificates.make(rsa=True))
        one.look()
        await asyncio.to_thread(come, port, context, session)


def come(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession | None, bool]:
    """The session that somebody gets, and whether it is the one they came with."""
    with (
        socket.create_connection((HOST, port)) as raw,
        context.wrap_socket(raw, server_hostname=HOST, session=session) as connection,
    ):
        connection.recv(1)  # tickets come behind the handshake (RFC 8446, section 4.6.1)
        return connection.session, bool(connection.session_reused)


async def test_nothing_older_than_tls_1_2_is_spoken(certificates: Certificates) -> None:
    async with listening(served(certificates)) as port:
        old = certificates.client()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await certificates.shown(port, context=old)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            new = certificates.client()
            new.minimum_version = new.maximum_version = version
            await certificates.shown(port, context=new)
