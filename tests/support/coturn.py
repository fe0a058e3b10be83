"""A real coturn (Debian's package), from `config/coturn.conf` with nothing changed but what an operator replaces."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ...bench.network.namespaces import Namespace
from ...bench.process import Process
from .wait import wait_until

CONFIG = Path(__file__).parents[2] / "config"
# The addresses of the examples.
MEDIA, RELAY = "203.0.113.10", "203.0.113.20"
# By these names TURN and the website are reached in the examples.
TURN_NAME, NAME = "turn.region.example", "video.region.example"
SECRET = "3f8a11b2c67d4e5f90817263544536271809fadecb0011223344556677889900"
OLD_SECRET = "00998877665544332211009080706050403020103f8a11b2c67d4e5f90817263"


class Coturn:
    """`async with Coturn(folder, namespace, certificates)`; both of its secrets count.

    Attributes:
        ports: where it listens over TLS and without.
    """

    def __init__(
        self,
        folder: Path,
        namespace: Namespace,
        certificates: Certificates,
        *,
        addresses: Mapping[str, str] | None = None,
        behind_nginx: bool = False,
    ) -> None:
        """
        Args:
            addresses: what is put in place of the examples' addresses.
            behind_nginx: as `config/nginx-sni.conf` wants it.
        """
        self._folder = folder
        self._namespace = namespace
        self._process: Process | None = None
        self._address = (addresses or {}).get(RELAY, RELAY)
        self.ports = (5349 if behind_nginx else 443, 3478)
        self._changes = {
            "static-auth-secret=REPLACE-BY-64-HEXADECIMAL-DIGITS": f"static-auth-secret={OLD_SECRET}\n"
            f"static-auth-secret={SECRET}",
            "cert=/etc/coturn/turn.crt": f"cert={certificates.chain}",
            "pkey=/etc/coturn/turn.key": f"pkey={certificates.key}",
            "userdb=/var/lib/turn/turndb": f"userdb={folder / 'turndb'}",
        }
        if behind_nginx:
            self._changes |= {
                f"\nlistening-ip={RELAY}": f"\nlistening-ip={RELAY}\nlistening-ip=127.0.0.1",
                "\ntls-listening-port=443": "\ntls-listening-port=5349",
            }
        self._changes |= addresses or {}

    async def __aenter__(self) -> Coturn:
        self._folder.mkdir()
        text = replaced((CONFIG / "coturn.conf").read_text(), self._changes)
        assert "REPLACE-" not in text
        written = self._folder / "turnserver.conf"
        written.write_text(text)
        self._process = await Process.start(
            [*self._namespace.prefix, "turnserver", "-c", str(written), f"--pidfile={self._folder / 'pid'}"],
            log=self._folder / "coturn.log",
        )
        await listening(self._namespace, self._process, *(f"{self._address}:{port}" for port in self.ports))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.stop()

    def log(self) -> str:
        """All that it has said."""
        assert self._process is not None
        return self._process.output(10_000_000)

    def read_certificate_again(self) -> None:
        """As after a renewal."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGUSR2)


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """An example with what an operator puts in place of what is there, which must be there."""
    for former, new in changes.items():
        assert former in text, former
        text = text.replace(former, new)
    return text


async def listening(namespace: Namespace, process: Process, *addresses: str) -> None:
    """Until a server takes TCP connections at all of these."""

    async def all_there() -> bool:
        assert process.running, process.output()
        there = await namespace.run("ss", "-Hltn")
        return all(f" {address} " in there for address in addresses)

    await wait_until(all_there, deadline=60, what=f"a server at {' and '.join(addresses)}")


class Certificates:
    """An authority of one's own and what it issues, as files.

    Attributes:
        authority: what has to be trusted.
        chain, key: of the server's certificate; `renew` writes others into them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._issuer = trustme.CA()
        self.authority, self.chain, self.key = (folder / f"{name}.pem" for name in ("authority", "chain", "key"))
        self._issuer.cert_pem.write_to_path(self.authority)
        self.renew()

    def renew(self) -> None:
        """A new certificate for both names."""
        self.made = self._issuer.issue_cert(TURN_NAME, NAME)
        self.chain.write_bytes(b"".join(one.bytes() for one in self.made.cert_chain_pems))
        self.key.write_bytes(self.made.private_key_pem.bytes())

    @property
    def fingerprint(self) -> str:
        """Of the server's public key, as Chromium takes it: base64 of SHA-256 over its SubjectPublicKeyInfo."""
        made = x509.load_pem_x509_certificate(self.made.cert_chain_pems[0].bytes())
        info = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(info).digest()).decode()
