//! AV1: the aggregation header (AV1 RTP payload specification, section 4.4) and the sequence header's picture size (AV1
//! bitstream, section 5.5).
//!
//! Layers and frame numbers are in the dependency descriptor, see `dependency`.

use crate::bits::Bits;

const SEQUENCE_HEADER: u8 = 1;
/// OBU elements in a packet that are looked at: a key frame's first packet has three or four.
const MOST_ELEMENTS: usize = 16;

/// Does a packet with this payload begin a coded video sequence: N is set, and a sequence header begins in it?
pub fn starts_key_frame(payload: &[u8]) -> bool {
    sequence_header(payload).is_some()
}

/// Width and height in pixels, the largest that the sequence header of a key frame's first packet allows.
pub fn key_frame_size(payload: &[u8]) -> Option<(u16, u16)> {
    size(sequence_header(payload)?)
}

fn sequence_header(payload: &[u8]) -> Option<&[u8]> {
    let (&header, mut rest) = payload.split_first()?;
    let (continues, count, first) = (header & 0x80 != 0, usize::from(header >> 4 & 3), header & 8 != 0);
    if continues || !first {
        return None;
    }
    for place in 1..=MOST_ELEMENTS {
        if rest.is_empty() {
            return None;
        }
        // Where W counts the elements, the last has no length.
        let element = if place == count {
            std::mem::take(&mut rest)
        } else {
            let (len, at) = leb128(rest)?;
            let element = rest.get(at..at.checked_add(len)?)?;
            rest = &rest[at + len..];
            element
        };
        if let Some(body) = body_of(element, SEQUENCE_HEADER) {
            return Some(body);
        }
    }
    None
}

/// What follows the header of an OBU of type `wanted`.
fn body_of(obu: &[u8], wanted: u8) -> Option<&[u8]> {
    let (&header, mut rest) = obu.split_first()?;
    if header >> 3 & 0xf != wanted {
        return None;
    }
    if header & 4 != 0 {
        rest = rest.get(1..)?;
    }
    if header & 2 != 0 {
        let (len, at) = leb128(rest)?;
        rest = rest.get(at..at.checked_add(len)?)?;
    }
    Some(rest)
}

/// A number and how many bytes it has (AV1 bitstream, section 4.10.5); eight at most.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (place, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, place + 1));
        }
    }
    None
}

fn size(sequence_header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(sequence_header);
    bits.take(3)?; // profile
    bits.flag()?; // still picture
    if bits.flag()? {
        bits.take(5)?; // reduced header: a level and no more
    } else {
        skip_operating_points(&mut bits)?;
    }
    let (across, down) = (bits.take(4)? as usize + 1, bits.take(4)? as usize + 1);
    let (width, height) = (bits.take(across)? + 1, bits.take(down)? + 1);
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

fn skip_operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.take(32)?; // ticks, time scale
        bits.take(32)?;
        if bits.flag()? {
            bits.unbounded()?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.take(5)? as usize + 1);
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    let display_delay = bits.flag()?;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?; // layers
        if bits.take(5)? > 7 {
            bits.flag()?; // tier
        }
        if let Some(delay_bits) = delay_bits {
            if bits.flag()? {
                bits.take(delay_bits)?;
                bits.take(delay_bits)?;
                bits.flag()?;
            }
        }
        if display_delay && bits.flag()? {
            bits.take(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    fn sequence() -> Vec<u8> {
        // profile 0, no still, not reduced, no timing, no display delay, one operating point of level 5 and all
        // layers, sides of ten and nine bits.
        let bits = concat!(
            "000",
            "0",
            "0",
            "0",
            "0",
            "00000",
            "000000000000",
            "00101",
            "1001",
            "1000",
            "1001111111",
            "101100111",
            "0000"
        );
        let bits: Vec<u8> = bits.bytes().map(|b| b - b'0').collect();
        let packed = bits
            .chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |all, (i, bit)| all | bit << (7 - i)));
        std::iter::once(0x08).chain(packed).collect()
    }

    fn packet(header: u8, elements: &[&[u8]], last_has_length: bool) -> Vec<u8> {
        let mut packet = vec![header];
        for (i, element) in elements.iter().enumerate() {
            if last_has_length || i + 1 < elements.len() {
                packet.push(element.len() as u8);
            }
            packet.extend_from_slice(element);
        }
        packet
    }

    #[test]
    fn a_sequence_header_is_found_in_every_packing() {
        let (sequence, frame, delimiter) = (sequence(), [0x30, 1, 2], [0x10]);
        let sized = [&[0x0a, sequence.len() as u8 - 1], &sequence[1..]].concat();
        let extended = [&[0x0c, 0x00], &sequence[1..]].concat();
        let found = [
            packet(0x18, &[&sequence], false),
            packet(0x28, &[&sequence, &frame], false),
            packet(0x08, &[&sequence, &frame], true),
            packet(0x38, &[&delimiter, &sequence, &frame], false),
            packet(0x68, &[&sized, &frame], false),
            packet(0x28, &[&extended, &frame], false),
        ];
        for payload in &found {
            assert_eq!(key_frame_size(payload), Some((640, 360)), "{:02x?}", payload);
        }
        let others = [
            packet(0x20, &[&sequence, &frame], false), // not the first of a sequence
            packet(0xa8, &[&sequence, &frame], false), // begins with the rest of an element
            packet(0x28, &[&frame, &frame], false),
            packet(0x08, &[&frame], true),
            vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            vec![0x28, 200, 0x08],
            vec![0x18],
            vec![],
        ];
        for payload in &others {
            assert!(!starts_key_frame(payload), "{:02x?}", payload);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = packet(0x28, &[&sequence(), &[0x30, 1, 2]], false);
        for_each_seed(20_000, |random| {
            let bytes = match random.below(3) {
                0 => random.bytes(40),
                1 => random.mutated(&good),
                _ => [&[0x18, 0x08][..], &random.bytes(80)].concat(),
            };
            starts_key_frame(&bytes);
            key_frame_size(&bytes);
        });
    }
}
