//! What a slot may send again, and how often.
//!
//! Sound has no RTX stream, and no SRTP index is ever sealed over two different packets, so what is resent is the
//! sealed bytes as first sent. Pictures are written anew from the source's store; here is only when that last was.

use std::collections::VecDeque;
use std::mem::size_of;

use crate::clock::Micros;
use crate::command::Kind;
use crate::store;

/// 500 ms of 20 ms packets and some more.
const SEALED: usize = 32;
const SEALED_AGE: Micros = 500_000;
/// As many as a source's store keeps, so that no two that can be repaired share a place.
const TIMES: usize = store::MOST_PACKETS;

struct Sealed {
    index: u64,
    at: Micros,
    bytes: Vec<u8>,
}

/// A copy follows the former by this much and at most a tick more: further than most bursts of loss reach.
const COPY_AFTER: Micros = 20_000;

pub struct Resends {
    sealed: Vec<Sealed>,
    /// Indices that go out again, when, and how often after that.
    copies: VecDeque<(u64, Micros, u8)>,
    /// Index and time of late repairs, by the index's place.
    times: Vec<(u64, Micros)>,
}

impl Resends {
    pub fn new(kind: Kind) -> Self {
        let sealed = if kind == Kind::Audio { SEALED } else { 0 };
        Self {
            sealed: (0..sealed)
                .map(|_| Sealed {
                    index: 0,
                    at: 0,
                    bytes: Vec::new(),
                })
                .collect(),
            copies: VecDeque::with_capacity(sealed),
            times: Vec::new(),
        }
    }

    /// Keeps a sealed sound packet.
    pub fn keep(&mut self, index: u64, sealed: &[u8], now: Micros) {
        if self.sealed.is_empty() {
            return;
        }
        let place = &mut self.sealed[index as usize % SEALED];
        place.index = index;
        place.at = now;
        place.bytes.clear();
        place.bytes.extend_from_slice(sealed);
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|sealed| sealed.bytes.capacity()).sum();
        sealed
            + self.sealed.capacity() * size_of::<Sealed>()
            + self.copies.capacity() * size_of::<(u64, Micros, u8)>()
            + self.times.capacity() * size_of::<(u64, Micros)>()
    }

    /// The sealed bytes behind a sequence number, if not too old.
    pub fn sealed(&self, sequence: u16, now: Micros) -> Option<(u64, &[u8])> {
        let place = self
            .sealed
            .iter()
            .find(|s| !s.bytes.is_empty() && s.index as u16 == sequence)?;
        if now > place.at + SEALED_AGE {
            return None;
        }
        Some((place.index, &place.bytes))
    }

    /// Has a packet that is kept sent so many times more, a little later each.
    pub fn send_again(&mut self, index: u64, copies: u8, now: Micros) {
        if copies > 0 && self.copies.len() < SEALED {
            self.copies.push_back((index, now + COPY_AFTER, copies - 1));
        }
    }

    /// Whether something is to go out again.
    pub fn waits(&self) -> bool {
        !self.copies.is_empty()
    }

    /// The sealed bytes of the next packet whose time has come again.
    pub fn copy_due(&mut self, now: Micros) -> Option<&[u8]> {
        while self.copies.front().map_or(false, |(_, at, _)| *at <= now) {
            let (index, _, more) = self.copies.pop_front()?;
            let place = index as usize % SEALED;
            if self.sealed.get(place).map_or(false, |sealed| sealed.index == index) {
                // It stands behind everything that is due sooner: all wait equally long.
                self.send_again(index, more, now);
                return Some(&self.sealed[place].bytes);
            }
        }
        None
    }

    /// How many times `index` is to be sent again now. Not at all where a request is repeated within most of a
    /// `round_trip` (the other side's measure of it is not ours): it crossed its repair. Twice where it is asked for
    /// once more after that: the former repair was lost, and each further round is one that a picture stands still.
    pub fn copies(&mut self, index: u64, now: Micros, round_trip: Micros) -> u8 {
        if self.times.is_empty() {
            self.times.resize(TIMES, (u64::MAX, 0));
        }
        let place = &mut self.times[index as usize % TIMES];
        let repeated = place.0 == index;
        if repeated && now < place.1 + round_trip / 4 * 3 {
            return 0;
        }
        *place = (index, now);
        1 + u8::from(repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_resent_as_it_was_and_for_half_a_second() {
        let mut resends = Resends::new(Kind::Audio);
        resends.keep(65_535, b"first", 0);
        resends.keep(65_536, b"second", 20_000);
        assert_eq!(resends.sealed(0, 400_000), Some((65_536, &b"second"[..])));
        assert_eq!(resends.sealed(65_535, 400_000), Some((65_535, &b"first"[..])));
        assert_eq!(resends.sealed(65_535, 500_001), None);
        assert_eq!(resends.sealed(1, 0), None);
    }

    #[test]
    fn what_goes_out_again_goes_as_it_was_and_20_ms_later() {
        let mut resends = Resends::new(Kind::Audio);
        for index in 65_535..65_537 {
            resends.keep(index, &index.to_be_bytes(), 0);
            resends.send_again(index, 2, (index - 65_535) * 1_000);
        }
        let (first, second) = (65_535u64.to_be_bytes(), 65_536u64.to_be_bytes());
        assert_eq!(resends.copy_due(19_999), None);
        assert_eq!(resends.copy_due(20_000), Some(&first[..]));
        assert_eq!(resends.copy_due(20_000), None);
        assert_eq!(resends.copy_due(21_000), Some(&second[..]));
        assert_eq!(resends.copy_due(40_000), Some(&first[..]));
        resends.keep(65_536 + SEALED as u64, b"newer", 20_000);
        assert_eq!(resends.copy_due(41_000), None, "no longer there");
        assert!(!resends.waits());
    }

    #[test]
    fn a_repair_is_not_repeated_before_it_can_have_arrived_and_goes_twice_once_it_was_lost() {
        let mut resends = Resends::new(Kind::Video);
        assert_eq!(resends.copies(7, 0, 100_000), 1);
        assert_eq!(resends.copies(7, 74_999, 100_000), 0);
        assert_eq!(resends.copies(7, 75_000, 100_000), 2);
        assert_eq!(resends.copies(7, 374_999, 400_000), 0);
        assert_eq!(resends.copies(8, 374_999, 400_000), 1);
    }
}
