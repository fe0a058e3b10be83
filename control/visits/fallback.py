"""When video fails somebody: their number, for a host who is to phone them, and how that went."""

from __future__ import annotations

from enum import StrEnum

from ..keyring import Unreadable
from .refused import Refused
from .rules import RoomState
from .scene import Scene
from .values import Actor


class Mode(StrEnum):
    """By what a visit went on instead."""

    PHONE = "phone"
    CHAT = "chat"


class Outcome(StrEnum):
    """How it went.

    `completed`: the visit was held that way. `resumed`: it went on by video. `no_answer`: nobody was reached.
    `rebooked`: a new time was agreed.
    """

    COMPLETED = "completed"
    RESUMED = "resumed"
    NO_ANSWER = "no_answer"
    REBOOKED = "rebooked"


def reveal(scene: Scene, participant_id: str, by: Actor) -> str:
    """The number of somebody, to phone them. It is no event, but who saw whose number is in the audit trail.

    Raises:
        Refused: `not-allowed`, `not-found`, or `no-phone`.
    """
    scene.need_authority(by)
    participant = scene.participant(participant_id)
    try:
        phone = scene.world.contacts.open(participant.id, "phone", participant.phone_sealed)
    except Unreadable:
        raise Refused("no-phone", "the number can't be read with this installation's keys any more") from None
    if phone is None:
        raise Refused("no-phone", "nobody has given a number for this participant")
    scene.audit("participant.phone_revealed", participant.id, by)
    return phone


def used(scene: Scene, participant_id: str, mode: Mode, outcome: Outcome, by: Actor) -> None:
    """Writes down that the visit, or a part of it, was held another way; each time it is tried is one of its own.

    Raises:
        Refused: `not-allowed`, `not-found`, or `state-conflict` where there was no visit yet, or never will be.
    """
    scene.need_authority(by)
    participant = scene.participant(participant_id)
    if scene.state in (RoomState.SCHEDULED, RoomState.CANCELLED):
        raise Refused("state-conflict", f"the room is {scene.state}")
    scene.note("fallback.used", participant.id, by, mode=str(mode), outcome=str(outcome))
