"""Many drop-tail links at once, in virtual time: what the engine would measure of each, as numpy arrays.

Steps of 20 ms. What is sent to a viewer in a step is a group, as the meter's groups of packets are (`meter.rs`): sound,
pictures in packets that the pacer lets go, padding of a probe. A link serves its queue at its present rate; what
finds the queue full is dropped, what has passed it may be lost on the air. Each 100 ms the receiver tells what came,
which is known after a round trip, or lost on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vardrum.sfu.engine import Downlink

Floats = NDArray[np.float64]

STEP, TICK = 0.020, 0.100
STEPS = 5
# Bytes on the wire: a packet of pictures, of padding; packets of sound go each step.
PICTURE_PACKET, PADDING_PACKET = 1000.0, 330.0
QUEUE, LEAST_QUEUE = 0.2, 8000.0
# A policer lets so many seconds of its rate through at once.
POLICED, LEAST_POLICED = 0.03, 6000.0
GROUPS = 512
WINDOW, BUCKETS, BASE = 20, 25, 10
FAR = 24
FRAMES = 20
STALL = 0.060
# As `pacer.rs` has them: a burst and the debt in seconds, the least burst in bytes, how long a picture waits.
BURST, DEBT, LEAST_BURST, HELD, HELD_AFTER_KEY = 0.010, 0.100, 2500.0, 0.5, 0.9
# No more groups arrive in a step: it only matters when a link is alive again.
MOST_GROUPS = 8


@dataclass(frozen=True)
class Network:
    """What links are; arrays have shape (links,).

    Attributes:
        capacity: shape (ticks, links), bit/s in each 100 ms; 0 in a dead zone.
        round_trip: seconds on an empty link.
        loss: share of packets lost after the queue; burst: mean length of a loss, 1 for independent ones.
        loss_back: share of feedback lost.
        jitter: seconds; mean of an exponential delay of each group.
        stalls: how often in a second the way, or the receiver, stands still for 60 ms on average.
        detour: seconds that the way is longer from half of the time on.
        policed: where what doesn't fit into 10 kB at the present rate is dropped, and nothing queues.
    """

    capacity: NDArray[np.float32]
    round_trip: Floats
    loss: Floats
    burst: Floats
    loss_back: Floats
    jitter: Floats
    stalls: Floats
    detour: Floats
    policed: NDArray[np.bool_]

    @property
    def count(self) -> int:
        return self.capacity.shape[1]

    @property
    def ticks(self) -> int:
        return self.capacity.shape[0]


@dataclass
class Traffic:
    """What is asked of the engine for the next tick; shape (links,), bit/s on the wire.

    Attributes:
        sound, picture: what comes from publishers; key: where a picture begins anew, with a key frame.
        pace: the engine's target; probes: (link's number, id, bit/s, milliseconds).
    """

    sound: Floats
    picture: Floats
    key: NDArray[np.bool_]
    pace: Floats
    probes: list[tuple[int, int, int, int]] = field(default_factory=list)


class Links:
    """All links of a network; the engine's number of a link is its index and 1."""

    def __init__(self, network: Network, seed: int) -> None:
        n = network.count
        self.network = network
        self.rng = np.random.default_rng(seed)
        self.step = 0
        self.now = 0.0

        def zeros(*shape: int) -> Floats:
            return np.zeros((*shape, n))

        self.backlog, self.credit, self.sent, self.sent_packets = zeros(), zeros(), zeros(), zeros()
        self.held_dropped, self.queue_dropped, self.offered = zeros(), zeros(), zeros()
        self.key_until = np.full(n, -1.0)
        self.probe_id, self.probe_rate, self.probe_from, self.probe_until, self.probe_sent = (zeros() for _ in range(5))
        self.probe_last = zeros()
        # The queue: cumulative bytes in and out, and groups by step.
        self.entered, self.left = zeros(), zeros()
        self.end, self.bytes, self.packets, self.lost, self.probe, self.sent_by = (zeros(GROUPS) for _ in range(6))
        self.at = zeros(GROUPS)
        self.next = np.zeros(n, dtype=np.int64)
        self.owed = zeros()  # packets of a burst of losses that are still to come
        # The receiver.
        self.phase = self.rng.integers(0, STEPS, n)
        self.heard = zeros(5)  # since the last feedback: packets, bytes, lost, sum of delays; and lost not yet noticed
        self.acked, self.acked_bytes, self.told_lost = zeros(), zeros(), zeros()
        self.buckets = zeros(FAR * 2)
        self.base = np.full((BASE, n), np.inf)
        self.delay = zeros()
        self.last_sent, self.last_arrival = zeros(), np.full(n, np.nan)
        self.sum, self.smoothed = zeros(), zeros()
        self.points_x, self.points_y = zeros(WINDOW), zeros(WINDOW)
        self.points = np.zeros(n, dtype=np.int64)
        self.slope = zeros()
        self.told_sent = zeros()
        self.first = np.full(n, -1)
        self.probe_first, self.probe_arrival, self.probe_bytes = np.full(n, np.nan), zeros(), zeros()
        self.probe_seen, self.probe_result = zeros(), zeros()
        # What the server will know, by the step in which it was told.
        self.columns = np.zeros((FAR, 9, n))
        self.columns[:, 8] = np.nan
        self.latched = self.columns[0].copy()
        self.away = np.minimum(np.round(network.round_trip / STEP), FAR - 1).astype(np.int64)
        self.stalled_until = np.full(n, -1.0)
        self.every = np.arange(n)

    @property
    def queue(self) -> Floats:
        """Seconds that what enters now will wait."""
        capacity = self.network.capacity[min(self.step // STEPS, self.network.ticks - 1)]
        return (self.entered - self.left) * 8 / np.maximum(capacity, 10_000.0)

    def rows(self) -> Floats:
        """The engine's table of downlinks; shape (links, len(Downlink))."""
        seen = self.columns[(self.step - 1 - self.away) % FAR, :, self.every]
        rows = np.zeros((self.network.count, len(Downlink)))
        rows[:, Downlink.PEER] = self.every + 1
        rows[:, Downlink.SENT_PACKETS] = self.sent_packets
        rows[:, Downlink.SENT_BYTES] = self.sent
        rows[:, Downlink.ACKED_PACKETS] = seen[:, 0]
        rows[:, Downlink.ACKED_BYTES] = seen[:, 1]
        rows[:, Downlink.LOST_PACKETS] = seen[:, 2]
        rows[:, Downlink.ROUND_TRIP_US] = self.network.round_trip * 1e6
        rows[:, Downlink.QUEUE_DELAY_US] = seen[:, 3] * 1e6
        rows[:, Downlink.TREND] = seen[:, 4]
        age = self.now - seen[:, 8] - self.network.round_trip
        late = np.maximum(np.nan_to_num(age) - 0.25, 0.0)
        rows[:, Downlink.ACKED_RATE_BPS] = seen[:, 5] * 0.5 / (0.5 + late)
        rows[:, Downlink.SOUND_LOSS] = rows[:, Downlink.PICTURE_LOSS] = np.nan
        rows[:, Downlink.PROBE_ID] = self.probe_id
        done = (seen[:, 6] > 0) & (self.probe_seen == self.probe_id) & (self.now > self.probe_until)
        rows[:, Downlink.PROBE_RATE_BPS] = np.where(done, seen[:, 6], 0.0)
        rows[:, Downlink.FEEDBACK_AGE_US] = age * 1e6
        rows[:, Downlink.IN_FLIGHT_BYTES] = self.sent - seen[:, 7]
        rows[:, Downlink.HELD_PACKETS] = np.ceil(self.backlog / PICTURE_PACKET)
        return rows

    def run(self, traffic: Traffic) -> None:
        """One tick of 100 ms."""
        for number, id_, rate, milliseconds in traffic.probes:
            i = number - 1
            self.probe_id[i], self.probe_rate[i], self.probe_sent[i] = id_, rate, 0.0
            self.probe_from[i] = self.now
            self.probe_until[i] = self.now + round(milliseconds / 1000 / STEP) * STEP
            self.probe_first[i], self.probe_bytes[i], self.probe_result[i], self.probe_last[i] = np.nan, 0.0, 0.0, 0.0
            self.columns[:, 6, i] = self.latched[6, i] = 0.0
        self.key_until[traffic.key] = self.now + HELD_AFTER_KEY
        self.backlog[traffic.picture == 0] = 0.0
        for _ in range(STEPS):
            self._send(traffic)
            self._serve()
            self._tell()
            self.step += 1
            self.now = self.step * STEP

    def _send(self, traffic: Traffic) -> None:
        n, k = self.network.count, self.step
        frame = np.zeros(n)
        if k * 2 // STEPS != (k - 1) * 2 // STEPS:
            size = traffic.picture / FRAMES / 8
            frame = size * self.rng.lognormal(-0.03, 0.25, n)
            starts = (self.key_until > self.now) & (self.key_until - self.now > HELD_AFTER_KEY - 2.5 * STEP)
            frame = np.where(starts, 5 * size, frame)
        self.backlog += frame
        probing = self.now < self.probe_until
        rate = np.maximum(traffic.pace, np.where(probing, self.probe_rate, 0.0))
        sound = traffic.sound * STEP / 8
        burst = np.maximum(rate * BURST / 8, LEAST_BURST)
        self.credit = np.minimum(self.credit, burst) + rate * STEP / 8 - sound
        packets = np.ceil(np.minimum(np.maximum(self.credit, 0.0), self.backlog) / PICTURE_PACKET)
        picture = np.minimum(packets * PICTURE_PACKET, self.backlog)
        self.backlog -= picture
        self.credit = np.maximum(self.credit - picture, -np.maximum(traffic.pace * DEBT / 8, LEAST_BURST))
        longest = np.where(self.key_until > self.now, HELD_AFTER_KEY, HELD)
        old = self.backlog * 8 > longest * traffic.pace
        self.held_dropped += np.where(old, self.backlog, 0.0)
        self.backlog[old] = 0.0

        planned = np.minimum(self.now + STEP, self.probe_until) - self.probe_from
        due = np.where(probing, planned * self.probe_rate / 8 - self.probe_sent - sound - picture, 0.0)
        padding = np.ceil(np.maximum(due, 0.0) / PADDING_PACKET)
        self.probe_sent += np.where(probing, sound + picture + padding * PADDING_PACKET, 0.0)
        total = sound + picture + padding * PADDING_PACKET
        count = packets + padding + (sound > 0)
        self.sent += total
        self.sent_packets += count
        self.offered += count
        self.probe_last = np.where(probing, k, self.probe_last)
        self._enqueue(k % GROUPS, total, count, np.where(probing, self.probe_id, 0.0))

    def _enqueue(self, slot: int, total: Floats, count: Floats, probe: Floats) -> None:
        network = self.network
        capacity = network.capacity[min(self.step // STEPS, network.ticks - 1)]
        most = np.where(
            network.policed,
            np.maximum(POLICED * capacity / 8, LEAST_POLICED),
            np.maximum(QUEUE * capacity / 8, LEAST_QUEUE),
        )
        room = np.maximum(most - (self.entered - self.left), 0.0)
        share = np.minimum(room / np.maximum(total, 1.0), 1.0)
        taken = np.where(share < 1.0, np.floor(count * share), count)
        dropped = count - taken
        size = np.where(count > 0, total * taken / np.maximum(count, 1.0), 0.0)
        self.queue_dropped += dropped
        self.entered += size
        # On the air.
        begun = self.rng.poisson(taken * network.loss / network.burst)
        some = np.flatnonzero(begun)
        self.owed += begun
        self.owed[some] += self.rng.negative_binomial(begun[some], 1 / network.burst[some])
        lost = np.minimum(self.owed, taken)
        self.owed -= lost
        self.end[slot], self.bytes[slot], self.packets[slot] = self.entered, size, taken
        self.lost[slot], self.probe[slot], self.at[slot] = lost, probe, self.now
        self.sent_by[slot] = self.sent
        self.heard[4] += dropped  # told with what arrives next

    def _serve(self) -> None:
        capacity = self.network.capacity[min(self.step // STEPS, self.network.ticks - 1)].astype(np.float64)
        before = self.left
        self.left = np.minimum(before + capacity * STEP / 8, self.entered)
        jitter = self.rng.exponential(1.0, self.network.count) * self.network.jitter
        away = self.network.round_trip / 2
        if self.step >= self.network.ticks * STEPS // 2:
            away = away + self.network.detour
        stall = np.flatnonzero(self.rng.random(self.network.count) < self.network.stalls * STEP)
        self.stalled_until[stall] = self.now + self.rng.exponential(STALL, len(stall))
        links = self.every
        # What has waited for ten seconds is given up by the network.
        overrun = self.next < self.step - GROUPS + 2
        self.next[overrun] += 1
        for _ in range(MOST_GROUPS):
            slot = self.next[links] % GROUPS
            ready = (self.next[links] <= self.step) & (self.end[slot, links] <= self.left[links] + 1e-6)
            ready &= self.stalled_until[links] < self.now + STEP  # else the receiver has nothing to tell yet
            links = links[ready]
            if not len(links):
                break
            slot = slot[ready]
            waited = (self.end[slot, links] - before[links]) * 8 / np.maximum(capacity[links], 1.0)
            arrival = np.maximum(self.now + np.clip(waited, 0.0, STEP) + jitter[links], self.stalled_until[links])
            arrival += away[links]
            self._receive(links, slot, arrival)
            self.next[links] += 1

    def _receive(self, links: NDArray[np.int64], slot: NDArray[np.int64], arrival: Floats) -> None:
        count, lost = self.packets[slot, links], self.lost[slot, links]
        came = count > lost
        # Lost ones are told of when something behind them came.
        self.heard[4, links] += lost
        if not came.all():
            links, slot, arrival, count, lost = links[came], slot[came], arrival[came], count[came], lost[came]
        if not len(links):
            return
        arrived = count - lost
        size = self.bytes[slot, links] * arrived / count
        sent = self.at[slot, links]
        delay = arrival - sent
        second = int(self.now) % BASE
        self.base[second, links] = np.minimum(self.base[second, links], delay)
        heard = self.heard
        heard[0, links] += arrived
        heard[1, links] += size
        heard[2, links] += heard[4, links]
        heard[4, links] = 0.0
        heard[3, links] += delay * arrived
        self.buckets[self.step % (FAR * 2), links] += size
        self.told_sent[links] = self.sent_by[slot, links]
        first = self.first[links] < 0
        self.first[links[first]] = self.step
        self._probe(links, slot, arrival, size)

        between = arrival - self.last_arrival[links]
        known = between <= 2.0
        reset = links[~known]
        self.sum[reset] = self.smoothed[reset] = 0.0
        self.points[reset] = 0
        on = links[known]
        self.sum[on] += between[known] - (sent[known] - self.last_sent[on])
        self.smoothed[on] += 0.1 * (self.sum[on] - self.smoothed[on])
        at = self.points[on] % WINDOW
        self.points_x[at, on] = arrival[known]
        self.points_y[at, on] = self.smoothed[on]
        self.points[on] += 1
        self.last_arrival[links], self.last_sent[links] = arrival, sent

    def _probe(self, links: NDArray[np.int64], slot: NDArray[np.int64], arrival: Floats, size: Floats) -> None:
        part = (self.probe[slot, links] > 0) & (self.probe[slot, links] == self.probe_id[links])
        if part.any():
            mine = links[part]
            began = np.isnan(self.probe_first[mine])
            self.probe_bytes[mine] += np.where(began, 0.0, size[part])
            self.probe_first[mine] = np.where(began, arrival[part], self.probe_first[mine])
            self.probe_arrival[mine] = arrival[part]
        behind = (self.next[links] >= self.probe_last[links]) & (self.probe_last[links] > 0)
        mine = links[behind & (self.now >= self.probe_until[links] - STEP)]
        time = self.probe_arrival[mine] - self.probe_first[mine]
        ok = time > 0
        self.probe_result[mine[ok]] = self.probe_bytes[mine[ok]] * 8 / time[ok]
        self.probe_seen[mine] = self.probe_id[mine]

    def _tell(self) -> None:
        if self.step % 50 == 49:
            self.base[(int(self.now) + 1) % BASE] = np.inf
        telling = np.flatnonzero((self.phase == self.step % STEPS) & (self.heard[0] > 0))
        if len(telling):
            gone = self.rng.random(len(telling)) < self.network.loss_back[telling]
            lost = telling[gone]
            for earlier in range(STEPS):
                self.buckets[(self.step - earlier) % (FAR * 2), lost] = 0.0
            told = telling[~gone]
            heard = self.heard[:, told]
            self.acked[told] += heard[0]
            self.acked_bytes[told] += heard[1]
            self.told_lost[told] += heard[2]
            self.delay[told] = heard[3] / heard[0] - self.base[:, told].min(axis=0)
            x, y = self.points_x[:, told], self.points_y[:, told]
            x = x - x.mean(axis=0)
            below = np.maximum((x * x).sum(axis=0), 1e-9)
            self.slope[told] = np.where(self.points[told] >= WINDOW, (x * (y - y.mean(axis=0))).sum(axis=0) / below, 0)
            span = np.clip(self.step - self.first[told], 1, BUCKETS)
            back = np.arange(1, BUCKETS + 1)
            rate = self.buckets[np.ix_((self.step - back) % (FAR * 2), told)].sum(axis=0) * 8 / (span * STEP)
            self.latched[:, told] = (
                self.acked[told],
                self.acked_bytes[told],
                self.told_lost[told],
                self.delay[told],
                self.slope[told],
                rate,
                self.probe_result[told],
                self.told_sent[told],
                np.full(len(told), self.now),
            )
            self.heard[:4, telling] = 0.0
        self.buckets[(self.step + 1) % (FAR * 2)] = 0.0
        self.columns[self.step % FAR] = self.latched
