"""Which messages somebody is to get, and when: rows written in the transaction of the act that they tell of.

What one says is made when it is sent (`control.notify`), from what is so by then: a visit that has moved meanwhile is
told with its new time, and nobody hears of one that was cancelled before the invitation had gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from ..store import messages as store
from ..store import models
from .rules import LIVE, RoomState
from .scene import Scene
from .unit_words import UnitWords


class Kind(StrEnum):
    """What is told."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    MOVED = "moved"
    CANCELLED = "cancelled"


class Channel(StrEnum):
    """By what."""

    EMAIL = "email"
    SMS = "sms"


# A reminder so soon after the invitation, or after word of a new time, reminds nobody of anything.
APART = timedelta(hours=1)
# An invitation in mid-visit, or one that a mail server was slow to take, is still of use so long after.
LATE = timedelta(minutes=15)


async def invited(scene: Scene, participant_id: str, join_url: str | None) -> None:
    """Somebody has a link, their first or a new one: it is sent at once, and again with the reminder."""
    participant = scene.participant(participant_id)
    channels = _channels(scene, participant)
    if not channels or join_url is None:
        if participant.link_sealed is not None:
            participant.link_sealed = None
        return
    participant.link_sealed = scene.world.contacts.seal(participant.id, "link", join_url.partition("#")[2])
    await store.drop_waiting(scene.db, participant.id)
    _tell(scene, participant, Kind.INVITATION, channels)
    _remind(scene, participant, channels)


async def changed(scene: Scene, participant_id: str, fields: Collection[str]) -> None:
    """Somebody's data was corrected: an address that is new gets the invitation, one that has gone gets nothing."""
    if not {"notify", "phone", "email"} & set(fields):
        return
    participant = scene.participant(participant_id)
    channels = _channels(scene, participant)
    await store.drop_waiting(scene.db, participant.id, but_channels=channels)
    # What is on its way just now goes to the address of before.
    rows = await store.waiting(scene.db, participant.id)
    waiting = {(row.kind, row.channel) for row in rows if row.state == "waiting"}
    linked = participant.link_sealed is not None
    for channel in channels:
        new = "notify" in fields or ("email" if channel is Channel.EMAIL else "phone") in fields
        # Without the link an invitation tells nobody where to go; whoever booked has it, and they only get reminded.
        if new and linked and (Kind.INVITATION, channel) not in waiting:
            _tell(scene, participant, Kind.INVITATION, [channel])
        if new and (Kind.REMINDER, channel) not in waiting:
            _remind(scene, participant, [channel])
    await forget_link(scene, participant)


async def moved(scene: Scene) -> None:
    """The visit has another time: whoever was told the former hears of it, and reminders move."""
    for participant in scene.participants.values():
        channels = _channels(scene, participant)
        told = await store.told(scene.db, participant.id)
        await store.drop_waiting(scene.db, participant.id, kinds=(Kind.REMINDER, Kind.MOVED))
        _tell(scene, participant, Kind.MOVED, [one for one in channels if one in told])
        _remind(scene, participant, channels)
        await forget_link(scene, participant)


async def cancelled(scene: Scene) -> None:
    """The visit won't be: whoever was told of it hears that, once."""
    for participant in scene.participants.values():
        told = await store.told(scene.db, participant.id)
        await store.drop_waiting(scene.db, participant.id)
        participant.link_sealed = None
        if Kind.CANCELLED not in told.values() and scene.room.ends_at > scene.now:
            _tell(scene, participant, Kind.CANCELLED, [one for one in _channels(scene, participant) if one in told])


async def withdrawn(scene: Scene, participant: models.Participant) -> None:
    """Somebody's invitation was taken back: they hear nothing more."""
    await store.drop_waiting(scene.db, participant.id)
    participant.link_sealed = None


async def forget_link(scene: Scene, participant: models.Participant) -> None:
    """The link's secret is kept until the last message with it has gone, and no longer."""
    await scene.db.flush()
    if not await store.waiting(scene.db, participant.id):
        participant.link_sealed = None


def unwanted(
    row: models.Message, room: models.Room, participant: models.Participant, unit: UnitWords, now: datetime
) -> str | None:
    """Why a message isn't sent any more, though it is due: a word for the record; None where it is to be sent."""
    if participant.deleted_at is not None:
        return "withdrawn"
    if not participant.notify:
        return "not wanted"
    if room.training:
        return "training"
    if row.channel == Channel.SMS and not unit.sms:
        return "function off"
    if row.kind == Kind.CANCELLED:
        return None if room.state == RoomState.CANCELLED else "not cancelled"
    if RoomState(room.state) not in LIVE:
        return str(room.state)
    if row.kind == Kind.REMINDER and participant.session is not None:
        return "arrived"
    return "too late" if now > last_moment(row, room) else None


def last_moment(row: models.Message, room: models.Room) -> datetime:
    """After this nobody is helped by the message."""
    if row.kind == Kind.REMINDER:
        return room.starts_at
    if row.kind == Kind.CANCELLED:
        return room.ends_at
    return min(max(room.starts_at, row.created_at) + LATE, room.ends_at)


def _channels(scene: Scene, participant: models.Participant) -> Sequence[Channel]:
    # A visit for practice mustn't write to anybody: whoever makes one takes whatever address comes to mind.
    if not participant.notify or scene.room.training:
        return []
    policy = scene.world.policy
    found = []
    if policy.email and participant.email_sealed is not None:
        found.append(Channel.EMAIL)
    if policy.sms and participant.phone_sealed is not None:
        found.append(Channel.SMS)
    return found


def _tell(scene: Scene, participant: models.Participant, kind: Kind, channels: Collection[Channel]) -> None:
    _add(scene, participant, kind, channels, scene.now)


def _remind(scene: Scene, participant: models.Participant, channels: Collection[Channel]) -> None:
    before = scene.world.policy.remind_before
    at = scene.room.starts_at - before
    if before and at - scene.now >= APART:
        _add(scene, participant, Kind.REMINDER, channels, at)


def _add(scene: Scene, who: models.Participant, kind: Kind, channels: Collection[Channel], at: datetime) -> None:
    for channel in channels:
        scene.db.add(
            models.Message(
                id=scene.world.ids.new("msg"),
                tenant=who.tenant,
                room=who.room,
                participant=who.id,
                kind=str(kind),
                channel=str(channel),
                state="waiting",
                due_at=at,
                tries=0,
                created_at=scene.now,
            )
        )
