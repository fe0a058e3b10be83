"""How much a publisher is spared while its own way to us, or its encoder, is in trouble."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .layers import Layers
from .spans import lasts, since

# Trouble. Above this share of loss; below the second it is calm. 8 % of single losses is 10 % in some three seconds.
LOSSY, CALM_LOSS = 0.12, 0.10
# Seconds of trouble before a step: while there is something above the lowest layer, and when there isn't.
TROUBLE_FOR, STILL_FOR = 3.0, 5.0
# The same for an encoder that can't keep up, which is helped by the first step only.
SLOW_FOR = 6.0
# One step back after so long a calm, twice as long after each that failed within.
CALM_FOR, LONGEST_CALM, FAILED_WITHIN = 10.0, 120.0, 20.0
# The steps: all that is needed; the lowest layer only; that layer smaller (and of a screen the lowest only); smallest;
# sound smaller too.
ALL, LOWEST, SMALLER, SMALLEST, SOUND = range(5)
CAPS = {SMALLER: 100_000, SMALLEST: 60_000, SOUND: 60_000}


@dataclass(frozen=True)
class UplinkState:
    """How a publisher's own way to us is.

    Attributes:
        loss: share of its packets lost; NaN while unknown.
        limitation: its newest `qualityLimitationReason` (W3C webrtc-stats); None while it sends no camera.
        rates: payload of the camera's layers that come now, bit/s by layer; screen_rates: the screen's, None: unknown.
        round_trip: seconds.
        stuck: its pictures stand in its own queue, see `uplinks.SendersQueues`.
    """

    loss: float = math.nan
    limitation: str | None = None
    rates: Mapping[int, float] = field(default_factory=dict)
    round_trip: float = 0.1
    screen_rates: Mapping[int, float] | None = None
    stuck: bool = False


class Relief:
    """How much a publisher is spared.

    Attributes:
        step: `ALL` to `SOUND`; network: whether that is for its network, not its encoder.
    """

    def __init__(self) -> None:
        self.step = ALL
        self.network = False
        self._troubled_since: float | None = None
        self._slow_since: float | None = None
        self._calm_since: float | None = None
        self._raised: float | None = None  # while it may still fail
        self._hold = CALM_FOR

    def update(self, now: float, uplink: UplinkState, camera: Layers, screen: Layers) -> int:
        """The step from `now` on."""
        if uplink.stuck and self.step == ALL and camera.reducible:
            self._lower(LOWEST)
            self.network = True
            return self.step
        if camera.waits:
            # What the last step brings shows only once it is taken.
            self._troubled_since = self._slow_since = self._calm_since = None
            return self.step
        narrow = uplink.limitation == "bandwidth" and camera.is_short(now, uplink.rates, uplink.round_trip)
        slow = uplink.limitation == "cpu"
        self._troubled_since = since(self._troubled_since, uplink.loss > LOSSY or narrow, now)
        self._slow_since = since(self._slow_since, slow and camera.reducible, now)
        self._calm_since = since(self._calm_since, not (uplink.loss > CALM_LOSS or narrow or slow), now)
        if self._raised is not None and now - self._raised >= FAILED_WITHIN:
            self._raised, self._hold = None, CALM_FOR
        if lasts(self._troubled_since, TROUBLE_FOR if camera.reducible else STILL_FOR, now):
            self._lower(self._next(camera, screen))
            self.network = True
        elif self.step == ALL and lasts(self._slow_since, SLOW_FOR, now):
            self._lower(LOWEST)
            self.network = False
        elif self.step > ALL and lasts(self._calm_since, self._hold, now):
            self.step -= 1
            self._raised, self._calm_since = now, None
        return self.step

    def _next(self, camera: Layers, screen: Layers) -> int:
        """The first further step that makes a difference."""
        if self.step < LOWEST and camera.reducible:
            return LOWEST
        if self.step < SMALLER and (
            camera.asked(0) > CAPS[SMALLER] or (screen.coming_since is not None and screen.reducible)
        ):
            return SMALLER
        return SMALLEST if self.step < SMALLEST and camera.asked(0) > CAPS[SMALLEST] else SOUND

    def _lower(self, step: int) -> None:
        self.step = step
        self._troubled_since = self._slow_since = self._calm_since = None
        if self._raised is not None:
            self._hold = min(2 * self._hold, LONGEST_CALM)
            self._raised = None
