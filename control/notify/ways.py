"""The ways of sending that the settings name."""

from __future__ import annotations

from pathlib import Path

from ..settings import Settings
from ..visits.messages import Channel
from .mail import Mail, Server, context
from .sending import Sender
from .sms import Gateway, Sms, headers_of
from .template import BadTemplate, Template

# A password, or some headers; whatever is longer is another file.
_LARGEST_FILE = 64 * 1024


class BadWay(Exception):
    """A file that a setting names can't be used; the message says which and why, and nothing of what it holds."""


def ways(settings: Settings) -> dict[Channel, Sender]:
    """Reads the files of secrets, and makes what can send. Raises BadWay."""
    found: dict[Channel, Sender] = {}
    smtp, sms = settings.smtp, settings.sms
    if smtp.host:
        password = _read("smtp.password_file", smtp.password_file).strip() if smtp.password_file else ""
        try:
            trusted = None if smtp.tls == "none" else context(smtp.ca_file)
        except OSError as error:
            raise BadWay(f"smtp.ca_file: {smtp.ca_file} can't be used: {error.strerror or 'no certificates'}") from None
        found[Channel.EMAIL] = Mail(Server(smtp.host, smtp.port, smtp.tls, smtp.user, password, smtp.sender, trusted))
    if sms.url:
        headers = _headers(sms.headers_file) if sms.headers_file else {}
        found[Channel.SMS] = Sms(Gateway(sms.url, sms.method, headers, Template(sms.format, sms.body)))
    return found


def _headers(path: str) -> dict[str, str]:
    try:
        return headers_of(_read("sms.headers_file", path))
    except BadTemplate as error:
        raise BadWay(f"sms.headers_file: {path} {error}") from None


def _read(key: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST_FILE).decode()
    except OSError as error:
        raise BadWay(f"{key}: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadWay(f"{key}: {path} isn't text") from None
