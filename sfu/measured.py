"""What the engine's table of downlinks says at one tick, in seconds and bit/s, and against the ticks before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .columns import Bools, Columns, Floats, begins
from .engine import Downlink

# The meter's acked rate is over 500 ms; a fall is seen sooner in the newest three ticks.
NEWEST_TICKS = 3
# What feedback in them tells of is no longer than so many times these.
LONGEST_TOLD = 1.5
# Losses of about the last second, of at least so many packets.
RECENTLY, ENOUGH = 1.0, 30.0
# Feedback that comes after so many seconds tells of a gap.
GAP = 1.0
# What a link habitually loses is learnt over so many seconds, and no more than so much is believed to be habit.
HABIT, MOST_HABITUAL = 15.0, 0.3
# A packet may wait for the one in front of it, and radios and receivers are late: that is no queue. It is what two
# packets of mean size take, or what has been usual for some seconds, with twice its deviation; but not longer than so.
USUAL, LONGEST_USUAL = 5.0, 0.060
CALM_TREND, CALM_QUEUE = 0.03, 0.060


@dataclass
class _Past(Columns):
    since: Floats = field(metadata=begins(np.nan))
    acked_packets: Floats = field(metadata=begins(0.0))
    lost_packets: Floats = field(metadata=begins(0.0))
    sent_packets: Floats = field(metadata=begins(0.0))
    acked_bytes: Floats = field(metadata=begins(0.0, width=NEWEST_TICKS + 1))
    sent_bytes: Floats = field(metadata=begins(0.0, width=NEWEST_TICKS + 1))
    at: Floats = field(metadata=begins(np.nan, width=NEWEST_TICKS + 1))
    heard_at: Floats = field(metadata=begins(np.nan, width=NEWEST_TICKS + 1))  # when the newest feedback had come
    recent_lost: Floats = field(metadata=begins(0.0))
    recent_told: Floats = field(metadata=begins(0.0))
    habit: Floats = field(metadata=begins(0.0))
    size: Floats = field(metadata=begins(150.0))
    acked: Floats = field(metadata=begins(0.0))
    usual: Floats = field(metadata=begins(0.0))  # queue, and how far it deviates
    deviation: Floats = field(metadata=begins(0.0))
    heard_packets: Floats = field(metadata=begins(0.0))  # sent when feedback last came
    heard: Floats = field(metadata=begins(-np.inf))  # when it did


@dataclass(frozen=True)
class Measured:
    """One tick; every field but the first two has shape (downlinks,).

    Attributes:
        now: seconds; passed: since the former tick.
        known_for: seconds since the downlink came.
        round_trip, queue: seconds; queue: how long packets wait in the way's queues.
        trend: growth of that wait, seconds a second.
        acked: bit/s that arrived over 500 ms; newest: of what feedback of the last three ticks told of.
        sent: bit/s that was sent over the last three ticks.
        fed: bit/s that arrived when feedback last came; later on `acked` fades.
        age: seconds since the newest feedback; NaN without transport-cc.
        fresh: whether feedback came since the former tick.
        sent_bytes, sent_packets: since it came.
        in_flight: bytes; held: packets that wait in the pacer.
        loss: share of packets lost of late; NaN while too few were sent. habit: what this link always loses.
        usual: seconds of `queue` that are no queue.
        unheard: packets sent since feedback last came.
    """

    now: float
    passed: float
    known_for: Floats
    round_trip: Floats
    queue: Floats
    trend: Floats
    acked: Floats
    newest: Floats
    sent: Floats
    sent_bytes: Floats
    sent_packets: Floats
    fed: Floats
    age: Floats
    fresh: Bools
    in_flight: Floats
    held: Floats
    loss: Floats
    habit: Floats
    usual: Floats
    unheard: Floats


class Measurements:
    """Turns tables into `Measured`."""

    def __init__(self) -> None:
        self._past = _Past.new(np.zeros(0, dtype=np.int64))
        self._at: float | None = None

    def read(self, now: float, rows: Floats) -> Measured:
        """Takes the table at `now`; shape (downlinks, len(Downlink))."""
        number = rows[:, Downlink.PEER].astype(np.int64)
        past = self._past = self._past.follow(number)
        passed = 0.0 if self._at is None else max(now - self._at, 0.0)
        self._at = now
        self._begin(past, now, rows)

        queue = np.maximum(rows[:, Downlink.QUEUE_DELAY_US], 0.0) / 1e6
        acked_packets, sent_packets = rows[:, Downlink.ACKED_PACKETS], rows[:, Downlink.SENT_PACKETS]
        told = acked_packets - past.acked_packets
        age = rows[:, Downlink.FEEDBACK_AGE_US] / 1e6
        fresh = told > 0
        past.acked[fresh] = rows[fresh, Downlink.ACKED_RATE_BPS]
        past.heard_packets[fresh] = sent_packets[fresh]
        # What was lost while nothing came through at all says nothing of what does.
        told = np.where(now - past.heard > GAP, 0.0, told)
        past.heard[fresh] = now
        self._lose(past, passed, told, rows[:, Downlink.LOST_PACKETS], queue)

        packets = sent_packets - past.sent_packets
        size = (rows[:, Downlink.SENT_BYTES] - past.sent_bytes[:, -1]) / np.maximum(packets, 1.0)
        past.size = np.where(packets > 0, past.size + 0.2 * (size - past.size), past.size)
        past.acked_packets, past.sent_packets = acked_packets.copy(), sent_packets.copy()
        for column_, values in ((past.acked_bytes, Downlink.ACKED_BYTES), (past.sent_bytes, Downlink.SENT_BYTES)):
            column_[:, :-1] = column_[:, 1:]
            column_[:, -1] = rows[:, values]
        heard_at = np.where(np.isnan(age), past.since, now - age)
        for column_, times in ((past.at, now), (past.heard_at, heard_at)):
            column_[:, :-1] = column_[:, 1:]
            column_[:, -1] = times
        span = np.maximum(past.at[:, -1] - past.at[:, 0], 0.1)
        # Feedback comes when it will: what it tells of is the time between it and its forerunner, not between ticks.
        # But where nothing was sent for long, it tells of what came since.
        told_span = np.clip(past.heard_at[:, -1] - past.heard_at[:, 0], 0.1, LONGEST_TOLD * span)
        acked = rows[:, Downlink.ACKED_RATE_BPS]
        return Measured(
            now=now,
            passed=passed,
            known_for=now - past.since,
            round_trip=rows[:, Downlink.ROUND_TRIP_US] / 1e6,
            queue=queue,
            trend=rows[:, Downlink.TREND],
            acked=acked,
            newest=(past.acked_bytes[:, -1] - past.acked_bytes[:, 0]) * 8 / told_span,
            sent=(past.sent_bytes[:, -1] - past.sent_bytes[:, 0]) * 8 / span,
            sent_bytes=rows[:, Downlink.SENT_BYTES],
            sent_packets=sent_packets,
            fed=past.acked,
            age=age,
            fresh=fresh,
            in_flight=rows[:, Downlink.IN_FLIGHT_BYTES],
            held=rows[:, Downlink.HELD_PACKETS],
            loss=np.where(past.recent_told >= ENOUGH, past.recent_lost / np.maximum(past.recent_told, 1.0), np.nan),
            habit=past.habit.copy(),
            usual=self._usual(past, passed, fresh, queue, rows[:, Downlink.TREND]),
            unheard=sent_packets - past.heard_packets,
        )

    def forget_loss(self, whose: Bools) -> None:
        """Begins to count anew: something is done about it."""
        self._past.recent_lost[whose] = self._past.recent_told[whose] = 0.0

    def _begin(self, past: _Past, now: float, rows: Floats) -> None:
        new = np.isnan(past.since)
        past.since[new] = now
        past.at[new] = past.heard_at[new] = now
        past.acked_packets[new] = rows[new, Downlink.ACKED_PACKETS]
        past.lost_packets[new] = rows[new, Downlink.LOST_PACKETS]
        past.sent_packets[new] = rows[new, Downlink.SENT_PACKETS]
        past.heard_packets[new] = rows[new, Downlink.SENT_PACKETS]
        past.acked_bytes[new] = rows[new, Downlink.ACKED_BYTES, None]
        past.sent_bytes[new] = rows[new, Downlink.SENT_BYTES, None]

    def _usual(self, past: _Past, passed: float, fresh: Bools, queue: Floats, trend: Floats) -> Floats:
        calm = fresh & (np.abs(trend) < CALM_TREND) & (queue < CALM_QUEUE)
        step = np.where(calm, 1 - np.exp(-passed / USUAL), 0.0)
        past.usual += step * (queue - past.usual)
        past.deviation += step * (np.abs(queue - past.usual) - past.deviation)
        packets = 2 * past.size * 8 / np.maximum(past.acked, 60_000)
        return np.minimum(np.maximum(packets, past.usual + 2 * past.deviation), LONGEST_USUAL)

    def _lose(self, past: _Past, passed: float, told: Floats, lost: Floats, queue: Floats) -> None:
        # What comes late after all makes the count of lost packets fall.
        lost_now = np.where(told > 0, lost - past.lost_packets, 0.0)
        past.lost_packets = lost.copy()
        fade = np.exp(-passed / RECENTLY)
        past.recent_lost = np.maximum(past.recent_lost * fade + lost_now, 0.0)
        past.recent_told = np.maximum(past.recent_told * fade + lost_now + told, 0.0)
        # What is lost behind a queue is lost in it.
        learns = (queue < 0.030) & (lost_now + told > 0)
        share = np.clip(lost_now / np.maximum(lost_now + told, 1.0), 0.0, 1.0)
        step = 1 - np.exp(-passed / HABIT)
        past.habit = np.where(learns, past.habit + step * (share - past.habit), past.habit)
        past.habit = np.clip(past.habit, 0.0, MOST_HABITUAL)
