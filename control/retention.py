"""Forgetting in time, by the server itself, a little at a time: see `[retention]` in config/default.toml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from .audit.acting import SYSTEM
from .secret import Clock, Random
from .store import audit, retention
from .store.retention import Retained
from .store.store import Busy, Store, Transaction

# Rooms, and entries of the audit trail, in one transaction: other writers wait for it.
ROOMS, ENTRIES = 10, 500
# How often it is looked whether anything is due, once nothing was.
LOOK = timedelta(minutes=1)
# The oldest entries are removed once a day, not one a minute: each removal makes an entry.
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Kept:
    """How long."""

    telemetry: timedelta = timedelta(days=14)
    rooms: timedelta = timedelta(days=90)
    statistics: timedelta = timedelta(days=800)
    audit_years: int = 5

    @property
    def audit(self) -> timedelta:
        """Every year as a leap year: never too short."""
        return timedelta(days=366 * self.audit_years)


class Retention:
    """`tick` is called once a second."""

    def __init__(self, store: Store, kept: Kept, clock: Clock, random: Random = os.urandom) -> None:
        self._store = store
        self._kept = kept
        self._clock = clock
        self._random = random
        self._next: datetime | None = None

    async def tick(self) -> None:
        """One batch of what is due; the next second goes on where there is more."""
        now = self._clock()
        if self._next is not None and self._next - LOOK <= now < self._next:
            return
        try:
            async with self._store.write() as transaction:
                more = await self._rooms(transaction, now)
                more |= await self._audit(transaction, now)
                if not more:
                    await retention.sweep(transaction.db, now)
        except Busy:
            return
        self._next = None if more else now + LOOK

    async def _rooms(self, transaction: Transaction, now: datetime) -> bool:
        db, kept = transaction.db, self._kept
        full, short = [int(Retained.ALL)], [int(Retained.ALL), int(Retained.NO_TELEMETRY)]
        gone = await retention.over(db, [int(Retained.NO_PEOPLE)], now - kept.statistics, ROOMS)
        if gone:
            await retention.remove(db, [room.id for room in gone])
        people = await retention.over(db, short, now - kept.rooms, ROOMS)
        for room in people:
            audit.record(
                transaction,
                "room.expired",
                tenant=room.tenant,
                at=now,
                by=SYSTEM,
                care_unit=room.care_unit_key,
                room=room.id,
                patient_ref=room.patient_ref,
                random=self._random,
            )
            await retention.forget_people(db, room)
        await db.flush()
        telemetry = await retention.over(db, full, now - kept.telemetry, ROOMS)
        for room in telemetry:
            await retention.forget_telemetry(db, room)
        return ROOMS in (len(gone), len(people), len(telemetry))

    async def _audit(self, transaction: Transaction, now: datetime) -> bool:
        db, before = transaction.db, now - self._kept.audit
        more = False
        for head in await audit.heads(db):
            if await audit.oldest(db, head.tenant, before - DAY, 1) is None:
                continue
            last = await audit.oldest(db, head.tenant, before, ENTRIES)
            if last is None:
                continue
            detail = {"upto": last.number, "hash": last.hash.hex(), "newest": last.at}
            audit.record(
                transaction, audit.EXPIRED, tenant=head.tenant, at=now, by=SYSTEM, detail=detail, random=self._random
            )
            await audit.remove(db, head.tenant, last.number)
            more = True
        return more
