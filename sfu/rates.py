"""How much each layer takes on the wire, smoothed over a few seconds: what an allocation reckons with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .engine import Uplink

Floats = NDArray[np.float64]
Key = tuple[int, int, int]

# Around each packet of a picture: IP and UDP (28 bytes), RTP (12) with its extensions (20), and SRTP's tag (16).
PACKET_OVERHEAD = 76
# A key frame is a burst that the pacer spreads; what counts is what a layer takes over seconds.
MEMORY = 4.0
# Layers that one track may have (CONTRACT, Sending).
MOST_LAYERS = 3
# Of a layer that has come for less than this, nothing is known.
ENOUGH = 1.0


@dataclass
class LayerRates:
    """Rates of all layers that come to this node.

    `wire` is on the wire as it would be forwarded, `payload` without any overhead; both bit/s by (peer, track, layer),
    of what has come for long enough to be judged.
    """

    wire: dict[Key, float] = field(default_factory=dict)
    payload: dict[Key, float] = field(default_factory=dict)
    _last: dict[Key, tuple[float, float]] = field(default_factory=dict)
    _began: dict[Key, float] = field(default_factory=dict)
    _at: float | None = None

    def update(self, now: float, up: Floats) -> None:
        """Takes the engine's table of uplinks; shape (layers, len(Uplink)), `now` in seconds."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        fade = float(np.exp(-passed / MEMORY))
        seen = set()
        for row in up[
            :, (Uplink.PEER, Uplink.TRACK, Uplink.LAYER, Uplink.ALIVE, Uplink.PACKETS, Uplink.BYTES)
        ].tolist():
            peer, track, layer, alive, packets, size = row
            key = (int(peer), int(track), int(layer))
            if not alive:
                continue
            seen.add(key)
            before = self._last.get(key)
            self._last[key] = (packets, size)
            if before is None or passed <= 0:
                self._began.setdefault(key, now)
                continue
            payload = max(size - before[1], 0.0) * 8 / passed
            wire = payload + max(packets - before[0], 0.0) * PACKET_OVERHEAD * 8 / passed
            age = now - self._began[key]
            # At first the mean of what there is, later of the last seconds.
            weight = max(1 - fade, passed / max(age, passed))
            self.payload[key] = self.payload.get(key, 0.0) + weight * (payload - self.payload.get(key, 0.0))
            self.wire[key] = self.wire.get(key, 0.0) + weight * (wire - self.wire.get(key, 0.0))
        for gone in self._last.keys() - seen:
            for table in (self._last, self._began, self.wire, self.payload):
                table.pop(gone, None)

    def on_wire(self, key: Key, now: float) -> float | None:
        """bit/s of a layer on the wire; None while it hasn't come for long enough."""
        began = self._began.get(key)
        return self.wire.get(key) if began is not None and now - began >= ENOUGH else None

    def of_track(self, peer: int, track: int) -> dict[int, float]:
        """Payload bit/s that come of a track, by layer."""
        layers = range(MOST_LAYERS)
        return {layer: self.payload[peer, track, layer] for layer in layers if (peer, track, layer) in self.payload}
