"""Certificates of an authority of the tests' own, laid down as an operator's tools lay them."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509

HOST = "127.0.0.1"


class Certificates:
    """Pairs in one folder, each in a folder of its own, and `live`, a link to the one that is served (as certbot does).

    Attributes:
        certificate, key: what the server is told to use.
    """

    def __init__(self, folder: Path) -> None:
        self._root = trustme.CA()
        # As all who sign for the public do: with an authority between, whose certificate the server must send along.
        self._authority = self._root.create_child_ca()
        self._folder = folder
        folder.mkdir(parents=True)
        self._made = 0
        live = folder / "live"
        self.certificate, self.key = live / "fullchain.pem", live / "privkey.pem"

    def make(self, *names: str, days: float = 90, rsa: bool = False) -> Path:
        """A folder with a pair for `names` (this machine where none) that ends in so many days."""
        self._made += 1
        made = self._folder / str(self._made)
        made.mkdir()
        kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
        ends = datetime.now(UTC) + timedelta(days=days)
        begins = ends - timedelta(days=400)
        pair = self._authority.issue_cert(*(names or (HOST,)), not_before=begins, not_after=ends, key_type=kind)
        (made / "fullchain.pem").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
        (made / "privkey.pem").write_bytes(pair.private_key_pem.bytes())
        (made / "privkey.pem").chmod(0o600)
        return made

    def use(self, pair: Path) -> None:
        """Has `live` lead to that folder, in one step."""
        link = self._folder / "next"
        link.symlink_to(pair, target_is_directory=True)
        os.replace(link, self._folder / "live")

    def client(self) -> ssl.SSLContext:
        """For who trusts the authority; a new one each time, so that no session is resumed."""
        context = ssl.create_default_context()
        self._root.configure_trust(context)
        return context

    async def shown(self, port: int, name: str = HOST, *, context: ssl.SSLContext | None = None) -> x509.Certificate:
        """The certificate that somebody is shown who connects now, and trusts us."""
        context = context or self.client()
        _, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname=name)
        try:
            return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        finally:
            writer.close()

    @property
    def env(self) -> dict[str, str]:
        """Settings of a server that serves `live`."""
        return {"VARDRUM_HTTP__CERTIFICATE": str(self.certificate), "VARDRUM_HTTP__KEY": str(self.key)}
