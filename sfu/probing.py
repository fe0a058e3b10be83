"""When a downlink is sent more than is known to fit, to see whether it does; and what follows from the answer.

A target that pictures don't use up says nothing of what else would fit, so growth comes from probes (libwebrtc calls
these application limited regions): padding beside the media for a moment, whose rate of arrival is the way's capacity
where it is less than what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .columns import Bools, Columns, Floats, Ints, begins
from .engine import Downlink
from .measured import Measured

Probe = tuple[int, int, int, int]

# At the start so many times the first target, one after the other while they come through; then twice the target.
FIRST_STEPS = (3.0, 6.0)
# Of what was asked for so much has to arrive: while starting, and later.
CAME_FIRST, CAME = 0.7, 0.85
# Of what arrived so much is believed, after a probe that came through, and after one that showed the way's limit.
BELIEVED, LIMIT_BELIEVED = 0.95, 0.90
# A limit that is so many times the target is worth another try soon; a lower one takes at most so much of it away.
HIGHER, MOST_DISBELIEVED = 1.15, 0.8
# The next layer needs so much headroom (`allocation.py`), and a probe for it so much more.
HEADROOM, ASKED = 1.15, 1.35
# A step up: at most twice the target, after a failed probe only half as much again, and never less than so much. Where
# one came through and more is missed, thrice.
STEP, CAREFUL_STEP, BOLD_STEP, LEAST_STEP = 2.0, 1.5, 3.0, 60_000
# A probe that fails leaves no longer queue than this, in seconds; how long one may last.
QUEUED, SHORTEST, LONGEST = 0.150, 0.100, 0.250
# So long is waited after a probe that failed, and twice as long after each further one in a row.
BACKOFF, LONGEST_BACKOFF = 2.0, 16.0
# Where a picture is missing, or the rate has fallen of late, patience is shorter: it has to come back in 10 s.
MISSED_BACKOFF, SMALL = 4.0, 250_000
# The end of a probe is told within a round trip and this, or never; after so many in vain it is tried less often.
PATIENCE, IN_VAIN, VAIN_BACKOFF = 1.5, 3, 5.0
# Seconds between two probes of which the first came through.
NEXT = 0.2
# The first one waits at most so many seconds for pictures to carry: a key frame's packets are padding that is of use.
# Where even the smallest picture doesn't fit before it, there will be none, which is clear after the second figure.
FIRST_WAIT, UNSEEN_WAIT = 1.0, 0.3
# So long after a probe, and a round trip, what it left in the queue is still its own.
WAKE = 0.3
# So long after a probe was answered the way carries what it has shown.
TOLD = 1.5
MOST_ID = 65_535


@dataclass
class _Probes(Columns):
    id: Ints = field(metadata=begins(0))
    asked: Floats = field(metadata=begins(0.0))
    until: Floats = field(metadata=begins(np.nan))  # of the one whose answer is waited for
    over: Floats = field(metadata=begins(-np.inf))  # when the last was answered or given up
    failed: Ints = field(metadata=begins(0))  # in a row
    vain: Ints = field(metadata=begins(0))
    stage: Ints = field(metadata=begins(0))  # how many of FIRST_STEPS are behind
    next_at: Floats = field(metadata=begins(-np.inf))
    ready: Floats = field(metadata=begins(np.nan))  # since when the first might begin


class Probing:
    """Decides on probes for all downlinks at once."""

    def __init__(self) -> None:
        self._probes = _Probes.new(np.zeros(0, dtype=np.int64))

    def follow(self, number: Ints) -> None:
        """Takes note of who there is; every tick, first."""
        self._probes = self._probes.follow(number)

    def disturbs(self, m: Measured) -> Bools:
        """Whose queue is that of a probe, and says nothing of what media do to the way."""
        newest = np.fmax(self._probes.until, self._probes.over)
        return m.now - newest < WAKE + m.round_trip

    def has_told(self, m: Measured) -> Bools:
        """Whose probe has found the way's limit a moment ago."""
        told: Bools = (m.now - self._probes.over < TOLD) & (self._probes.failed > 0) & (self._probes.vain == 0)
        return told

    def answers(self, m: Measured, rows: Floats, target: Floats) -> tuple[Floats, Floats]:
        """The targets after the answers that have come, and the limits (bit/s) that these have shown, NaN elsewhere."""
        probes = self._probes
        waits = ~np.isnan(probes.until)
        result = np.minimum(rows[:, Downlink.PROBE_RATE_BPS] / (1 - m.habit), probes.asked)
        told = waits & (rows[:, Downlink.PROBE_ID] == probes.id) & (result > 0)
        starting = probes.stage < len(FIRST_STEPS)
        came = told & (result >= np.where(starting, CAME_FIRST, CAME) * probes.asked)
        failed = told & ~came
        after = np.where(told, np.maximum(target, np.where(came, BELIEVED, LIMIT_BELIEVED) * result), target)
        # Where the limit lies beneath what was thought to fit, a little is given up: one answer may be wrong.
        beneath = np.maximum(BELIEVED * result, MOST_DISBELIEVED * target)
        after = np.where(failed, np.minimum(after, np.maximum(beneath, LIMIT_BELIEVED * result)), after)
        grown = came & (after >= 1.05 * target)

        probes.stage[came & starting] += 1
        probes.stage[failed] = len(FIRST_STEPS)
        probes.failed[grown] = 0
        higher = failed & (result > HIGHER * target)
        probes.failed[told & ~grown] = np.where(higher, 1, probes.failed + 1)[told & ~grown]
        probes.vain[told] = 0
        probes.next_at[told] = m.now + NEXT

        given_up = waits & ~told & (m.now > probes.until + PATIENCE + m.round_trip)
        probes.vain[given_up] += 1
        probes.next_at[given_up] = m.now + np.where(probes.vain[given_up] >= IN_VAIN, VAIN_BACKOFF, NEXT)
        over = told | given_up
        probes.until[over] = np.nan
        probes.over[over] = m.now
        return after, np.where(failed, result, np.nan)

    def forgive(self, whose: Bools) -> None:
        """Forgets failures: the way has become another."""
        self._probes.failed[whose] = 0

    def beware(self, whose: Bools) -> None:
        """The way was full: the next probe is a careful one."""
        self._probes.failed[whose] = np.maximum(self._probes.failed[whose], 1)

    def next(
        self,
        m: Measured,
        target: Floats,
        wanted: Floats,
        first: float,
        missed: Bools,
        may: Bools,
        unseen: Bools,
    ) -> list[Probe]:
        """Probes that begin now: (number, id, bit/s, milliseconds).

        Args:
            target: bit/s; wanted: bit/s that would be used next; shape (downlinks,) as are the others.
            first: the first target.
            missed: where more was sent not long ago, or a picture is missing.
            may: where feedback comes and nothing is congested.
            unseen: who is shown nothing of what they wish for: no pictures will come to be carried.
        """
        probes = self._probes
        starting = probes.stage < len(FIRST_STEPS)
        most = np.where(missed, MISSED_BACKOFF, LONGEST_BACKOFF)
        backoff = np.where(probes.failed > 0, np.minimum(BACKOFF * 2.0 ** (probes.failed - 1), most), 0.0)
        due = m.now >= np.maximum(probes.next_at, probes.over + backoff)
        wants = starting | (HEADROOM * wanted > target)
        probes.ready[may & np.isnan(probes.ready)] = m.now
        patience = np.where(unseen, UNSEEN_WAIT, FIRST_WAIT)
        due &= (probes.id > 0) | (m.held > 0) | (m.now - probes.ready >= patience)
        whose = np.flatnonzero(may & due & wants & np.isnan(probes.until))
        if not len(whose):
            return []
        base = target[whose]
        step = base * np.select([probes.failed[whose] > 0, missed[whose]], [CAREFUL_STEP, BOLD_STEP], STEP)
        asked = np.clip(ASKED * wanted[whose], base + LEAST_STEP, np.maximum(step, base + LEAST_STEP))
        steps = np.array([*FIRST_STEPS, 0.0])[probes.stage[whose]] * first
        asked = np.where(starting[whose], np.maximum(steps, asked), asked)
        long = np.clip(QUEUED * base / (asked - base), SHORTEST, LONGEST)
        probes.id[whose] = probes.id[whose] % MOST_ID + 1
        probes.asked[whose] = asked
        probes.until[whose] = m.now + long
        return [
            (int(probes.number[at]), int(probes.id[at]), int(rate), round(1000 * seconds))
            for at, rate, seconds in zip(whose, asked, long, strict=True)
        ]
