//! How much may go out at a rate, and what was sent beyond it.

use crate::clock::Micros;

/// As much as fits into this time may go out at once,
const BURST: Micros = 10_000;
/// and up to two full packets, as far as they fit into that: on a way of 150 kbit/s they are 130 ms of queue.
const SHORT_BURST: Micros = 40_000;
const SHORT_BURST_BYTES: i64 = 2 * FULL;
const FULL: i64 = 1_250;
/// What sound has sent beyond the target is owed for so long at most, or as a full packet is: when it falls silent, or
/// the target was next to nothing while a queue drained, pictures go on soon.
const LONGEST_DEBT: Micros = 100_000;
/// Credit is counted in millionths of a bit: what passes in a microsecond at 1 bit/s.
const BYTE: i64 = 8_000_000;

/// What a rate allows to send; without one, anything.
#[derive(Default)]
pub struct Allowance {
    /// bit/s on the wire; 0 for none.
    target: u64,
    credit: i64,
    filled: Micros,
}

impl Allowance {
    /// Takes another rate, in bit/s on the wire, 0 for none. Where that is much more than before, a queue has drained
    /// meanwhile, and with it what sound owed.
    pub fn set_target(&mut self, now: Micros, bits_per_second: u64) {
        if self.target == 0 {
            self.filled = now;
            self.credit = 0;
        } else if bits_per_second >= 2 * self.target {
            self.filled = now;
            self.credit = self.credit.max(0);
        }
        self.target = bits_per_second;
    }

    /// bit/s; 0 for none.
    pub fn target(&self) -> u64 {
        self.target
    }

    /// Takes note of `bytes` that went out, whatever they are.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        if self.target > 0 {
            let debt = ((self.target * LONGEST_DEBT) as i64).max(FULL * BYTE);
            self.credit = (self.credit - bytes as i64 * BYTE).max(-debt);
        }
    }

    /// Whether something may go out now. `probe`: bit/s of a running one, which raises the rate.
    #[inline]
    pub fn is_left(&mut self, now: Micros, probe: Option<u64>) -> bool {
        if self.target == 0 {
            return true;
        }
        let rate = self.target.max(probe.unwrap_or(0)) as i64;
        let passed = now.saturating_sub(self.filled).min(1_000_000) as i64;
        self.filled = now;
        let short = (rate * SHORT_BURST as i64).min(SHORT_BURST_BYTES * BYTE);
        let most = (rate * BURST as i64).max(short);
        self.credit = (self.credit + rate * passed).min(most);
        self.credit > 0
    }

    /// When something may go out, at the earliest.
    pub fn next(&self, now: Micros) -> Micros {
        let missing = (1 - self.credit).max(0) as u64;
        missing
            .checked_div(self.target)
            .map_or(now, |time| self.filled + time + 1)
    }
}
