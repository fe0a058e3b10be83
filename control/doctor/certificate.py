"""The certificate: whether the pair can be used, for how long, and whether it is for this address."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from ..tls import BadPair, load
from .finding import Finding, ok, warning, wrong
from .storage import may_read, name_of

NAME = "certificate"
# certbot renews 30 days before the end; what is left after that is a renewal that fails.
SOON = timedelta(days=14)


def certificate(files: tuple[Path, Path] | None, public_url: str, now: datetime, user: int | None = None) -> Finding:
    """What is said of the pair that the settings name; `user` is who runs the server, where that is known."""
    if files is None:
        return ok(NAME, "none here: TLS is for the reverse proxy to speak (config/nginx.conf)")
    file, key = files
    try:
        pair = load(file, key)
    except BadPair as error:
        return wrong(NAME, str(error), f"ls -lL {file} {key} (the server's user must be able to read both)")
    renew = "renew it: certbot renew, or what you have for that; the server takes the new files by itself"
    if pair.ends <= now:
        return wrong(NAME, f"{file} expired on {pair.ends:%Y-%m-%d}: browsers refuse it", renew)
    if pair.leaf.not_valid_before_utc > now:
        what = f"{file} is good from {pair.leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only: browsers refuse it"
        return wrong(NAME, what, "date -u says what this machine takes for now")
    for one in files:
        if user is not None and not may_read(user, one):
            what = f"{one} can't be read by {name_of(user)}, who runs the server (or a folder above it can't)"
            remedy = "let your renewal lay a copy where that user can read it: README, TLS, has a hook for certbot"
            return wrong(NAME, what, remedy)
    host = urlsplit(public_url).hostname or ""
    if host and not names(pair.leaf, host):
        return wrong(NAME, f"{file} isn't for {host} (public_url): browsers refuse it", "order one for that name")
    days = (pair.ends - now).days
    if pair.ends - now < SOON:
        return warning(NAME, f"{file} expires on {pair.ends:%Y-%m-%d}, in {days} days", renew)
    if key.stat().st_mode & 0o007:
        return warning(NAME, f"{key} can be read by everybody on this machine", f"chmod o= {key.resolve()}")
    if pair.leaf.issuer == pair.leaf.subject:
        what = f"{file} is signed by itself: browsers warn of it, and portals refuse it"
        return warning(NAME, what, "order one of an authority that phones trust, such as by certbot")
    if len(pair.chain) == 1:
        what = f"{file} has the server's own certificate alone: phones that don't know who signed it refuse it"
        return warning(NAME, what, "put those that lead to the authority behind it (certbot: fullchain.pem)")
    return ok(NAME, f"{file} and its key fit, and are good for {days} days")


def names(leaf: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for `host`, a name or an address (RFC 9525, section 6.3)."""
    try:
        listed = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in listed.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    try:
        host = host.encode("idna").decode().lower()
    except UnicodeError:
        return False
    known = [one.lower() for one in listed.get_values_for_type(x509.DNSName)]
    return host in known or "*." + host.partition(".")[2] in known
