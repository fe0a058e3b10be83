"""What is lost on the way from each peer to us, and what is stuck there: our own view of a publisher's network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .engine import CAMERA, Uplink

Floats = NDArray[np.float64]

MEMORY = 3.0
# Of fewer packets no share is said.
ENOUGH = 30.0
# Seconds in which no picture of a layer begins, and looks in which packets of it come nonetheless, the last of them so
# many seconds ago at most, and with less than so many bit/s: behind a key frame libvpx codes pictures of 40 kB, which
# take as long without being held up, and then leaves some out.
STANDS, TRICKLES, STILL_COMES, TRICKLE = 0.5, 3, 0.3, 300_000.0


@dataclass
class Queued:
    """A layer's counts: when a picture last began, in how many looks packets have come since, and when the last did."""

    frames: float
    packets: float
    bytes: float
    at: float
    last: float
    came: int = 0

    def trickles(self, now: float, payload: float) -> bool:
        """Whether it is stuck, `payload` bytes of it having come by now."""
        lasts = now - self.at
        still = self.came >= TRICKLES and lasts >= STANDS and now - self.last <= STILL_COMES
        return still and (payload - self.bytes) * 8 < TRICKLE * lasts


@dataclass
class SendersQueues:
    """Peers whose camera's packets still come, while none of a new picture is among them.

    Their network has become so narrow that what was encoded before waits in the sender's own queue, for seconds, and
    every smaller picture waits behind it (a browser's pacer lets nothing overtake but sound). A camera that has stopped
    is another matter: nothing comes of it.
    """

    stuck: set[int] = field(default_factory=set)
    _layers: dict[tuple[int, int], Queued] = field(default_factory=dict)

    def update(self, now: float, up: Floats) -> set[int]:
        """Takes the engine's table of uplinks as `UplinkLosses.update` does, ten times a second; who is newly stuck."""
        columns = (Uplink.PEER, Uplink.LAYER, Uplink.FRAMES, Uplink.PACKETS, Uplink.REPAIRED, Uplink.BYTES)
        layers: dict[tuple[int, int], Queued] = {}
        stuck = set()
        for peer, layer, frames, first, repaired, payload in up[up[:, Uplink.TRACK] == CAMERA][:, columns].tolist():
            key, packets = (int(peer), int(layer)), first + repaired
            one = self._layers.get(key)
            if one is None or frames != one.frames:
                one = Queued(frames, packets, payload, now, now)
            elif packets > one.packets:
                one.packets, one.last, one.came = packets, now, one.came + 1
            layers[key] = one
            if one.trickles(now, payload):
                stuck.add(key[0])
        newly, self.stuck, self._layers = stuck - self.stuck, stuck, layers
        return newly


@dataclass
class UplinkLosses:
    """Share of packets lost by peer, of all that it sends; NaN while too few have come."""

    loss: dict[int, float] = field(default_factory=dict)
    round_trip: dict[int, float] = field(default_factory=dict)
    _before: dict[int, tuple[float, float]] = field(default_factory=dict)
    _recent: dict[int, tuple[float, float]] = field(default_factory=dict)
    _at: float | None = None

    def update(self, now: float, up: Floats) -> None:
        """Takes the engine's table of uplinks, shape (layers, len(Uplink)), at `now` (seconds)."""
        passed = 0.0 if self._at is None else max(now - self._at, 0.0)
        fade = math.exp(-passed / MEMORY)
        self._at = now
        sums: dict[int, tuple[float, float]] = {}
        self.round_trip = {}
        for peer, packets, lost, round_trip in up[
            :, (Uplink.PEER, Uplink.PACKETS, Uplink.LOST, Uplink.ROUND_TRIP_US)
        ].tolist():
            had = sums.get(int(peer), (0.0, 0.0))
            sums[int(peer)] = (had[0] + packets, had[1] + lost)
            self.round_trip[int(peer)] = round_trip / 1e6
        recent, self.loss = {}, {}
        for peer, (packets, lost) in sums.items():
            packets_before, lost_before = self._before.get(peer, (packets, lost))
            came, missed = self._recent.get(peer, (0.0, 0.0))
            came = came * fade + max(packets - packets_before, 0.0)
            missed = max(missed * fade + lost - lost_before, 0.0)
            recent[peer] = came, missed
            self.loss[peer] = missed / (came + missed) if came + missed >= ENOUGH else math.nan
        self._before, self._recent = sums, recent
