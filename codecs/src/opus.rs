//! Opus: what the first bytes of a packet say of its length and silence (RFC 6716, section 3).

/// The longest packet there is, 120 ms, in samples of the 48 kHz clock.
const LONGEST: u32 = 5760;

/// Samples in one frame, on the 48 kHz clock that RTP uses whatever the bandwidth (RFC 7587, section 4.1).
fn frame_samples(toc: u8) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

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
