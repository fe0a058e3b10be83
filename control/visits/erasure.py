"""Erasing a person from a tenant's visits (GDPR, article 17), but for what the law wants kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..audit.acting import Known
from ..audit.entry import Entry
from ..store import audit, models, retention
from ..store.store import Transaction
from . import invitations
from .refused import Refused
from .rules import LIVE, RoomState, State
from .scene import Scene, World

PRESENT = frozenset({State.WAITING, State.IDENTIFYING, State.ADMITTED})
LAW = "HSLF-FS 2016:40, 4 kap. 9 §: who did what with which patient's data"
# Numbers of entries that one record of erasing names.
NUMBERS = 2_000


@dataclass(frozen=True)
class Erased:
    """What was erased, and what is kept.

    Attributes:
        participants, rooms, entries: of how many participants, rooms' `patient_ref`s and audit entries something went.
        withdrawn: invitations to visits still to come that were taken back.
        kept: audit entries that name this patient, or what they did as staff.
        until: when the newest of those goes; None where there are none.
    """

    participants: int
    rooms: int
    entries: int
    withdrawn: int
    kept: int
    until: datetime | None


async def erase(world: World, transaction: Transaction, tenant: str, reference: str) -> tuple[Erased, list[Scene]]:
    """Erases whoever has this `external_ref`: as a participant, and as the patient of rooms with that `patient_ref`.

    Invitations to visits still to come are taken back. In the audit trail names, references and reasons go, and their
    digests stay, so that it still verifies; `patient_ref` and staff who acted stay as long as the entry.

    Raises:
        Refused: `state-conflict` while a visit of theirs is in progress, or they are in a room.
    """
    db = transaction.db
    people = await retention.people(db, tenant, reference)
    own = await retention.rooms_of_patient(db, tenant, reference)
    by_room: dict[str, list[models.Participant]] = {room.id: [] for room in own}
    for one in people:
        by_room.setdefault(one.room, []).append(one)
    scenes = []
    for room in await retention.rooms_by_id(db, list(by_room)):
        if room.state in LIVE:
            scene = await Scene.of(world, transaction, room.id, tenant)
            _need_absent(scene, by_room[room.id])
            scenes.append(scene)
    await retention.forget_traces(db, [one.id for one in people], reference)
    invited = {one.id for one in people if one.deleted_at is None}
    for one in people:
        retention.forget_person(one)
    withdrawn = 0
    for scene in scenes:
        for one in by_room[scene.room.id]:
            if one.id in invited:
                invitations.withdraw(scene, one.id, None)
                withdrawn += 1
    for room in own:
        room.patient_ref = None
        if room.state not in LIVE:
            room.title = None
        room.version += 1
        room.updated_at = world.now
    await db.flush()
    named, last = await audit.patient_entries(db, tenant, reference)
    # In the trail they are longer than anywhere else; who is known otherwise is judged by what is known now.
    known = await audit.known_by_trail(db, tenant, reference)
    left = await retention.forgotten(db, list(known))
    ids = {**{one: known[one] for one in left}, **{one.id: one.room for one in people}}
    entries, said = await _erase_audit(world, transaction, tenant, reference, ids, own, named > 0)
    named, last = (named + said, world.now) if said else (named, last)
    staff = [
        one for one in entries if (one.actor_id in ids or one.actor_id == reference) and one.known != Known.PARTICIPANT
    ]
    times = [audit.time_of(one.at) for one in staff] + ([last] if last is not None else [])
    until = max(times) + world.policy.audit_kept if times else None
    gone = sum(bool(_erasable(one, reference, ids)) for one in entries)
    return Erased(len(people), len(own), gone, withdrawn, named + len(staff), until), scenes


def _need_absent(scene: Scene, people: Sequence[models.Participant]) -> None:
    there = any((one := scene.current(person)) is not None and one.state in PRESENT for person in people)
    if scene.state is RoomState.IN_PROGRESS or (scene.state is RoomState.OPEN and there):
        raise Refused("state-conflict", "a visit of theirs is in progress", extra={"room": scene.room.id})


def _erasable(entry: Entry, reference: str, ids: Collection[str]) -> list[str]:
    """Fields of an entry that are this person's and may go."""
    names = []
    if entry.person_ref == reference or entry.participant in ids:
        names += ["person_name", "person_ref", "reason"]
    if entry.known == Known.PARTICIPANT and entry.actor_id in ids:
        names += ["actor_id", "actor_name"]
    return [name for name in names if getattr(entry, name) is not None]


async def _erase_audit(
    world: World,
    transaction: Transaction,
    tenant: str,
    reference: str,
    participants: Mapping[str, str],
    rooms: Sequence[models.Room],
    named: bool,
) -> tuple[Sequence[Entry], int]:
    """Erases in the trail, and records it; `participants` with the rooms of each.

    Returns all entries that are about this person or by them, as they were, and how many new ones name the patient.
    """
    db, ids = transaction.db, sorted(participants)
    entries = await audit.about_person(db, tenant, reference, participants)
    # The records come after what this transaction has written down already.
    first = await audit.next_number(db, tenant) + sum(row["tenant"] == tenant for row in transaction.audited)
    numbers: list[int] = []
    for entry in entries:
        names = _erasable(entry, reference, participants)
        if names:
            await audit.erase(db, entry, names, first + len(numbers) // NUMBERS)
            numbers.append(entry.number)
    # Who asks about a patient's data finds that it was erased; others aren't named by their own erasure.
    told = named and bool(numbers or rooms)
    starts = range(0, max(1, len(numbers)), NUMBERS)
    for start in starts:
        audit.record(
            transaction,
            audit.ERASED,
            tenant=tenant,
            at=world.now,
            patient_ref=reference if told else None,
            detail={
                "entries": numbers[start : start + NUMBERS],
                "participants": ids[:200] if start == 0 else None,
                "rooms": [one.id for one in rooms][:200] if start == 0 else None,
            },
            random=world.random,
        )
    return entries, len(starts) if told else 0
