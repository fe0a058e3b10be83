"""From what people wish for and what the way to each carries to what the engine is told, for one room at a time."""

from __future__ import annotations

from collections.abc import Callable

from .allocation import allocate
from .peer import Peer
from .place import ALL_TEMPORAL, Place, Shown, WireRate
from .rates import LayerRates
from .types import Listener

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

    def viewer(self, room: str, place: Place, viewer: Peer) -> None:
        """Decides for one viewer."""
        now = self._now()
        wants = place.wants(viewer, now, self._rate(now))
        others = sum(place.may_speak(publisher) for _, publisher in place.heard(viewer))
        viewer.wants = wants
        viewer.allocation = allocate(
            now,
            viewer.target,
            others,
            wants,
            viewer.allocation,
            speaking=place.speakers.at_once(viewer.participant, now),
            pictures=viewer.device.limits.pictures,
        )
        viewer.decided = now
        wanted = place.wanted(viewer, wants)
        for slot in viewer.shown.keys() | wanted.keys():
            shown = wanted.get(slot, NOBODY)
            if viewer.shown.get(slot, NOBODY) != shown:
                publisher, track, layer, temporal = shown
                viewer.engine.show(viewer.number, slot, publisher, track, layer, temporal)
        viewer.shown = wanted
        views = place.views(viewer)
        if place.told.get(viewer.participant, []) != views:
            place.told[viewer.participant] = views
            self._listener.slots_changed(room, viewer.participant, views)

    def _rate(self, now: float) -> WireRate:
        return lambda key: self.rates.on_wire(key, now)
