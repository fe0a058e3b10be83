"""When media fails somebody: what is written down of it, and when they are to be phoned. Time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...sfu.types import Level, Reason, Way

# Without an authenticated packet for 15 s: presence says "lost" after 5 of them.
SILENT_AFTER_LOST = 10.0
# A handshake over a bad network takes some seconds; who isn't heard 20 s after being let in won't be by itself.
NO_MEDIA = 20.0
# Media must have been there for so long before the next trouble is another one.
OVER = 30.0
# A network that comes and goes each second is one trouble in the record, not a hundred.
BETWEEN_PAIRS = 10.0

Needed = Literal["silent", "no_media", "asked"]
Whose = Literal["network", "device"]


@dataclass(frozen=True)
class Happened:
    """An event that is to be written down: its type as in the feed, and its data."""

    type: Literal["media.degraded", "media.restored", "fallback.needed"]
    data: Mapping[str, str]


@dataclass
class Troubles:
    """Those of one arrival; times in seconds, monotonic.

    `fallback.needed` is once per trouble, and once more when the person asks for it: that they say so themselves is
    news, however long ago the server noticed.

    Attributes:
        inside: since when they may have media; None while they wait.
        lost: since when presence says that they are lost; None while it doesn't.
        media: since when media comes; None while it doesn't.
        heard: whether media ever came since they were let in.
        told: when it was last written down that they need to be phoned, by reason; empty while there is no trouble.
        asked: whether they have asked to be phoned. Media that works may not be all that they need.
        degraded: whose fault their quality is, as written down; None while it is good. Who is put on hold or leaves
            has none any more, without a word: that is written down by itself.
    """

    inside: float | None = None
    lost: float | None = None
    media: float | None = None
    heard: bool = False
    told: dict[Needed, float] = field(default_factory=dict)
    asked: bool = False
    degraded: Whose | None = None
    _level: Level = "good"
    _whose: Whose = "network"
    _way: Way = "both"
    _pair_began: float | None = None

    @property
    def needed(self) -> bool:
        """Whether somebody who comes later should hear that they need to be phoned."""
        return self.asked or bool(self.told)

    def quality(self, level: Level, reason: Reason, way: Way, now: float) -> list[Happened]:
        """Takes how well they themselves see, hear, are seen and heard."""
        self._level = level
        if level != "good":
            self._whose, self._way = "device" if reason.endswith("phone") else "network", way or "both"
        return self._pair(now)

    def look(self, now: float, *, inside: bool, lost: bool, media: bool) -> list[Happened]:
        """Takes what is so at `now`, several times a second.

        Args:
            inside: whether they may have media: neither somebody who left or waits, nor where the visit is over.
            lost: whether presence says "lost".
            media: whether the node says that packets come.
        """
        self.inside = (now if self.inside is None else self.inside) if inside else None
        self.lost = (now if self.lost is None else self.lost) if inside and lost else None
        self.media = (now if self.media is None else self.media) if inside and media else None
        self.heard = inside and (self.heard or media)
        if not inside:
            # Nobody rates the media of somebody who has none.
            self._level, self.degraded = "good", None
            return []
        self._mend(now)
        happened = self._pair(now)
        if (reason := self._needs(now)) is not None and self.told.keys().isdisjoint(("silent", "no_media")):
            self.told[reason] = now
            happened.append(_needed(reason))
        return happened

    def ask(self, now: float) -> Happened | None:
        """They press *phone*; None where they did before in this trouble, and it is written down already."""
        self.asked = True
        if "asked" in self.told:
            return None
        self.told["asked"] = now
        return _needed("asked")

    def _mend(self, now: float) -> None:
        """Ends the trouble after media has been there for long enough."""
        if self.told and self.media is not None and now - max(self.media, *self.told.values()) >= OVER:
            self.told.clear()

    def _needs(self, now: float) -> Needed | None:
        if self.heard:
            return "silent" if self.lost is not None and now - self.lost >= SILENT_AFTER_LOST else None
        return "no_media" if self.inside is not None and now - self.inside >= NO_MEDIA else None

    def _pair(self, now: float) -> list[Happened]:
        bad = self._level != "good"
        if bad and self.degraded is None and (self._pair_began is None or now - self._pair_began >= BETWEEN_PAIRS):
            self.degraded, self._pair_began = self._whose, now
            return [Happened("media.degraded", {"level": self._level, "reason": self._whose, "way": self._way})]
        if not bad and self.degraded is not None:
            whose, self.degraded = self.degraded, None
            return [Happened("media.restored", {"level": "good", "reason": whose})]
        return []


def _needed(reason: Needed) -> Happened:
    return Happened("fallback.needed", {"reason": reason})
