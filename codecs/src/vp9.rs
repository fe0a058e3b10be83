//! VP9: the payload descriptor (RFC 9628, section 4.2) and the start of the frame header (VP9 bitstream, section 6.2).

use crate::bits::Bits;
use crate::numbers::Numbers;
pub use crate::numbers::{PictureId, Tl0PicIdx};
use crate::Malformed;

/// References of one picture: the descriptor has no more (RFC 9628, section 4.2, "P_DIFF").
const MOST_REFERENCES: usize = 3;

/// The payload descriptor that each packet begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// P: predicted from earlier pictures.
    pub inter: bool,
    /// F: each picture names its references.
    pub flexible: bool,
    /// B, E: the packet begins, ends a frame.
    pub start: bool,
    pub end: bool,
    /// Z: no higher spatial layer needs this frame.
    pub not_for_upper: bool,
    pub picture: Option<PictureId>,
    pub tl0: Option<Tl0PicIdx>,
    /// Temporal and spatial layer, 0 to 7.
    pub tid: Option<u8>,
    pub sid: Option<u8>,
    /// U: after this picture no higher temporal layer needs an earlier picture above this one's.
    pub switching_up: bool,
    /// D: predicted from the spatial layer below.
    pub inter_layer: bool,
    /// Width and height in pixels of the tallest spatial layer that the scalability structure tells of.
    pub size: Option<(u16, u16)>,
    /// Bytes of descriptor; the VP9 data comes after it.
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
        let has = |bit: u8| first & bit != 0;
        let mut descriptor = Descriptor {
            inter: has(0x40),
            flexible: has(0x10),
            start: has(0x08),
            end: has(0x04),
            not_for_upper: has(0x01),
            ..Descriptor::default()
        };
        if has(0x80) {
            descriptor.picture = Some(PictureId::read(&mut byte)?);
        }
        if has(0x20) {
            let (_, layers) = byte()?;
            descriptor.tid = Some(layers >> 5);
            descriptor.switching_up = layers & 0x10 != 0;
            descriptor.sid = Some(layers >> 1 & 7);
            descriptor.inter_layer = layers & 1 != 0;
            if !descriptor.flexible {
                let (at, value) = byte()?;
                descriptor.tl0 = Some(Tl0PicIdx { value, at });
            }
        }
        if descriptor.flexible && descriptor.inter {
            let mut references = 1;
            while byte()?.1 & 1 != 0 {
                if references == MOST_REFERENCES {
                    return Err(Malformed::TooMany);
                }
                references += 1;
            }
        }
        if has(0x02) {
            descriptor.size = read_structure(|| byte().map(|(_, byte)| byte))?;
        }
        descriptor.len = at;
        Ok(descriptor)
    }

    /// The picture id's value, 0 to 127 or 32767.
    pub fn picture_id(&self) -> Option<u16> {
        self.picture.map(|id| id.value)
    }

    /// Does this packet begin a picture, of all its spatial layers?
    pub fn starts_picture(&self) -> bool {
        self.start && self.sid.unwrap_or(0) == 0
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            picture: self.picture,
            tl0: self.tl0,
        }
    }
}

/// Reads a scalability structure: the size of its tallest layer, where it tells sizes.
fn read_structure(mut byte: impl FnMut() -> Result<u8, Malformed>) -> Result<Option<(u16, u16)>, Malformed> {
    let first = byte()?;
    let (layers, sizes, groups) = ((first >> 5) + 1, first & 0x10 != 0, first & 0x08 != 0);
    let mut tallest = None;
    for _ in 0..if sizes { layers } else { 0 } {
        let mut side = || Ok(u16::from_be_bytes([byte()?, byte()?]));
        let size = (side()?, side()?);
        tallest = tallest.max(Some((size.1, size)));
    }
    for _ in 0..if groups { byte()? } else { 0 } {
        for _ in 0..byte()? >> 2 & 3 {
            byte()?;
        }
    }
    Ok(tallest.map(|(_, size)| size))
}

/// Does a packet with this payload begin a key frame?
pub fn starts_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).map_or(false, |descriptor| is_key_start(payload, &descriptor))
}

fn is_key_start(payload: &[u8], descriptor: &Descriptor) -> bool {
    let header = payload.get(descriptor.len..).unwrap_or_default();
    !descriptor.inter && descriptor.starts_picture() && after_frame_type(header).is_some()
}

/// What follows a key frame's sync code in its uncompressed header; nothing of another frame's.
fn after_frame_type(header: &[u8]) -> Option<(Bits<'_>, u32)> {
    let mut bits = Bits::new(header);
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? | bits.take(1)? << 1;
    if profile == 3 && bits.flag()? {
        return None;
    }
    let shows_another = bits.flag()?;
    let inter = bits.flag()?;
    bits.take(2)?; // shown, error resilient
    if shows_another || inter || bits.take(24)? != 0x49_83_42 {
        return None;
    }
    Some((bits, profile))
}

/// Width and height in pixels that a key frame's first packet announces: in its scalability structure, else in its
/// frame header.
pub fn key_frame_size(payload: &[u8]) -> Option<(u16, u16)> {
    let descriptor = Descriptor::parse(payload).ok()?;
    if !is_key_start(payload, &descriptor) {
        return None;
    }
    descriptor.size.or_else(|| header_size(&payload[descriptor.len..]))
}

fn header_size(header: &[u8]) -> Option<(u16, u16)> {
    const RGB: u32 = 7;
    let (mut bits, profile) = after_frame_type(header)?;
    if profile >= 2 {
        bits.flag()?; // 10 or 12 bits
    }
    if bits.take(3)? != RGB {
        bits.flag()?; // range
        if profile % 2 == 1 {
            bits.take(3)?; // subsampling
        }
    } else if profile % 2 == 1 {
        bits.flag()?;
    }
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

/// Copies a payload with other numbers, as `vp8::rewrite_into` does.
///
/// References are told by how far back their ids are, so all ids of a stream have to be moved by as much.
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

    /// A key frame's first packet: 640x360, picture id 15 bits, flexible, layer 0, a structure with a size.
    const KEY: [u8; 19] = [
        0xba, 0x92, 0x34, 0x10, 0x10, 0x02, 0x80, 0x01, 0x68, // descriptor
        0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70, 0x00, // frame header: 640x360
    ];

    #[test]
    fn every_field_of_the_descriptor_is_read() {
        let descriptor = Descriptor::parse(&KEY).unwrap();
        let expected = Descriptor {
            flexible: true,
            start: true,
            picture: Some(PictureId {
                value: 0x1234,
                wide: true,
                at: 1,
            }),
            tid: Some(0),
            sid: Some(0),
            switching_up: true,
            size: Some((640, 360)),
            len: 9,
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
        // Not flexible, 7 bits, layers 2 and 1, a structure of groups without sizes.
        let descriptor = Descriptor::parse(&[0xe7, 0x7f, 0x43, 9, 0x28, 2, 0x04, 1, 0x58, 1, 2, 0xff]).unwrap();
        let expected = Descriptor {
            inter: true,
            end: true,
            not_for_upper: true,
            picture: Some(PictureId {
                value: 127,
                wide: false,
                at: 1,
            }),
            tl0: Some(Tl0PicIdx { value: 9, at: 3 }),
            tid: Some(2),
            sid: Some(1),
            inter_layer: true,
            len: 11,
            ..Descriptor::default()
        };
        assert_eq!(descriptor, expected);
        // Three references, then one too many.
        assert_eq!(Descriptor::parse(&[0x50, 3, 5, 6, 0xff]).map(|d| d.len), Ok(4));
        assert_eq!(Descriptor::parse(&[0x50, 3, 5, 7, 8]), Err(Malformed::TooMany));
    }

    #[test]
    fn a_descriptor_that_is_cut_off_is_refused() {
        for len in 0..9 {
            assert_eq!(Descriptor::parse(&KEY[..len]), Err(Malformed::Short), "{} bytes", len);
        }
        assert_eq!(Descriptor::parse(&KEY[..9]).map(|d| d.len), Ok(9));
    }

    #[test]
    fn only_the_first_packet_of_an_intra_frame_starts_a_key_frame() {
        assert!(starts_key_frame(&KEY));
        assert_eq!(key_frame_size(&KEY), Some((640, 360)));
        // Not the start, predicted (its reference is then where the structure was), another spatial layer, an inter
        // frame, no sync code.
        for (at, value) in [(0, 0xb2), (0, 0xfa), (3, 0x02), (9, 0x86), (10, 0x48)] {
            let mut other = KEY;
            other[at] = value;
            assert!(!starts_key_frame(&other), "byte {} as {:#x}", at, value);
            assert_eq!(key_frame_size(&other), None);
        }
        assert!(!starts_key_frame(&KEY[..9]));
    }

    #[test]
    fn the_size_is_in_the_frame_header_too() {
        let bare = [&[0x98, 0x92, 0x34][..], &KEY[9..]].concat();
        assert_eq!(key_frame_size(&bare), Some((640, 360)));
        assert_eq!(key_frame_size(&bare[..10]), None);
    }

    #[test]
    fn a_narrow_id_is_widened_and_nothing_else_moves() {
        let mut out = [0xee; 12];
        let cases: [(&[u8], &[u8]); 4] = [
            (&[0xe8, 5, 0x20, 6, 7], &[0xe8, 0x92, 0x34, 0x20, 9, 7]),
            (&[0xe8, 0x80, 5, 0x20, 6, 7], &[0xe8, 0x92, 0x34, 0x20, 9, 7]),
            (&[0xd8, 5, 2, 7], &[0xd8, 0x92, 0x34, 2, 7]),
            (&[0x08, 7], &[0x08, 7]),
        ];
        for (payload, expected) in cases {
            let len = rewrite_into(&mut out, payload, 0x1234, 9);
            assert_eq!(&out[..len], expected);
        }
        assert_eq!(rewrite_into(&mut out[..3], &[0xe8, 5, 0x20, 6], 1, 1), 0);
        assert_eq!(rewrite_into(&mut out, &[0xe8], 1, 1), 0);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for_each_seed(20_000, |random| {
            let bytes = if random.one_in(2) {
                random.bytes(32)
            } else {
                random.mutated(&KEY)
            };
            let (id, tl0) = (random.next() as u16, random.next() as u8);
            starts_key_frame(&bytes);
            key_frame_size(&bytes);
            let mut out = [0; 40];
            let len = rewrite_into(&mut out, &bytes, id, tl0);
            match Descriptor::parse(&bytes) {
                Ok(before) => {
                    let after = Descriptor::parse(&out[..len]).unwrap();
                    assert_eq!(after.picture_id(), before.picture_id().map(|_| id & 0x7fff));
                    assert_eq!(
                        (after.tid, after.start, after.size),
                        (before.tid, before.start, before.size)
                    );
                    assert_eq!(out[after.len..len], bytes[before.len..]);
                }
                Err(_) => assert_eq!(len, 0),
            }
        });
    }
}
