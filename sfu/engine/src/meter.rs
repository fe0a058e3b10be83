//! What a viewer's feedback says of the way to it: how long packets queue, whether that grows, how much arrives.
//!
//! Measures only; what follows from it is Python's (`sfu/bandwidth.py`). Groups of packets and their delay variation
//! are those of draft-ietf-rmcat-gcc-02, sections 5.2 and 5.3, and of Carlucci et al., "Congestion Control for Web
//! Real-Time Communication" (IEEE/ACM ToN 25(5), 2017). The trend is the regression line through the smoothed sum of
//! these variations that took the place of their Kalman filter.

use crate::clock::Micros;
use crate::counters::Count;
use crate::history::{History, Sent, MOST_TOLD};
use crate::probe::Probe;
use crate::twcc;

const TICK: i64 = 250;
const REFERENCE: i64 = 64_000;
/// A receiver's clock that moved by more against ours was set, or is another receiver's.
const CLOCK_SET: i64 = 10_000_000;
/// draft-ietf-rmcat-gcc-02, section 5.2: packets sent within belong to one group.
const BURST: i64 = 5_000;
/// A longer burst is no burst.
const LONGEST_BURST: i64 = 100_000;
/// Groups further apart say nothing of a trend.
const PAUSE: i64 = 2_000_000;
/// Of the newest variation in the smoothed sum.
const SMOOTHING: f64 = 0.1;
/// Groups that the line is laid through.
const WINDOW: usize = 20;
/// The least delay of as many seconds is the empty path's.
const BASE_SECONDS: usize = 10;
/// The acked rate is one over 25 buckets of 20 ms.
const BUCKET: i64 = 20_000;
const BUCKETS: usize = 25;
/// Feedback this old is late: from here on the acked rate falls, as nothing more is known to have arrived.
const LATE: Micros = 250_000;
const RATE_WINDOW: Micros = BUCKET as Micros * BUCKETS as Micros;
/// Feedback waits for its turn: the quickest word in such a time is the nearest to a round trip.
const QUICKEST: Micros = 250_000;
const SECOND: Micros = 1_000_000;

/// The receiver's clock of arrivals, unwrapped from 24 bits of 64 ms; only differences mean anything.
#[derive(Default)]
struct ReceiverClock {
    last: Option<(i32, i64, Micros)>,
}

impl ReceiverClock {
    /// The time of `reference` in microseconds, and whether it goes on from the former one.
    fn at(&mut self, reference: i32, now: Micros) -> (i64, bool) {
        let (at, goes_on) = match self.last {
            Some((before, at, then)) => {
                let step = i64::from((reference.wrapping_sub(before) << 8) >> 8) * REFERENCE;
                let passed = now.saturating_sub(then) as i64;
                if (step - passed).abs() < CLOCK_SET {
                    (at + step, true)
                } else {
                    (now as i64, false)
                }
            }
            None => (now as i64, false),
        };
        self.last = Some((reference, at, now));
        (at, goes_on)
    }
}

/// Packets that were sent, or arrived, as one burst.
#[derive(Clone, Copy)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
}

/// The slope of queueing delay over time.
#[derive(Default)]
struct Trend {
    group: Option<Group>,
    before: Option<Group>,
    sum: f64,
    smoothed: f64,
    points: Vec<(f64, f64)>,
    next: usize,
}

impl Trend {
    fn take(&mut self, sent: i64, arrival: i64) {
        let group = match &mut self.group {
            Some(group) => group,
            None => return self.begin(sent, arrival),
        };
        if sent < group.first_sent {
            return; // reordered
        }
        let later = arrival - group.last_arrival;
        let one_burst =
            later < BURST && later < sent - group.last_sent && arrival - group.first_arrival < LONGEST_BURST;
        if sent - group.first_sent <= BURST || one_burst {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return;
        }
        let whole = *group;
        if let Some(before) = self.before.replace(whole) {
            let between = whole.last_arrival - before.last_arrival;
            if !(0..=PAUSE).contains(&between) {
                *self = Trend::default();
            } else {
                self.sum += (between - (whole.last_sent - before.last_sent)) as f64;
                self.smoothed += SMOOTHING * (self.sum - self.smoothed);
                self.point(whole.last_arrival as f64, self.smoothed);
            }
        }
        self.begin(sent, arrival);
    }

    fn begin(&mut self, sent: i64, arrival: i64) {
        self.group = Some(Group {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        });
    }

    fn point(&mut self, x: f64, y: f64) {
        if self.points.len() < WINDOW {
            self.points.push((x, y));
        } else {
            self.points[self.next] = (x, y);
        }
        self.next = (self.next + 1) % WINDOW;
    }

    /// Least squares; 0 until the window is full.
    fn slope(&self) -> f64 {
        if self.points.len() < WINDOW {
            return 0.0;
        }
        let n = WINDOW as f64;
        let (sum_x, sum_y) = self.points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        let (mean_x, mean_y) = (sum_x / n, sum_y / n);
        let (above, below) = self.points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            let dx = x - mean_x;
            (above + dx * (y - mean_y), below + dx * dx)
        });
        if below > 0.0 {
            above / below
        } else {
            0.0
        }
    }
}

/// The least one-way delay of the last ten seconds; delays are on two clocks, so only their differences mean anything.
struct Base {
    seconds: [i64; BASE_SECONDS],
    second: u64,
}

impl Base {
    fn new() -> Self {
        Self {
            seconds: [i64::MAX; BASE_SECONDS],
            second: 0,
        }
    }

    fn take(&mut self, delay: i64, now: Micros) {
        let second = now / SECOND;
        let passed = second.saturating_sub(self.second).min(BASE_SECONDS as u64);
        for i in 0..passed {
            self.seconds[(second - i) as usize % BASE_SECONDS] = i64::MAX;
        }
        self.second = second;
        let place = &mut self.seconds[second as usize % BASE_SECONDS];
        *place = delay.min(*place);
    }

    fn least(&self) -> i64 {
        self.seconds.iter().copied().fold(i64::MAX, i64::min)
    }
}

/// Bytes by the time of their arrival.
#[derive(Default)]
struct AckedRate {
    buckets: [u64; BUCKETS + 1],
    first: i64,
    newest: Option<i64>,
}

impl AckedRate {
    fn take(&mut self, arrival: i64, bytes: u16) {
        let bucket = arrival.div_euclid(BUCKET);
        let kept = self.buckets.len() as i64;
        match self.newest {
            Some(newest) if bucket <= newest - kept => return,
            Some(newest) => {
                for passed in (newest + 1).max(bucket - kept + 1)..=bucket {
                    self.buckets[passed.rem_euclid(kept) as usize] = 0;
                }
                self.newest = Some(newest.max(bucket));
            }
            None => {
                self.first = bucket;
                self.newest = Some(bucket);
            }
        }
        self.buckets[bucket.rem_euclid(kept) as usize] += u64::from(bytes);
    }

    /// bit/s over the full buckets; 0 before there are any.
    fn bits_per_second(&self) -> f64 {
        let newest = match self.newest {
            Some(newest) => newest,
            None => return 0.0,
        };
        let span = (newest - self.first).clamp(0, BUCKETS as i64);
        if span == 0 {
            return 0.0;
        }
        let kept = self.buckets.len() as i64;
        let bytes: u64 = (newest - span..newest)
            .map(|bucket| self.buckets[bucket.rem_euclid(kept) as usize])
            .sum();
        bytes as f64 * 8_000_000.0 / (span * BUCKET) as f64
    }
}

/// One downlink's figures, from its receiver's transport-cc feedback and RTCP.
pub struct Meter {
    clock: ReceiverClock,
    trend: Trend,
    base: Base,
    rate: AckedRate,
    queue_delay: i64,
    newest: u64,
    /// When the newest feedback came.
    feedback_at: Option<Micros>,
    /// Until when `quickest` is gathered: the least time from sending to word of it.
    quickest_until: Micros,
    quickest: Micros,
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb), bit/s.
    pub remb: u64,
    /// Repairs asked for.
    pub nacks: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            clock: ReceiverClock::default(),
            trend: Trend::default(),
            base: Base::new(),
            rate: AckedRate::default(),
            queue_delay: 0,
            newest: 0,
            feedback_at: None,
            quickest_until: 0,
            quickest: Micros::MAX,
            remb: 0,
            nacks: 0,
        }
    }
}

impl Meter {
    /// Takes one transport-cc feedback: its FCI. Returns a sample of the round trip, a few times a second: the
    /// least time from a packet's sending to word of it.
    ///
    /// Errors: it is malformed, or tells of more packets than anybody has in flight.
    pub fn on_feedback(
        &mut self,
        now: Micros,
        fci: &[u8],
        history: &mut History,
        probe: &mut Probe,
    ) -> Result<Option<Micros>, Count> {
        let feedback = twcc::parse(fci).map_err(|_| Count::DropRtcpMalformed)?;
        if feedback.count > MOST_TOLD {
            return Err(Count::DropRtcpMalformed);
        }
        let (mut arrival, goes_on) = self.clock.at(feedback.reference, now);
        if !goes_on {
            self.forget_delays();
        }
        let (mut queued, mut told) = (0, 0);
        let mut newest_sent = None;
        for (sequence, delta) in feedback.iter() {
            let delta = match delta {
                Some(delta) => i64::from(delta) * TICK,
                None => {
                    history.missing(sequence);
                    continue;
                }
            };
            arrival += delta;
            if let Some((number, sent)) = history.received(sequence) {
                if !sent.again {
                    queued += self.take(now, number, &sent, arrival);
                    told += 1;
                    probe.on_received(&sent, arrival);
                    newest_sent = newest_sent.max(Some(sent.at));
                }
            }
        }
        probe.on_feedback(now, history.told());
        if told > 0 {
            self.queue_delay = queued / told;
            self.feedback_at = Some(now);
        }
        Ok(newest_sent.and_then(|at| self.round_trip(now, at)))
    }

    /// Returns how long the packet queued.
    fn take(&mut self, now: Micros, number: u64, sent: &Sent, arrival: i64) -> i64 {
        let delay = arrival - sent.at as i64;
        self.base.take(delay, now);
        self.rate.take(arrival, sent.bytes);
        if number > self.newest {
            self.newest = number;
            self.trend.take(sent.at as i64, arrival);
        }
        delay - self.base.least()
    }

    fn round_trip(&mut self, now: Micros, sent_at: Micros) -> Option<Micros> {
        self.quickest = self.quickest.min(now.saturating_sub(sent_at));
        if now < self.quickest_until {
            return None;
        }
        self.quickest_until = now + QUICKEST;
        Some(std::mem::replace(&mut self.quickest, Micros::MAX))
    }

    /// The way has changed: what was its delay says nothing of the new one's.
    pub fn forget_delays(&mut self) {
        self.trend = Trend::default();
        self.base = Base::new();
        self.rate = AckedRate::default();
        self.queue_delay = 0;
    }

    /// Microseconds that packets wait in the path's queues: their one-way delay against the least of the last ten
    /// seconds, the mean over what the newest feedback told of.
    pub fn queue_delay(&self) -> f64 {
        self.queue_delay as f64
    }

    /// By how much queueing delay grows over time, without a unit: 0.1 is 100 ms each second.
    pub fn trend(&self) -> f64 {
        self.trend.slope()
    }

    /// bit/s that arrived, over about the last 500 ms that feedback tells of; falls where feedback fails to come.
    pub fn acked_rate(&self, now: Micros) -> f64 {
        let silent = self.feedback_at.map_or(0, |at| now.saturating_sub(at));
        let late = silent.saturating_sub(LATE);
        self.rate.bits_per_second() * RATE_WINDOW as f64 / (RATE_WINDOW + late) as f64
    }

    /// Since the newest feedback, in microseconds.
    pub fn feedback_age(&self, now: Micros) -> Option<Micros> {
        self.feedback_at.map(|at| now.saturating_sub(at))
    }
}

#[cfg(test)]
mod tests;
