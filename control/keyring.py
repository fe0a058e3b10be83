"""The installation's own keys: what must be read again is sealed with them, what must only be recognized is marked.

One file of keys with names, so that keys can be changed: what is new is sealed with the current one, what is old is
opened with the one that it names. The database alone, or a backup of it, tells no phone number and no subject.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .secret import Random

FILE = "keyring.json"
_KEY_BYTES, _NONCE_BYTES = 32, 12
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LARGEST_FILE = 64 * 1024


class BadKeyring(Exception):
    """The file can't be used; the message says what to change, and nothing of what it holds."""


class Unreadable(Exception):
    """Sealed by a key that isn't here any more, for another purpose, or tampered with."""


class Keyring:
    """Keys by name, 32 bytes each, of which `current` is used for what is new.

    Each purpose has a key of its own, derived by HKDF (RFC 5869), so nothing made for one is of use for another.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str, random: Random = os.urandom) -> None:
        self._keys = dict(keys)
        self.current = current
        self._random = random

    @property
    def names(self) -> list[str]:
        """Of all keys that are here, also former ones."""
        return sorted(self._keys)

    def seal(self, plain: bytes, about: str) -> bytes:
        """`plain` under AES-256-GCM with a random nonce: key's name, NUL, nonce (12 bytes), ciphertext and tag.

        Args:
            about: whose and what it is, such as `phone part_…`; it opens as nothing else, so a row moved to
                somebody else's is found out.
        """
        nonce = self._random(_NONCE_BYTES)
        name = self.current.encode()
        return name + b"\0" + nonce + AESGCM(self._derived(self.current, "seal")).encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed about the same. Raises Unreadable."""
        name, _, rest = sealed.partition(b"\0")
        key = name.decode("ascii", "replace")
        if key not in self._keys or len(rest) < _NONCE_BYTES:
            raise Unreadable("sealed with a key that the keyring doesn't have")
        try:
            aead = AESGCM(self._derived(key, "seal"))
            return aead.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], about.encode())
        except InvalidTag:
            raise Unreadable("sealed about something else, or changed since") from None

    def mark(self, value: str, about: str) -> str:
        """What is kept of a value that only has to be recognized: `<key's name>:<HMAC-SHA256, base64url>` (RFC 2104).

        Numbers of people are few, so a plain hash of one is soon guessed; this can't be without the key.
        """
        return self._mark(self.current, value, about)

    def is_marked(self, mark: str, value: str, about: str) -> bool:
        """Whether `mark` is that of `value`; false where its key isn't here any more."""
        key = mark.partition(":")[0]
        return key in self._keys and hmac.compare_digest(mark.encode(), self._mark(key, value, about).encode())

    def signing_key(self, about: str, name: str | None = None) -> Ed25519PrivateKey:
        """The key that signs (RFC 8032), of the current or of the named key. Raises Unreadable."""
        name = self.current if name is None else name
        if name not in self._keys:
            raise Unreadable("signed with a key that the keyring doesn't have")
        return Ed25519PrivateKey.from_private_bytes(self._derived(name, f"sign {about}"))

    def _mark(self, key: str, value: str, about: str) -> str:
        tag = hmac.digest(self._derived(key, f"mark {about}"), value.encode(), hashlib.sha256)
        return f"{key}:{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"

    def _derived(self, key: str, purpose: str) -> bytes:
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"vardrum {purpose}".encode()).derive(self._keys[key])


def load(path: Path, *, create: bool, random: Random = os.urandom) -> Keyring:
    """The keyring of the file at `path`; with `create`, one with a first key where there is no such file.

    Raises:
        BadKeyring: it can't be read, or isn't one.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        if not create:
            raise BadKeyring(f"{path}: there is no such file") from None
        _write(path, {"k1": random(_KEY_BYTES)}, "k1")
        return load(path, create=False, random=random)
    except OSError as error:
        raise BadKeyring(f"{path}: can't be read: {error.strerror}") from None
    keys, current = _parse(path, text)
    return Keyring(keys, current, random)


def rotate(path: Path, *, random: Random = os.urandom) -> str:
    """Adds a key, which becomes the current one, and returns its name; the others still open what they sealed.

    Raises:
        BadKeyring: it can't be read or written, or isn't one.
    """
    path = path.resolve()  # a link stays one: what it leads to is what is backed up
    try:
        file = _locked(path)
    except OSError as error:
        raise BadKeyring(f"{path}: can't be read: {error.strerror}") from None
    with file:
        keys, _ = _parse(path, file.read())
        number = len(keys) + 1
        while f"k{number}" in keys:
            number += 1
        _write(path, {**keys, f"k{number}": random(_KEY_BYTES)}, f"k{number}", os.fstat(file.fileno()))
    return f"k{number}"


def copy(path: Path, to: Path) -> None:
    """Copies the keyring to a new file at `to`, or brings a former copy there up to date.

    Raises:
        BadKeyring: one can't be read or written, or the file that is there has keys that this keyring hasn't.
    """
    load(path, create=False)
    keys, current = _parse(path, path.read_bytes())
    former = None
    if to.exists():
        load(to, create=False)
        former = to.stat()
        if not _parse(to, to.read_bytes())[0].items() <= keys.items():
            raise BadKeyring(f"{to}: has keys that {path} doesn't have, and isn't overwritten")
    _write(to, keys, current, former)


def _locked(path: Path) -> IO[bytes]:
    """The file, held against others who rotate: one's key must not take the place of another's that is in use."""
    while True:
        file = path.open("rb+")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # replaced while this waited


def _parse(path: Path, text: bytes) -> tuple[dict[str, bytes], str]:
    expected = f'{path}: is no keyring (expected {{"current": "k1", "keys": {{"k1": "32 bytes as base64"}}}})'
    try:
        found = json.loads(text)
        current, listed = found["current"], found["keys"]
        keys = {name: base64.b64decode(value, altchars=b"-_", validate=True) for name, value in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise BadKeyring(expected) from None
    fits = all(_NAME.fullmatch(name) and len(key) == _KEY_BYTES for name, key in keys.items())
    if not fits or not isinstance(current, str) or current not in keys:
        raise BadKeyring(expected)
    return keys, current


def _write(path: Path, keys: Mapping[str, bytes], current: str, former: os.stat_result | None = None) -> None:
    """On disk when it returns, name and all. Whoever could read the `former` file can read this one."""
    text = json.dumps(
        {"current": current, "keys": {name: base64.b64encode(key).decode() for name, key in keys.items()}}
    )
    unfinished = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            if former is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), former.st_uid, former.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(former.st_mode))
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BadKeyring(f"{path}: can't be written: {error.strerror}") from None
