"""What is lost on the way from each peer to us, over the last seconds: our own view of a publisher's network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .engine import Uplink

Floats = NDArray[np.float64]

MEMORY = 3.0
# Of fewer packets no share is said.
ENOUGH = 30.0


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
