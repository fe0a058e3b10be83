"""From what people wish for and what the way to each carries to what the engine is told, for one room at a time."""

from __future__ import annotations

from collections.abc import Callable

from .allocation import Allocation, allocate
from .engine import CAMERA
from .peer import Peer
from .place import ALL_TEMPORAL, Place, Shown, WireRate
from .rates import LayerRates
from .types import Listener

# Whoever was asked for a smaller picture since this tick began is about to send a key frame of it.
JUST_NOW = 0.05
NOBODY: Shown = (0, 0, 0, ALL_TEMPORAL)


class Routing:
    """Decides for viewers and tells the engine and the listener what is different; keeps nothing but rates."""

    def __init__(self, listener: Listener, now: Callable[[], float]) -> None:
        self._listener = listener
        self._now = now
        self.rates = LayerRates()

    def room(self, room: str, place: Place) -> None:
        """Something has changed for anybody in a room: decides for everyone in it."""
        for viewer in list(place.peers.values()):
            self.viewer(room, place, viewer)
        for publisher in place.steered():
            asked = {"codec": publisher.codec}
            self._listener.send_changed(room, publisher.participant, {"camera": asked, "screen": asked})

    def viewer(
        self, room: str, place: Place, viewer: Peer, *, fallen: Callable[[str, Place], None] | None = None
    ) -> None:
        """Decides for one viewer; `fallen` is called before the engine is told, where their room has become little."""
        now = self._now()
        wants = place.wants(viewer, now, self._rate(now))
        others = sum(place.may_speak(publisher) for _, publisher in place.heard(viewer))
        before = viewer.allocation
        viewer.wants = wants
        viewer.allocation = allocate(
            now,
            viewer.target,
            others,
            wants,
            before,
            speaking=place.speakers.at_once(viewer.participant, now),
            queue=viewer.queue,
            pictures=viewer.device.limits.pictures,
        )
        viewer.decided = now
        viewer.awaited = _awaited(viewer, before)
        if fallen is not None and viewer.allocation.shares and before.had_more(now):
            fallen(room, place)
        wanted = place.wanted(viewer, wants)
        for slot in viewer.shown.keys() | wanted.keys():
            shown = wanted.get(slot, NOBODY)
            if viewer.shown.get(slot, NOBODY) != shown:
                publisher, track, layer, temporal = shown
                asks = not _comes_by_itself(place, shown, now)
                viewer.engine.show(viewer.number, slot, publisher, track, layer, temporal, asks=asks)
        viewer.shown = wanted
        self._tell(room, place, viewer)

    def picture(self, room: str, place: Place, viewer: Peer, slot: int) -> None:
        """A whole picture has gone out in a slot, the first of whom it shows."""
        viewer.awaited.discard(slot)
        self._tell(room, place, viewer)

    def _tell(self, room: str, place: Place, viewer: Peer) -> None:
        views = place.views(viewer)
        if place.told.get(viewer.participant, []) != views:
            place.told[viewer.participant] = views
            self._listener.slots_changed(room, viewer.participant, views)

    def _rate(self, now: float) -> WireRate:
        return lambda key: self.rates.on_wire(key, now)


def _comes_by_itself(place: Place, shown: Shown, now: float) -> bool:
    """Whether a key frame of what is to be shown is on its way, because its publisher has to make it smaller."""
    publisher, track, layer, _ = shown
    if track != CAMERA or layer > 0:
        return False
    return any(peer.number == publisher and now - peer.publishing.reshaped < JUST_NOW for peer in place.peers.values())


def _awaited(viewer: Peer, before: Allocation) -> set[int]:
    """Slots whose picture comes back from a pause, until it does."""
    shown = {want.slot for want in viewer.wants if not want.off and viewer.allocation.slots[want.slot].level >= 0}
    resumed = {
        slot
        for slot in shown & before.slots.keys()
        if before.slots[slot].paused and before.slots[slot].who == viewer.allocation.slots[slot].who
    }
    return shown & viewer.awaited | resumed
