//! Whose clock says what (DESIGN, "Clocks"): a slot's RTP time is one line against the server's clock for life,
//! and a source's RTP time is mapped to that clock by its sender reports, before the first by its arrival.

/// Microseconds since the shard's start, on its own monotonic axis.
pub type Micros = u64;

/// Server time may be asked for moments before the shard's start, hence signed.
pub type Instant = i64;

const NTP_SECOND: u64 = 1 << 32;
const KEPT_REPORTS: usize = 8;
/// At most this much an hour-long drift of a publisher's clock may move the mapping with each report.
const SLEW: i64 = 1_000;
/// A capture time further from arrival than this is no capture time: the publisher's report is wrong.
const PLAUSIBLE_PAST: i64 = 2_000_000;
const PLAUSIBLE_FUTURE: i64 = 200_000;

/// The server's wall clock as sender reports show it; a step of the system's clock does not reach it.
#[derive(Clone, Copy)]
pub struct ServerClock {
    /// NTP timestamp (RFC 3550, section 4: 32.32 fixed point) of the shard's start.
    pub ntp_at_start: u64,
}

impl ServerClock {
    pub fn ntp(&self, now: Micros) -> u64 {
        let seconds = now / 1_000_000;
        let fraction = (now % 1_000_000) * NTP_SECOND / 1_000_000;
        self.ntp_at_start
            .wrapping_add(seconds.wrapping_mul(NTP_SECOND))
            .wrapping_add(fraction)
    }
}

/// An NTP timestamp in microseconds since the NTP epoch.
pub fn ntp_micros(ntp: u64) -> i64 {
    ((ntp >> 32) * 1_000_000 + (((ntp & 0xffff_ffff) * 1_000_000) >> 32)) as i64
}

/// A slot's RTP clock.
#[derive(Clone, Copy)]
pub struct Line {
    pub base: u32,
    pub rate: u32,
}

impl Line {
    pub fn at(&self, instant: Instant) -> u32 {
        let ticks = i128::from(instant) * i128::from(self.rate) / 1_000_000;
        self.base.wrapping_add(ticks as u32)
    }
}

/// How far the server's clock is ahead of one publisher's, from the reports that came quickest.
#[derive(Default)]
pub struct PublisherClock {
    ahead: Option<i64>,
    recent: [i64; KEPT_REPORTS],
    reports: usize,
}

impl PublisherClock {
    /// Takes a sender report's NTP time; returns microseconds to add to the publisher's clock.
    pub fn on_sender_report(&mut self, ntp: u64, now: Micros) -> i64 {
        let sample = now as i64 - ntp_micros(ntp);
        self.recent[self.reports % KEPT_REPORTS] = sample;
        self.reports += 1;
        let kept = &self.recent[..self.reports.min(KEPT_REPORTS)];
        let quickest = kept.iter().copied().min().unwrap_or(sample);
        let ahead = match self.ahead {
            // A publisher whose clock was set: start over rather than slew for hours.
            Some(ahead) if (sample - ahead).abs() > PLAUSIBLE_PAST => {
                self.recent[0] = sample;
                self.reports = 1;
                sample
            }
            Some(ahead) => ahead + (quickest - ahead).clamp(-SLEW, SLEW),
            None => sample,
        };
        self.ahead = Some(ahead);
        ahead
    }
}

/// One source's RTP time against the server's clock.
pub struct SourceClock {
    rate: u32,
    anchor: Option<(u32, Instant)>,
}

impl SourceClock {
    pub fn new(rate: u32) -> Self {
        Self { rate, anchor: None }
    }

    /// A sender report said that `rtp` was at `instant`.
    pub fn on_sender_report(&mut self, rtp: u32, instant: Instant) {
        self.anchor = Some((rtp, instant));
    }

    /// When `rtp` was captured; anchors by arrival where nothing better is known.
    pub fn capture(&mut self, rtp: u32, now: Micros) -> Instant {
        let now = now as i64;
        if let Some((from, at)) = self.anchor {
            let ticks = i64::from(rtp.wrapping_sub(from) as i32);
            let instant = at + ticks * 1_000_000 / i64::from(self.rate);
            if instant <= now + PLAUSIBLE_FUTURE && instant >= now - PLAUSIBLE_PAST {
                // Half the number space away, a timestamp's sign would turn.
                if ticks.abs() > 1 << 29 {
                    self.anchor = Some((rtp, instant));
                }
                return instant;
            }
        }
        self.anchor = Some((rtp, now));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_counts_seconds_in_the_upper_half() {
        let clock = ServerClock { ntp_at_start: 5 << 32 };
        assert_eq!(clock.ntp(1_500_000), 6 << 32 | 1 << 31);
        assert_eq!(ntp_micros(6 << 32 | 1 << 31), 6_500_000);
    }

    #[test]
    fn a_line_wraps_and_goes_on() {
        let line = Line {
            base: u32::MAX,
            rate: 90_000,
        };
        assert_eq!(line.at(0), u32::MAX);
        assert_eq!(line.at(1_000_000), 89_999);
        assert_eq!(line.at(-1_000_000), u32::MAX - 90_000);
    }

    #[test]
    fn sound_and_picture_of_one_publisher_agree_after_their_reports() {
        let mut publisher = PublisherClock::default();
        let (mut sound, mut picture) = (SourceClock::new(48_000), SourceClock::new(90_000));
        // Both captured at publisher time 100 s; the picture's first packet came 80 ms later than the sound's.
        sound.capture(1_000, 1_000_000);
        picture.capture(9_000, 1_080_000);
        let ntp = 100u64 << 32;
        let ahead = publisher.on_sender_report(ntp, 1_100_000);
        sound.on_sender_report(1_000, ntp_micros(ntp) + ahead);
        let ahead = publisher.on_sender_report(ntp, 1_100_500);
        picture.on_sender_report(9_000, ntp_micros(ntp) + ahead);
        let difference = sound.capture(1_000, 1_200_000) - picture.capture(9_000, 1_200_000);
        assert!(difference.abs() <= SLEW, "{difference} us apart");
    }

    #[test]
    fn a_report_from_nowhere_does_not_move_a_source() {
        let mut source = SourceClock::new(90_000);
        source.capture(0, 10_000_000);
        source.on_sender_report(0, 4_000_000_000);
        assert_eq!(source.capture(9_000, 10_100_000), 10_100_000);
    }
}
