//! Packet status chunks: what became of a row of packets (sections 3.1.1 to 3.1.4).

use crate::rtp::be16;

pub const MISSING: u8 = 0;
pub const SMALL: u8 = 1; // delta of one byte, without a sign
pub const LARGE: u8 = 2; // delta of two bytes, with one

/// Puts statuses into chunks: runs where they are equal, vectors of 14 or 7 where not (sections 3.1.3 and 3.1.4).
pub struct Chunks<'a> {
    pub out: &'a mut Vec<u8>,
    held: [u8; 14],
    count: usize, // more than 14 only while all are equal
    equal: bool,
}

impl<'a> Chunks<'a> {
    const LONGEST_RUN: usize = 0x1fff;

    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Chunks {
            out,
            held: [MISSING; 14],
            count: 0,
            equal: true,
        }
    }

    pub fn add(&mut self, status: u8, count: usize) {
        let mut left = count;
        while left > 0 {
            if self.count == 0 || (self.equal && self.held[0] == status) {
                let taken = left.min(Self::LONGEST_RUN - self.count);
                let end = (self.count + taken).min(14);
                self.held[self.count.min(end)..end].fill(status);
                self.count += taken;
                left -= taken;
                if self.count == Self::LONGEST_RUN {
                    self.write(false);
                }
            } else if self.count < self.room(status) {
                self.held[self.count] = status;
                self.count += 1;
                self.equal = false;
                left -= 1;
            } else {
                self.write(false);
            }
        }
    }

    /// How many statuses fit one vector, were `status` among them.
    fn room(&self, status: u8) -> usize {
        let large = status == LARGE || self.held[..self.count.min(14)].contains(&LARGE);
        if large {
            7
        } else {
            14
        }
    }

    /// Writes one chunk with all that is held, or with the first seven where those after them can't be in it.
    ///
    /// Only the `last` vector may be short: the reader stops at the packet status count.
    fn write(&mut self, last: bool) {
        let held = &self.held[..self.count.min(14)];
        let (chunk, written) = if self.equal {
            (u16::from(self.held[0]) << 13 | self.count as u16, self.count)
        } else if (held.len() == 14 || last) && !held.contains(&LARGE) {
            (vector(held, 1), held.len())
        } else {
            let seven = &held[..held.len().min(7)];
            (vector(seven, 2), seven.len())
        };
        self.out.extend_from_slice(&chunk.to_be_bytes());
        self.count -= written;
        if self.count > 0 {
            self.held.copy_within(written..written + self.count, 0);
        }
        let held = &self.held[..self.count];
        self.equal = held.iter().all(|&status| status == held[0]);
    }

    pub fn finish(mut self) {
        while self.count > 0 {
            self.write(true);
        }
    }
}

/// A status vector chunk with symbols of `bits` bits, filled up with "not received".
fn vector(statuses: &[u8], bits: u32) -> u16 {
    let head = if bits == 2 { 0b11 } else { 0b10 };
    let room = 14 / bits;
    let symbols = statuses
        .iter()
        .fold(0, |symbols, &status| symbols << bits | u16::from(status));
    head << 14 | symbols << ((room - statuses.len() as u32) * bits)
}

#[derive(Clone, Copy, Debug)]
pub enum Chunk {
    Run { status: u8, len: usize },
    Bits(u16),
    Pairs(u16),
}

impl Chunk {
    pub fn read(bytes: &[u8]) -> Self {
        let chunk = be16(bytes, 0);
        match chunk >> 14 {
            0b10 => Chunk::Bits(chunk),
            0b11 => Chunk::Pairs(chunk),
            _ => Chunk::Run {
                status: (chunk >> 13 & 3) as u8,
                len: usize::from(chunk & 0x1fff),
            },
        }
    }

    pub fn len(&self) -> usize {
        match *self {
            Chunk::Run { len, .. } => len,
            Chunk::Bits(_) => 14,
            Chunk::Pairs(_) => 7,
        }
    }

    pub fn status(&self, at: usize) -> u8 {
        match *self {
            Chunk::Run { status, .. } => status,
            Chunk::Bits(chunk) => (chunk >> (13 - at) & 1) as u8,
            Chunk::Pairs(chunk) => (chunk >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// The bytes that the deltas of its first `count` statuses take; nothing if one of those is reserved.
    pub fn delta_bytes(&self, count: usize) -> Option<usize> {
        let of = |status: u8| {
            if status > LARGE {
                None
            } else {
                Some(usize::from(status))
            }
        };
        match *self {
            Chunk::Run { status, .. } => of(status).map(|bytes| bytes * count),
            _ => (0..count).try_fold(0, |sum, at| of(self.status(at)).map(|bytes| sum + bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    type Rows<'a> = &'a [(u8, usize)];

    /// Writes rows of equal statuses and reads back as many as were written.
    fn there_and_back(rows: Rows) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        let mut chunks = Chunks::new(&mut out);
        rows.iter().for_each(|&(status, count)| chunks.add(status, count));
        chunks.finish();
        let count = rows.iter().map(|row| row.1).sum();
        let read = out
            .chunks(2)
            .map(Chunk::read)
            .flat_map(|chunk| (0..chunk.len()).map(move |at| chunk.status(at)));
        let statuses = read.take(count).collect();
        (out, statuses)
    }

    fn flat(rows: Rows) -> Vec<u8> {
        rows.iter().flat_map(|&(status, count)| vec![status; count]).collect()
    }

    #[test]
    fn rows_become_the_shortest_of_runs_and_vectors() {
        let cases: [(Rows, &[u16]); 10] = [
            (&[(SMALL, 300)], &[0x212c]),
            (&[(LARGE, 3)], &[0x4003]),
            (&[(MISSING, 8191), (MISSING, 1)], &[0x1fff, 0x0001]),
            (&[(SMALL, 1), (MISSING, 1), (SMALL, 12)], &[0b10_10111111111111]),
            (&[(SMALL, 1), (MISSING, 1), (SMALL, 40)], &[0b10_10111111111111, 0x201c]),
            (&[(SMALL, 20), (MISSING, 1), (SMALL, 3)], &[0x2014, 0b10_01110000000000]),
            (
                &[(SMALL, 1), (LARGE, 1), (MISSING, 1), (LARGE, 4)],
                &[0b11_01_10_00_10_10_10_10],
            ),
            (&[(SMALL, 7), (LARGE, 1)], &[0x2007, 0x4001]),
            // Nine that would fit 14 bits, but for the large one behind them.
            (
                &[(SMALL, 1), (MISSING, 8), (LARGE, 1)],
                &[0b11_01_00_00_00_00_00_00, 0b11_00_00_10_00_00_00_00],
            ),
            (&[], &[]),
        ];
        for (rows, expected) in cases {
            let (bytes, statuses) = there_and_back(rows);
            let words: Vec<u16> = bytes.chunks(2).map(|chunk| be16(chunk, 0)).collect();
            assert_eq!(words, expected, "{:?}", rows);
            assert_eq!(statuses, flat(rows));
        }
    }

    #[test]
    fn any_row_of_statuses_is_read_back() {
        for_each_seed(3000, |random| {
            let (kinds, longest) = ([2, 3][random.below(2)], [2, 6, 20, 9000][random.below(4)]);
            let rows: Vec<(u8, usize)> = (0..random.below(40))
                .map(|_| (random.below(kinds) as u8, 1 + random.below(longest)))
                .collect();
            let (bytes, statuses) = there_and_back(&rows);
            assert_eq!(statuses, flat(&rows));
            assert!(
                bytes.len() <= rows.len() * 4 + 4,
                "{:?} took {} bytes",
                rows,
                bytes.len()
            );
        });
    }
}
