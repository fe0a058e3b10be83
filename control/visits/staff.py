"""Staff of a care unit: their sessions, and who waits in all of the unit's rooms."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..audit.acting import Acting, Known, acting
from ..secret import Clock, Ids, Random, digest, new_secret
from ..store import audit, models
from ..store import staff as store_staff
from ..store.store import Store
from . import views
from .refused import Refused
from .rules import RoomState, State
from .values import Actor, Arrival, Participant, RoomSnapshot

PREFIX = "vrt_"
CODE = "vrc_"
# A shift; whoever forgets to log out is out before the next day's.
SESSION_FOR = timedelta(hours=12)
CODE_FOR = timedelta(seconds=60)
# Who has logged in by a provider may still have to choose a care unit.
CHOOSE_FOR = timedelta(minutes=5)
WAITS = (State.WAITING, State.IDENTIFYING)


@dataclass(frozen=True)
class Member:
    """Somebody of the staff who has logged in.

    Attributes:
        actor: who they are, with the care unit.
        care_unit: whose rooms they see.
    """

    id: str
    tenant: str
    actor: Actor
    care_unit: str
    expires_at: datetime


@dataclass(frozen=True)
class Waiter:
    """One arrival that waits, and where; of the visit nobody else is told."""

    visit: RoomSnapshot
    participant: Participant
    arrival: Arrival


class Staff:
    """Sessions of staff, and their view over rooms."""

    def __init__(self, store: Store, clock: Clock, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._ids = Ids(random)

    async def open(self, tenant: str, who: Actor, care_unit: str) -> tuple[str, Member]:
        """A session for somebody whom a portal or a provider knows: the token, told only here, and whose it is."""
        now, token = self._clock(), new_secret(PREFIX, self._random, 32)
        row = models.StaffSession(
            id=self._ids.new("staff"),
            tenant=tenant,
            token=digest(token),
            user_id=who.id,
            user_name=who.name,
            care_unit=care_unit,
            created_at=now,
            expires_at=now + SESSION_FOR,
        )
        async with self._store.write() as transaction:
            await store_staff.forget_expired(transaction.db, now)
            transaction.db.add(row)
            # By a provider of their own nobody else acts: the call has no key.
            called = acting()
            themselves = Acting(Known.STAFF, who.id, who.name, care_unit)
            by = themselves if called.known is Known.SYSTEM else called
            detail = {"session": row.id, "user": None if by is themselves else who.id}
            audit.record(
                transaction, "staff.logged_in", tenant=tenant, at=now, by=by, care_unit=care_unit, detail=detail
            )
        return token, _member(row)

    async def code(self, tenant: str, who: Actor, care_units: Sequence[str], *, browser: str | None = None) -> str:
        """What a console's page opens a session with, once, and soon; in that browser only, where one is given."""
        now, code = self._clock(), new_secret(CODE, self._random, 32)
        async with self._store.write() as transaction:
            await store_staff.forget_expired(transaction.db, now)
            transaction.db.add(
                models.StaffCode(
                    code=digest(code),
                    tenant=tenant,
                    user_id=who.id[:200],
                    user_name=who.name[:200],
                    care_units=[one[:200] for one in care_units],
                    browser=None if browser is None else digest(browser),
                    expires_at=now + (CODE_FOR if browser is None else CHOOSE_FOR),
                )
            )
        return code

    async def redeem(self, code: str, browser: str | None, care_unit: str | None) -> tuple[str, Member]:
        """A session for a code.

        Raises:
            Refused: `token-not-accepted`, or `care-unit-needed` with `care_units`, and the code is still good.
        """
        async with self._store.write() as transaction:
            row = await store_staff.code(transaction.db, digest(code))
            if row is None or row.expires_at <= self._clock() or not _same(row.browser, browser):
                raise Refused("token-not-accepted", "this code isn't valid here, or has been used")
            units = row.care_units
            chosen = care_unit if care_unit is not None else units[0] if len(units) == 1 else None
            if chosen not in units:
                raise Refused("care-unit-needed", "say for which care unit", extra={"care_units": units})
            await store_staff.forget(transaction.db, row)
            return await self.open(row.tenant, Actor(row.user_id, row.user_name), chosen)

    async def member(self, token: str) -> Member:
        """Whose token this is. Raises Refused `not-authenticated`."""
        async with self._store.read() as db:
            row = await store_staff.session(db, digest(token))
        if row is None or row.expires_at <= self._clock():
            raise Refused("not-authenticated", "this staff token isn't accepted")
        return _member(row)

    async def close(self, token: str) -> None:
        """Logs out."""
        async with self._store.write() as transaction:
            row = await store_staff.session(transaction.db, digest(token))
            if row is not None:
                await store_staff.forget(transaction.db, row)

    async def need_room(self, member: Member, room: str) -> None:
        """Raises Refused `not-found` where the room isn't the member's care unit's."""
        async with self._store.read() as db:
            if await store_staff.care_unit_of(db, room, member.tenant) != member.care_unit:
                raise Refused("not-found", "there is no such room")

    async def waiting(
        self, tenant: str, care_unit: str, after: str | None, limit: int
    ) -> tuple[list[Waiter], str | None]:
        """Up to `limit` arrivals that wait or are being identified, and the session after which to go on."""
        rooms = [str(one) for one in (RoomState.OPEN, RoomState.IN_PROGRESS)]
        async with self._store.read() as db:
            rows = await store_staff.waiting(
                db, tenant, care_unit, rooms, [str(one) for one in WAITS], after, limit + 1
            )
        found = [
            Waiter(
                views.snapshot(room, [], [], self._clock()),
                views.participant(person, session),
                views.arrival(session, person.session == session.id),
            )
            for room, person, session in rows
        ]
        return found[:limit], found[limit - 1].arrival.session if len(found) > limit else None


def _same(kept: bytes | None, browser: str | None) -> bool:
    return kept is None or (browser is not None and hmac.compare_digest(kept, digest(browser)))


def _member(row: models.StaffSession) -> Member:
    actor = Actor(row.user_id, row.user_name, row.care_unit)
    return Member(row.id, row.tenant, actor, row.care_unit, row.expires_at)
