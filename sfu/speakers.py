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
# Who begins while another still counts as speaking mostly takes over.
TAKEOVER = 1.0


@dataclass
class Speakers:
    """One room's."""

    _since: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _told: list[str] = field(default_factory=list)
    _before: list[str] = field(default_factory=list)

    @property
    def recent(self) -> list[str]:
        """Who speaks, longest speaking first, and behind them who spoke before, the last first; at most 16."""
        return [*self._told, *(one for one in self._before if one not in self._told)]

    def active(self, but: str) -> str | None:
        """Whom everyone listens to now, or did last, other than `but`."""
        return next((one for one in self.recent if one != but), None)

    def at_once(self, but: str, now: float) -> int:
        """How many others than `but` speak at the same time, and not just while one takes over from another."""
        return sum(one != but and now - since >= TAKEOVER for one, since in self._since.items())

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
        ended = [one for one in self._told if one not in speaking]
        self._before = [*ended, *(one for one in self._before if one not in ended and one not in speaking)][:16]
        self._told = speaking
        return list(speaking)
