"""Who is speaking: loudness with hysteresis, so that a list of speakers doesn't flicker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Loudness is 127 - (-dBov) of RFC 6464, smoothed by the engine. Speech into a phone lies between 85 and 110,
# a room with nobody speaking below 70.
BEGINS = 82.0
ENDS = 74.0
# Between two words nobody has stopped speaking.
HOLD = 0.6


@dataclass
class Speakers:
    """One room's."""

    _since: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _told: list[str] = field(default_factory=list)

    def update(self, loudness: Mapping[str, float], now: float) -> list[str] | None:
        """Takes everyone's loudness (0 to 127) at `now` (s); the new list, longest speaking first, where it changed."""
        for participant, loud in loudness.items():
            if loud >= (ENDS if participant in self._since else BEGINS):
                self._since.setdefault(participant, now)
                self._last[participant] = now
        for participant in list(self._since):
            if participant not in loudness or now - self._last[participant] > HOLD:
                del self._since[participant], self._last[participant]
        speaking = sorted(self._since, key=lambda participant: (self._since[participant], participant))
        if speaking == self._told:
            return None
        self._told = speaking
        return list(speaking)
