"""How media is for everyone at once, for who watches a whole machine: distributions, and nobody's name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .allocation import Sound
from .engine import TRACKS, Downlink
from .peer import Peer
from .types import Distribution

# Seconds between looks: a histogram of samples needs no more, and it costs nothing beside fifty ticks.
EVERY = 5.0
# As which the engine gives a round trip that it doesn't know yet.
UNKNOWN_US = 100_000
# Fewer packets say nothing of a share.
ENOUGH = 20

ROUND_TRIPS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
LOSSES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass
class Census:
    """Counts every downlink once each `EVERY` seconds: its round trip, and where it gives feedback its loss."""

    round_trip: Distribution = field(
        default_factory=lambda: Distribution("Round trip to a participant, each sampled every 5 s", ROUND_TRIPS)
    )
    downlink_loss: Distribution = field(
        default_factory=lambda: Distribution(
            "Share of what went to a participant in 5 s that did not arrive, before repair", LOSSES
        )
    )
    uplink_loss: Distribution = field(
        default_factory=lambda: Distribution(
            "Share of what a participant sent that did not arrive, before repair, sampled every 5 s", LOSSES
        )
    )
    _next: float = 0.0
    # Packets acknowledged and lost, by the engine's number, at the former look.
    _before: dict[int, tuple[float, float]] = field(default_factory=dict)

    def look(self, now: float, down: NDArray[np.float64], uplink_losses: Iterable[float]) -> None:
        """To be called each tick.

        Args:
            now: seconds.
            down: the engines' table, shape (peers, len(Downlink)).
            uplink_losses: of each peer that sends, NaN where not known.
        """
        if now < self._next:
            return
        self._next = now + EVERY
        trips = down[:, Downlink.ROUND_TRIP_US]
        self.round_trip.add((trips[trips != UNKNOWN_US] / 1e6).tolist())
        self.uplink_loss.add(share for share in uplink_losses if not math.isnan(share))
        former, self._before = self._before, {}
        shares = []
        columns = (Downlink.PEER, Downlink.ACKED_PACKETS, Downlink.LOST_PACKETS)
        known = ~np.isnan(down[:, Downlink.FEEDBACK_AGE_US])
        for number, acked, lost in down[known][:, columns].tolist():
            self._before[int(number)] = acked, lost
            acked_before, lost_before = former.get(int(number), (0.0, 0.0))
            # What comes late after all was counted as lost before.
            missing = max(0.0, lost - lost_before)
            if (packets := acked - acked_before + missing) >= ENOUGH:
                shares.append(missing / packets)
        self.downlink_loss.add(shares)


def pictures(peers: Iterable[Peer]) -> Mapping[tuple[str, ...], float]:
    """How many pictures are sent now, by source and layer; 0 is the smallest."""
    shown = Counter((TRACKS[track], str(layer)) for peer in peers for _, track, layer, _ in _pictures(peer))
    kinds = [(source, str(layer)) for source in ("camera", "screen") for layer in range(3)]
    return {kind: float(shown[kind]) for kind in kinds}


def paused(peers: Iterable[Peer]) -> int:
    """How many pictures aren't sent, though wished for, since they don't fit."""
    return sum(past.paused for peer in peers for past in peer.allocation.slots.values())


def sound(peers: Iterable[Peer]) -> Mapping[tuple[str, ...], float]:
    """To how many sound goes in which way."""
    modes = Counter(peer.allocation.sound for peer in peers)
    return {(mode.name.lower(),): float(modes[mode]) for mode in Sound}


def _pictures(peer: Peer) -> Iterable[tuple[int, int, int, int]]:
    return (shown for slot, shown in peer.shown.items() if slot >= len(peer.audio) and shown[0])
