"""`vardrum audit verify|head|keys`: for the operator at night, and for the auditor who trusts nobody."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import click

from ..keyring import BadKeyring, Keyring
from ..keyring import load as load_keyring
from ..secret import now
from ..settings import Settings
from ..store import audit
from ..store.store import Store
from . import heads
from .verify import Report, verify


class Unusable(Exception):
    """The message says what to change."""


def keyring(settings: Settings) -> Keyring:
    """Raises Unusable."""
    try:
        return load_keyring(settings.keyring_file(), create=False)
    except BadKeyring as error:
        raise Unusable(f"keyring: {error}") from None


def public_keys(keyring: Keyring) -> dict[str, bytes]:
    """32 bytes by name."""
    return {name: heads.public_key(keyring, name) for name in keyring.names}


def shown_keys(keys: Mapping[str, bytes]) -> str:
    """What `vardrum audit keys` prints, and `--keys` takes."""
    listed = {name: base64.urlsafe_b64encode(public).decode() for name, public in keys.items()}
    return json.dumps({"keys": listed, "fingerprints": {name: heads.fingerprint(one) for name, one in keys.items()}})


def keys_of(path: Path) -> dict[str, bytes]:
    """Public keys that were kept elsewhere. Raises Unusable."""
    try:
        listed = json.loads(path.read_text())["keys"]
        found = {name: base64.b64decode(one, altchars=b"-_", validate=True) for name, one in listed.items()}
        if any(len(one) != 32 for one in found.values()):
            raise ValueError
    except OSError as error:
        raise Unusable(f"--keys: {path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise Unusable(f"--keys: {path} isn't what `vardrum audit keys` prints") from None
    return found


async def signed_heads(store: Store, keyring: Keyring) -> AsyncIterator[str]:
    """The present head of each tenant, signed, to be kept elsewhere."""
    async with store.read() as db:
        found = await audit.heads(db)
    for one in found:
        yield heads.sign(keyring, one.tenant, one.number, one.hash, audit.microseconds(now()), "").line().decode()


async def check(
    store: Store, settings: Settings, keys: Path | None, others: tuple[Path, ...], tenant: str | None
) -> Report:
    """Raises Unusable."""
    public = public_keys(keyring(settings)) if keys is None else keys_of(keys)

    def progress(of: str, done: int, total: int) -> None:
        click.echo(f"{of}: {done} of {total}", err=True)

    return await verify(
        store, settings.audit_folder(), public, now=now(), others=others, tenant=tenant, progress=progress
    )
