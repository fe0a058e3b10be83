//! H.264 payloads (RFC 6184): single NAL units, STAP-A and FU-A, which is all that packetization modes 0 and 1 have.

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

mod sps;

/// Can a decoder start at this packet: does an SPS, or an IDR picture, begin in it?
///
/// Encoders send SPS and PPS before each IDR picture, with its timestamp, so that an SPS comes first wherever a decoder
/// needs one.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    starting_units(payload).any(|(unit, _)| unit == SPS || unit == IDR)
}

/// Does a sequence parameter set begin in this packet?
pub fn has_parameter_sets(payload: &[u8]) -> bool {
    starting_units(payload).any(|(unit, _)| unit == SPS)
}

/// Width and height in pixels that the packet's first SPS announces, cropping taken off.
///
/// Nothing where no SPS is: an IDR picture's own packets don't say its size.
pub fn key_frame_size(payload: &[u8]) -> Option<(u16, u16)> {
    starting_units(payload)
        .find(|(unit, _)| *unit == SPS)
        .and_then(|(_, body)| sps::size(body))
}

/// The NAL units that begin in a payload: type, and what of each is in it after its first byte. Of a malformed
/// aggregate those before the error.
pub fn starting_units(payload: &[u8]) -> Units<'_> {
    let (one, aggregate) = match payload {
        [first, rest @ ..] if first & 0x1f == STAP_A => (None, rest),
        [first, header, body @ ..] if first & 0x1f == FU_A && header & 0x80 != 0 => {
            (Some((header & 0x1f, body)), &[][..])
        }
        [first, body @ ..] if (1..=23).contains(&(first & 0x1f)) => (Some((first & 0x1f, body)), &[][..]),
        _ => (None, &[][..]),
    };
    Units { one, aggregate }
}

/// See [`starting_units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    one: Option<(u8, &'a [u8])>,
    aggregate: &'a [u8], // each unit after its length in two bytes
}

impl<'a> Iterator for Units<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(one) = self.one.take() {
            return Some(one);
        }
        let (len, rest) = match self.aggregate {
            [high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return None,
        };
        if len == 0 || len > rest.len() {
            self.aggregate = &[];
            return None;
        }
        self.aggregate = &rest[len..];
        Some((rest[0] & 0x1f, &rest[1..len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    #[test]
    fn a_key_frame_is_seen_in_every_packing() {
        let cases: [(&str, &[u8], bool); 15] = [
            ("SPS alone", &[0x67, 0x42], true),
            ("IDR alone", &[0x65, 0x88], true),
            ("PPS alone", &[0x68, 0xce], false),
            ("slice", &[0x41, 0x9a], false),
            ("SEI", &[0x06, 0x05], false),
            (
                "STAP-A with SPS and PPS",
                &[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce],
                true,
            ),
            (
                "STAP-A with SEI, then IDR",
                &[0x78, 0, 2, 0x06, 0x42, 0, 2, 0x65, 0xce],
                true,
            ),
            ("STAP-A with slices", &[0x78, 0, 2, 0x41, 0x42, 0, 1, 0x41], false),
            (
                "STAP-A with a unit of no length before the SPS",
                &[0x78, 0, 0, 0, 1, 0x67],
                false,
            ),
            ("STAP-A with a unit longer than it", &[0x78, 0, 3, 0x67, 0x42], false),
            ("FU-A, start of IDR", &[0x7c, 0x85, 0x88], true),
            ("FU-A, later in IDR", &[0x7c, 0x05, 0x88], false),
            ("FU-A, end of IDR", &[0x7c, 0x45, 0x88], false),
            ("FU-A, start of slice", &[0x7c, 0x81, 0x88], false),
            ("FU-A without its header", &[0x7c], false),
        ];
        for (name, payload, expected) in cases {
            assert_eq!(starts_key_frame(payload), expected, "{}", name);
        }
        assert!(!starts_key_frame(&[]));
        for reserved in [0, 25, 26, 27, 29, 30, 31] {
            assert!(!starts_key_frame(&[reserved, 0x85, 0x67, 0x67]), "type {}", reserved);
        }
    }

    #[test]
    fn parameter_sets_are_told_from_pictures() {
        assert!(has_parameter_sets(&[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce]));
        assert!(!has_parameter_sets(&[0x65, 0x88]));
    }

    #[test]
    fn the_size_is_found_alone_and_in_an_aggregate() {
        // x264, constrained baseline, 640x360.
        let sps = [
            0x67, 0x42, 0xc0, 0x16, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x61, 0x00, 0x00, 0x03, 0x00, 0x01,
        ];
        assert_eq!(key_frame_size(&sps), Some((640, 360)));
        let mut aggregate = vec![0x78, 0, 2, 0x06, 0x05, 0, sps.len() as u8];
        aggregate.extend_from_slice(&sps);
        aggregate.extend_from_slice(&[0, 2, 0x68, 0xce]);
        assert_eq!(key_frame_size(&aggregate), Some((640, 360)));
        assert_eq!(key_frame_size(&[0x65, 0x88]), None);
        assert_eq!(key_frame_size(&sps[..8]), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for_each_seed(20_000, |random| {
            let good = [0x78, 0, 2, 0x06, 0x42, 0, 2, 0x65, 0xce, 0, 2, 0x68, 0xce];
            let bytes = if random.one_in(2) {
                random.bytes(24)
            } else {
                random.mutated(&good)
            };
            assert!(starting_units(&bytes).count() <= bytes.len());
            key_frame_size(&bytes);
        });
    }
}
