"""Reading the audit trail, which is written down like any other reading."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ..secret import Random
from ..store import audit
from ..store.audit import Chosen
from ..store.store import Store
from .entry import Entry


async def read(
    store: Store, tenant: str, chosen: Chosen, limit: int, now: datetime, random: Random = os.urandom
) -> tuple[Sequence[Entry], Chosen | None]:
    """Up to `limit` entries, oldest first, and what to ask for next; None at the end.

    Entries that are made while somebody pages, by that reading too, are left to the next reading, or paging by single
    entries would never end.
    """
    # First, and not where it is written down: others who write don't wait while a long trail is looked through.
    async with store.read() as db:
        if chosen.upto is None:
            head = await audit.head(db, tenant)
            chosen = replace(chosen, upto=0 if head is None else head.number)
        found = await audit.page(db, tenant, chosen, limit + 1)
        shown = found[:limit]
    async with store.write() as transaction:
        audit.record(
            transaction,
            "audit.read",
            tenant=tenant,
            at=now,
            care_unit=chosen.care_unit,
            room=chosen.room,
            patient_ref=chosen.patient_ref,
            detail={
                "entries": len(shown),
                "first": shown[0].number if shown else None,
                "last": shown[-1].number if shown else None,
                "actor": chosen.actor,
                "action": chosen.action,
                "from": None if chosen.since is None else chosen.since.isoformat(),
                "to": None if chosen.until is None else chosen.until.isoformat(),
            },
            random=random,
        )
    return shown, replace(chosen, after=shown[-1].number) if len(found) > limit else None
