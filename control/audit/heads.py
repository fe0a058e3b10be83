"""Signed heads: what a chain's end was, told outside the database, so that nobody can cut or rewrite what came before.

One file a tenant, one JSON line a head. Each line names the one before it by its hash, so that a line that is taken out
is missed; the database remembers the last one. Heads that somebody else keeps (`vardrum audit head`) find what a whole
machine put back to an earlier day would hide.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..keyring import Keyring

PURPOSE = "audit"
MAX_LINE = 2_000
_SIGNED = b"vardrum audit head\0"


class BadHead(Exception):
    """A line that isn't a head of ours; the message says why."""


@dataclass(frozen=True)
class SignedHead:
    """One line of the export.

    Attributes:
        number, hash: of the last entry then; the hash in hex.
        at: microseconds since 1970 (UTC) when it was signed.
        key, fingerprint: name of the signing key in the keyring, and SHA-256 of its public key in hex.
        previous: SHA-256 of the line before it in hex; empty for the first.
        signature: Ed25519 (RFC 8032) in base64url.
    """

    tenant: str
    number: int
    hash: str
    at: int
    key: str
    fingerprint: str
    previous: str
    signature: str = ""

    def signed(self) -> bytes:
        """What the signature is over."""
        kept = {name: value for name, value in asdict(self).items() if name != "signature"}
        return _SIGNED + json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()

    def line(self) -> bytes:
        """As in the file, without the newline."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def public_key(keyring: Keyring, name: str | None = None) -> bytes:
    """32 bytes. Raises Unreadable."""
    return keyring.signing_key(PURPOSE, name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()


def sign(keyring: Keyring, tenant: str, number: int, hash_: bytes, at: int, previous: str) -> SignedHead:
    """A head under the current key."""
    key = keyring.signing_key(PURPOSE)
    bare = SignedHead(tenant, number, hash_.hex(), at, keyring.current, fingerprint(public_key(keyring)), previous)
    signature = base64.urlsafe_b64encode(key.sign(bare.signed())).decode()
    return SignedHead(**{**asdict(bare), "signature": signature})


def parse(line: bytes) -> SignedHead:
    """Raises BadHead."""
    types = {"number": int, "at": int}
    try:
        found = json.loads(line)
        if set(found) != set(SignedHead.__dataclass_fields__):
            raise ValueError
        if any(type(value) is not types.get(name, str) for name, value in found.items()):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BadHead("isn't a signed head") from None
    return SignedHead(**found)


def check(head: SignedHead, public: bytes) -> None:
    """Raises BadHead where it wasn't signed with the private half of `public` (32 bytes)."""
    if head.fingerprint != fingerprint(public):
        raise BadHead(f"names another key than our {head.key}")
    try:
        signature = base64.b64decode(head.signature, altchars=b"-_", validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, head.signed())
    except (ValueError, InvalidSignature):
        raise BadHead("has a wrong signature") from None


def digest(line: bytes) -> str:
    """How the next line names this one."""
    return hashlib.sha256(line).hexdigest()


def file_of(folder: Path, tenant: str) -> Path:
    return folder / f"{tenant}.jsonl"


def append(path: Path, line: bytes) -> None:
    """Adds a line; it is on disk when this returns."""
    new = not path.exists()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def mend(path: Path) -> None:
    """Takes out a last line that has no end: power failed while it was written, so nobody counts on it."""
    try:
        with path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MAX_LINE))
            tail = file.read()
            if tail and not tail.endswith(b"\n") and (b"\n" in tail or len(tail) == size):
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    except FileNotFoundError:
        return


def cut_after(path: Path, digest: bytes | None) -> None:
    """Takes out what was appended after the line with this SHA-256; all of the file where there is none yet.

    Where no line has it, the file stays as it is: `verify` says then what is missing.
    """
    if digest is None:
        path.unlink()
        return
    with path.open("rb+") as file:
        while line := file.readline(MAX_LINE):
            if hashlib.sha256(line.removesuffix(b"\n")).digest() == digest:
                file.truncate(file.tell())
                return


def lines(path: Path) -> Iterator[bytes]:
    """One after the other, without newlines; nothing where there is no such file. Overlong ones are cut."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(MAX_LINE):
            yield line.removesuffix(b"\n")


def last_line(path: Path) -> bytes | None:
    """The last line of the file; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * MAX_LINE))
            listed = file.read().splitlines()
    except FileNotFoundError:
        return None
    return listed[-1] if listed else None
