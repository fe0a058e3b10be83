"""A region's mail server and SMS gateway, for tests: real ones, on this machine, that keep what they are given."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = "250 OK"
USER, PASSWORD = "vardrum", "correct horse"


def certificate(folder: Path) -> Path:
    """A file with a key and its own certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "mail.pem"
    file.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return file


@dataclass(frozen=True)
class Mail:
    """One e-mail as it came."""

    to: str
    encrypted: bool
    login: str | None
    message: EmailMessage

    @property
    def text(self) -> str:
        return str(self.message.get_content())


class MailServer:
    """`async with MailServer(folder) as server`; `answer` may be set to refuse, by recipient.

    Attributes:
        mails: what was taken, in order.
        tried: how many came as far as their content, refused ones too.
    """

    def __init__(self, folder: Path, *, tls: str = "starttls", port: int = 0) -> None:
        self.tls = tls
        self.port = port
        self.mails: list[Mail] = []
        self.tried = 0
        self.answer: Callable[[str], str] = lambda _: OK
        self.before_answer: Callable[[], Any] | None = None
        self.file = certificate(folder)
        (folder / "password").write_text(PASSWORD + "\n")
        self.settings: dict[str, Any] = {}
        self._folder = folder

    async def __aenter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)

        def serve() -> SMTP:
            starttls = {"tls_context": context, "require_starttls": True} if self.tls == "starttls" else {}
            return SMTP(
                self,
                authenticator=self._login,
                auth_required=self.tls == "starttls",
                auth_require_tls=self.tls == "starttls",
                **starttls,  # type: ignore[arg-type]
            )

        outer = context if self.tls == "tls" else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(serve, "127.0.0.1", self.port, ssl=outer)
        self.port = self._server.sockets[0].getsockname()[1]
        self.settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "tls": self.tls,
            "ca_file": str(self.file),
            "user": USER,
            "password_file": str(self._folder / "password"),
            "sender": "Videomöte <noreply@region.example>",
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _login(self, _: Any, session: Any, __: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False, auth_data=data)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        """aiosmtpd asks whether a recipient is taken."""
        answer = self.answer(address)
        if answer == OK:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """aiosmtpd has a message."""
        self.tried += 1
        message = message_from_bytes(cast(bytes, envelope.content), policy=default)
        login = session.auth_data.login.decode() if session.auth_data else None
        encrypted = session.ssl is not None or self.tls == "tls"
        self.mails.append(Mail(envelope.rcpt_tos[0], encrypted, login, message))
        if self.before_answer is not None:
            await self.before_answer()
        return OK


@dataclass(frozen=True)
class Request:
    """One request as the gateway got it."""

    method: str
    headers: dict[str, str]
    body: Any


class SmsGateway:
    """`async with SmsGateway() as gateway`; `status` is what it answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 202
        self.location = ""
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/send", self._take)
        app.router.add_route("*", "/elsewhere", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/send"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        form = request.content_type == "application/x-www-form-urlencoded"
        body = dict(await request.post()) if form else await request.json()
        self.requests.append(Request(request.method, dict(request.headers), body))
        return web.Response(status=self.status, headers={"Location": self.location} if self.location else {})
