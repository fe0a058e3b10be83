"""E-mail by SMTP (RFC 5321) to the region's own server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Literal

import aiosmtplib

from .sending import Outgoing, Undeliverable, Unsent

Tls = Literal["starttls", "tls", "none"]
# One step of the conversation; RFC 5321, section 4.5.3.2, has minutes, but a region's own server is near.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Server:
    """Where mail goes. `sender` is as in a From header; `context` trusts the server's certificate."""

    host: str
    port: int
    tls: Tls
    user: str
    password: str = field(repr=False)
    sender: str
    context: ssl.SSLContext | None


class Mail:
    """Sends one e-mail a connection: a failure belongs to one message."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def start(self) -> None:
        """Nothing is kept open."""

    async def stop(self) -> None:
        """Nothing is kept open."""

    async def send(self, one: Outgoing) -> None:
        """Hands a message over.

        Raises:
            Unsent: it may go later.
            Undeliverable: it never will to this address.
        """
        server = self._server
        try:
            letter = _letter(one, server.sender)
        except ValueError:
            raise Undeliverable("no address") from None
        secure = server.tls != "none"
        try:
            await aiosmtplib.send(
                letter,
                recipients=[one.to],
                hostname=server.host,
                port=server.port,
                username=server.user or None,
                password=server.password or None,
                use_tls=server.tls == "tls",
                start_tls=server.tls == "starttls",
                tls_context=server.context if secure else None,
                timeout=TIMEOUT,
            )
        # Their texts have the address in them, so they go no further.
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refused([one.code for one in error.recipients]) from None
        except aiosmtplib.SMTPDataError as error:
            raise _refused([error.code]) from None
        except aiosmtplib.SMTPNotSupported:
            # The address isn't ASCII, and the server has no SMTPUTF8 (RFC 6531).
            raise Undeliverable("not supported") from None
        except aiosmtplib.SMTPResponseException as error:
            # Of the sender or the password: an operator can mend that, and the message goes then.
            raise Unsent(f"smtp {error.code}") from None
        except aiosmtplib.SMTPTimeoutError:
            raise Unsent("timeout") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unsent(type(error).__name__) from None


def _refused(codes: list[int]) -> Unsent | Undeliverable:
    # 4yz is for now, 5yz for good (RFC 5321, section 4.2.1).
    worst = max(codes, default=0)
    return Undeliverable(f"smtp {worst}") if worst >= 500 else Unsent(f"smtp {worst}")


def _letter(one: Outgoing, sender: str) -> EmailMessage:
    # The API takes no such addresses any more; read as a header they would be another's, or other headers.
    if "=?" in one.to or parseaddr(one.to)[1] != one.to:
        raise ValueError("no address")
    user, _, domain = one.to.rpartition("@")
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = Address(username=user, domain=domain)
    made["Subject"] = one.subject
    made["Date"] = format_datetime(one.at)
    # The same each time that it is tried: servers and programs that see it twice can know that it is one.
    made["Message-ID"] = f"<{one.id}@{sender.rpartition('@')[2].strip('<> ')}>"
    made["Content-Language"] = one.language
    # No out-of-office answers (RFC 3834, section 5.1).
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(one.text)
    return made


def context(ca_file: str) -> ssl.SSLContext:
    """Trusts the system's certificate authorities, or only that of a file. Raises OSError."""
    return ssl.create_default_context(cafile=ca_file or None)
