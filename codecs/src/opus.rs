//! Opus: what a packet says of its length and silence, and the frames in it (RFC 6716, section 3).

use crate::Malformed;

/// The longest packet there is, 120 ms, in samples of the 48 kHz clock.
pub const LONGEST: u32 = 5760;
/// Of 2.5 ms, so many frames make the longest packet.
pub const MOST_FRAMES: usize = 48;
/// Bytes in the longest frame.
pub const LONGEST_FRAME: usize = 1275;

/// Samples in one frame, on the 48 kHz clock that RTP uses whatever the bandwidth (RFC 7587, section 4.1).
pub fn frame_samples(toc: u8) -> u32 {
    match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)], // SILK
        config @ 12..=15 => [480, 960][usize::from(config & 1)],            // hybrid
        config => [120, 240, 480, 960][usize::from(config & 3)],            // CELT
    }
}

/// How many frames a packet holds; nothing if it is malformed, also by being longer than 120 ms.
fn frames(payload: &[u8]) -> Option<u32> {
    let toc = *payload.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1)? & 0x3f),
    };
    let fits = frames > 0 && frames * frame_samples(toc) <= LONGEST;
    if fits {
        Some(frames)
    } else {
        None
    }
}

/// How long a packet plays, in samples of the 48 kHz clock: 120 to 5760; nothing if it is malformed.
pub fn duration(payload: &[u8]) -> Option<u32> {
    frames(payload).map(|frames| frames * frame_samples(payload[0]))
}

/// Is this what discontinuous transmission sends now and then into silence: a TOC byte with at most one byte more?
///
/// An encoder makes packets this short for nothing else (opus_encode: "2 bytes or less, need not be sent").
pub fn is_silence(payload: &[u8]) -> bool {
    (1..=2).contains(&payload.len())
}

/// The frames of one packet, in order.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    /// Where each begins and how long it is, in `data`.
    ends: [u16; MOST_FRAMES],
    count: usize,
    data: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Reads the frames of a packet, without its padding (RFC 6716, sections 3.2.2 to 3.2.5).
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let (&toc, rest) = packet.split_first().ok_or(Malformed::Short)?;
        let count = frames(packet).ok_or(Malformed::TooMany)? as usize;
        let mut lens = [0; MOST_FRAMES];
        let data = match toc & 3 {
            0 | 1 => rest,
            2 => {
                let (len, rest) = frame_len(rest)?;
                lens[0] = len;
                rest
            }
            _ => {
                let (&kind, mut rest) = rest.split_first().ok_or(Malformed::Short)?;
                if kind & 0x40 != 0 {
                    let (padding, after) = padding_len(rest)?;
                    let end = after.len().checked_sub(padding).ok_or(Malformed::Short)?;
                    rest = &after[..end];
                }
                if kind & 0x80 != 0 {
                    for len in &mut lens[..count - 1] {
                        let (read, after) = frame_len(rest)?;
                        (*len, rest) = (read, after);
                    }
                }
                rest
            }
        };
        let variable = toc & 3 == 2 || toc & 3 == 3 && packet[1] & 0x80 != 0;
        if variable {
            let others = lens[..count - 1].iter().sum::<usize>();
            lens[count - 1] = data.len().checked_sub(others).ok_or(Malformed::Short)?;
        } else if data.len() % count == 0 {
            lens[..count].fill(data.len() / count);
        } else {
            return Err(Malformed::Short);
        }
        if lens.iter().any(|len| *len > LONGEST_FRAME) {
            return Err(Malformed::TooMany);
        }
        let mut ends = [0; MOST_FRAMES];
        let mut end = 0;
        for (place, len) in ends.iter_mut().zip(&lens[..count]) {
            end += len;
            *place = u16::try_from(end).map_err(|_| Malformed::TooMany)?;
        }
        Ok(Frames { ends, count, data })
    }

    /// One frame after the other; empty ones are silence, or lost.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let mut start = 0;
        self.ends[..self.count].iter().map(move |end| {
            let frame = &self.data[start..usize::from(*end)];
            start = usize::from(*end);
            frame
        })
    }
}

/// Reads a frame's length (section 3.2.1); it and what is behind it.
fn frame_len(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    match *bytes {
        [first @ 0..=251, ref rest @ ..] => Ok((usize::from(first), rest)),
        [first, second, ref rest @ ..] => Ok((usize::from(first) + 4 * usize::from(second), rest)),
        _ => Err(Malformed::Short),
    }
}

/// Reads how much padding stands at the end (section 3.2.5); it and what is behind it.
fn padding_len(mut bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut padding = 0;
    loop {
        let (&first, rest) = bytes.split_first().ok_or(Malformed::Short)?;
        bytes = rest;
        if first != 255 {
            return Ok((padding + usize::from(first), bytes));
        }
        padding += 254;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    fn read(packet: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        Frames::parse(packet).map(|frames| frames.iter().collect())
    }

    #[test]
    fn the_frames_of_all_four_kinds_of_packets_are_read() {
        let cases: [(&[u8], &[&[u8]]); 9] = [
            (&[0xf8], &[b""]),
            (b"\xf8abc", &[b"abc"]),
            (b"\xf9abcd", &[b"ab", b"cd"]),
            (b"\xfa\x01abc", &[b"a", b"bc"]),
            (b"\xfa\x00abc", &[b"", b"abc"]),
            (b"\xfb\x03abcdef", &[b"ab", b"cd", b"ef"]),
            (b"\xfb\x83\x01\x02abbccc", &[b"a", b"bb", b"ccc"]),
            (b"\xfb\x43\x02abcdef\0\0", &[b"ab", b"cd", b"ef"]),
            (b"\xfb\xc2\x01\x01abb\0", &[b"a", b"bb"]),
        ];
        for (packet, expected) in cases {
            assert_eq!(read(packet).unwrap(), expected, "{packet:?}");
        }
    }

    #[test]
    fn packets_that_break_a_requirement_are_refused() {
        let long = [vec![0xf8], vec![7; LONGEST_FRAME + 1]].concat();
        let cases: [(&[u8], Malformed); 9] = [
            (b"", Malformed::Short),
            (&long, Malformed::TooMany),
            (b"\xf9abc", Malformed::Short),             // two of equal length
            (b"\xfa", Malformed::Short),                // no length
            (b"\xfa\xfc", Malformed::Short),            // half a length
            (b"\xfa\x04abc", Malformed::Short),         // longer than what is there
            (b"\xfb\x03abcd", Malformed::Short),        // three of equal length
            (b"\xfb\x41\xff\x05abc", Malformed::Short), // more padding than packet
            (b"\xfb\x07abcdefg", Malformed::TooMany),   // 140 ms
        ];
        for (packet, expected) in cases {
            assert_eq!(read(packet).unwrap_err(), expected, "{packet:?}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_give_more_than_they_hold() {
        for_each_seed(20_000, |random| {
            let bytes = random.bytes(60);
            if let Ok(frames) = Frames::parse(&bytes) {
                assert_eq!(frames.iter().count(), frames.count);
                assert!(frames.iter().map(<[u8]>::len).sum::<usize>() < bytes.len());
            }
        });
    }

    #[test]
    fn the_duration_is_read_from_configuration_and_frame_count() {
        let toc = |config: u8, code: u8| config << 3 | code;
        let cases: [(&[u8], Option<u32>); 13] = [
            (&[toc(0, 0), 1], Some(480)),
            (&[toc(3, 0), 1], Some(2880)),
            (&[toc(9, 0), 1], Some(960)),
            (&[toc(12, 0), 1], Some(480)),
            (&[toc(15, 0), 1], Some(960)),
            (&[toc(16, 0), 1], Some(120)),
            (&[toc(31, 0), 1], Some(960)), // what browsers send: 20 ms, full band
            (&[toc(31, 1), 1, 1], Some(1920)),
            (&[toc(31, 2), 1, 1, 1], Some(1920)),
            (&[toc(31, 3), 0xc3, 1], Some(2880)), // 60 ms, VBR and padding
            (&[toc(31, 3), 6], Some(5760)),
            (&[toc(31, 3), 7], None),
            (&[toc(31, 3), 0], None),
        ];
        for (payload, expected) in cases {
            assert_eq!(duration(payload), expected, "{:?}", payload);
        }
        assert_eq!(duration(&[]), None);
        assert_eq!(duration(&[0xff]), None); // code 3 without its count
    }

    #[test]
    fn silence_is_a_packet_of_one_or_two_bytes() {
        for (len, expected) in [(0, false), (1, true), (2, true), (3, false), (60, false)] {
            assert_eq!(is_silence(&vec![0xf8; len]), expected, "{} bytes", len);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_last_longer_than_120_ms() {
        for_each_seed(20_000, |random| {
            let bytes = random.bytes(4);
            is_silence(&bytes);
            assert!(duration(&bytes).map_or(true, |samples| (120..=5760).contains(&samples)));
        });
    }
}
