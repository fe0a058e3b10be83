"""How much each downlink carries: measurements to a target, for all downlinks at once.

Delay, loss and growth follow published descriptions of Google congestion control: draft-ietf-rmcat-gcc-02, sections 5
and 6, and Carlucci et al., "Congestion Control for Web Real-Time Communication" (IEEE/ACM ToN 25(5), 2017), section IV.
It differs where a patient's phone needs it to: a target falls only where a queue is really there, since what else runs
on the machine makes delays too; growth beyond what is being sent comes from probes (`probing.py`); loss that comes with
no queue, and always comes, is the radio's and takes nothing away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .columns import Bools, Columns, Floats, Ints, begins
from .engine import Downlink
from .measured import Measured, Measurements
from .probing import SMALL, Probe, Probing

# bit/s: of someone who has just come, and of someone whose receiver gives no transport-cc feedback.
START, BLIND_START = 300_000.0, 2_000_000.0
LEAST, MOST, BLIND_MOST = 30_000.0, 20_000_000.0, 2_500_000.0
# Without transport-cc for so many seconds, after so many packets, there will be none.
BLIND_AFTER, BLIND_PACKETS = 3.0, 50

# gcc-02, 5.3 and 5.4: the trend, taken times this, is compared with a threshold in milliseconds that adapts to it, by
# so much a millisecond when it is above and when it is below; not when it is far above. The gain is libwebrtc's: 60
# variations of delay, times 4.
GAIN = 240.0
FIRST_THRESHOLD, LEAST_THRESHOLD, MOST_THRESHOLD = 12.5, 6.0, 600.0
THRESHOLD_UP, THRESHOLD_DOWN, FAR_ABOVE = 0.0087, 0.039, 15.0
# Seconds, beside what is usual: a trend in less of a queue is noise; two feedbacks in a row that tell of a trend, or of
# so long a queue, tell of congestion. One may be of a moment in which the receiver stood still; only the pace obeys it.
SOME_QUEUE, LONG_QUEUE = 0.015, 0.050
# A queue that has shrunk to less than so much of what it was a feedback ago, while nobody has yet obeyed it, was none:
# the receiver stood still, and now takes all that has come meanwhile.
SHRUNK = 0.5
# gcc-02, 5.5: what arrives at a full way, times this, is the next target; the next fall is seen after a round trip and
# some.
FALL, AGAIN, LEAST_AGAIN = 0.85, 0.1, 0.3
# bit/s: a packet more or less in three ticks makes so much of what arrived in them.
CHANCE = 48_000.0
# A queue goes by itself where less than so much of what comes through is sent: nothing falls for it, unless that is
# less than so much of the target. A fall that went too deep is noticed within so many seconds.
PRESSES, FAR_BELOW, FALLEN_LATELY = 0.85, 0.6, 2.0
# Less than so much of what a probe has shown a moment ago is a fall of the way.
STILL = 0.8
# Below this share of the target the media don't fill the way: a trend alone isn't of their making, unless less than so
# much of what is sent arrives.
FED, ARRIVES = 0.6, 0.8
# A queue is to be gone in so many seconds.
DRAINED_IN, DRAIN = 0.4, 0.030
# Behind a deep fall hardly anything but sound goes into more of it than this, in seconds: what mostly comes next are
# key frames of smaller pictures, and a packet of one that a full queue drops costs half a second.
SPARED = 0.1

# A queue that stays the same, within so many seconds, for so many seconds, while so much less is sent than without it,
# and so much of that arrives, is no queue: the way has become longer. So many times the target is given back at once.
FLAT, FLAT_FOR, LESS, ALL, BACK = 0.030, 1.2, 0.7, 0.93, 2.0
# gcc-02, 5.5: growth by so much a second; near the rate of the last congestion by a packet a response time, and at most
# so much a second. Only while media use so much of the target.
GROWTH, NEAR_GROWTH, NEAR_PACKET, USED = 0.08, 0.04, 9_600.0, 0.8
NEAR, FAR = 0.85, 1.1
MOST_UNUSED, UNUSED = 1.5, 20_000.0
# No probe so soon after a fall, and none into a queue.
PROBE_AFTER, PROBE_QUEUE = 2.0, 0.030
# A rate is remembered as former for about so many seconds, while a target below this share of it has fallen.
FORMER, FALLEN = 40.0, 0.6

# Loss: so much of it behind a queue is congestion, and so much more than is habitual, for so many seconds, a policer's.
LOSSY, UNUSUAL, POLICED_FOR = 0.10, 0.12, 1.0
# gcc-02, section 6, for who gives no other feedback: below so much loss the target grows, above it falls.
LITTLE_LOSS, MUCH_LOSS, BLIND_HOLD = 0.02, 0.10, 5.0

# Feedback that has not come for so many seconds: the way may be full, or dead; sound alone goes on, this fast at most.
LATE, DEAD, DEAD_RATE = 0.3, 1.0, 50_000.0
# Who is sent less than so many packets meanwhile has nothing to tell of.
UNHEARD = 5
# When it comes again it tells of the time it was dead.
REVIVAL = 1.0


@dataclass(frozen=True)
class Estimates:
    """What each downlink carries; arrays have shape (downlinks,), in the order of the table's rows.

    Attributes:
        number: the engine's.
        target: bit/s on the wire that may be allotted.
        pace: bit/s for `Engine.set_target`, at least 30 kbit/s; below the target while a queue drains,
            and while nothing comes.
        probes: (number, id, bit/s, milliseconds), each for `Engine.probe`.
        congested: where a queue is building.
        queue: how long, in seconds, what arrived last has waited on its way.
    """

    number: Ints
    target: Floats
    pace: Floats
    probes: list[Probe]
    congested: Bools
    queue: Floats


@dataclass
class _State(Columns):
    target: Floats = field(metadata=begins(START))
    threshold: Floats = field(metadata=begins(FIRST_THRESHOLD))
    growing: Ints = field(metadata=begins(0))  # feedbacks in a row that told of a growing queue,
    long: Ints = field(metadata=begins(0))  # and of a long one
    last_queue: Floats = field(metadata=begins(0.0))  # seconds, of the newest feedback
    fell: Floats = field(metadata=begins(-np.inf))
    fell_bytes: Floats = field(metadata=begins(0.0))  # sent until then
    descended: Floats = field(metadata=begins(-np.inf))  # the first of the falls that followed one another closely,
    high: Floats = field(metadata=begins(START))  # and the target before it
    deepest: Floats = field(metadata=begins(0.0))  # the longest queue seen since then, seconds
    full: Floats = field(metadata=begins(np.nan))  # bit/s that came through at the last congestion
    former: Floats = field(metadata=begins(START))
    foreign: Floats = field(metadata=begins(0.0))  # seconds of queue that others make
    flat_since: Floats = field(metadata=begins(np.nan))  # since when the queue has stayed what it was then
    flat_queue: Floats = field(metadata=begins(0.0))
    short_target: Floats = field(metadata=begins(START))  # what was sent, and might be, while it was short
    short_sent: Floats = field(metadata=begins(0.0))
    lossy_since: Floats = field(metadata=begins(np.nan))
    blind: Bools = field(metadata=begins(False))
    dead: Bools = field(metadata=begins(False))
    revived: Floats = field(metadata=begins(-np.inf))


class Bandwidth:
    """Estimates all downlinks; the same calls give the same estimates."""

    def __init__(self) -> None:
        self._state = _State.new(np.zeros(0, dtype=np.int64))
        self._measurements = Measurements()
        self._probing = Probing()

    def update(
        self,
        now: float,
        rows: Floats,
        wanted: Mapping[int, float],
        blind: Collection[int] = (),
        unseen: Collection[int] = (),
    ) -> Estimates:
        """Takes the engine's table; to be called about each 100 ms.

        Args:
            now: seconds.
            rows: shape (downlinks, len(Downlink)), as `Engine.downlinks` has it.
            wanted: bit/s on the wire that a downlink would be sent next if there were room, by the engine's number;
                0 or missing where it is content.
            blind: numbers of those who haven't offered transport-cc, and will never give feedback.
            unseen: numbers of those who are shown nothing, since the smallest there is doesn't fit.
        """
        m = self._measurements.read(now, rows)
        number = rows[:, Downlink.PEER].astype(np.int64)
        state = self._state = self._state.follow(number)
        self._probing.follow(number)
        want = np.array([wanted.get(one, 0.0) for one in number.tolist()])

        self._look(state, m, np.isin(number, list(blind)))
        m = self._own(state, m)
        seeing = ~state.blind
        target, limit = self._probing.answers(m, rows, state.target)
        state.full = np.where(np.isnan(limit), state.full, limit)
        disturbed = self._probing.disturbs(m)
        uncertain = state.dead | (now - state.revived < REVIVAL)
        overuse, long, congested = self._congestion(state, m)
        congested &= seeing & (m.age < DEAD)

        may_fall = seeing & ~uncertain & ~disturbed
        target = self._fall(state, m, target, may_fall & overuse, may_fall & long)
        target = self._police(state, m, target, may_fall)
        target = self._grow(state, m, target, seeing & ~uncertain & ~congested)
        target = np.where(seeing, target, self._blind(state, m, rows, target, want))
        state.target = np.clip(target, LEAST, MOST)

        state.former = np.maximum(state.target, state.former * np.exp(-m.passed / FORMER))
        missed = (state.target < FALLEN * state.former) | (state.target < SMALL)
        known = (m.age < LATE) | (np.isnan(m.age) & (m.known_for < BLIND_AFTER))
        # Who is sent nothing gives no feedback: only a probe can tell.
        quiet = (m.sent == 0) & ~np.isnan(m.age)
        settled = now - state.fell > PROBE_AFTER
        calm = known & ~uncertain & ~congested & settled & (m.queue < PROBE_QUEUE + m.usual)
        may_probe = seeing & (calm | quiet)
        probes = self._probing.next(m, state.target, want, START, missed, may_probe, np.isin(number, list(unseen)))
        return Estimates(number, state.target.copy(), self._pace(state, m), probes, congested, m.queue)

    def _look(self, state: _State, m: Measured, never: Bools) -> None:
        silent = np.isnan(m.age)
        blind = silent & (never | (m.known_for > BLIND_AFTER) & (m.sent_packets > BLIND_PACKETS))
        state.target[blind & ~state.blind] = BLIND_START
        state.blind = silent & (blind | state.blind)
        dead = ~silent & (m.age > DEAD) & (m.unheard >= UNHEARD)
        state.revived[state.dead & ~dead] = m.now
        state.dead = dead

    def _own(self, state: _State, m: Measured) -> Measured:
        """The same without the queue that is not of our making.

        One that stays as it is while less and less is sent, all of which arrives, is a longer way, or another's
        download: what was given up for it is taken back, by probing.
        """
        state.foreign = np.where(m.fresh, np.minimum(state.foreign, m.queue), state.foreign)
        own = m.queue - state.foreign
        stays = (own > SOME_QUEUE + m.usual) & (np.abs(m.queue - state.flat_queue) <= FLAT)
        changes = m.fresh & ~stays
        state.flat_since[changes], state.flat_queue[changes] = m.now, m.queue[changes]
        short = m.fresh & (own <= SOME_QUEUE + m.usual)
        state.short_target[short], state.short_sent[short] = state.target[short], m.sent[short]
        arrives = np.maximum(m.newest, m.acked) > ALL * m.sent
        # Where hardly anything is sent any more, there is no less.
        less = (m.sent < LESS * state.short_sent) | ((state.long > 0) & (m.now - state.flat_since > 2 * FLAT_FOR))
        harmless = arrives & less & ~(m.loss > m.habit + UNUSUAL / 2)
        foreign = m.fresh & stays & harmless & (m.now - state.flat_since > FLAT_FOR)
        state.foreign[foreign] = m.queue[foreign]
        back = np.maximum(state.target, np.minimum(state.short_target, BACK * state.target))
        state.target[foreign], state.fell[foreign] = back[foreign], -np.inf
        self._probing.forgive(foreign)
        return replace(m, queue=np.maximum(m.queue - state.foreign, 0.0))

    def _congestion(self, state: _State, m: Measured) -> tuple[Bools, Bools, Bools]:
        """Where delay grows, where it is long, and where a queue is building or stands."""
        trend = GAIN * m.trend
        size = np.abs(trend)
        grows = (trend > state.threshold) & (m.queue > SOME_QUEUE + m.usual)
        state.growing = np.where(m.fresh, np.where(grows, state.growing + 1, 0), state.growing)
        long = m.queue > LONG_QUEUE + m.usual
        counted = np.where(m.queue < SHRUNK * state.last_queue, 1, state.long + 1)
        state.long = np.where(m.fresh, np.where(long, counted, 0), state.long)
        state.last_queue = np.where(m.fresh, m.queue, state.last_queue)
        overuse = m.fresh & (state.growing >= 2)
        stays_long = m.fresh & (state.long >= 2)
        gain = np.where(size < state.threshold, THRESHOLD_DOWN, THRESHOLD_UP)
        step = (1 - np.exp(-gain * 1000 * min(m.passed, 0.1))) * (size - state.threshold)
        adapts = m.fresh & (size < state.threshold + FAR_ABOVE)
        threshold = np.where(adapts, state.threshold + step, state.threshold)
        state.threshold = np.clip(threshold, LEAST_THRESHOLD, MOST_THRESHOLD)
        return overuse, stays_long, (state.growing > 0) | (state.long > 0)

    def _fall(self, state: _State, m: Measured, target: Floats, overuse: Bools, long: Bools) -> Floats:
        # Behind a long queue the way was full, and the newest counts, where it isn't just chance; else the highest that
        # came through.
        least = np.where(np.abs(m.newest - m.acked) > CHANCE, m.newest, m.acked)
        came = np.where(long, least, np.maximum(m.acked, m.newest)) / (1 - m.habit)
        fallen = FALL * came
        falls = long | (overuse & ((came > FED * target) | (came < ARRIVES * m.sent)))
        # What the last fall brings is told of by what stood behind the queue that it found.
        waited = m.now - state.fell >= np.maximum(m.round_trip + m.queue + AGAIN, LEAST_AGAIN)
        worse = long & (fallen < 0.8 * target)
        # The queue that a probe has left isn't gone at once; but the way carries what the probe has just shown.
        falls &= ~(self._probing.has_told(m) & (came > STILL * state.full))
        falls &= (waited | worse) & (came > 0)
        # Feedback that is lost on its own way makes either figure too small.
        most = np.maximum(m.acked, m.newest) / (1 - m.habit)
        falls &= (m.sent > PRESSES * most) | (most < FAR_BELOW * target)
        self._begin_fall(state, m, falls)
        self._probing.beware(falls)
        state.full = np.where(falls, came, state.full)
        # Feedback that comes late by its own way tells of less than came: what it says next, behind the same queue, is
        # more. No queue stands any more where less comes through.
        deep = long & ~falls & (m.now - state.fell < FALLEN_LATELY)
        risen = np.where(deep, FALL * np.minimum(m.acked, m.newest), 0.0)
        return np.where(falls, np.minimum(target, np.maximum(fallen, LEAST)), np.maximum(target, risen))

    def _begin_fall(self, state: _State, m: Measured, falls: Bools) -> None:
        first = falls & (m.now - state.fell >= FALLEN_LATELY)
        state.descended[first], state.high[first] = m.now, state.target[first]
        state.fell[falls], state.fell_bytes[falls], state.deepest[falls] = m.now, m.sent_bytes[falls], 0.0
        state.deepest = np.maximum(state.deepest, m.queue)

    def _police(self, state: _State, m: Measured, target: Floats, may: Bools) -> Floats:
        """Where loss is unusual: the way drops what is above some rate, and tells by nothing else."""
        queued = (m.loss > LOSSY) & (m.queue > LONG_QUEUE + m.usual)
        unusual = ~(np.isnan(m.loss) | (m.loss <= m.habit + UNUSUAL)) | queued
        state.lossy_since[~unusual] = np.nan
        state.lossy_since[unusual & np.isnan(state.lossy_since)] = m.now
        falls = may & (m.now - state.lossy_since >= POLICED_FOR) & (m.acked > FED * target) & (m.acked > 0)
        state.lossy_since[falls] = np.nan
        self._measurements.forget_loss(falls)
        self._begin_fall(state, m, falls)
        state.full = np.where(falls, m.acked, state.full)
        return np.where(falls, np.minimum(target, np.maximum(m.acked, LEAST)), target)

    def _grow(self, state: _State, m: Measured, target: Floats, may: Bools) -> Floats:
        came = m.fed / (1 - m.habit)
        # What has come through since is beyond the former limit: the way has become another.
        beyond = came > FAR * state.full
        state.full[beyond] = np.nan
        self._probing.forgive(beyond)
        near = target > NEAR * state.full
        by = np.where(near, np.minimum(NEAR_PACKET / (m.round_trip + AGAIN), NEAR_GROWTH * target), GROWTH * target)
        calm = np.abs(GAIN * m.trend) < state.threshold
        waited = m.now - state.fell > np.maximum(m.round_trip + AGAIN, LEAST_AGAIN)
        used = came > np.where(near, NEAR, USED) * target
        grows = may & calm & waited & used & (m.age < LATE) & (m.queue < SOME_QUEUE + m.usual)
        most = MOST_UNUSED * came + UNUSED
        return np.where(grows, np.maximum(target, np.minimum(target + by * m.passed, most)), target)

    def _blind(self, state: _State, m: Measured, rows: Floats, target: Floats, want: Floats) -> Floats:
        """gcc-02, section 6: by what receiver reports say is lost; where it is much, below the receiver's estimate."""
        picture, sound = rows[:, Downlink.PICTURE_LOSS], rows[:, Downlink.SOUND_LOSS]
        loss = np.where(np.isnan(picture), np.nan_to_num(sound), picture)
        waited = m.now - state.fell
        falls = state.blind & (loss > MUCH_LOSS) & (waited > 1 + m.round_trip)
        state.fell[falls] = m.now
        useful = np.maximum(1.25 * want, MOST_UNUSED * m.sent + UNUSED)
        grown = np.maximum(target, np.minimum(target * (1 + GROWTH * m.passed), useful))
        grows = (loss < LITTLE_LOSS) & (waited > BLIND_HOLD)
        after = np.where(falls, target * (1 - 0.5 * loss), np.where(grows, grown, target))
        remb = rows[:, Downlink.REMB_BPS]
        # Alone it only says how much was sent; beside loss it says how much came.
        bound = np.where((remb > 0) & (loss > MUCH_LOSS), remb, np.inf)
        return np.minimum(np.minimum(after, bound), BLIND_MOST)

    def _pace(self, state: _State, m: Measured) -> Floats:
        # What feedback tells of the queue is as old as the queue is long; no more waits in it than is under way.
        queue = np.minimum(m.queue, np.maximum(m.in_flight * 8 / np.maximum(m.fed, LEAST) - m.round_trip, 0.0))
        # Feedback may itself stand in a queue, or get lost: behind a fall no more is left than was there, without what
        # has come through since.
        since = m.now - state.fell
        sent = (m.sent_bytes - state.fell_bytes) * 8 / np.maximum(m.fed, LEAST)
        left = np.maximum(state.deepest - np.maximum(since - sent, 0.0), 0.0)
        queue = np.where(since < FALLEN_LATELY, np.minimum(queue, left), queue)
        drains = (queue > DRAIN + m.usual) & (m.age < DEAD)
        drained = np.minimum(m.fed, m.newest) * (1 - np.minimum(queue / DRAINED_IN, 1.0))
        # Once in a descent: a queue that stays for all that is no longer of our making.
        lately = m.now - state.descended < FALLEN_LATELY
        deep = lately & (state.target < FALLEN * state.high) & (queue > SPARED + m.usual)
        pace = np.where(drains, np.minimum(np.where(deep, LEAST, drained), state.target), state.target)
        # More is under way than a round trip accounts for, and nothing is heard of it: the queue is full.
        under_way = m.in_flight * 8 > np.maximum(m.fed, DEAD_RATE) * (m.round_trip + 0.2)
        pace = np.where((m.age > LATE) & under_way, np.minimum(pace, np.minimum(m.fed, state.target) / 2), pace)
        pace = np.where(state.dead, np.minimum(state.target, DEAD_RATE), pace)
        return np.maximum(pace, LEAST)
