//! RTP packets (RFC 3550, section 5.1) with header extensions (RFC 8285), seen in place.

use std::ops::Range;

/// The fixed header alone, without CSRCs and extensions.
pub const FIXED_LEN: usize = 12;

const ONE_BYTE_FORM: u16 = 0xbede;
const TWO_BYTE_FORM: u16 = 0x1000; // and any low four bits, "appbits"

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Ends before what its header announces.
    Short,
    /// The version isn't 2.
    Version,
    /// Announces padding of 0 bytes, or more than there are.
    Padding,
}

/// The header of one packet. To write a packet, fill what is written and leave the rest at its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub padding: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Where the payload starts, in bytes. Not read by `write_header`.
    pub header_len: usize,
    /// Where the elements of the header extension start; 0 without one. Not read by `write_header`.
    pub extension_start: usize,
}

/// True for RTCP on a shared port (RFC 5761, section 4); `packet` is known to be RTP or RTCP.
pub fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).map_or(false, |second| (192..=223).contains(second))
}

/// The SSRC of an RTP packet, the sender's of an RTCP packet; `None` for what is too short to be either.
pub fn ssrc(packet: &[u8]) -> Option<u32> {
    let at = if is_rtcp(packet) { 4 } else { 8 };
    packet.get(at..at + 4).map(|bytes| be32(bytes, 0))
}

/// Reads the header. Only bytes that SRTP leaves in the clear are looked at: neither payload nor padding.
pub fn parse(packet: &[u8]) -> Result<Header, RtpError> {
    let fixed = packet.get(..FIXED_LEN).ok_or(RtpError::Short)?;
    if fixed[0] >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut header = Header {
        marker: fixed[1] & 0x80 != 0,
        padding: fixed[0] & 0x20 != 0,
        payload_type: fixed[1] & 0x7f,
        sequence: be16(fixed, 2),
        timestamp: be32(fixed, 4),
        ssrc: be32(fixed, 8),
        header_len: FIXED_LEN + 4 * usize::from(fixed[0] & 0x0f),
        extension_start: 0,
    };
    if fixed[0] & 0x10 != 0 {
        let start = header.header_len + 4;
        let preamble = packet.get(header.header_len..start).ok_or(RtpError::Short)?;
        header.header_len = start + 4 * usize::from(be16(preamble, 2));
        header.extension_start = start;
    }
    if packet.len() < header.header_len {
        return Err(RtpError::Short);
    }
    Ok(header)
}

/// Where the payload is, without padding. Call it after decryption: the padding's length is encrypted.
pub fn payload(packet: &[u8], header: &Header) -> Result<Range<usize>, RtpError> {
    let body = packet.get(header.header_len..).ok_or(RtpError::Short)?;
    let padding = match (header.padding, body.last()) {
        (false, _) => 0,
        (true, Some(&count)) if count > 0 && usize::from(count) <= body.len() => usize::from(count),
        (true, _) => return Err(RtpError::Padding),
    };
    Ok(header.header_len..packet.len() - padding)
}

/// The header extension elements of a packet, in order: their id and where their data is.
///
/// What comes after a malformed element is not given (RFC 8285, section 4.2); so are all elements of an unknown form.
pub fn extensions<'a>(packet: &'a [u8], header: &Header) -> Extensions<'a> {
    let elements = header.extension_start..header.header_len.min(packet.len());
    let form = match header
        .extension_start
        .checked_sub(4)
        .and_then(|at| packet.get(at..at + 2))
    {
        Some(profile) => be16(profile, 0),
        None => 0,
    };
    let (one_byte, known) = (
        form == ONE_BYTE_FORM,
        form == ONE_BYTE_FORM || form & 0xfff0 == TWO_BYTE_FORM,
    );
    let end = if known { elements.end } else { 0 };
    Extensions {
        packet,
        at: elements.start,
        end,
        one_byte,
    }
}

/// See [`extensions`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    packet: &'a [u8],
    at: usize,
    end: usize,
    one_byte: bool,
}

impl<'a> Extensions<'a> {
    /// The next element's id and the place of its data in the packet.
    fn next_range(&mut self) -> Option<(u8, Range<usize>)> {
        while self.at < self.end {
            let first = self.packet[self.at];
            if first == 0 {
                self.at += 1; // padding
                continue;
            }
            let (id, start, len) = if self.one_byte {
                (first >> 4, self.at + 1, usize::from(first & 0x0f) + 1)
            } else {
                let len = if self.at + 1 < self.end {
                    self.packet[self.at + 1]
                } else {
                    break;
                };
                (first, self.at + 2, usize::from(len))
            };
            // In the one-byte form 15 ends everything, and 0 with a length is an error that does.
            if (self.one_byte && (id == 0 || id == 15)) || start + len > self.end {
                break;
            }
            self.at = start + len;
            return Some((id, start..start + len));
        }
        self.at = self.end;
        None
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let packet = self.packet;
        self.next_range().map(|(id, range)| (id, &packet[range]))
    }
}

/// The data of the extension element `id`: the first, should there be several.
pub fn extension<'a>(packet: &'a [u8], header: &Header, id: u8) -> Option<&'a [u8]> {
    extension_range(packet, header, id).map(|range| &packet[range])
}

/// Where the data of the extension element `id` is in the packet, to be written over.
pub fn extension_range(packet: &[u8], header: &Header, id: u8) -> Option<Range<usize>> {
    let mut elements = extensions(packet, header);
    while let Some((found, range)) = elements.next_range() {
        if found == id {
            return Some(range);
        }
    }
    None
}

/// Writes a header with these extension elements, padded to four bytes, and returns its length.
///
/// The one-byte form is taken if all ids are 1 to 14 with 1 to 16 bytes, else the two-byte form. Returns 0 when it
/// does not fit in `out`, or an id is 0 or an element longer than 255 bytes; `out` is then undefined.
pub fn write_header(out: &mut [u8], header: &Header, extensions: &[(u8, &[u8])]) -> usize {
    if out.len() < FIXED_LEN {
        return 0;
    }
    out[0] = 0x80 | u8::from(header.padding) << 5 | u8::from(!extensions.is_empty()) << 4;
    out[1] = u8::from(header.marker) << 7 | header.payload_type & 0x7f;
    out[2..4].copy_from_slice(&header.sequence.to_be_bytes());
    out[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    out[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
    if extensions.is_empty() {
        return FIXED_LEN;
    }
    let one_byte = extensions
        .iter()
        .all(|(id, data)| (1..=14).contains(id) && (1..=16).contains(&data.len()));
    let start = FIXED_LEN + 4;
    let mut at = start;
    for &(id, data) in extensions {
        let prefix = if one_byte { 1 } else { 2 };
        let end = at + prefix + data.len();
        if id == 0 || data.len() > 255 || end > out.len() {
            return 0;
        }
        if one_byte {
            out[at] = id << 4 | (data.len() - 1) as u8;
        } else {
            out[at] = id;
            out[at + 1] = data.len() as u8;
        }
        out[at + prefix..end].copy_from_slice(data);
        at = end;
    }
    let end = (at + 3) / 4 * 4;
    let words = match u16::try_from((end - start) / 4) {
        Ok(words) if end <= out.len() => words,
        _ => return 0,
    };
    out[at..end].fill(0);
    let form = if one_byte { ONE_BYTE_FORM } else { TWO_BYTE_FORM };
    out[FIXED_LEN..FIXED_LEN + 2].copy_from_slice(&form.to_be_bytes());
    out[FIXED_LEN + 2..start].copy_from_slice(&words.to_be_bytes());
    end
}

/// Is sequence number `a` later than `b`, by less than half the circle?
pub fn newer(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

/// Turns 16-bit sequence numbers into ones that never wrap.
///
/// The first one is put in the second round (65536 and more), so that an older one that comes after it has a place.
#[derive(Clone, Debug, Default)]
pub struct Unwrapper {
    newest: Option<u64>,
}

impl Unwrapper {
    /// The extended number that is nearest to the newest so far.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let newest = match self.newest {
            Some(newest) => newest,
            None => 0x1_0000 | u64::from(sequence),
        };
        let ahead = sequence.wrapping_sub(newest as u16);
        let extended = if ahead < 0x8000 {
            newest + u64::from(ahead)
        } else {
            newest - u64::from(ahead.wrapping_neg())
        };
        self.newest = Some(newest.max(extended));
        extended
    }

    /// The newest extended number so far.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }
}

/// Two bytes in network order. The caller has checked the bounds.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes in network order. The caller has checked the bounds.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    type Elements<'a> = &'a [(u8, &'a [u8])];

    const EDGES: [u16; 4] = [0, 1, 65_534, 65_535];

    fn header() -> Header {
        Header {
            marker: true,
            payload_type: 96,
            sequence: 65_535,
            timestamp: 7,
            ssrc: 0xdead_beef,
            ..Header::default()
        }
    }

    fn written(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xaa; 1500];
        let len = write_header(&mut packet, &header(), extensions);
        assert!(len >= FIXED_LEN);
        packet.truncate(len);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn a_packet_with_csrcs_extension_and_padding_is_seen_in_place() {
        let packet = [
            0xb1, 0x6f, 0x00, 0x01, 0, 0, 0, 2, 0, 0, 0, 3, // version 2, padding, extension, one CSRC
            9, 9, 9, 9, // CSRC
            0xbe, 0xde, 0, 2, 0x10, 0x55, 0x00, 0x21, 1, 2, 0, 0, // id 1: 55, padding, id 2: 0102
            b'h', b'i', 0, 2, // payload, padding of 2
        ];
        let header = parse(&packet).unwrap();
        assert_eq!(
            (header.payload_type, header.sequence, header.timestamp, header.ssrc),
            (111, 1, 2, 3)
        );
        assert!(header.padding && !header.marker);
        assert_eq!(payload(&packet, &header).unwrap(), 28..30);
        let elements: Vec<(u8, &[u8])> = extensions(&packet, &header).collect();
        assert_eq!(elements, [(1, &[0x55][..]), (2, &[1, 2][..])]);
        assert_eq!(extension(&packet, &header, 2), Some(&[1, 2][..]));
        assert_eq!(extension(&packet, &header, 3), None);
    }

    #[test]
    fn rtcp_is_told_by_its_second_byte() {
        for (second, expected) in [
            (0, false),
            (96, false),
            (191, false),
            (192, true),
            (200, true),
            (223, true),
            (224, false),
        ] {
            assert_eq!(is_rtcp(&[0x80, second]), expected, "{}", second);
        }
        assert!(!is_rtcp(&[0x80]));
    }

    #[test]
    fn every_truncation_is_refused() {
        let packet = written(&[(1, b"abc"), (2, b"defgh")], b"");
        for len in 0..packet.len() {
            assert_eq!(parse(&packet[..len]), Err(RtpError::Short), "{} bytes", len);
        }
        assert_eq!(parse(&[0; 12]), Err(RtpError::Version));
        let mut csrcs = packet;
        csrcs[0] |= 0x0f;
        assert_eq!(parse(&csrcs), Err(RtpError::Short));
    }

    #[test]
    fn padding_of_nothing_or_of_more_than_there_is_is_refused() {
        let mut packet = written(&[], &[1, 2, 3]);
        packet[0] |= 0x20;
        let header = parse(&packet).unwrap();
        for (count, expected) in [
            (0, Err(RtpError::Padding)),
            (1, Ok(12..14)),
            (3, Ok(12..12)),
            (4, Err(RtpError::Padding)),
        ] {
            packet[14] = count;
            assert_eq!(payload(&packet, &header), expected, "padding of {}", count);
        }
        assert_eq!(payload(&packet[..12], &header), Err(RtpError::Padding));
    }

    #[test]
    fn an_element_that_runs_over_the_end_hides_only_itself_and_what_follows() {
        let mut packet = written(&[(1, b"a"), (2, b"b")], b"payload");
        let header = parse(&packet).unwrap();
        packet[header.extension_start + 2] = 0x2f; // 16 bytes, where one is left
        assert_eq!(extensions(&packet, &header).count(), 1);
        packet[header.extension_start] = 0xf0; // id 15 ends all
        assert_eq!(extensions(&packet, &header).count(), 0);
        packet[header.extension_start] = 0x02; // id 0 with a length, too
        assert_eq!(extensions(&packet, &header).count(), 0);
        packet[12] = 0; // an unknown form
        assert_eq!(extensions(&packet, &header).count(), 0);
    }

    #[test]
    fn the_form_follows_from_ids_and_lengths() {
        let long = [7; 17];
        let cases: [(Elements, u16); 5] = [
            (&[(1, b"x"), (14, &long[..16])], ONE_BYTE_FORM),
            (&[(15, b"x")], TWO_BYTE_FORM),
            (&[(1, b"")], TWO_BYTE_FORM),
            (&[(1, &long)], TWO_BYTE_FORM),
            (&[(255, b"x"), (1, b"y")], TWO_BYTE_FORM),
        ];
        for (elements, form) in cases {
            let packet = written(elements, b"payload");
            assert_eq!(be16(&packet, 12), form, "{:?}", elements);
            let header = parse(&packet).unwrap();
            assert_eq!(header.header_len % 4, 0);
            assert_eq!(extensions(&packet, &header).collect::<Vec<_>>(), elements);
            assert_eq!(&packet[payload(&packet, &header).unwrap()], b"payload");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut out = [0; 24];
        assert_eq!(write_header(&mut out[..11], &header(), &[]), 0);
        assert_eq!(write_header(&mut out, &header(), &[(1, b"1234567")]), 24);
        assert_eq!(write_header(&mut out, &header(), &[(1, b"12345678")]), 0);
        assert_eq!(write_header(&mut out[..23], &header(), &[(1, b"123456")]), 0);
        assert_eq!(write_header(&mut out, &header(), &[(0, b"1")]), 0);
        assert_eq!(write_header(&mut [0; 600], &header(), &[(1, &[0; 256])]), 0);
    }

    #[test]
    fn an_element_can_be_written_over_in_place() {
        let mut packet = written(&[(3, &[0, 0]), (4, &[9])], b"payload");
        let range = extension_range(&packet, &parse(&packet).unwrap(), 3).unwrap();
        packet[range].copy_from_slice(&[0xab, 0xcd]);
        let header = parse(&packet).unwrap();
        assert_eq!(extension(&packet, &header, 3), Some(&[0xab, 0xcd][..]));
        assert_eq!(extension(&packet, &header, 4), Some(&[9][..]));
    }

    #[test]
    fn newer_means_less_than_half_the_circle_ahead() {
        for a in EDGES {
            assert!(!newer(a, a));
            assert!(newer(a.wrapping_add(1), a) && !newer(a, a.wrapping_add(1)), "{}", a);
            assert!(
                newer(a.wrapping_add(0x7fff), a) && !newer(a.wrapping_add(0x8000), a),
                "{}",
                a
            );
        }
    }

    #[test]
    fn the_unwrapper_goes_over_the_end_and_back_without_losing_count() {
        for first in EDGES {
            let mut unwrapper = Unwrapper::default();
            let base = unwrapper.unwrap(first);
            assert_eq!(base, 0x1_0000 + u64::from(first));
            for (step, expected) in [
                (1, 1),
                (0xffff, -1),
                (3, 3),
                (2, 2),
                (0x7fff, 0x7fff),
                (0, 0),
                (0xfffe, 0xfffe),
            ] {
                let got = unwrapper.unwrap(first.wrapping_add(step));
                assert_eq!(got as i64 - base as i64, expected, "{} {}", first, step);
            }
            assert_eq!(unwrapper.newest(), Some(base + 0xfffe));
        }
    }

    #[test]
    fn the_unwrapper_never_falls_below_zero() {
        let mut unwrapper = Unwrapper::default();
        assert_eq!(unwrapper.unwrap(0), 0x1_0000);
        assert_eq!(unwrapper.unwrap(0x8001), 0x8001);
        assert_eq!(unwrapper.unwrap(0x8001), 0x8001);
        assert_eq!(unwrapper.unwrap(1), 0x1_0001);
        // Exactly half around is behind.
        assert_eq!(unwrapper.unwrap(0x8001), 0x8001);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for_each_seed(500, |random| {
            let header = Header {
                marker: random.one_in(2),
                padding: false,
                payload_type: random.below(128) as u8,
                sequence: random.next() as u16,
                timestamp: random.next() as u32,
                ssrc: random.next() as u32,
                ..Header::default()
            };
            let data: Vec<(u8, Vec<u8>)> = (0..random.below(6))
                .map(|n| (n as u8 * 4 + 1, random.bytes(20)))
                .collect();
            let elements: Vec<(u8, &[u8])> = data.iter().map(|(id, data)| (*id, &data[..])).collect();
            let mut packet = random.bytes(1200);
            packet.resize(packet.len() + 200, 0);
            let len = write_header(&mut packet, &header, &elements);
            let read = parse(&packet).unwrap();
            assert_eq!(read.header_len, len);
            assert_eq!(extensions(&packet, &read).collect::<Vec<_>>(), elements);
            assert_eq!(
                Header {
                    header_len: 0,
                    extension_start: 0,
                    ..read
                },
                header
            );
        });
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = written(&[(1, b"abc"), (2, b"defgh")], b"payload");
        let good_two_byte = written(&[(20, b"abc"), (2, b"")], b"payload");
        for_each_seed(20_000, |random| {
            let bytes = match random.below(3) {
                0 => random.bytes(64),
                1 => random.mutated(&good),
                _ => random.mutated(&good_two_byte),
            };
            is_rtcp(&bytes);
            if let Ok(header) = parse(&bytes) {
                let elements = extensions(&bytes, &header)
                    .map(|(_, data)| data.len() + 1)
                    .sum::<usize>();
                assert!(elements <= bytes.len());
                if let Ok(range) = payload(&bytes, &header) {
                    assert!(range.start <= range.end && range.end <= bytes.len());
                }
                // A header of one packet, asked of another.
                let other = random.bytes(40);
                let _ = (extensions(&other, &header).count(), payload(&other, &header));
            }
        });
    }
}
