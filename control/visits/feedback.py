"""Two questions after a visit, and no words: what somebody writes about care would be health data."""

from __future__ import annotations

from datetime import timedelta

from ..store import models, queries
from . import care_units
from .refused import Refused
from .scene import Scene
from .values import Function

# A mind may be changed, or a finger have slipped; later than this it is somebody else at the phone.
REPLACED_WITHIN = timedelta(minutes=10)
# The page asks when the visit is over, and isn't answered at once by everyone.
AFTER_END = timedelta(hours=1)


async def give(scene: Scene, participant_id: str, technical: int | None, visit: int | None) -> None:
    """Keeps what a participant thought, 1 (very bad) to 5 (very good), each question answered or not.

    Raises:
        Refused: `function-off`, or `state-conflict` for who was never let in, or has answered long ago.
    """
    if not await care_units.has(scene.db, scene.room, scene.world.policy, Function.FEEDBACK):
        raise care_units.off(Function.FEEDBACK, "this care unit doesn't ask what people thought of the visit")
    if not await queries.was_admitted(scene.db, scene.room.id, participant_id):
        raise Refused("state-conflict", "only people who were let in may rate the visit")
    row = await queries.rating(scene.db, participant_id)
    if row is None:
        row = models.Rating(participant=participant_id, room=scene.room.id, given_at=scene.now)
        scene.db.add(row)
        # Neither the answer nor whose it is: listeners need to know of neither.
        scene.note("feedback.given")
    elif scene.now - row.given_at > REPLACED_WITHIN:
        raise Refused("state-conflict", "this participant has rated the visit before")
    row.technical, row.visit = technical, visit
