//! Which packets of a source are missing, and when to ask for them (RFC 4585, section 6.2.1).

use crate::clock::Micros;
use std::collections::VecDeque;

/// Missing packets remembered of one source: more than that, and a key frame is the better repair.
const MOST: usize = 256;

/// A jump further ahead than this is a new start, not a loss.
const LONGEST_GAP: u64 = 1000;

/// What came after so many requests never will.
const MOST_ROUNDS: u32 = 10;

/// Each request goes out twice, so much later: the network loses requests too, and who sends again ignores a second
/// request within a round trip.
const AGAIN: Micros = 15_000;

/// Time between two requests where the round trip is shorter, or not known: senders pace what they repeat.
const SHORTEST_RETRY: Micros = 40_000;

/// How a packet came that had been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Requests for it.
    pub rounds: u32,
    /// Since the last of them.
    pub after: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: u64,
    since: Micros,
    asked: Micros,
    next_try: Micros,
    rounds: u32,
    /// The present request has gone out once, and goes out once more.
    again: bool,
}

/// The gaps in one source's sequence numbers, which are extended ones (`rtp::Unwrapper`).
#[derive(Debug)]
pub struct Gaps {
    reorder_wait: Micros,
    max_age: Micros,
    newest: Option<u64>,
    missing: VecDeque<Missing>, // ascending in seq
    next_try: Micros,           // of all that is missing, never too late
}

impl Gaps {
    /// `reorder_wait`: how late a packet may be before it is asked for. `max_age`: when asking for it has lost its use.
    pub fn new(reorder_wait: Micros, max_age: Micros) -> Self {
        Gaps {
            reorder_wait,
            max_age,
            newest: None,
            missing: VecDeque::new(),
            next_try: Micros::MAX,
        }
    }

    /// Takes note of a packet that came, first-hand or repeated. Returns how, if it had been asked for.
    pub fn on_packet(&mut self, seq: u64, now: Micros) -> Option<Asked> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                self.newest = Some(seq);
                return None;
            }
        };
        if seq <= newest {
            let found = self.missing.binary_search_by_key(&seq, |missing| missing.seq).ok();
            let missing = found.and_then(|at| self.missing.remove(at))?;
            return Some(Asked {
                rounds: missing.rounds,
                after: now.saturating_sub(missing.asked),
            })
            .filter(|asked| asked.rounds > 0);
        }
        self.newest = Some(seq);
        if seq - newest > LONGEST_GAP {
            self.missing.clear();
            return None;
        }
        let next_try = now + self.reorder_wait;
        for seq in (newest + 1).max(seq.saturating_sub(MOST as u64))..seq {
            if self.missing.len() == MOST {
                self.missing.pop_front();
            }
            self.missing.push_back(Missing {
                seq,
                since: now,
                asked: now,
                next_try,
                rounds: 0,
                again: false,
            });
            self.next_try = self.next_try.min(next_try);
        }
        None
    }

    /// Appends what is to be asked for now, sorted, as `rtcp::nack` takes it. `rtt`: the round trip to the sender, 0 if
    /// not known. What could not come in time is given up.
    pub fn due(&mut self, now: Micros, rtt: Micros, out: &mut Vec<u16>) {
        if now < self.next_try {
            return;
        }
        let retry = (rtt + rtt / 4).max(SHORTEST_RETRY);
        // What is asked for now is here a round trip from now at best.
        let max_age = self.max_age.saturating_sub(rtt);
        let mut next_try = Micros::MAX;
        self.missing.retain_mut(|missing| {
            if missing.next_try <= now {
                if missing.again {
                    missing.again = false;
                    missing.next_try = now.max(missing.asked + retry);
                } else {
                    if missing.rounds >= MOST_ROUNDS || now.saturating_sub(missing.since) > max_age {
                        return false;
                    }
                    missing.rounds += 1;
                    missing.asked = now;
                    missing.again = true;
                    missing.next_try = now + AGAIN;
                }
                out.push(missing.seq as u16);
            }
            next_try = next_try.min(missing.next_try);
            true
        });
        self.next_try = next_try;
    }

    /// Asks for nothing of what is missing now.
    pub fn forget(&mut self) {
        self.missing.clear();
        self.next_try = Micros::MAX;
    }

    /// When `due` is next worth calling; nothing while nothing is missing.
    pub fn next_deadline(&self) -> Option<Micros> {
        if self.missing.is_empty() {
            None
        } else {
            Some(self.next_try)
        }
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.missing.capacity() * std::mem::size_of::<Missing>()
    }

    /// How many packets are missing now and still asked for.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    const MS: Micros = 1000;
    const WAIT: Micros = 10 * MS;
    const AGE: Micros = 1000 * MS;

    fn due(gaps: &mut Gaps, now: Micros, rtt: Micros) -> Vec<u16> {
        let mut out = Vec::new();
        gaps.due(now, rtt, &mut out);
        out
    }

    #[test]
    fn what_is_missing_is_asked_for_after_the_reorder_wait_and_again_after_a_round_trip_and_a_quarter() {
        let mut gaps = Gaps::new(WAIT, AGE);
        gaps.on_packet(0x1_0000 + 65_533, 0);
        gaps.on_packet(0x2_0002, 5 * MS);
        assert_eq!(gaps.next_deadline(), Some(15 * MS));
        assert!(due(&mut gaps, 14 * MS, 100 * MS).is_empty());
        assert_eq!(due(&mut gaps, 15 * MS, 100 * MS), [65_534, 65_535, 0, 1]);
        assert_eq!(gaps.next_deadline(), Some(30 * MS));
        assert_eq!(due(&mut gaps, 30 * MS, 100 * MS), [65_534, 65_535, 0, 1], "once more");
        assert_eq!(gaps.next_deadline(), Some(140 * MS));
        assert!(due(&mut gaps, 139 * MS, 100 * MS).is_empty());
        assert_eq!(due(&mut gaps, 140 * MS, 0), [65_534, 65_535, 0, 1]);
        assert_eq!(due(&mut gaps, 155 * MS, 0), [65_534, 65_535, 0, 1]);
        assert_eq!(gaps.next_deadline(), Some(180 * MS)); // an unknown round trip counts as 32 ms
    }

    #[test]
    fn what_comes_late_or_repeated_is_not_asked_for_again() {
        let mut gaps = Gaps::new(WAIT, AGE);
        for seq in [65_534, 65_537] {
            gaps.on_packet(seq, 0);
        }
        gaps.on_packet(65_535, 5 * MS);
        assert_eq!(due(&mut gaps, 10 * MS, 0), [0]);
        gaps.on_packet(65_536, 20 * MS);
        assert_eq!((gaps.missing(), gaps.next_deadline()), (0, None));
        assert!(due(&mut gaps, 500 * MS, 0).is_empty());
        gaps.on_packet(65_536, 600 * MS);
        gaps.on_packet(65_538, 600 * MS);
        assert_eq!(gaps.missing(), 0);
    }

    #[test]
    fn asking_ends_after_ten_requests() {
        let mut gaps = Gaps::new(0, Micros::MAX);
        gaps.on_packet(1, 0);
        gaps.on_packet(3, 0);
        let mut asked = 0;
        while let Some(at) = gaps.next_deadline() {
            asked += due(&mut gaps, at, 0).len();
        }
        assert_eq!(asked, 20, "each twice");
    }

    #[test]
    fn asking_ends_when_it_is_too_late_to_be_of_use() {
        let mut gaps = Gaps::new(WAIT, AGE);
        gaps.on_packet(1, 0);
        gaps.on_packet(3, 0);
        assert!(due(&mut gaps, AGE + 1, 0).is_empty());
        assert_eq!(gaps.missing(), 0);
    }

    #[test]
    fn what_could_not_come_in_time_is_not_asked_for() {
        for (rtt, asked) in [(150 * MS, 1), (350 * MS, 0)] {
            let mut gaps = Gaps::new(WAIT, 300 * MS);
            gaps.on_packet(1, 0);
            gaps.on_packet(3, 0);
            assert_eq!(due(&mut gaps, 10 * MS, rtt).len(), asked, "{rtt} us away");
            assert_eq!(due(&mut gaps, 25 * MS, rtt).len(), asked);
            assert!(due(&mut gaps, 10 * MS + rtt * 5 / 4, rtt).is_empty());
            assert_eq!(gaps.missing(), 0);
        }
    }

    #[test]
    fn a_packet_that_was_asked_for_says_so_when_it_comes() {
        let mut gaps = Gaps::new(WAIT, AGE);
        assert_eq!(gaps.on_packet(1, 0), None);
        assert_eq!(gaps.on_packet(4, 0), None);
        assert_eq!(gaps.on_packet(2, 5 * MS), None, "late by itself");
        assert_eq!(due(&mut gaps, WAIT, 0), [3]);
        let asked = Asked {
            rounds: 1,
            after: 25 * MS,
        };
        assert_eq!(gaps.on_packet(3, WAIT + 25 * MS), Some(asked));
        assert_eq!(gaps.on_packet(3, 41 * MS), None, "known by then");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let mut gaps = Gaps::new(0, AGE);
        gaps.on_packet(0, 0);
        gaps.on_packet(201, 0);
        gaps.on_packet(301, 0);
        assert_eq!(gaps.missing(), MOST);
        let asked = due(&mut gaps, 0, 0);
        assert_eq!((asked.first(), asked.last()), (Some(&44), Some(&300)));
        gaps.on_packet(1301, 0);
        assert_eq!(gaps.missing(), MOST);
        assert_eq!(due(&mut gaps, 0, 0), (1045..1301).collect::<Vec<u16>>());
    }

    #[test]
    fn a_jump_of_more_than_a_thousand_starts_anew() {
        let mut gaps = Gaps::new(0, AGE);
        gaps.on_packet(10, 0);
        gaps.on_packet(12, 0);
        gaps.on_packet(1013, 0);
        assert_eq!(gaps.missing(), 0);
        gaps.on_packet(1015, 0);
        assert_eq!(due(&mut gaps, 0, 0), [1014]);
    }

    #[test]
    fn nothing_that_came_is_asked_for_and_everything_else_is() {
        for_each_seed(300, |random| {
            let base = 0x1_0000 + [0, 1, 65_534, 65_535][random.below(4)];
            let mut gaps = Gaps::new(0, Micros::MAX);
            let mut came = [false; 200];
            let mut newest = 0usize;
            gaps.on_packet(base, 0);
            came[0] = true;
            for _ in 0..100 {
                let at = (newest + 5).min(199).saturating_sub(random.below(12));
                newest = newest.max(at);
                came[at] = true;
                gaps.on_packet(base + at as u64, 0);
            }
            let expected: Vec<u16> = (0..newest)
                .filter(|&at| !came[at])
                .map(|at| (base + at as u64) as u16)
                .collect();
            assert_eq!(due(&mut gaps, 0, 0), expected);
        });
    }
}
