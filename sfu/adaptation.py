"""The adaptation tick: ten times a second the engine's tables become targets, allocations, repairs and requests.

What each way carries (`bandwidth`) decides what each viewer is shown (`routing`), that decides what is needed of whom
(`demand`), and what people should know of it is said (`quality`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .allocation import Sound
from .bandwidth import Bandwidth, Estimates
from .demand import needs
from .engine import CAMERA, MICROPHONE, SCREEN, Downlink, Uplink
from .peer import Peer
from .place import Place
from .quality import Quality, judge
from .relief import UplinkState
from .routing import Routing
from .sound import PATIENCE_UP, QUEUED, SoundPolicy
from .types import Listener
from .uplinks import SendersQueues, UplinkLosses

Floats = NDArray[np.float64]

# A pace that differs by less isn't worth a command.
PACE_STEP = 0.02
# What is sent beyond what was shared out, as a picture that has just become larger is at first, goes out so many times
# as fast at most, but with this share of the target: a target that media don't fill is as old as the last probe.
AT_ONCE, LIKELY = 1.5, 0.75
# A viewer who is shown all that is wished for is decided anew each second, for rates change; all others each tick.
CONTENT_FOR = 1.0
# What two voices take that are carried three times, beyond what is kept for them (RFC 2198), bit/s.
SOUND_REPEATED = 100_000
# Publishers' layers, and what people are told, need no more than so many looks a second.
SLOWLY = 5


@dataclass
class Adaptation:
    """Decides for all peers of a node."""

    listener: Listener
    routing: Routing
    _bandwidth: Bandwidth = field(default_factory=Bandwidth)
    _sound_down: SoundPolicy = field(default_factory=SoundPolicy)
    _sound_up: SoundPolicy = field(default_factory=lambda: SoundPolicy(patience=PATIENCE_UP))
    _uplinks: UplinkLosses = field(default_factory=UplinkLosses)
    _queues: SendersQueues = field(default_factory=SendersQueues)
    _quality: Quality = field(default_factory=Quality)
    _ticks: int = 0

    @property
    def uplink_losses(self) -> Iterable[float]:
        """What each peer's packets to us lost over the last seconds, 0 to 1; NaN while too few have come."""
        return self._uplinks.loss.values()

    def tick(
        self, now: float, down: Floats, up: Floats, peers: Mapping[int, Peer], places: Mapping[str, Place]
    ) -> None:
        """One tick.

        Args:
            now: seconds.
            down, up: the engines' tables, shapes (peers, len(Downlink)) and (layers, len(Uplink)).
            peers: by the engine's number; places: by room.
        """
        self._ticks += 1
        # Probes are packets too, and who waits gets none: their way is looked at when they are let in.
        waiting = [number for number, peer in peers.items() if peer.waits]
        if waiting:
            down = down[~np.isin(down[:, Downlink.PEER], waiting)]
        self.routing.rates.update(now, up)
        wanted = {number: peer.allocation.wished for number, peer in peers.items() if not peer.allocation.content}
        blind = [number for number, peer in peers.items() if not peer.gives_feedback]
        unseen = [number for number in wanted if not peers[number].allocation.shows]
        estimates = self._bandwidth.update(now, down, wanted, blind, unseen)
        self._pace(estimates, peers)
        self._show(now, peers, places)
        self._sound(now, down, up, peers)
        for room in {peers[number].room for number in self._queues.update(now, up) if number in peers}:
            if (place := places.get(room)) is not None:
                self._ask(now, room, place)
                for peer in place.peers.values():
                    self.routing.viewer(room, place, peer)
        if self._ticks % SLOWLY == 0:
            self._uplinks.update(now, up)
            self._downlinks(down, peers)
            for room, place in places.items():
                self._ask(now, room, place)
                for to, about, verdict in self._quality.settle(now, room, judge(place, self._uplinks.loss)):
                    self.listener.quality(room, to, about, *verdict)
            self._quality.keep(places)

    def _downlinks(self, down: Floats, peers: Mapping[int, Peer]) -> None:
        """Who hears of their sound's loss: what was resent or carried twice counts as received there."""
        for number, loss in down[:, (Downlink.PEER, Downlink.SOUND_LOSS)].tolist():
            if (peer := peers.get(int(number))) is not None:
                peer.loss_down = 0.0 if math.isnan(loss) else loss

    def _ask(self, now: float, room: str, place: Place, *, urgent: bool = False) -> None:
        """Asks everyone in a room to send what is needed of them, and no more."""
        for peer in place.peers.values():
            uplink = UplinkState(
                loss=self._uplinks.loss.get(peer.number, math.nan),
                limitation=peer.device.limitation,
                rates=self.routing.rates.of_track(peer.number, CAMERA),
                screen_rates=self.routing.rates.of_track(peer.number, SCREEN),
                round_trip=self._uplinks.round_trip.get(peer.number, 0.1),
                stuck=peer.number in self._queues.stuck,
            )
            if "camera" in place.muted.get(peer.participant, ()):
                peer.publishing.rest(now)
                continue
            change = peer.publishing.update(now, needs(place, peer), uplink, urgent=urgent)
            if change:
                self.listener.send_changed(room, peer.participant, change)

    def _pace(self, estimates: Estimates, peers: Mapping[int, Peer]) -> None:
        for number, target, pace, congested, queue in zip(
            estimates.number.tolist(),
            estimates.target.tolist(),
            estimates.pace.tolist(),
            estimates.congested.tolist(),
            estimates.queue.tolist(),
            strict=True,
        ):
            peer = peers.get(number)
            if peer is None:
                continue
            peer.target, peer.congested, peer.queue = target, congested, queue
            pace = min(pace, max(AT_ONCE * peer.allocation.used, LIKELY * target))
            if abs(pace - peer.pace) > PACE_STEP * peer.pace:
                peer.pace = pace
                peer.engine.set_target(number, int(pace))
        for number, probe, rate, milliseconds in estimates.probes:
            if (peer := peers.get(number)) is not None:
                peer.engine.probe(number, probe, int(rate), milliseconds)

    def _show(self, now: float, peers: Mapping[int, Peer], places: Mapping[str, Place]) -> None:
        ask = partial(self._ask, now, urgent=True)
        for peer in peers.values():
            place = places.get(peer.room)
            if place is None:
                continue
            allocation = peer.allocation
            if not allocation.content or peer.target < allocation.used or now - peer.decided >= CONTENT_FOR:
                self.routing.viewer(peer.room, place, peer, fallen=ask)

    def _sound(self, now: float, down: Floats, up: Floats, peers: Mapping[int, Peer]) -> None:
        # Engines' numbers of peers are the node's: unique over all shards.
        red = [number for number, peer in peers.items() if peer.offers_red]
        self._sound_down.starved = {number for number, peer in peers.items() if peer.allocation.sound != Sound.PLAIN}
        self._sound_down.roomy = {
            number for number, peer in peers.items() if peer.target - peer.allocation.used >= SOUND_REPEATED
        }
        self._sound_up.roomy = {number for number, peer in peers.items() if peer.device.limitation != "bandwidth"}
        for number, mode in self._sound_down.update(
            now,
            down[:, Downlink.PEER].astype(np.int64),
            down[:, Downlink.LOST_PACKETS],
            down[:, Downlink.ACKED_PACKETS],
            down[:, Downlink.SOUND_LOSS],
            down[:, Downlink.ROUND_TRIP_US] / 1e6,
            down[:, Downlink.QUEUE_DELAY_US] / 1e6,
            red,
        ):
            if (peer := peers.get(number)) is not None:
                peer.engine.set_sound(number, mode)
        up = up[up[:, Uplink.TRACK] == MICROPHONE]
        for number, mode in self._sound_up.update(
            now,
            up[:, Uplink.PEER].astype(np.int64),
            up[:, Uplink.LOST],
            up[:, Uplink.PACKETS],
            np.full(len(up), np.nan),
            up[:, Uplink.ROUND_TRIP_US] / 1e6,
            np.where(np.isin(up[:, Uplink.PEER], list(self._queues.stuck)), QUEUED, 0.0),
            red,
        ):
            # Who can't send RED is asked for what is missing, and adds FEC by the reports of loss.
            if (peer := peers.get(number)) is not None and peer.offers_red:
                change = {"microphone": {"red": mode.redundancy > 0}}
                self.listener.send_changed(peer.room, peer.participant, change)
