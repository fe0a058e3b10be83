//! What a datagram is, by its first bytes (RFC 7983, section 7; RFC 5761, section 4).

use crate::rtp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

pub fn protocol(datagram: &[u8]) -> Protocol {
    match datagram.first() {
        Some(0..=3) => Protocol::Stun,
        Some(20..=63) => Protocol::Dtls,
        Some(128..=191) if rtp::is_rtcp(datagram) => Protocol::Rtcp,
        Some(128..=191) => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_and_the_second_tells_rtcp_from_rtp() {
        let cases: [(&[u8], Protocol); 8] = [
            (&[], Protocol::Unknown),
            (&[0, 1], Protocol::Stun),
            (&[4, 0], Protocol::Unknown),
            (&[22, 254], Protocol::Dtls),
            (&[64, 0], Protocol::Unknown),
            (&[0x80, 200], Protocol::Rtcp),
            (&[0x80, 0x80 | 96], Protocol::Rtp),
            (&[192, 0], Protocol::Unknown),
        ];
        for (datagram, expected) in cases {
            assert_eq!(protocol(datagram), expected, "{datagram:?}");
        }
    }
}
