"""Rooms as portals book them: made, moved, cancelled, locked, ended, listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..store import models, queries
from ..store.store import Db, Transaction
from . import views
from .identity import DEFAULT_POLICY
from .refused import FieldError, Refused
from .rules import LIVE, Event, RoomEvent, RoomState, State
from .scene import REOPEN_WITHIN, Scene, World
from .values import Actor, CareUnit, RoomSnapshot


@dataclass(frozen=True)
class NewRoom:
    """A room to be made; already validated field by field."""

    care_unit: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    form: str = "video"
    training: bool = False
    external_ref: str | None = None
    patient_ref: str | None = None
    title: str | None = None
    time_zone: str = "Europe/Stockholm"
    language: str = "sv"
    max_participants: int = 8
    identity_policy: Mapping[str, str] = field(default_factory=dict)


async def create(world: World, transaction: Transaction, tenant: str, new: NewRoom) -> Scene:
    """Makes a room, open at once where `opens_at` has come. Raises Refused `external-ref-taken`."""
    _check_times(world, new.starts_at, new.ends_at)
    if new.external_ref is not None:
        await _need_free(transaction.db, tenant, new.external_ref)
    room = models.Room(
        id=world.ids.new("room"),
        tenant=tenant,
        state=RoomState.SCHEDULED,
        form=new.form,
        training=new.training,
        external_ref=new.external_ref,
        patient_ref=new.patient_ref,
        title=new.title,
        care_unit=dict(new.care_unit),
        care_unit_key=CareUnit(**new.care_unit).key,
        starts_at=new.starts_at,
        ends_at=new.ends_at,
        opens_at=new.starts_at - world.policy.open_before,
        closes_at=new.ends_at + world.policy.close_after,
        time_zone=new.time_zone,
        language=new.language,
        max_participants=new.max_participants,
        locked=False,
        identity_policy={**DEFAULT_POLICY, **new.identity_policy},
        created_at=world.now,
        updated_at=world.now,
        version=1,
    )
    transaction.db.add(room)
    scene = Scene(world, transaction, room, [], [])
    scene.note("room.created")
    if room.opens_at <= world.now:
        scene.move_room(RoomEvent.OPEN)
    # Before its people: the session doesn't put tables in order by itself.
    await transaction.db.flush()
    return scene


async def change(scene: Scene, changes: Mapping[str, Any]) -> None:
    """Reschedules or corrects a room; links keep working."""
    room = scene.room
    if scene.state not in LIVE:
        raise Refused("state-conflict", f"the room is {scene.state}")
    resized = changes.get("max_participants", room.max_participants) != room.max_participants
    if resized and scene.state is not RoomState.SCHEDULED:
        raise Refused("state-conflict", "max_participants is fixed once the room is open")
    reformed = changes.get("form", room.form) != room.form
    if reformed and any(one.arrived_at is not None for one in scene.sessions.values()):
        # Their pages have asked for a camera, or haven't.
        raise Refused("state-conflict", "form is fixed once somebody has arrived")
    external_ref = changes.get("external_ref")
    if external_ref is not None and external_ref != room.external_ref:
        await _need_free(scene.db, room.tenant, external_ref)
    if "identity_policy" in changes:
        policy = {**DEFAULT_POLICY, **merged(room.identity_policy, changes["identity_policy"])}
        changes = {**changes, "identity_policy": policy}
    if "care_unit" in changes:
        changes = {**changes, "care_unit": merged(room.care_unit, changes["care_unit"])}
        room.care_unit_key = CareUnit(**changes["care_unit"]).key
    different = {name: value for name, value in changes.items() if getattr(room, name) != value}
    for name, value in different.items():
        setattr(room, name, value)
    if "starts_at" in different or "ends_at" in different:
        _check_times(scene.world, room.starts_at, room.ends_at)
        room.opens_at = room.starts_at - scene.world.policy.open_before
        room.closes_at = room.ends_at + scene.world.policy.close_after
        scene.move_room(RoomEvent.OPEN if room.opens_at <= scene.now else RoomEvent.POSTPONE)
    if different:
        room.updated_at = scene.now
        room.version += 1
        scene.note("room.updated", fields=sorted(different))


def merged(present: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` laid over `present`; None takes a member away (RFC 7396, section 2, one level deep)."""
    return {key: value for key, value in {**present, **patch}.items() if value is not None}


def cancel(scene: Scene) -> None:
    """Cancels a room that nobody is in; its links and sessions end."""
    if scene.move_room(RoomEvent.CANCEL):
        scene.room.ended_at = scene.now
        for session in scene.open_sessions():
            scene.close(session)


def lock(scene: Scene, by: Actor, locked: bool) -> None:
    """Locked, a room takes no new arrivals."""
    scene.need_authority(by)
    if scene.state not in LIVE:
        raise Refused("state-conflict", f"the room is {scene.state}")
    if scene.room.locked != locked:
        scene.room.locked = locked
        scene.room.updated_at = scene.now
        scene.room.version += 1
        scene.note("room.updated", by=by, act="room.locked" if locked else "room.unlocked", fields=["locked"])


def end(scene: Scene, by: Actor | None) -> None:
    """Ends the visit for everyone; their places are kept in case it is reopened."""
    if by is not None and scene.state is not RoomState.ENDED:
        scene.need_authority(by)
    if scene.state is RoomState.SCHEDULED and by is None:
        scene.move_room(RoomEvent.OPEN)
    if not scene.move_room(RoomEvent.END, by):
        return
    scene.room.ended_at = scene.now
    for session in scene.open_sessions():
        if session.state == State.IDENTIFYING:
            scene.move(session, Event.HOLD)
        session.connection = "none"
        session.lost_since = None


async def reopen(scene: Scene, by: Actor) -> None:
    """Within ten minutes of the end everyone may come back to where they were."""
    if scene.state in (RoomState.OPEN, RoomState.IN_PROGRESS):
        return
    scene.need_authority(by)
    ended = scene.room.ended_at
    if scene.state is RoomState.ENDED and (ended is None or scene.now - ended > REOPEN_WITHIN):
        raise Refused("state-conflict", "it ended more than ten minutes ago")
    if scene.state is RoomState.ENDED and scene.room.external_ref is not None:
        await _need_free(scene.db, scene.room.tenant, scene.room.external_ref)
    scene.move_room(RoomEvent.REOPEN, by)
    scene.room.ended_at = None
    scene.room.closes_at = max(scene.room.closes_at, scene.now + scene.world.policy.close_after)
    for session in scene.open_sessions():
        if session.state in (State.WAITING, State.ADMITTED):
            # They have the usual five minutes to come back.
            session.connection = "lost"
            session.lost_since = scene.now


async def _need_free(db: Db, tenant: str, external_ref: str) -> None:
    taken = await queries.room_with_external_ref(db, tenant, external_ref, [str(one) for one in LIVE])
    if taken is not None:
        detail = f"{taken} has this external_ref"
        raise Refused(
            "external-ref-taken", detail, extra={"room": taken}, errors=[FieldError("#/external_ref", detail)]
        )


def _check_times(world: World, starts_at: datetime, ends_at: datetime) -> None:
    if ends_at <= starts_at:
        raise Refused("invalid-body", "times don't fit", errors=[FieldError("#/ends_at", "must be after starts_at")])
    if (ends_at - starts_at).days >= 1:
        detail = "must be within 24 hours of starts_at"
        raise Refused("invalid-body", "times don't fit", errors=[FieldError("#/ends_at", detail)])
    if ends_at + world.policy.close_after <= world.now:
        raise Refused("invalid-body", "times don't fit", errors=[FieldError("#/ends_at", "is over already")])


async def page(
    db: Db, tenant: str, chosen: queries.RoomFilter, limit: int, now: datetime
) -> tuple[list[RoomSnapshot], str | None]:
    """Up to `limit` rooms as snapshots, and the id to go on after."""
    rows = await queries.rooms(db, tenant, chosen, limit + 1)
    shown = []
    for row in rows[:limit]:
        people, sessions = await queries.people(db, row.id)
        shown.append(views.snapshot(row, people, sessions, now))
    return shown, rows[limit - 1].id if len(rows) > limit else None
