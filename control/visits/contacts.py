"""How people are reached: kept sealed with the installation's keys, and opened only for whoever may know it."""

from __future__ import annotations

from typing import Literal

from ..keyring import Keyring
from ..store import models, queries
from ..store.store import Store

# `link`: the secret of somebody's link, kept until the last message with it has gone.
Kind = Literal["phone", "email", "link"]
# Rows sealed in one transaction at the first start with a keyring; nobody waits for it for more than some milliseconds.
BATCH = 200


class Contacts:
    """Seals what belongs to one participant, and opens it again."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, participant: str, kind: Kind, plain: str | None) -> bytes | None:
        """What is kept; None where there is nothing."""
        return None if plain is None else self._keyring.seal(plain.encode(), f"{kind} {participant}")

    def open(self, participant: str, kind: Kind, sealed: bytes | None) -> str | None:
        """The same again.

        Raises:
            keyring.Unreadable: its key isn't here any more, or it is somebody else's.
        """
        return None if sealed is None else self._keyring.open(sealed, f"{kind} {participant}").decode()


async def seal_plain(store: Store, contacts: Contacts, *, replaced: bool = False) -> int:
    """Seals what was kept as it came before there was a keyring, and has the database forget it; how many rows.

    Args:
        replaced: whether something else was replaced that the database is to forget.
    """
    sealed = 0
    while True:
        async with store.write() as transaction:
            rows = await queries.with_plain_contacts(transaction.db, BATCH)
            for row in rows:
                _seal(row, contacts)
            sealed += len(rows)
        if len(rows) < BATCH:
            break
    if sealed or replaced:
        await store.scrub()
    return sealed


def _seal(row: models.Participant, contacts: Contacts) -> None:
    if row.phone is not None:
        row.phone_sealed, row.phone = contacts.seal(row.id, "phone", row.phone), None
    if row.email is not None:
        row.email_sealed, row.email = contacts.seal(row.id, "email", row.email), None
