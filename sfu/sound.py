"""How sound goes to each viewer: which repair fits its loss and its round trip (DESIGN, "Sound is repaired")."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Above the first share of lost packets sound is repaired before it is asked for; above the second, doubly so.
LOSSY, VERY_LOSSY = 0.03, 0.10
# Where there is room to spare for it: what is asked for comes a round trip late, and what is carried twice in time.
LOSSY_WITH_ROOM, VERY_LOSSY_WITH_ROOM = 0.01, 0.05
# Of what is asked for in time, as much is lost again: with so many lost that alone would be half a percent.
ASKED_IN_VAIN = 0.06
# With so many lost, one copy leaves half a percent to conceal.
COPIES_LOST = 0.07
# Below this there is nothing to repair.
CALM = 0.007
# Seconds. With a round trip of 100 ms NACK leaves nothing to conceal, with 250 ms it comes too late (DESIGN).
FAR, NEAR = 0.200, 0.150
# So long it has to be calm before a repair ends; each time that proves wrong, twice as long.
HOLD, LONGEST_HOLD = 10.0, 300.0
# A loss that comes back within is the same one: the repair had hidden it.
RELAPSE = 30.0
# Seconds. What is lost behind such a queue is lost in it, and more packets would make it longer.
QUEUED = 0.100
# Seconds that a publisher's loss must last before they are asked for RED: a way up that becomes narrow loses much for a
# moment, until its sender has noticed, and has no room for twice the sound afterwards.
PATIENCE_UP = 2.0
# Loss is the share over about so many seconds, of at least so many packets.
MEMORY, ENOUGH = 3.0, 50.0


@dataclass(frozen=True)
class SoundMode:
    """How sound goes to one viewer.

    Attributes:
        redundancy: earlier packets that each packet carries again, 0 to 2, where the viewer offered RED (RFC 2198).
        copies: times that each sealed packet goes out again, the same bytes, 20 to 40 ms after the former: 0 to 2.
        joined: packets are joined to 60 ms (RFC 6716, section 3.2).
        pauses_dropped: silence is not sent.
    """

    redundancy: int = 0
    copies: int = 0
    joined: bool = False
    pauses_dropped: bool = False


PLAIN = SoundMode()
STARVED = SoundMode(joined=True, pauses_dropped=True)


def needed(loss: Floats, round_trip: Floats, red: Bools, roomy: Bools) -> NDArray[np.int64]:
    """How much repair each viewer's sound needs now: 0 none, 1, or 2 much.

    A viewer who offered RED also asks for lost sound again (Chromium), which is enough for small losses while the
    round trip is short; one who did not (Firefox) never asks, and gets each packet twice or three times.

    Args:
        loss: shape (viewers,), share of packets lost on the way to each, 0 to 1; NaN while unknown: no need.
        round_trip: shape (viewers,), seconds.
        red, roomy: shape (viewers,), who offered RED, and who has room for it to spare.

    Returns:
        shape (viewers,).
    """
    far = round_trip >= FAR
    one = loss > np.where(roomy, LOSSY_WITH_ROOM, np.where(red & ~far, ASKED_IN_VAIN, LOSSY))
    with_red = np.where(roomy, loss > VERY_LOSSY_WITH_ROOM, far & (loss > VERY_LOSSY))
    two = np.where(red, with_red, loss > COPIES_LOST)
    return one.astype(np.int64) + (one & two)


def mode(repair: int, *, red: bool, starved: bool) -> SoundMode:
    """How sound goes to a viewer who needs so much repair; a starved one gets it with as few bits as there can be."""
    return SoundMode(
        redundancy=repair if red else 0,
        copies=0 if red else repair,
        joined=starved,
        pauses_dropped=starved,
    )


@dataclass
class _Viewers:
    """What is remembered of each viewer, row by row."""

    number: NDArray[np.int64]
    lost: Floats  # counters at the former tick, and what they grew by of late
    acked: Floats
    recently_lost: Floats
    recently_told: Floats
    queued: Floats  # when a queue last stood
    repair: NDArray[np.int64]
    calm_since: Floats  # NaN while it is not calm
    needy_since: Floats  # NaN while no more repair is needed than there is
    ended: Floats  # when the last repair ended
    hold: Floats
    starved: Bools  # as was told, as is the next
    told: NDArray[np.int64]

    @classmethod
    def new(cls, number: NDArray[np.int64], lost: Floats, acked: Floats) -> _Viewers:
        zeros = np.zeros(len(number))
        return cls(
            number,
            lost.copy(),
            acked.copy(),
            zeros.copy(),
            zeros.copy(),
            np.full(len(number), -np.inf),
            np.zeros(len(number), dtype=np.int64),
            np.full(len(number), np.nan),
            np.full(len(number), np.nan),
            np.full(len(number), -np.inf),
            np.full(len(number), HOLD),
            np.zeros(len(number), dtype=np.bool_),
            np.zeros(len(number), dtype=np.int64),
        )

    def follow(self, number: NDArray[np.int64], lost: Floats, acked: Floats) -> _Viewers:
        """The same for the viewers of now: who stayed is remembered, who is new begins."""
        fresh = _Viewers.new(number, lost, acked)
        _, now, before = np.intersect1d(number, self.number, return_indices=True)
        for column in fields(self):
            getattr(fresh, column.name)[now] = getattr(self, column.name)[before]
        return fresh


@dataclass
class SoundPolicy:
    """Decides for all viewers of one shard, and says what changes.

    Attributes:
        starved: viewers, by the engine's number, whose downlink has hardly room for sound; somebody else decides that.
        roomy: those whose downlink has room to spare for what sound takes twice.
        patience: seconds that more repair must be needed before there is more.
    """

    starved: set[int] = field(default_factory=set)
    roomy: set[int] = field(default_factory=set)
    patience: float = 0.0
    _viewers: _Viewers | None = None
    _at: float = 0.0

    def update(
        self,
        now: float,
        number: NDArray[np.int64],
        lost: Floats,
        acked: Floats,
        reported: Floats,
        round_trip: Floats,
        queue: Floats,
        red: Collection[int],
    ) -> list[tuple[int, SoundMode]]:
        """Takes what is measured at `now` (seconds); returns the modes that are new, by the engine's number.

        Args:
            number: shape (viewers,), the engine's numbers.
            lost, acked: shape (viewers,), packets since the viewer came, by transport-cc: losses as they are, while
                receiver reports count what was repaired as received.
            reported: shape (viewers,), share of sound lost by receiver reports, for who gives no transport-cc; NaN
                where there is none.
            round_trip, queue: shape (viewers,), seconds; queue: how long packets wait on the way to the viewer.
            red: numbers of those who offered RED.
        """
        if self._viewers is None:
            self._viewers = _Viewers.new(number, lost, acked)
        elif not np.array_equal(self._viewers.number, number):
            self._viewers = self._viewers.follow(number, lost, acked)
        viewers = self._viewers
        has_red = np.isin(number, list(red))
        viewers.queued[queue >= QUEUED] = now
        loss = self._loss(viewers, now, lost, acked, reported)

        roomy = np.isin(number, list(self.roomy))
        need = needed(loss, round_trip, has_red, roomy)
        needy = need > viewers.repair
        viewers.needy_since[~needy] = np.nan
        viewers.needy_since[needy & np.isnan(viewers.needy_since)] = now
        more = needy & (now - viewers.needy_since >= self.patience)
        relapsed = more & (now - viewers.ended < RELAPSE)
        viewers.hold[relapsed] = np.minimum(2 * viewers.hold[relapsed], LONGEST_HOLD)
        viewers.hold[more & ~relapsed & (viewers.repair == 0)] = HOLD
        viewers.repair = np.where(more, need, viewers.repair)

        calm = (loss < CALM) | (has_red & ~roomy & (round_trip < NEAR) & (loss < LOSSY))
        viewers.calm_since[~calm] = np.nan
        viewers.calm_since[calm & np.isnan(viewers.calm_since)] = now
        over = (viewers.repair > 0) & (now - viewers.calm_since >= viewers.hold)
        viewers.repair[over] = 0
        viewers.ended[over] = now

        starved = np.isin(number, list(self.starved))
        changed = np.flatnonzero((viewers.repair != viewers.told) | (starved != viewers.starved))
        viewers.told, viewers.starved = viewers.repair.copy(), starved
        return [
            (int(number[at]), mode(int(viewers.repair[at]), red=bool(has_red[at]), starved=bool(starved[at])))
            for at in changed
        ]

    def _loss(self, viewers: _Viewers, now: float, lost: Floats, acked: Floats, reported: Floats) -> Floats:
        fade = np.exp(-max(now - self._at, 0.0) / MEMORY)
        self._at = now
        # What was lost just before a queue was noticed was lost in it too.
        viewers.recently_lost[viewers.queued >= now] = viewers.recently_told[viewers.queued >= now] = 0.0
        # What comes late after all makes the count of lost packets fall.
        on_air = viewers.queued < now
        lost_now, acked_now = (lost - viewers.lost) * on_air, (acked - viewers.acked) * on_air
        viewers.lost, viewers.acked = lost.copy(), acked.copy()
        viewers.recently_lost = np.maximum(viewers.recently_lost * fade + lost_now, 0.0)
        viewers.recently_told = np.maximum(viewers.recently_told * fade + lost_now + acked_now, 0.0)
        enough = viewers.recently_told >= ENOUGH
        reported = np.where(now - viewers.queued < MEMORY, np.nan, reported)
        return np.where(enough, viewers.recently_lost / np.maximum(viewers.recently_told, 1.0), reported)
