//! How far a key frame has put a layer's encoder ahead of its rate: it leaves frames out until it is back at it.

use crate::clock::Micros;

/// A rate is the mean over about so long, and over no less than the second at first.
const MEMORY: f64 = 4e6;
const LEAST: f64 = 5e5;
/// Bytes each microsecond, before anything but a key frame has come: 500 kbit/s.
const UNKNOWN: f64 = 0.0625;
/// What an encoder makes up for at most. Key frames of a noisy camera, and the pictures that make them sharp, take a second
/// of its rate (60 kB of 500 kbit/s), and libvpx codes nothing before its buffer of another second holds something again.
const MOST: Micros = 1_500_000;
/// For so long behind a key frame what comes sooner than at the rate is of it: libvpx codes the key frame itself coarsely
/// (11 kB), and in the four pictures behind it what is missing (69 kB).
const SHARPENED: Micros = 1_000_000;

/// The time that key frames, and what is coded too large behind them, take at the mean rate, which is what rate
/// controllers of encoders steer by (libvpx: `rc_buf_sz`, `rc_dropframe_thresh`).
#[derive(Default)]
pub struct Ahead {
    bytes: f64,
    span: f64,
    at: Micros,
    /// The newest key frame: its timestamp, when it began, and the mean rate before it, in bytes a microsecond.
    key: Option<u32>,
    began: Micros,
    rate: f64,
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
            self.began = now;
            self.rate = match self.bytes > 0.0 {
                true => self.bytes / self.span.max(LEAST),
                false => UNKNOWN,
            };
        }
        let key = self.key == Some(timestamp);
        let sharpens = self.key.is_some() && now <= self.until && now < self.began + SHARPENED;
        if key || sharpens {
            let time = (bytes as f64 / self.rate) as Micros;
            self.until = self.until.max(now).saturating_add(time).min(now + MOST);
        }
        if !key {
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
    fn the_pictures_that_make_a_coarse_key_frame_sharp_count_too_and_only_those() {
        let mut ahead = Ahead::default();
        let mut now = 1_000_000;
        let mut send = |ahead: &mut Ahead, number: u32, bytes: usize, key: bool| {
            now += FRAME;
            ahead.on_packet(now, bytes, number, key);
            now
        };
        (0..200).for_each(|number| {
            send(&mut ahead, number, 3_000, false);
        });
        // A key frame of 180 ms, and four pictures of 290 ms each, as libvpx codes a noisy camera.
        send(&mut ahead, 200, 10_800, true);
        let last = (201..205).map(|number| send(&mut ahead, number, 17_400, false)).last();
        let rests = ahead.until() - last.unwrap_or(0);
        assert!((1_000_000..1_300_000).contains(&rests), "{rests}");
        // One that doesn't make up for them is not ahead for ever.
        let last = (205..300).map(|number| send(&mut ahead, number, 3_000, false)).last();
        assert!(ahead.until() < last.unwrap_or(0));
    }

    #[test]
    fn of_the_first_key_frame_the_rate_is_not_known_yet() {
        let mut ahead = Ahead::default();
        ahead.on_packet(1_000_000, 40_000, 0, true);
        assert_eq!(ahead.until(), 1_640_000);
    }
}
