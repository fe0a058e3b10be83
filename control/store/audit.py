"""The audit trail in the database: entries are made in the transaction of the act, numbered and chained as it commits.

To write something down is one line inside a transaction:

    audit.record(transaction, "webhook.created", tenant=tenant, at=now, detail={"webhook": hook.id})

and where there is a `Scene`, which knows tenant, time, room, care unit and patient:

    scene.audit("participant.phone_revealed", participant.id, by)

Who acts is looked up (`audit.acting`), so a caller needn't know. Nothing that others have typed goes into `detail`,
only ids and words of ours; a reason has a field of its own, since it may have to be erased.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, delete, func, insert, or_, select, union, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..audit.acting import Acting, acting
from ..audit.entry import FIELDS, SALT, Entry, chained, detail_text, genesis, salted, without
from ..secret import Random
from .models import EPOCH, AuditEntry, AuditHead, Tenant
from .store import Db, Transaction

# What says that fields of other entries were erased, and what says that the oldest entries were removed.
ERASED, EXPIRED = "person.erased", "audit.expired"
# What says as what somebody was invited.
INVITED = "participant.invited"
# Longer details are a mistake of ours: lists of rooms and of numbers are what is long.
MAX_DETAIL = 48_000
# Rows to a question, so that a chain of millions is read in bounded memory.
BATCH = 1_000


def microseconds(at: datetime) -> int:
    """As times are kept in entries."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def record(
    transaction: Transaction,
    action: str,
    *,
    tenant: str,
    at: datetime,
    by: Acting | None = None,
    care_unit: str | None = None,
    room: str | None = None,
    participant: str | None = None,
    patient_ref: str | None = None,
    person_name: str | None = None,
    person_ref: str | None = None,
    reason: str | None = None,
    outcome: str = "done",
    detail: Mapping[str, Any] | None = None,
    random: Random = os.urandom,
) -> None:
    """Writes down an act; it is on disk with the act or not at all.

    Args:
        action: a noun and what happened to it, such as `participant.admitted`; at most 48 characters.
        by: who acts, where that isn't who called.
        care_unit: key of the unit whose matter it is.
        participant: whom it concerns, with `person_name` and `person_ref` (the portal's reference).
        patient_ref: the portal's reference of the patient; kept as long as the entry.
        outcome: `done`, `refused` or `failed`.
        detail: ids, numbers and words of ours; None values are left out.
    """
    if not transaction.audited:
        transaction.before_commit.append(lambda: _write(transaction))
    who = by or acting()
    text = detail_text(detail or {})
    if len(text) > MAX_DETAIL:
        raise ValueError(f"the details of {action} are too long")
    values = {
        "actor_id": who.id,
        "actor_name": who.name,
        "patient_ref": patient_ref,
        "person_name": person_name,
        "person_ref": person_ref,
        "reason": reason,
    }
    salts, digests = salted(values, random(SALT * len(FIELDS)))
    row: dict[str, Any] = {
        "tenant": tenant,
        "at": microseconds(at),
        "action": action,
        "outcome": outcome,
        "care_unit": care_unit,
        "known": str(who.known),
        "actor_key": who.key,
        "actor_care_unit": who.care_unit,
        "room": room,
        "participant": participant,
        "detail": text,
        **values,
        "salts": salts,
        "digests": digests,
    }
    transaction.audited.append(row)


async def _write(transaction: Transaction) -> None:
    """Numbers and chains what was recorded; the head's row is held until the commit, so chains have one writer."""
    rows, transaction.audited = transaction.audited, []
    db = transaction.db
    # A tenant that is made in this transaction comes before what refers to it.
    await db.flush()
    connection = await db.connection()
    # By table and not by class: this is in every act, and the mapper's bookkeeping costs more than all the rest.
    for tenant in sorted({row["tenant"] for row in rows}):
        own = [row for row in rows if row["tenant"] == tenant]
        known = transaction.heads.get(tenant)
        if known is None or not await _go_on(connection, tenant, own, *known):
            found = (await connection.execute(_HEAD, {"of": tenant})).one_or_none()
            if found is None:
                first = {"tenant": tenant, "number": 0, "hash": genesis(tenant), "exported_number": 0}
                await connection.execute(_FIRST, first)
            known = (0, genesis(tenant)) if found is None else (found.number, found.hash)
            await _go_on(connection, tenant, own, *known)
        await connection.execute(_INSERT, own)
        # Right once this has committed; until then, and if it never does, the next finds out that it isn't.
        transaction.heads[tenant] = own[-1]["number"], own[-1]["hash"]


async def _go_on(connection: AsyncConnection, tenant: str, own: list[dict[str, Any]], number: int, last: bytes) -> bool:
    """Chains entries to what the head is thought to be; whether it was that."""
    before = {"of": tenant, "was": number, "had": last}
    for row in own:
        number += 1
        last = chained(last, tenant, number, row, row["digests"])
        row["number"], row["hash"] = number, last
    changed = await connection.execute(_NEXT, {**before, "number": number, "hash": last})
    return changed.rowcount == 1


_HEADS, _ENTRIES = cast(Table, AuditHead.__table__), cast(Table, AuditEntry.__table__)
_OF = _HEADS.c.tenant == bindparam("of")
_HEAD = select(_HEADS.c.number, _HEADS.c.hash).where(_OF).with_for_update()
_UNCHANGED = (_HEADS.c.number == bindparam("was"), _HEADS.c.hash == bindparam("had"))
_NEXT = update(_HEADS).where(_OF, *_UNCHANGED).values(number=bindparam("number"), hash=bindparam("hash"))
_FIRST, _INSERT = insert(_HEADS), insert(_ENTRIES)


# -- reading --


async def names(db: Db, tenant: str, room: str) -> dict[str, str]:
    """What those are called who acted in a room, by their ids."""
    query = select(AuditEntry.actor_id, AuditEntry.actor_name).where(
        AuditEntry.tenant == tenant, AuditEntry.room == room, AuditEntry.actor_name.is_not(None)
    )
    return {str(id): str(name) for id, name in (await db.execute(query.distinct())).all()}


class Unreadable(Exception):
    """A row isn't of its columns' types."""


_COLUMNS = [getattr(AuditEntry, one.name) for one in fields(Entry)]


@dataclass(frozen=True)
class Chosen:
    """What `GET /v1/audit` lists: `since` up to but not including `until`, after the number `after`, up to `upto`."""

    room: str | None = None
    patient_ref: str | None = None
    actor: str | None = None
    care_unit: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    upto: int | None = None


async def page(db: Db, tenant: str, chosen: Chosen, limit: int) -> Sequence[Entry]:
    """Entries of the tenant, oldest first."""
    # What is about one room, patient or person is found by its own index and put in order then; SQLite would rather go
    # through the whole trail in order.
    few = chosen.room is not None or chosen.patient_ref is not None or chosen.actor is not None
    number = AuditEntry.number + 0 if few else AuditEntry.number
    action = AuditEntry.action.concat("") if few else AuditEntry.action
    where: list[ColumnElement[bool]] = [AuditEntry.tenant == tenant, number > chosen.after]
    for column, value in (
        (AuditEntry.room, chosen.room),
        (AuditEntry.patient_ref, chosen.patient_ref),
        (AuditEntry.actor_id, chosen.actor),
        (AuditEntry.care_unit, chosen.care_unit),
        (action, chosen.action),
    ):
        if value is not None:
            where.append(column == value)
    if chosen.upto is not None:
        where.append(number <= chosen.upto)
    if chosen.since is not None:
        where.append(AuditEntry.at >= microseconds(chosen.since))
    if chosen.until is not None:
        where.append(AuditEntry.at < microseconds(chosen.until))
    rows = await db.execute(select(*_COLUMNS).where(*where).order_by(number).limit(limit))
    return [Entry(*row) for row in rows]


async def entry(db: Db, tenant: str, number: int) -> Entry | None:
    """Raises Unreadable."""
    query = select(*_COLUMNS).where(AuditEntry.tenant == tenant, AuditEntry.number == number)
    return next(iter(await _read(db, query)), None)


async def newest(db: Db, tenant: str, action: str) -> Entry | None:
    """The last entry of this kind. Raises Unreadable."""
    query = select(*_COLUMNS).where(AuditEntry.tenant == tenant, AuditEntry.action == action)
    return next(iter(await _read(db, query.order_by(AuditEntry.number.desc()).limit(1))), None)


async def stream(db: Db, tenant: str) -> AsyncIterator[Entry]:
    """All entries of a tenant in order, a bounded number of them in memory at a time.

    Raises Unreadable at the first that isn't of its column's type: SQLite keeps anything anywhere.
    """
    last: int | None = None
    size = BATCH
    while True:
        query = select(*_COLUMNS).where(AuditEntry.tenant == tenant).order_by(AuditEntry.number).limit(size)
        try:
            found = await _read(db, query if last is None else query.where(AuditEntry.number > last))
        except Unreadable:
            if size == 1:
                raise
            size = 1  # up to the one that can't be read
            continue
        for one in found:
            yield one
        if len(found) < size:
            return
        last = found[-1].number


async def _read(db: Db, query: Select[Any]) -> Sequence[Entry]:
    try:
        return [Entry(*row) for row in (await db.execute(query)).all()]
    except (TypeError, ValueError):
        raise Unreadable from None
    except OperationalError as error:
        if "decode" not in str(error.orig):
            raise
        raise Unreadable from None


async def count(db: Db, tenant: str) -> int:
    return await db.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.tenant == tenant)) or 0


async def known_tenants(db: Db) -> list[str]:
    """Everyone who has a trail, or should have one."""
    found: set[str] = set()
    for column in (Tenant.id, AuditHead.tenant, AuditEntry.tenant):
        found |= set((await db.scalars(select(column).distinct())).all())
    return sorted(found)


# -- heads --


@dataclass(frozen=True)
class Head:
    """The end of a chain, and of what was exported of it: number of the entry, SHA-256 of the line."""

    tenant: str
    number: int
    hash: bytes
    exported_number: int
    exported_line: bytes | None


async def head(db: Db, tenant: str) -> Head | None:
    return next(iter(await _heads(db, AuditHead.tenant == tenant)), None)


async def heads(db: Db) -> list[Head]:
    """Of all tenants."""
    return await _heads(db)


async def heads_to_export(db: Db) -> list[Head]:
    """Those that have grown since they were exported."""
    return await _heads(db, AuditHead.number != AuditHead.exported_number)


async def _heads(db: Db, *where: ColumnElement[bool]) -> list[Head]:
    columns = [getattr(AuditHead, one.name) for one in fields(Head)]
    return [Head(*row) for row in await db.execute(select(*columns).where(*where).order_by(AuditHead.tenant))]


async def exported(db: Db, tenant: str, number: int, line: bytes) -> None:
    """A signed head is in the export file."""
    changed = update(AuditHead).where(AuditHead.tenant == tenant)
    await db.execute(changed.values(exported_number=number, exported_line=line))


# -- erasing and expiring --


async def known_by_trail(db: Db, tenant: str, reference: str) -> Mapping[str, str]:
    """Participants whom the trail knows as this person, with their rooms, also of visits that are forgotten otherwise.

    Named by the portal's reference, at last; or without any, and invited as the patient to a room of this patient.
    """
    named = select(AuditEntry.participant, AuditEntry.room).where(
        AuditEntry.tenant == tenant, AuditEntry.person_ref == reference
    )
    found = dict(_pairs((await db.execute(named.distinct())).all()))
    columns = (AuditEntry.participant, AuditEntry.room, AuditEntry.action, AuditEntry.detail, AuditEntry.person_ref)
    about = select(*columns).where(AuditEntry.tenant == tenant, AuditEntry.patient_ref == reference)
    # Here and not in the question, or SQLite would ask the index of all actions instead of that of the patient.
    invited = [row for row in (await db.execute(about)).all() if row.action == INVITED and row.person_ref is None]
    bare = [(row.participant, row.room) for row in invited if json.loads(row.detail).get("role") == "patient"]
    theirs = {**dict(_pairs(bare)), **found}
    referred = (
        select(AuditEntry.number, AuditEntry.participant, AuditEntry.person_ref)
        .where(AuditEntry.tenant == tenant, AuditEntry.room.in_(set(theirs.values())))
        .where(AuditEntry.participant.in_(theirs))
    )
    rows = sorted((await db.execute(referred)).all(), key=lambda row: row.number)
    last = {row.participant: row.person_ref for row in rows if row.person_ref is not None}
    return {one: room for one, room in theirs.items() if last.get(one, reference) == reference}


def _pairs(rows: Sequence[Any]) -> list[tuple[str, str]]:
    return [(str(one), str(other)) for one, other in rows if one is not None and other is not None]


async def about_person(db: Db, tenant: str, reference: str, participants: Mapping[str, str]) -> Sequence[Entry]:
    """Entries that have something of this person: named by the portal's reference, or one of these participants.

    Args:
        participants: with the rooms of each, by which their entries are found.
    """
    theirs = or_(AuditEntry.participant.in_(participants), AuditEntry.actor_id.in_(participants))
    in_rooms = and_(AuditEntry.room.in_(set(participants.values())), theirs)
    # One by one: each has an index of its own, and all of them together would be looked for in the whole trail.
    numbers = union(
        *(
            select(AuditEntry.number).where(AuditEntry.tenant == tenant, mine)
            for mine in (AuditEntry.person_ref == reference, AuditEntry.actor_id == reference, in_rooms)
        )
    )
    query = select(*_COLUMNS).where(AuditEntry.tenant == tenant, AuditEntry.number.in_(numbers))
    return [Entry(*row) for row in await db.execute(query.order_by(AuditEntry.number))]


async def patient_entries(db: Db, tenant: str, patient_ref: str) -> tuple[int, datetime | None]:
    """How many entries name this patient, and when the newest was made."""
    query = select(func.count(), func.max(AuditEntry.at)).where(
        AuditEntry.tenant == tenant, AuditEntry.patient_ref == patient_ref
    )
    number, last = (await db.execute(query)).one()
    return number, None if last is None else time_of(last)


async def next_number(db: Db, tenant: str) -> int:
    """The number that the first entry recorded in this transaction gets."""
    query = select(AuditHead.number).where(AuditHead.tenant == tenant).with_for_update()
    return (await db.scalar(query) or 0) + 1


async def erase(db: Db, one: Entry, names: list[str], by: int) -> None:
    """Takes values and salts of these fields out of an entry; the entry `by` says so."""
    where = and_(AuditEntry.tenant == one.tenant, AuditEntry.number == one.number)
    gone: dict[str, Any] = dict.fromkeys(names)
    await db.execute(update(AuditEntry).where(where).values(salts=without(one.salts, names), erased_by=by, **gone))


async def oldest(db: Db, tenant: str, before: datetime, limit: int) -> Entry | None:
    """The last of the oldest entries, at most `limit` of them, that were all made before this time."""
    query = (
        select(AuditEntry.number, AuditEntry.at)
        .where(AuditEntry.tenant == tenant)
        .order_by(AuditEntry.number)
        .limit(limit)
    )
    last = None
    for row in (await db.execute(query)).all():
        if row.at >= microseconds(before):
            break
        last = row.number
    return None if last is None else await entry(db, tenant, last)


async def remove(db: Db, tenant: str, upto: int) -> None:
    """Removes the oldest entries, up to and including this number."""
    await db.execute(delete(AuditEntry).where(AuditEntry.tenant == tenant, AuditEntry.number <= upto))


def time_of(at: int) -> datetime:
    """An entry's time."""
    return EPOCH + timedelta(microseconds=at)
