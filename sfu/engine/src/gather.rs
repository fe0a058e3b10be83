//! How long the shard's thread lets packets gather before it reads on: a wake-up for each few of them costs more than
//! they do.

use crate::clock::Micros;

/// The longest rest, and so the most that it delays a packet.
pub const LONGEST: Micros = 1_000;
/// A rest that brings together fewer packets than so many saves nothing worth a delay.
const FEWEST: u64 = 2;
/// With so many a batch costs little more than its packets do: no need to wait for others.
const ENOUGH: u64 = 32;
/// Packets are counted for so long before the rate follows.
const WINDOW: Micros = 10_000;

/// How many packets come, as of the last moments.
#[derive(Default)]
pub struct Gather {
    since: Micros,
    packets: u64,
    per_second: u64,
}

impl Gather {
    /// Takes note of packets that were read at `now`.
    pub fn took(&mut self, now: Micros, packets: usize) {
        self.packets += packets as u64;
        let passed = now.saturating_sub(self.since);
        if passed >= WINDOW {
            self.per_second = self.packets * 1_000_000 / passed;
            self.since = now;
            self.packets = 0;
        }
    }

    /// How long to rest now that everything is read and sent: until enough have come at the present rate, or as many as
    /// can; not at all while few come.
    pub fn rest(&self) -> Micros {
        rest(self.per_second)
    }
}

fn rest(per_second: u64) -> Micros {
    if per_second * LONGEST < FEWEST * 1_000_000 {
        return 0;
    }
    (ENOUGH * 1_000_000 / per_second).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_rests_while_few_packets_come_and_never_longer_than_a_millisecond() {
        let table = [
            (0, 0),
            (1_999, 0),
            (2_000, 1_000),
            (32_000, 1_000),
            (64_000, 500),
            (320_000, 100),
            (u64::from(u32::MAX), 0),
        ];
        for (per_second, expected) in table {
            assert_eq!(rest(per_second), expected, "{} a second", per_second);
        }
    }

    #[test]
    fn the_rate_follows_what_comes_and_a_pause_ends_it_at_once() {
        let mut gather = Gather::default();
        let mut now = 5_000_000;
        for _ in 0..30 {
            now += 1_000;
            gather.took(now, 10);
        }
        assert_eq!(gather.rest(), 1_000);
        for _ in 0..30 {
            now += 1_000;
            gather.took(now, 100);
        }
        assert!((250..450).contains(&gather.rest()), "{} us", gather.rest());
        gather.took(now + 2_000_000, 1);
        assert_eq!(
            gather.rest(),
            0,
            "what comes after a pause meets a thread that waits for it"
        );
    }
}
