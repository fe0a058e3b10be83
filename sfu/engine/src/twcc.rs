//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
//!
//! What publishers' packets arrived when is written here, for libwebrtc to read; what viewers say of ours is read.

use crate::clock::Micros;
use crate::rtcp;
use crate::rtp::Unwrapper;
use chunks::{Chunks, LARGE, MISSING, SMALL};
use feedback::{FIXED_LEN, MOST_STATUSES};
use std::collections::VecDeque;

mod chunks;
mod feedback;

pub use feedback::{parse, Feedback, Statuses, TwccError};

/// Arrivals kept until the next feedback; at one each 100 ms, that is 100 Mbit/s.
const MOST_ARRIVALS: usize = 1024;

/// A gap longer than this is no loss but a new start; its packets are in no feedback.
const LONGEST_GAP: u64 = 4096;

/// A feedback stays below this many bytes, so that it fits one datagram with SRTCP, and other RTCP before it.
const MOST_BYTES: usize = 1000;

/// The most that one more arrival can add: what is held of chunks, a gap's runs, padding.
const SLACK: usize = 24;

const TICK: Micros = 250;
const REFERENCE: Micros = 64_000;

/// libwebrtc forgets what it sent longer ago than this (kSendTimeHistoryWindow), and can't use word of it.
const USEFUL: Micros = 60_000_000;

/// The arrivals on one transport that no feedback has told of yet.
#[derive(Debug)]
pub struct Arrivals {
    unwrapper: Unwrapper,
    arrived: VecDeque<(u64, Micros)>, // ascending in sequence number
    base: Option<u64>,                // all before it is told, or given up
    feedbacks: u8,
    deltas: Vec<u8>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

impl Arrivals {
    pub fn new() -> Self {
        Arrivals {
            unwrapper: Unwrapper::default(),
            arrived: VecDeque::new(),
            base: None,
            feedbacks: 0,
            deltas: Vec::with_capacity(MOST_BYTES),
        }
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.arrived.capacity() * std::mem::size_of::<(u64, Micros)>() + self.deltas.capacity()
    }

    /// Takes note of a packet's arrival: the first one of its number, if no feedback has told of that number yet.
    ///
    /// Call it only for authenticated packets: the newest number decides how all others are read.
    pub fn record(&mut self, sequence: u16, now: Micros) {
        let mut seq = self.unwrapper.unwrap(sequence);
        let behind = self.base.map_or(0, |base| base.saturating_sub(seq));
        if behind > LONGEST_GAP {
            // No packet is that late: the number went more than half around, while nothing came through.
            self.arrived.clear();
            self.base = None;
            self.unwrapper = Unwrapper::default();
            seq = self.unwrapper.unwrap(sequence);
        } else if behind > 0 {
            return;
        }
        let place = match self.arrived.back() {
            Some(&(newest, _)) if seq <= newest => match self.arrived.binary_search_by_key(&seq, |&(seq, _)| seq) {
                Ok(_) => return,
                Err(place) => place,
            },
            _ => self.arrived.len(),
        };
        if self.arrived.len() < MOST_ARRIVALS {
            self.arrived.insert(place, (seq, now));
        } else if place == self.arrived.len() {
            self.arrived.pop_front();
            self.arrived.push_back((seq, now));
        }
    }

    /// How many arrivals wait to be told.
    pub fn pending(&self) -> usize {
        self.arrived.len()
    }

    /// Appends one feedback packet of at most 1000 bytes, from the first number not told of yet; `false`, and nothing,
    /// if there is nothing to tell. What doesn't fit one packet is left for the next call, at once or later.
    pub fn build(&mut self, out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, now: Micros) -> bool {
        while self
            .arrived
            .front()
            .map_or(false, |&(_, arrival)| arrival + USEFUL < now)
        {
            self.arrived.pop_front();
        }
        let (first, first_arrival) = match self.arrived.front() {
            Some(&first) => first,
            None => return false,
        };
        let base = match self.base {
            Some(base) if first - base <= LONGEST_GAP => base,
            _ => first,
        };
        let start = rtcp::transport_feedback_start(out, sender_ssrc, media_ssrc);
        let fci = out.len();
        out.extend_from_slice(&[0; FIXED_LEN]);
        self.deltas.clear();
        let mut chunks = Chunks::new(out);
        let mut next = base;
        // All times are rounded down to ticks before they are subtracted, so that errors don't add up.
        let mut before = first_arrival / REFERENCE * (REFERENCE / TICK);
        while let Some(&(seq, arrival)) = self.arrived.front() {
            let delta = (arrival / TICK) as i64 - before as i64;
            let full = chunks.out.len() - start + self.deltas.len() + SLACK > MOST_BYTES;
            let far = seq - next > LONGEST_GAP || seq - base >= u64::from(MOST_STATUSES);
            if full || far || i16::try_from(delta).is_err() {
                break;
            }
            chunks.add(MISSING, (seq - next) as usize);
            match u8::try_from(delta) {
                Ok(small) => {
                    chunks.add(SMALL, 1);
                    self.deltas.push(small);
                }
                Err(_) => {
                    chunks.add(LARGE, 1);
                    self.deltas.extend_from_slice(&(delta as i16).to_be_bytes());
                }
            }
            before = arrival / TICK;
            next = seq + 1;
            self.arrived.pop_front();
        }
        chunks.finish();
        out.extend_from_slice(&self.deltas);
        out.resize(start + (out.len() - start + 3) / 4 * 4, 0);

        let reference = (first_arrival / REFERENCE) as u32;
        out[fci..fci + 2].copy_from_slice(&(base as u16).to_be_bytes());
        out[fci + 2..fci + 4].copy_from_slice(&((next - base) as u16).to_be_bytes());
        out[fci + 4..fci + 8].copy_from_slice(&(reference << 8 | u32::from(self.feedbacks)).to_be_bytes());
        rtcp::finish(out, start);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        self.base = Some(next);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Packet;
    use crate::testing::for_each_seed;

    /// One feedback as it was read: feedback count, and each packet with its arrival in ticks, if it arrived.
    type Told = (u8, Vec<(u16, Option<i64>)>);

    fn fci_of(compound: &[u8]) -> Vec<u8> {
        match rtcp::packets(compound).next().unwrap().unwrap() {
            Packet::TransportFeedback {
                sender: 1,
                media: 2,
                fci,
            } => fci.to_vec(),
            other => panic!("{:?}", other),
        }
    }

    fn told(fci: &[u8]) -> Told {
        let feedback = parse(fci).unwrap();
        let mut at = i64::from(feedback.reference) * 256;
        let statuses = feedback.iter().map(|(sequence, delta)| {
            at += i64::from(delta.unwrap_or(0));
            (sequence, delta.map(|_| at))
        });
        (feedback.feedback_count, statuses.collect())
    }

    fn build_all(arrivals: &mut Arrivals) -> Vec<Told> {
        let mut all = Vec::new();
        let mut out = Vec::new();
        while arrivals.build(&mut out, 1, 2, 0) {
            assert_eq!(out.len() % 4, 0);
            assert!(out.len() <= MOST_BYTES);
            all.push(told(&fci_of(&out)));
            out.clear();
        }
        assert_eq!(arrivals.pending(), 0);
        all
    }

    #[test]
    fn the_bytes_are_as_in_the_draft() {
        let mut arrivals = Arrivals::new();
        for (sequence, at) in [(65_534, 64_000), (65_535, 64_250), (1, 128_000), (0, 129_000)] {
            arrivals.record(sequence, at);
        }
        let mut out = Vec::new();
        assert!(arrivals.build(&mut out, 1, 2, 0));
        let expected = [
            0x8f,
            205,
            0,
            6,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            2, // header, sender, media
            0xff,
            0xfe,
            0,
            4, // base, count
            0,
            0,
            1,
            0, // 64 ms, first feedback
            0b1101_0110,
            0b1000_0000, // small, small, large, large and nothing
            0,
            1,
            0x01,
            0x03,
            0xff,
            0xfc, // 0, 1, 259 and -4 ticks
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn an_even_flow_is_one_run() {
        let mut arrivals = Arrivals::new();
        for n in 0..300u16 {
            arrivals.record(n.wrapping_add(65_400), 1_000_000 + u64::from(n) * 1000);
        }
        let mut out = Vec::new();
        assert!(arrivals.build(&mut out, 1, 2, 0));
        let fci = fci_of(&out);
        assert_eq!(fci[8..10], [0x21, 0x2c]);
        assert_eq!(fci.len(), 8 + 2 + 300 + 2); // and padding
        let told = told(&fci).1;
        assert_eq!(told.len(), 300);
        assert!(told
            .iter()
            .enumerate()
            .all(|(n, &(_, at))| at == Some(4000 + n as i64 * 4)));
    }

    #[test]
    fn what_is_told_once_is_never_told_again_and_gaps_between_feedbacks_are() {
        for first in [0u16, 1, 65_534, 65_535] {
            let mut arrivals = Arrivals::new();
            arrivals.record(first, 1000);
            arrivals.record(first.wrapping_add(2), 3000);
            let all = build_all(&mut arrivals);
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].0, 0);
            let expected = [
                (first, Some(4)),
                (first.wrapping_add(1), None),
                (first.wrapping_add(2), Some(12)),
            ];
            assert_eq!(all[0].1, expected);
            assert!(build_all(&mut arrivals).is_empty());
            // A late one, a duplicate, and one after two more were lost.
            arrivals.record(first.wrapping_add(1), 5000);
            arrivals.record(first.wrapping_add(2), 5000);
            assert!(build_all(&mut arrivals).is_empty());
            arrivals.record(first.wrapping_add(5), 6000);
            let expected = [
                (first.wrapping_add(3), None),
                (first.wrapping_add(4), None),
                (first.wrapping_add(5), Some(24)),
            ];
            assert_eq!(build_all(&mut arrivals), [(1, expected.to_vec())]);
        }
    }

    #[test]
    fn the_first_feedback_begins_with_the_oldest_that_came() {
        let mut arrivals = Arrivals::new();
        arrivals.record(0, 1000);
        arrivals.record(65_535, 2000);
        assert_eq!(build_all(&mut arrivals), [(0, vec![(65_535, Some(8)), (0, Some(4))])]);
    }

    #[test]
    fn a_pause_longer_than_a_delta_can_say_starts_a_new_feedback() {
        let mut arrivals = Arrivals::new();
        arrivals.record(10, 0);
        arrivals.record(11, 8_191_750);
        arrivals.record(12, 8_191_750 + 8_192_000);
        let all = build_all(&mut arrivals);
        assert_eq!(
            all,
            [
                (0, vec![(10, Some(0)), (11, Some(32_767))]),
                (1, vec![(12, Some(65_535))])
            ]
        );
    }

    #[test]
    fn the_reference_time_wraps_at_24_bits() {
        let mut arrivals = Arrivals::new();
        arrivals.record(1, (1 << 24) * REFERENCE + 3 * REFERENCE);
        let mut out = Vec::new();
        assert!(arrivals.build(&mut out, 1, 2, 0));
        assert_eq!(parse(&fci_of(&out)).unwrap().reference, 3);
        arrivals.record(2, (1 << 23) * REFERENCE);
        out.clear();
        assert!(arrivals.build(&mut out, 1, 2, 0));
        assert_eq!(parse(&fci_of(&out)).unwrap().reference, -(1 << 23));
    }

    #[test]
    fn what_arrived_too_long_ago_is_told_as_lost() {
        let mut arrivals = Arrivals::new();
        arrivals.record(1, 0);
        assert_eq!(build_all(&mut arrivals).len(), 1);
        arrivals.record(2, 1_000_000);
        arrivals.record(3, 1_000_001);
        let mut out = Vec::new();
        assert!(arrivals.build(&mut out, 1, 2, 61_000_001));
        assert_eq!(told(&fci_of(&out)).1, [(2, None), (3, Some(4000))]);
        arrivals.record(4, 1_000_002);
        assert!(!arrivals.build(&mut out, 1, 2, 100_000_000));
    }

    #[test]
    fn a_gap_beyond_use_is_skipped() {
        let mut arrivals = Arrivals::new();
        arrivals.record(1, 0);
        arrivals.record(30_000, 0);
        arrivals.record(30_001, 0);
        let all = build_all(&mut arrivals);
        assert_eq!(
            all,
            [(0, vec![(1, Some(0))]), (1, vec![(30_000, Some(0)), (30_001, Some(0))])]
        );
    }

    #[test]
    fn a_number_that_went_half_around_in_an_outage_is_told_again() {
        for first in [0u16, 1, 65_534, 65_535] {
            let mut arrivals = Arrivals::new();
            arrivals.record(first, 0);
            build_all(&mut arrivals);
            let after = first.wrapping_add(40_000);
            arrivals.record(after, 1000);
            arrivals.record(after.wrapping_add(1), 2000);
            let expected = vec![(after, Some(4)), (after.wrapping_add(1), Some(8))];
            assert_eq!(build_all(&mut arrivals), [(1, expected)]);
        }
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut arrivals = Arrivals::new();
        for n in 0..5000u16 {
            arrivals.record(n, u64::from(n) * 100);
        }
        assert_eq!(arrivals.pending(), MOST_ARRIVALS);
        arrivals.record(1, 0);
        assert_eq!(arrivals.pending(), MOST_ARRIVALS);
        let told: Vec<_> = build_all(&mut arrivals)
            .into_iter()
            .flat_map(|(_, told)| told)
            .collect();
        assert_eq!((told.first().unwrap().0, told.last().unwrap().0), (3976, 4999));
        assert!(arrivals.arrived.capacity() < 2 * MOST_ARRIVALS && arrivals.deltas.capacity() < 2 * MOST_BYTES);
    }

    #[test]
    fn whatever_arrives_is_told_exactly_once_with_its_time() {
        for_each_seed(400, |random| {
            let mut arrivals = Arrivals::new();
            let mut truth: Vec<(u16, i64)> = Vec::new();
            let mut all = Vec::new();
            let mut sequence = [0u16, 1, 65_534, 65_535][random.below(4)];
            let mut now = random.next() % (1 << 40);
            let (loss, step) = (2 + random.below(20), [300, 5000, 100_000, 3_000_000][random.below(4)]);
            for _ in 0..random.below(900) {
                now += random.below(step) as u64;
                sequence = sequence.wrapping_add(1);
                if random.one_in(loss) {
                    let longest = [3, 40, 4000][random.below(3)];
                    sequence = sequence.wrapping_add(random.below(longest) as u16);
                }
                arrivals.record(sequence, now);
                truth.push((sequence, (now / TICK) as i64 % (1 << 32)));
                if random.one_in(100) {
                    all.append(&mut build_all(&mut arrivals));
                }
            }
            all.append(&mut build_all(&mut arrivals));
            for (n, (count, _)) in all.iter().enumerate() {
                assert_eq!(usize::from(*count), n % 256);
            }
            let statuses: Vec<(u16, Option<i64>)> = all.into_iter().flat_map(|(_, told)| told).collect();
            for pair in statuses.windows(2) {
                assert_eq!(
                    pair[1].0,
                    pair[0].0.wrapping_add(1),
                    "each number follows the one before"
                );
            }
            let received = statuses
                .into_iter()
                .filter_map(|(seq, at)| at.map(|at| (seq, at.rem_euclid(1 << 32))));
            assert_eq!(received.collect::<Vec<_>>(), truth);
        });
    }

    #[test]
    fn reordering_within_a_feedback_keeps_every_arrival() {
        for_each_seed(300, |random| {
            let mut arrivals = Arrivals::new();
            let first = [0u16, 1, 65_534, 65_535][random.below(4)];
            let mut order: Vec<u16> = (0..100).map(|n| first.wrapping_add(n)).collect();
            for _ in 0..200 {
                let at = random.below(99);
                order.swap(at, at + 1);
            }
            for (n, &sequence) in order.iter().enumerate() {
                arrivals.record(sequence, n as u64 * 500);
                arrivals.record(sequence, n as u64 * 500 + 100);
            }
            let told: Vec<_> = build_all(&mut arrivals)
                .into_iter()
                .flat_map(|(_, told)| told)
                .collect();
            assert_eq!(told.len(), 100);
            for (sequence, at) in told {
                let place = order.iter().position(|&other| other == sequence).unwrap();
                assert_eq!(at, Some(place as i64 * 2));
            }
        });
    }
}
