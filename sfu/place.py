"""What a node keeps of one room, and what follows from it: what each viewer wishes for, and what its slots show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..codecs import catalogue
from . import steering
from .allocation import Allocation, Option, Priority, Sound, Want
from .engine import CAMERA, MICROPHONE, SCREEN, TRACKS
from .peer import Peer
from .room import Room, View, ladder_for
from .shards import Shard
from .speakers import Speakers
from .types import SlotView, Source

TRACK: dict[Source, int] = {"microphone": MICROPHONE, "camera": CAMERA, "screen": SCREEN}
# Without its upper temporal layer (L1T2: every second picture) a layer takes about so much of its rate.
WITHOUT_UPPER = 0.6
ALL_TEMPORAL = 255
# A measured rate swings about its mean; and one far from what was asked for is a moment's.
MARGIN, LEAST_RATE, MOST_OF_ASKED = 1.03, 20_000.0, 1.05

# (peer, track, layer, temporal): what a slot shows, as the engine is told.
Shown = tuple[int, int, int, int]
# bit/s on the wire of a layer, by (peer, track, layer); None while unknown.
WireRate = Callable[[tuple[int, int, int]], float | None]


def unmeasured(_: tuple[int, int, int]) -> None:
    """The rates before anything is measured."""
    return


@dataclass
class Place:
    """One room with its people's transports.

    Attributes:
        shard: where all its peers live; chosen for the first.
        known: who has had a peer and may still have media; they come back however busy the shard is.
        muted: sources that are muted, by participant, also of those without a peer.
        told: the slots that the listener last heard of, by participant.
    """

    room: Room
    shard: Shard | None = None
    known: set[str] = field(default_factory=set)
    peers: dict[str, Peer] = field(default_factory=dict)
    muted: dict[str, set[Source]] = field(default_factory=dict)
    told: dict[str, list[SlotView]] = field(default_factory=dict)
    speakers: Speakers = field(default_factory=Speakers)

    def forget_strangers(self) -> None:
        """Drops what was said of those who are no longer in the room and have no peer."""
        self.known &= self.room.people.keys()
        for gone in self.muted.keys() - self.room.people.keys() - self.peers.keys():
            del self.muted[gone]

    def heard(self, viewer: Peer) -> Iterator[tuple[int, Peer]]:
        """Audio slot and peer of everyone whom a viewer may hear."""
        for pair, other in self.room.seen_by(viewer.participant):
            slot, publisher = viewer.audio_slot(pair), self.peers.get(other)
            if slot is not None and publisher is not None:
                yield slot, publisher

    def may_speak(self, publisher: Peer) -> bool:
        """Whether sound comes of somebody, or may at any moment."""
        return bool(publisher.layers.get(MICROPHONE)) and "microphone" not in self.muted.get(publisher.participant, ())

    def wants(self, viewer: Peer, now: float, rate: WireRate) -> list[Want]:
        """The pictures on a viewer's screen, each with the ways in which it can be shown, by slot."""
        view = self.room.views.get(viewer.participant)
        if view is None:
            return []
        found = []
        for pair, other in self.room.seen_by(viewer.participant):
            height, slot, publisher = view.camera_height(other), viewer.video_slot(pair), self.peers.get(other)
            if height is not None and slot is not None and publisher is not None:
                found.append(
                    self._want(viewer, slot, publisher, CAMERA, height, self._priority(view, viewer, other), now, rate)
                )
        sharer, slot = self._sharer_for(viewer.participant), viewer.video_slot(len(view.pairs))
        height = None if sharer is None else view.screen_height(sharer)
        publisher = None if sharer is None else self.peers.get(sharer)
        if height is not None and slot is not None and publisher is not None:
            found.append(self._want(viewer, slot, publisher, SCREEN, height, Priority.ACTIVE, now, rate))
        return found

    def _priority(self, view: View, viewer: Peer, other: str) -> Priority:
        person = self.room.people.get(other)
        if view.pin == other or (person is not None and person.sign_language):
            return Priority.CHOSEN
        return Priority.ACTIVE if self.speakers.active(but=viewer.participant) == other else Priority.OTHER

    def _want(
        self,
        viewer: Peer,
        slot: int,
        publisher: Peer,
        track: int,
        height: int,
        priority: Priority,
        now: float,
        rate: WireRate,
    ) -> Want:
        limits = viewer.device.limits
        rungs = publisher.rungs(track, now)
        if track == CAMERA:
            height = min(height, limits.height)
            bearable = {layer: rung for layer, rung in rungs.items() if rung.height <= limits.height}
            rungs = bearable or dict(sorted(rungs.items(), key=lambda rung: rung[1].height)[:1])
        options: list[Option] = []
        lowest = 0.0
        for layer in ladder_for(height, {layer: rung.height for layer, rung in rungs.items()}):
            rung = rungs[layer]
            measured = rate((publisher.number, track, layer)) if rung.alive else None
            wire = rung.asked if measured is None else measured * MARGIN
            wire = min(max(wire, LEAST_RATE), rung.asked * MOST_OF_ASKED)
            if not options:
                lowest = rung.declared
                options.append(Option(layer, 0, wire * WITHOUT_UPPER, rung.alive))
            options.append(Option(layer, ALL_TEMPORAL, wire, rung.alive))
        off = TRACKS[track] in self.muted.get(publisher.participant, ()) or publisher.is_off(track, now)
        return Want(slot, (publisher.number, track), priority, tuple(options), lowest, off)

    def wanted(self, viewer: Peer, wants: list[Want]) -> dict[int, Shown]:
        """What each of a viewer's slots should show by its allocation, by the engine's slot number."""
        allocation = viewer.allocation
        speaking = self._forwarded(viewer, allocation)
        wanted: dict[int, Shown] = {
            slot: (publisher.number, MICROPHONE, 0, ALL_TEMPORAL)
            for slot, publisher in self.heard(viewer)
            if speaking is None or publisher.participant in speaking
        }
        for want in wants:
            past = allocation.slots.get(want.slot)
            if past is not None and past.level >= 0 and past.level < len(want.options):
                option = want.options[past.level]
                wanted[want.slot] = (*want.who, option.layer, option.temporal)
        return wanted

    def _forwarded(self, viewer: Peer, allocation: Allocation) -> set[str] | None:
        """Whose sound goes to a viewer who hasn't room for everyone's; None: everyone's."""
        if allocation.sound != Sound.SPEAKERS:
            return None
        others = [one for one in self.speakers.recent if one != viewer.participant]
        return set(others[: allocation.voices])

    def views(self, viewer: Peer) -> list[SlotView]:
        """Whom each of a viewer's slots shows, in the viewer's own mids."""
        views: list[SlotView] = []
        slots = viewer.allocation.slots

        def paused(slot: int | None) -> bool:
            # What comes back needs a key frame first, which takes seconds where there is little room.
            return slot is not None and slot in slots and (slots[slot].paused or slot in viewer.awaited)

        for pair, other in self.room.seen_by(viewer.participant):
            if pair < len(viewer.audio):
                views.append(SlotView(viewer.audio[pair].mid, other, "microphone"))
            if pair < len(viewer.video):
                views.append(SlotView(viewer.video[pair].mid, other, "camera", paused(viewer.video_slot(pair))))
        pairs = self.room.max_participants - 1
        sharer = self._sharer_for(viewer.participant)
        if sharer is not None and pairs < len(viewer.video):
            views.append(SlotView(viewer.video[pairs].mid, sharer, "screen", paused(viewer.video_slot(pairs))))
        return views

    def steered(self) -> list[Peer]:
        """Those whom another codec is wanted of now, in `Peer.codec`."""
        changed = []
        for peer in self.peers.values():
            viewers = [
                other for other in self.peers.values() if self.room.may_receive(other.participant, peer.participant)
            ]
            codec = steering.choose(
                peer.sends, [viewer.decodes for viewer in viewers], [viewer.device.limits for viewer in viewers]
            )
            mime = None if codec is None else catalogue.BY_NAME[codec].mime
            if mime != peer.codec:
                peer.codec = mime
                changed.append(peer)
        return changed

    def _sharer_for(self, viewer: str) -> str | None:
        sharer = self.room.sharer
        return sharer if sharer is not None and self.room.may_receive(viewer, sharer) else None
