//! SRTP and SRTCP replay protection (RFC 3711, section 3.3.2): an index passes once, and never from behind the window.

/// How many indices up to the newest are remembered. A picture of 1000 packets a second may come a second late, as
/// after a hand-over between cells; the RFC asks for at least 64.
pub const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Which of the last [`WINDOW`] indices have been taken. Bit `index % WINDOW` stands for the one index in the window
/// that it can stand for, so moving the window on only clears bits.
#[derive(Clone)]
pub struct Window {
    next: u64, // one more than the newest index taken; 0 before the first
    taken: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Window {
        Window {
            next: 0,
            taken: [0; WORDS],
        }
    }
}

impl Window {
    /// The newest index that was taken.
    pub fn newest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Whether `take` would take `index`. Ask before spending work on authentication; nothing changes.
    #[must_use]
    pub fn would_take(&self, index: u64) -> bool {
        index >= self.next || (self.next - index <= WINDOW && !self.has(index))
    }

    /// Takes `index` (below 2⁶³) once; `false` for a replay and for what has left the window. Call it only for an
    /// authenticated packet: a forged index must not move the window.
    #[must_use]
    pub fn take(&mut self, index: u64) -> bool {
        if !self.would_take(index) {
            return false;
        }
        if index >= self.next {
            if index - self.next >= WINDOW {
                self.taken = [0; WORDS];
            } else {
                for skipped in self.next..index {
                    self.taken[word(skipped)] &= !bit(skipped);
                }
            }
            self.next = index + 1;
        }
        self.taken[word(index)] |= bit(index);
        true
    }

    fn has(&self, index: u64) -> bool {
        self.taken[word(index)] & bit(index) != 0
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;
    use std::collections::BTreeSet;

    #[test]
    fn late_packets_pass_once_and_replays_never_also_over_a_wrap() {
        let mut window = Window::default();
        let arrivals = [
            (65_534, true),
            (65_536, true),
            (65_535, true),
            (65_535, false),
            (65_534, false),
            (65_537, true),
        ];
        for (index, expected) in arrivals {
            assert_eq!(window.would_take(index), expected, "index {index}");
            assert_eq!(window.take(index), expected, "index {index}");
        }
        assert_eq!(window.newest(), Some(65_537));
    }

    #[test]
    fn the_first_index_may_be_any_and_passes_once() {
        for first in [0, 1, 63, 64, WINDOW, 65_535, (1 << 48) - 1] {
            let mut window = Window::default();
            assert_eq!(window.newest(), None);
            assert!(window.take(first));
            assert!(!window.take(first));
            assert_eq!(
                first > 0,
                first > 0 && window.take(first - 1),
                "one before the first may come late"
            );
        }
    }

    #[test]
    fn what_has_left_the_window_is_refused_even_if_it_never_came() {
        let mut window = Window::default();
        assert!(window.take(10_000));
        assert!(window.take(10_001 - WINDOW));
        assert!(!window.take(10_000 - WINDOW));
        assert!(window.take(10_001));
        assert!(!window.take(10_001 - WINDOW));
    }

    #[test]
    fn it_agrees_with_a_plain_set_for_any_order_of_arrival() {
        for_each_seed(200, |random| {
            let (mut window, mut seen, mut newest) = (Window::default(), BTreeSet::new(), 0u64);
            let mut centre = 3_000;
            for _ in 0..3_000 {
                centre +=
                    [0, 1, 1, 2, 70, 1_023, 1_024, 1_025, 5_000][random.below(9)] * u64::from(random.below(4) == 0);
                let index = centre - random.below(1_500) as u64;
                let expected = !seen.contains(&index) && (seen.is_empty() || index + WINDOW > newest);
                assert_eq!(window.would_take(index), expected);
                assert_eq!(window.take(index), expected);
                if expected {
                    newest = newest.max(index);
                    seen.insert(index);
                }
            }
        });
    }
}
