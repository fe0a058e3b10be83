"""What a node keeps of one room, and what follows from it: what each viewer's slots should show."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..codecs import catalogue
from . import steering
from .peer import Peer
from .room import Room, layer_for
from .shards import Shard
from .speakers import Speakers
from .types import SlotView, Source

MICROPHONE, CAMERA, SCREEN = 0, 1, 2
TRACK: dict[Source, int] = {"microphone": MICROPHONE, "camera": CAMERA, "screen": SCREEN}


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

    def wanted(self, viewer: Peer, now: float) -> dict[int, tuple[int, int, int]]:
        """What each of a viewer's slots should show: (peer, track, layer) by the engine's slot number."""
        wanted: dict[int, tuple[int, int, int]] = {}
        view = self.room.views.get(viewer.participant)
        if view is None:
            return wanted

        def show(slot: int | None, publisher: Peer, track: int, height: int | None) -> None:
            if slot is None or height is None:
                return
            layer = layer_for(height, publisher.heights(track, now))
            if layer is not None:
                wanted[slot] = (publisher.number, track, layer)

        for pair, other in self.room.seen_by(viewer.participant):
            if (publisher := self.peers.get(other)) is not None:
                show(viewer.audio_slot(pair), publisher, MICROPHONE, 0)
                show(viewer.video_slot(pair), publisher, CAMERA, view.camera_height(other))
        sharer = self._sharer_for(viewer.participant)
        if sharer is not None and (publisher := self.peers.get(sharer)) is not None:
            show(viewer.video_slot(len(view.pairs)), publisher, SCREEN, view.screen_height(sharer))
        return wanted

    def views(self, viewer: Peer) -> list[SlotView]:
        """Whom each of a viewer's slots shows, in the viewer's own mids."""
        views: list[SlotView] = []
        for pair, other in self.room.seen_by(viewer.participant):
            if pair < len(viewer.audio):
                views.append(SlotView(viewer.audio[pair].mid, other, "microphone"))
            if pair < len(viewer.video):
                views.append(SlotView(viewer.video[pair].mid, other, "camera"))
        pairs = self.room.max_participants - 1
        sharer = self._sharer_for(viewer.participant)
        if sharer is not None and pairs < len(viewer.video):
            views.append(SlotView(viewer.video[pairs].mid, sharer, "screen"))
        return views

    def steered(self) -> list[Peer]:
        """Those whom another codec is wanted of now, in `Peer.codec`."""
        changed = []
        for peer in self.peers.values():
            viewers = [
                other.decodes
                for other in self.peers.values()
                if self.room.may_receive(other.participant, peer.participant)
            ]
            codec = steering.choose(peer.sends, viewers)
            mime = None if codec is None else catalogue.BY_NAME[codec].mime
            if mime != peer.codec:
                peer.codec = mime
                changed.append(peer)
        return changed

    def _sharer_for(self, viewer: str) -> str | None:
        sharer = self.room.sharer
        return sharer if sharer is not None and self.room.may_receive(viewer, sharer) else None
