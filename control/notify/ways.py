"""The ways of sending that the settings name."""

from __future__ import annotations

from ..secret import BadFile, read_file
from ..settings import Settings
from ..visits.messages import Channel
from .mail import Mail, Server, context
from .sending import Sender
from .sms import Gateway, Sms, headers_of
from .template import BadTemplate, Template


def ways(settings: Settings) -> dict[Channel, Sender]:
    """Reads the files of secrets, and makes what can send. Raises BadFile."""
    found: dict[Channel, Sender] = {}
    smtp, sms = settings.smtp, settings.sms
    if smtp.host:
        password = read_file("smtp.password_file", smtp.password_file).strip() if smtp.password_file else ""
        try:
            trusted = None if smtp.tls == "none" else context(smtp.ca_file)
        except OSError as error:
            raise BadFile(
                f"smtp.ca_file: {smtp.ca_file} can't be used: {error.strerror or 'no certificates'}"
            ) from None
        found[Channel.EMAIL] = Mail(Server(smtp.host, smtp.port, smtp.tls, smtp.user, password, smtp.sender, trusted))
    if sms.url:
        headers = _headers(sms.headers_file) if sms.headers_file else {}
        found[Channel.SMS] = Sms(Gateway(sms.url, sms.method, headers, Template(sms.format, sms.body)))
    return found


def _headers(path: str) -> dict[str, str]:
    try:
        return headers_of(read_file("sms.headers_file", path))
    except BadTemplate as error:
        raise BadFile(f"sms.headers_file: {path} {error}") from None
