//! Redundant audio (RFC 2198): earlier blocks, and the primary one, in one payload.

use crate::Malformed;

/// Redundant blocks that we read: libwebrtc writes one, and nine at most.
pub const MOST_REDUNDANT: usize = 9;

/// Bytes in a redundant block: its length has ten bits.
const LONGEST_BLOCK: usize = 0x3ff;

/// How much older a redundant block may be, in RTP clock units: its offset has 14 bits.
const LARGEST_OFFSET: u16 = 0x3fff;

/// One block of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// 0 to 127, in the sender's numbering.
    pub payload_type: u8,
    /// How much older than the packet's timestamp it is, in RTP clock units; 0 for the primary.
    pub offset: u16,
    pub data: &'a [u8],
}

/// The blocks of a payload, checked as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    headers: &'a [u8], // four bytes for each redundant block
    redundant: &'a [u8],
    primary: Block<'a>,
}

/// Reads a payload: at most nine redundant blocks, then the primary one, which may be empty.
pub fn parse(payload: &[u8]) -> Result<Blocks<'_>, Malformed> {
    let mut at = 0;
    let mut redundant = 0;
    loop {
        let first = *payload.get(at).ok_or(Malformed::Short)?;
        if first & 0x80 == 0 {
            let (headers, data) = (&payload[..at], &payload[at + 1..]);
            if data.len() < redundant {
                return Err(Malformed::Short);
            }
            let (redundant, primary) = data.split_at(redundant);
            return Ok(Blocks {
                headers,
                redundant,
                primary: Block {
                    payload_type: first,
                    offset: 0,
                    data: primary,
                },
            });
        }
        if at == 4 * MOST_REDUNDANT {
            return Err(Malformed::TooMany);
        }
        redundant += block_len(payload.get(at..at + 4).ok_or(Malformed::Short)?);
        at += 4;
    }
}

/// The primary block's data.
pub fn primary(payload: &[u8]) -> Result<&[u8], Malformed> {
    parse(payload).map(|blocks| blocks.primary.data)
}

fn block_len(header: &[u8]) -> usize {
    usize::from(header[2] & 3) << 8 | usize::from(header[3])
}

impl<'a> Blocks<'a> {
    /// The block that belongs to the packet's timestamp.
    pub fn primary(&self) -> Block<'a> {
        self.primary
    }

    /// The earlier blocks, in the order of the payload: the oldest first, as everyone writes them.
    pub fn redundant(&self) -> Redundant<'a> {
        Redundant {
            headers: self.headers,
            data: self.redundant,
        }
    }
}

/// See [`Blocks::redundant`].
#[derive(Clone, Debug)]
pub struct Redundant<'a> {
    headers: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Redundant<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let header = self.headers.get(..4)?;
        let (data, rest) = self.data.split_at(block_len(header));
        self.headers = &self.headers[4..];
        self.data = rest;
        let offset = u16::from_be_bytes([header[1], header[2]]) >> 2;
        Some(Block {
            payload_type: header[0] & 0x7f,
            offset,
            data,
        })
    }
}

/// Whether a redundant block can say that it is `offset` units older and holds `data`.
pub fn fits(offset: u32, data: &[u8]) -> bool {
    data.len() <= LONGEST_BLOCK && offset <= u32::from(LARGEST_OFFSET)
}

/// Appends a payload with these redundant blocks, the oldest first, and the primary one.
///
/// A redundant block that can't be said (longer than 1023 bytes, or more than 16383 units older) is left out, and so is
/// what is beyond the ninth. The primary's offset is not written.
pub fn write(out: &mut Vec<u8>, redundant: &[Block], primary: Block) {
    let said = || {
        let said = |block: &&Block| fits(u32::from(block.offset), block.data);
        redundant.iter().filter(said).take(MOST_REDUNDANT)
    };
    for block in said() {
        let rest = u32::from(block.offset) << 10 | block.data.len() as u32;
        let header = 0x8000_0000 | u32::from(block.payload_type & 0x7f) << 24 | rest;
        out.extend_from_slice(&header.to_be_bytes());
    }
    out.push(primary.payload_type & 0x7f);
    for block in said() {
        out.extend_from_slice(block.data);
    }
    out.extend_from_slice(primary.data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    fn block(payload_type: u8, offset: u16, data: &[u8]) -> Block<'_> {
        Block {
            payload_type,
            offset,
            data,
        }
    }

    #[test]
    fn a_payload_with_one_redundant_block_is_read() {
        let payload = [0x80 | 111, 0x0f, 0x00, 0x02, 111, b'a', b'b', b'c']; // offset 960
        let blocks = parse(&payload).unwrap();
        assert_eq!(blocks.primary(), block(111, 0, b"c"));
        assert_eq!(blocks.redundant().collect::<Vec<_>>(), [block(111, 960, b"ab")]);
    }

    #[test]
    fn a_payload_with_the_primary_alone_and_even_an_empty_one_is_read() {
        assert_eq!(parse(&[111, 1, 2]).unwrap().primary(), block(111, 0, &[1, 2]));
        assert_eq!(parse(&[111]).unwrap().primary(), block(111, 0, &[]));
        assert_eq!(parse(&[111]).unwrap().redundant().count(), 0);
    }

    #[test]
    fn what_ends_early_or_never_is_refused() {
        let payload = [0x80 | 111, 0x0f, 0x00, 0x02, 111, b'a', b'b'];
        for len in 0..payload.len() {
            assert_eq!(parse(&payload[..len]).unwrap_err(), Malformed::Short, "{} bytes", len);
        }
        assert_eq!(parse(&payload).unwrap().primary().data, b"");
        let mut many = [0x80, 0, 0, 0].repeat(MOST_REDUNDANT);
        many.push(0);
        assert_eq!(parse(&many).unwrap().redundant().count(), MOST_REDUNDANT);
        many.splice(0..0, [0x80, 0, 0, 0]);
        assert_eq!(parse(&many).unwrap_err(), Malformed::TooMany);
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let long = [0; 1024];
        let blocks = [
            block(1, 16_384, b"x"),
            block(1, 0, &long),
            block(2, 16_383, &long[..1023]),
        ];
        let mut out = Vec::new();
        write(&mut out, &blocks, block(3, 0, b"p"));
        let read = parse(&out).unwrap();
        assert_eq!(read.redundant().collect::<Vec<_>>(), blocks[2..]);
        assert_eq!(read.primary(), block(3, 0, b"p"));
        out.clear();
        write(&mut out, &[block(1, 2, b"x"); 12], block(3, 0, b"p"));
        assert_eq!(parse(&out).unwrap().redundant().count(), MOST_REDUNDANT);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for_each_seed(500, |random| {
            let data: Vec<Vec<u8>> = (0..=random.below(MOST_REDUNDANT + 1))
                .map(|_| random.bytes(200))
                .collect();
            let mut blocks: Vec<Block> = data
                .iter()
                .map(|data| block(random.below(128) as u8, random.below(16_384) as u16, data))
                .collect();
            let primary = Block {
                offset: 0,
                ..blocks.pop().unwrap()
            };
            let mut out = Vec::new();
            write(&mut out, &blocks, primary);
            let read = parse(&out).unwrap();
            assert_eq!(read.redundant().collect::<Vec<_>>(), blocks);
            assert_eq!(read.primary(), primary);
        });
    }

    #[test]
    fn no_bytes_make_it_panic_or_give_more_than_they_hold() {
        let mut good = Vec::new();
        write(
            &mut good,
            &[block(111, 1920, b"first"), block(111, 960, b"second")],
            block(111, 0, b"third"),
        );
        for_each_seed(20_000, |random| {
            let bytes = if random.one_in(2) {
                random.bytes(40)
            } else {
                random.mutated(&good)
            };
            if let Ok(blocks) = parse(&bytes) {
                assert_eq!(primary(&bytes), Ok(blocks.primary().data));
                let held = blocks.redundant().map(|block| block.data.len()).sum::<usize>();
                assert!(held + blocks.primary().data.len() < bytes.len());
            }
        });
    }
}
