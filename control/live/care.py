"""The truth about media in one room: how well each is seen and heard, and whom hosts should phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...sfu.types import Level, Reason, Way
from ..visits.rules import INSIDE
from . import server_messages as said
from . import telling, views
from .present import Present
from .record import Record
from .troubles import Happened, Troubles

if TYPE_CHECKING:
    from .room import LiveRoom


class Care:
    """Takes what media and the clock say of each arrival; whatever counts is written down before anyone hears of it."""

    def __init__(self, room: LiveRoom, record: Record) -> None:
        self._room = room
        self._record = record

    def rate(self, to: str, key: str, level: Level, reason: Reason, way: Way) -> None:
        """Media says, in its own names, how well `to` sees and hears `key`."""
        viewer, whom = self._room.by_key(to), self._room.by_key(key)
        if viewer is None or whom is None or viewer.state not in INSIDE or whom.state not in INSIDE:
            return
        viewer.quality[whom.participant] = said.Quality(participant=whom.participant, level=level, reason=reason)
        if viewer is whom:
            self._write(viewer, viewer.troubles.quality(level, reason, way, self._room.now()))

    def look(self, present: Present, now: float) -> None:
        """Sees whether somebody needs to be phoned."""
        inside = present.state in INSIDE and not self._room.over
        lost = present.presence.state == "lost"
        # Where there is no media, nobody lacks it: being there is all.
        media = present.presence.media if self._room.by_video else not lost
        self._write(present, present.troubles.look(now, inside=inside, lost=lost, media=media))

    def ask(self, present: Present) -> None:
        """Somebody asks to be phoned. Asked twice it is written down once, and hosts are told again."""
        happened = present.troubles.ask(self._room.now())
        if happened is not None:
            self._write(present, [happened])
        elif present.called:
            self._call(present)

    def calls(self) -> list[said.Fallback]:
        """Everyone who needs to be phoned, for a host who comes."""
        room = self._room
        needed = {one.participant for one in room.present.values() if one.called and one.troubles.needed}
        return [] if room.snapshot is None else [views.fallback(room.snapshot, one) for one in sorted(needed)]

    def outside(self, present: Present) -> None:
        """Somebody has no media any more: what was said of it holds no longer, for them and for others."""
        for other in (present, *self._room.present.values()):
            for participant in list(other.quality) if other is present else [present.participant]:
                other.quality.pop(participant, None)
                if other.client is not None:
                    other.client.forget(telling.quality_of(participant))

    def gone(self, present: Present) -> None:
        """Somebody has left, or may not come: nobody needs to phone them."""
        present.troubles, present.called = Troubles(), False

    def _write(self, present: Present, happened: list[Happened]) -> None:
        for one in happened:
            calls = one.type == "fallback.needed"
            self._record.happened(present.session, one, (lambda: self._call(present)) if calls else None)

    def _call(self, present: Present) -> None:
        room = self._room
        if room.snapshot is None or room.over or not present.troubles.needed:
            return  # they left, or it ended, while it was written down
        present.called = True
        call = views.fallback(room.snapshot, present.participant)
        room.say(call, lambda other: room.host(other) and other.participant != present.participant)
