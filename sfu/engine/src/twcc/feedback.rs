//! A feedback as a receiver sends it, read in place.

use super::chunks::{Chunk, LARGE, MISSING, SMALL};
use crate::rtp::{be16, be32};

/// Of the FCI: base, count, reference time, feedback count.
pub(super) const FIXED_LEN: usize = 8;

/// No receiver covers more: libwebrtc's keeps half the circle of sequence numbers.
pub(super) const MOST_STATUSES: u16 = 0x8000;

/// Why bytes are no transport-cc feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwccError {
    /// Ends before its chunks or deltas do.
    Short,
    /// Tells of no packet at all.
    Empty,
    /// Tells of more packets than a receiver can cover.
    TooMany,
    /// A status that the draft reserves.
    Reserved,
}

/// A feedback, checked as a whole: iterating it can't fail.
#[derive(Clone, Debug)]
pub struct Feedback<'a> {
    /// The sequence number of the first packet told of.
    pub base: u16,
    /// How many packets are told of, received or not.
    pub count: u16,
    /// In 64 ms, 24 bits with a sign, on a clock of the receiver's own.
    pub reference: i32,
    /// Of the receiver's feedback packets; a step of more than one is a lost feedback.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// Reads the FCI of a transport-cc feedback; what follows the last delta is padding.
pub fn parse(fci: &[u8]) -> Result<Feedback<'_>, TwccError> {
    let fixed = fci.get(..FIXED_LEN).ok_or(TwccError::Short)?;
    let count = be16(fixed, 2);
    if count == 0 {
        return Err(TwccError::Empty);
    }
    if count > MOST_STATUSES {
        return Err(TwccError::TooMany);
    }
    let mut rest = &fci[FIXED_LEN..];
    let mut left = usize::from(count);
    let mut deltas = 0;
    while left > 0 {
        let chunk = Chunk::read(rest.get(..2).ok_or(TwccError::Short)?);
        let here = chunk.len().min(left);
        deltas += chunk.delta_bytes(here).ok_or(TwccError::Reserved)?;
        left -= here;
        rest = &rest[2..];
    }
    let chunks = &fci[FIXED_LEN..fci.len() - rest.len()];
    Ok(Feedback {
        base: be16(fixed, 0),
        count,
        reference: be32(fixed, 4) as i32 >> 8,
        feedback_count: fixed[7],
        chunks,
        deltas: rest.get(..deltas).ok_or(TwccError::Short)?,
    })
}

impl<'a> Feedback<'a> {
    /// Sequence number and, of a packet that was received, the ticks of 250 us since the one received before it in this
    /// feedback; for the first one since `reference`.
    pub fn iter(&self) -> Statuses<'a> {
        Statuses {
            next: self.base,
            left: self.count,
            chunks: self.chunks,
            deltas: self.deltas,
            chunk: Chunk::Run {
                status: MISSING,
                len: 0,
            },
            at: 0,
        }
    }
}

/// See [`Feedback::iter`].
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    next: u16,
    left: u16,
    chunks: &'a [u8],
    deltas: &'a [u8],
    chunk: Chunk,
    at: usize,
}

impl Iterator for Statuses<'_> {
    type Item = (u16, Option<i16>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        while self.at == self.chunk.len() {
            self.chunk = Chunk::read(self.chunks.get(..2)?);
            self.chunks = &self.chunks[2..];
            self.at = 0;
        }
        let status = self.chunk.status(self.at);
        let delta = match status {
            SMALL => Some(i16::from(*self.deltas.first()?)),
            LARGE => Some(be16(self.deltas.get(..2)?, 0) as i16),
            _ => None,
        };
        self.deltas = &self.deltas[usize::from(status)..];
        let sequence = self.next;
        self.next = sequence.wrapping_add(1);
        self.left -= 1;
        self.at += 1;
        Some((sequence, delta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    #[test]
    fn all_kinds_of_chunk_are_read() {
        let fci = [
            0xff,
            0xff,
            0,
            30,
            0xff,
            0xff,
            0xfe,
            9, // base 65535, 30 packets, reference -2, feedback 9
            0x00,
            0x05, // 5 missing
            0x40,
            0x02, // 2 large
            0b1010_0000,
            0b0000_0001, // one bit each: first and last of 14
            0b1101_1000,
            0b0000_0000, // two bits each: small, large, 5 missing
            0x20,
            0x10, // 16 small, of which 2 are left
            0,
            1,
            0xff,
            0xff,
            2,
            3,
            4,
            0x7f,
            0xff,
            5,
            6, // deltas
            0,
            0,
            0,
        ];
        let feedback = parse(&fci).unwrap();
        assert_eq!(
            (
                feedback.base,
                feedback.count,
                feedback.reference,
                feedback.feedback_count
            ),
            (65_535, 30, -2, 9)
        );
        let received: Vec<(u16, i16)> = feedback
            .iter()
            .filter_map(|(seq, delta)| delta.map(|d| (seq, d)))
            .collect();
        assert_eq!(
            received,
            [
                (4, 1),
                (5, -1),
                (6, 2),
                (19, 3),
                (20, 4),
                (21, 0x7fff),
                (27, 5),
                (28, 6)
            ],
        );
        assert_eq!(feedback.iter().count(), 30);
    }

    #[test]
    fn what_ends_early_or_says_nothing_is_refused() {
        let good = [0, 1, 0, 2, 0, 0, 1, 0, 0x20, 0x02, 7, 8];
        assert!(parse(&good).is_ok());
        for len in 0..good.len() {
            assert_eq!(parse(&good[..len]).unwrap_err(), TwccError::Short, "{} bytes", len);
        }
        assert_eq!(parse(&[0; 12]).unwrap_err(), TwccError::Empty);
        assert_eq!(
            parse(&[0, 0, 0x80, 1, 0, 0, 0, 0, 0x1f, 0xff]).unwrap_err(),
            TwccError::TooMany
        );
        assert_eq!(
            parse(&[0, 0, 0, 2, 0, 0, 0, 0, 0x60, 2, 0, 0]).unwrap_err(),
            TwccError::Reserved
        );
        assert_eq!(
            parse(&[0, 0, 0, 2, 0, 0, 0, 0, 0xf0, 0, 0, 0]).unwrap_err(),
            TwccError::Reserved
        );
        // Runs of nothing use up the chunks.
        assert_eq!(
            parse(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err(),
            TwccError::Short
        );
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_is_accepted_is_complete() {
        let good = [
            0xff, 0xff, 0, 30, 0xff, 0xff, 0xfe, 9, 0x00, 0x05, 0x40, 0x02, 0xa0, 0x01, 0xd8, 0x00, 0x20, 0x10, 0, 1,
            0xff, 0xff, 2, 3, 4, 0x7f, 0xff, 5, 6,
        ];
        for_each_seed(20_000, |random| {
            let bytes = if random.one_in(2) {
                random.bytes(60)
            } else {
                random.mutated(&good)
            };
            if let Ok(feedback) = parse(&bytes) {
                assert_eq!(feedback.iter().count(), usize::from(feedback.count));
            }
        });
    }
}
