//! H.264 payloads (RFC 6184): single NAL units, STAP-A and FU-A, which is all that packetization modes 0 and 1 have.

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Can a decoder start at this packet: does an SPS, or an IDR picture, begin in it?
///
/// Encoders send SPS and PPS before each IDR picture, with its timestamp, so that an SPS comes first wherever a decoder
/// needs one.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    starting_units(payload).any(|unit| unit == SPS || unit == IDR)
}

/// Does a sequence parameter set begin in this packet?
pub fn has_parameter_sets(payload: &[u8]) -> bool {
    starting_units(payload).any(|unit| unit == SPS)
}

/// The types of the NAL units that begin in a payload. Of a malformed aggregate those before the error.
pub fn starting_units(payload: &[u8]) -> Units<'_> {
    match payload {
        [first, rest @ ..] if first & 0x1f == STAP_A => Units {
            one: None,
            aggregate: rest,
        },
        [first, header, ..] if first & 0x1f == FU_A => Units {
            one: if header & 0x80 != 0 { Some(header & 0x1f) } else { None },
            aggregate: &[],
        },
        [first, ..] if (1..=23).contains(&(first & 0x1f)) => Units {
            one: Some(first & 0x1f),
            aggregate: &[],
        },
        _ => Units {
            one: None,
            aggregate: &[],
        },
    }
}

/// See [`starting_units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    one: Option<u8>,
    aggregate: &'a [u8], // each unit after its length in two bytes
}

impl Iterator for Units<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
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
        Some(rest[0] & 0x1f)
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
    fn no_bytes_make_it_panic() {
        for_each_seed(20_000, |random| {
            let good = [0x78, 0, 2, 0x06, 0x42, 0, 2, 0x65, 0xce, 0, 2, 0x68, 0xce];
            let bytes = if random.one_in(2) {
                random.bytes(24)
            } else {
                random.mutated(&good)
            };
            assert!(starting_units(&bytes).count() <= bytes.len());
        });
    }
}
