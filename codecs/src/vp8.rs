//! VP8: the payload descriptor (RFC 7741, section 4.2) and the start of the frame header (RFC 6386, section 9.1).

use crate::numbers::Numbers;
pub use crate::numbers::{PictureId, Tl0PicIdx};
use crate::Malformed;

/// The payload descriptor that each packet begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// No other frame needs this one.
    pub non_reference: bool,
    /// The packet begins a partition.
    pub start: bool,
    /// PID, 0 to 7.
    pub partition: u8,
    pub picture: Option<PictureId>,
    pub tl0: Option<Tl0PicIdx>,
    /// Temporal layer, 0 to 3.
    pub tid: Option<u8>,
    /// Y: needs nothing but layer 0, so that a viewer may go up to this layer here.
    pub layer_sync: bool,
    /// 0 to 31.
    pub key_idx: Option<u8>,
    /// Bytes of descriptor; the VP8 data comes after it.
    pub len: usize,
}

impl Descriptor {
    /// Reads the descriptor of a packet's payload.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut at = 0;
        let mut byte = || {
            let byte = payload.get(at).copied().ok_or(Malformed::Short);
            at += 1;
            byte.map(|byte| (at - 1, byte))
        };
        let (_, first) = byte()?;
        let mut descriptor = Descriptor {
            non_reference: first & 0x20 != 0,
            start: first & 0x10 != 0,
            partition: first & 0x07,
            ..Descriptor::default()
        };
        let has = if first & 0x80 != 0 { byte()?.1 } else { 0 };
        if has & 0x80 != 0 {
            descriptor.picture = Some(PictureId::read(&mut byte)?);
        }
        if has & 0x40 != 0 {
            let (at, value) = byte()?;
            descriptor.tl0 = Some(Tl0PicIdx { value, at });
        }
        if has & 0x30 != 0 {
            let (_, layers) = byte()?;
            if has & 0x20 != 0 {
                descriptor.tid = Some(layers >> 6);
                descriptor.layer_sync = layers & 0x20 != 0;
            }
            if has & 0x10 != 0 {
                descriptor.key_idx = Some(layers & 0x1f);
            }
        }
        descriptor.len = at;
        Ok(descriptor)
    }

    /// The picture id's value, 0 to 127 or 32767.
    pub fn picture_id(&self) -> Option<u16> {
        self.picture.map(|id| id.value)
    }

    /// TL0PICIDX.
    pub fn tl0_pic_idx(&self) -> Option<u8> {
        self.tl0.map(|tl0| tl0.value)
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            picture: self.picture,
            tl0: self.tl0,
        }
    }

    /// Does this packet begin a frame?
    pub fn starts_frame(&self) -> bool {
        self.start && self.partition == 0
    }
}

/// Does a packet with this payload begin a key frame?
pub fn starts_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).map_or(false, |descriptor| is_intra_start(payload, &descriptor))
}

fn is_intra_start(payload: &[u8], descriptor: &Descriptor) -> bool {
    // The frame tag's lowest bit says "inter frame".
    descriptor.starts_frame() && payload.get(descriptor.len).map_or(false, |tag| tag & 1 == 0)
}

/// Width and height in pixels that a key frame's first packet announces, without the upscaling that it may ask for.
pub fn key_frame_size(payload: &[u8]) -> Option<(u16, u16)> {
    let descriptor = Descriptor::parse(payload).ok()?;
    let header = payload.get(descriptor.len..descriptor.len + 10)?;
    if !is_intra_start(payload, &descriptor) || header[3..6] != [0x9d, 0x01, 0x2a] {
        return None;
    }
    let size = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    Some((size(6), size(8)))
}

/// Writes other numbers over a payload's own, as wide as those are: of an id with 7 bits, `picture_id` modulo 128.
///
/// What the payload doesn't have is left out; a malformed one stays as it is.
pub fn rewrite(payload: &mut [u8], picture_id: u16, tl0: u8) {
    if let Ok(descriptor) = Descriptor::parse(payload) {
        descriptor.numbers().overwrite(payload, picture_id, tl0);
    }
}

/// Copies a payload with other numbers, the picture id always 15 bits wide, and returns its length: as long, or a byte
/// longer.
///
/// For a slot whose sources differ: libwebrtc reads every id modulo 2^15, so a 7-bit one that wraps, or follows a
/// wider one, looks like a jump. A payload without picture id stays without. 0 if it doesn't fit in `out`, or is
/// malformed; `out` is then as it was.
pub fn rewrite_into(out: &mut [u8], payload: &[u8], picture_id: u16, tl0: u8) -> usize {
    match Descriptor::parse(payload) {
        Ok(descriptor) => descriptor.numbers().copy(out, payload, picture_id, tl0),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    /// A key frame's first packet as Chromium sends it: 640x360, picture id 15 bits, TL0PICIDX, TID with Y.
    const KEY: [u8; 17] = [
        0x90,
        0xe0,
        0x80 | 0x12,
        0x34,
        0x56,
        0x20,
        0x10,
        0x02,
        0x00,
        0x9d,
        0x01,
        0x2a,
        0x80,
        0x02,
        0x68,
        0x41,
        0xff,
    ];

    #[test]
    fn every_field_of_the_descriptor_is_read() {
        let descriptor = Descriptor::parse(&KEY).unwrap();
        let expected = Descriptor {
            start: true,
            picture: Some(PictureId {
                value: 0x1234,
                wide: true,
                at: 2,
            }),
            tl0: Some(Tl0PicIdx { value: 0x56, at: 4 }),
            tid: Some(0),
            layer_sync: true,
            len: 6,
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
        let descriptor = Descriptor::parse(&[0xb7, 0xf0, 0x7f, 1, 0b1001_0101]).unwrap();
        let expected = Descriptor {
            non_reference: true,
            start: true,
            partition: 7,
            picture: Some(PictureId {
                value: 127,
                wide: false,
                at: 2,
            }),
            tl0: Some(Tl0PicIdx { value: 1, at: 3 }),
            tid: Some(2),
            key_idx: Some(21),
            len: 5,
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
        let key_idx_alone = Descriptor::parse(&[0x80, 0x10, 0xe3]).unwrap();
        assert_eq!(
            (key_idx_alone.key_idx, key_idx_alone.tid, key_idx_alone.len),
            (Some(3), None, 3)
        );
        assert_eq!(Descriptor::parse(&[0x00]).unwrap().len, 1);
        assert_eq!(Descriptor::parse(&[0x80, 0x00]).unwrap().len, 2);
    }

    #[test]
    fn a_descriptor_that_is_cut_off_is_refused() {
        for len in 0..6 {
            assert_eq!(Descriptor::parse(&KEY[..len]), Err(Malformed::Short), "{} bytes", len);
        }
        assert_eq!(Descriptor::parse(&KEY[..6]).map(|d| d.len), Ok(6));
    }

    #[test]
    fn only_the_first_packet_of_an_intra_frame_starts_a_key_frame() {
        assert!(starts_key_frame(&KEY));
        assert_eq!(key_frame_size(&KEY), Some((640, 360))); // the upscaling bits don't count
        for (at, value) in [(0, 0x80), (0, 0x91), (6, 0x11)] {
            let mut other = KEY;
            other[at] = value; // not the start, not the first partition, an inter frame
            assert!(!starts_key_frame(&other));
            assert_eq!(key_frame_size(&other), None);
        }
        assert!(!starts_key_frame(&KEY[..6]));
        assert_eq!(key_frame_size(&KEY[..15]), None);
        let mut no_start_code = KEY;
        no_start_code[9] = 0;
        assert_eq!(key_frame_size(&no_start_code), None);
    }

    #[test]
    fn numbers_are_written_over_in_their_own_width() {
        for (id, narrow) in [(0, 0), (1, 1), (127, 127), (128, 0), (0x7fff, 127), (0xffff, 127)] {
            let mut wide = KEY;
            rewrite(&mut wide, id, 255);
            let descriptor = Descriptor::parse(&wide).unwrap();
            assert_eq!(
                descriptor.picture,
                Some(PictureId {
                    value: id & 0x7fff,
                    wide: true,
                    at: 2
                })
            );
            assert_eq!(descriptor.tl0.unwrap().value, 255);
            assert_eq!(wide[5..], KEY[5..]);

            let mut short = [0x90, 0xc0, 5, 6, 0x10];
            rewrite(&mut short, id, 0);
            assert_eq!(short, [0x90, 0xc0, narrow, 0, 0x10]);
        }
    }

    #[test]
    fn a_narrow_id_is_widened_and_nothing_else_moves() {
        let mut out = [0xee; 9];
        let cases: [(&[u8], &[u8]); 5] = [
            (
                &[0x90, 0xe0, 5, 6, 0x40, 7, 8],
                &[0x90, 0xe0, 0x92, 0x34, 9, 0x40, 7, 8],
            ),
            (&[0x90, 0x80, 5, 7], &[0x90, 0x80, 0x92, 0x34, 7]),
            (&[0x90, 0x80, 0x80, 5, 7], &[0x90, 0x80, 0x92, 0x34, 7]),
            (&[0x90, 0x40, 6, 7], &[0x90, 0x40, 9, 7]),
            (&[0x10, 7], &[0x10, 7]),
        ];
        for (payload, expected) in cases {
            let len = rewrite_into(&mut out, payload, 0x1234, 9);
            assert_eq!(&out[..len], expected);
        }
        assert_eq!(rewrite_into(&mut out[..4], &[0x90, 0x80, 5, 7], 1, 1), 0);
        assert_eq!(rewrite_into(&mut out, &[0x90, 0x80], 1, 1), 0);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for_each_seed(20_000, |random| {
            let mut bytes = if random.one_in(2) {
                random.bytes(24)
            } else {
                random.mutated(&KEY)
            };
            let (id, tl0) = (random.next() as u16, random.next() as u8);
            starts_key_frame(&bytes);
            key_frame_size(&bytes);
            let mut out = [0; 40];
            let len = rewrite_into(&mut out, &bytes, id, tl0);
            if let Ok(before) = Descriptor::parse(&bytes) {
                let after = Descriptor::parse(&out[..len]).unwrap();
                assert_eq!(after.picture_id(), before.picture_id().map(|_| id & 0x7fff));
                assert_eq!(after.tl0_pic_idx(), before.tl0_pic_idx().map(|_| tl0));
                assert_eq!(
                    (after.tid, after.key_idx, after.start),
                    (before.tid, before.key_idx, before.start)
                );
                assert_eq!(out[after.len..len], bytes[before.len..]);
            } else {
                assert_eq!(len, 0);
            }
            rewrite(&mut bytes, id, tl0);
        });
    }
}
