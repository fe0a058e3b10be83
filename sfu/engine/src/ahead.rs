//! How far a key frame has put a layer's encoder ahead of its rate: it leaves frames out until it is back at it.

use crate::clock::Micros;

/// A rate is the mean over about so long, and over no less than the second at first.
const MEMORY: f64 = 4e6;
const LEAST: f64 = 5e5;
/// Bytes each microsecond, before anything but a key frame has come: 500 kbit/s.
const UNKNOWN: f64 = 0.0625;
/// What an encoder makes up for at most. Key frames of a noisy camera take a second of its rate (60 kB of 500 kbit/s),
/// and libvpx codes nothing before its buffer of another second holds something again.
const MOST: Micros = 1_500_000;

/// The time that key frames take at the mean rate of the others, which is what rate controllers of encoders steer by
/// (libvpx: `rc_buf_sz`, `rc_dropframe_thresh`).
#[derive(Default)]
pub struct Ahead {
    bytes: f64,
    span: f64,
    at: Micros,
    /// The timestamp of the newest key frame.
    key: Option<u32>,
    until: Micros,
}

impl Ahead {
    /// Takes a packet of the encoder's; `begins_key`: a key frame begins with it.
    pub fn on_packet(&mut self, now: Micros, bytes: usize, timestamp: u32, begins_key: bool) {
        if self.at > 0 {
            let passed = now.saturating_sub(self.at) as f64;
            let fade = (-passed / MEMORY).exp();
            self.bytes *= fade;
            self.span = self.span * fade + MEMORY * (1.0 - fade);
        }
        self.at = now;
        if begins_key {
            self.key = Some(timestamp);
        }
        if self.key == Some(timestamp) {
            let rate = if self.bytes > 0.0 {
                self.bytes / self.span.max(LEAST)
            } else {
                UNKNOWN
            };
            self.until = (self.until.max(now) + (bytes as f64 / rate) as Micros).min(now + MOST);
        } else {
            self.bytes += bytes as f64;
        }
    }

    /// When it is back at its rate.
    pub fn until(&self) -> Micros {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Micros = 50_000;

    #[test]
    fn a_key_frame_puts_an_encoder_ahead_for_as_long_as_it_takes_at_the_mean_rate() {
        let mut ahead = Ahead::default();
        let mut now = 1_000_000;
        for number in 0..200 {
            ahead.on_packet(now, 3_000, number, false);
            now += FRAME;
        }
        assert_eq!(ahead.until(), 0);
        // Ten frames' worth in three packets.
        for part in 0..3 {
            ahead.on_packet(now, 10_000, 200, part == 0);
        }
        let rests = ahead.until() - now;
        assert!((400_000..550_000).contains(&rests), "{rests}");
        ahead.on_packet(now, 300_000, 201, true);
        assert_eq!(ahead.until(), now + MOST);
    }

    #[test]
    fn of_the_first_key_frame_the_rate_is_not_known_yet() {
        let mut ahead = Ahead::default();
        ahead.on_packet(1_000_000, 40_000, 0, true);
        assert_eq!(ahead.until(), 1_640_000);
    }
}
