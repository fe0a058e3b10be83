//! What a packet says of the picture that it is part of, whatever its codec: read once, where it arrives.

use vardrum_codecs::{h264, vp8};

use crate::packet::Codec;

/// Every temporal layer.
pub const ALL_LAYERS: u8 = u8::MAX;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Temporal layer; 0 where the stream has none.
    pub temporal: u8,
    /// The packet is the first of its picture.
    pub starts: bool,
    /// The picture can be decoded without another.
    pub key: bool,
    /// Whoever gets all layers up to `climb.0` may from this picture on get all up to `climb.1`.
    pub climb: Option<(u8, u8)>,
    /// Picture id of 15 bits.
    pub id: Option<u16>,
    /// TL0PICIDX; 0 where there is none.
    pub tl0: u8,
}

impl Picture {
    /// Reads a packet's payload; nothing is known of a malformed one.
    pub fn of(codec: Codec, payload: &[u8]) -> Picture {
        match codec {
            Codec::VP8 => vp8_picture(payload),
            // An IDR picture without its parameter sets may belong to others than the decoder has.
            Codec::H264_PM0 | Codec::H264_PM1 => key_only(h264::has_parameter_sets(payload)),
            _ => key_only(codec.is_audio()),
        }
    }

    /// The highest layer that goes out from this packet on, where it was `present` and should be `wanted`.
    ///
    /// It changes only where a picture begins, so that none goes out in part.
    pub fn limit(&self, present: u8, wanted: u8) -> u8 {
        match self.climb {
            _ if !self.starts || wanted == present => present,
            _ if wanted < present => wanted,
            Some((from, to)) if from <= present => present.max(wanted.min(to)),
            _ => present,
        }
    }
}

fn key_only(key: bool) -> Picture {
    Picture {
        starts: key,
        key,
        climb: if key { Some((0, ALL_LAYERS)) } else { None },
        ..Picture::default()
    }
}

fn vp8_picture(payload: &[u8]) -> Picture {
    let descriptor = match vp8::Descriptor::parse(payload) {
        Ok(descriptor) => descriptor,
        Err(_) => return Picture::default(),
    };
    let key = vp8::starts_key_frame(payload);
    let temporal = descriptor.tid.unwrap_or(0);
    Picture {
        temporal,
        starts: descriptor.starts_frame(),
        key,
        climb: match temporal {
            _ if key => Some((0, ALL_LAYERS)),
            // Y: needs nothing but layer 0. Later pictures of the layers between may need former ones of their own.
            1.. if descriptor.layer_sync => Some((temporal - 1, temporal)),
            _ => None,
        },
        id: descriptor.picture_id(),
        tl0: descriptor.tl0_pic_idx().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(starts: bool, climb: Option<(u8, u8)>) -> Picture {
        Picture {
            starts,
            climb,
            ..Picture::default()
        }
    }

    #[test]
    fn a_layer_is_given_up_where_a_picture_begins_and_gained_where_it_can_be_decoded() {
        let cases = [
            ("in mid-picture", at(false, Some((0, 2))), 1, 0, 1),
            ("down", at(true, None), 2, 0, 0),
            ("up without a point to", at(true, None), 0, 2, 0),
            ("up at one", at(true, Some((0, 1))), 0, 2, 1),
            ("up further", at(true, Some((1, 2))), 1, 2, 2),
            ("up at one for others", at(true, Some((1, 2))), 0, 2, 0),
            ("no further than wanted", at(true, Some((0, ALL_LAYERS))), 0, 1, 1),
            (
                "at a key frame",
                at(true, Some((0, ALL_LAYERS))),
                0,
                ALL_LAYERS,
                ALL_LAYERS,
            ),
        ];
        for (name, picture, present, wanted, expected) in cases {
            assert_eq!(picture.limit(present, wanted), expected, "{name}");
        }
    }

    #[test]
    fn vp8_says_layer_and_where_to_climb() {
        let key = Picture::of(Codec::VP8, &[0x90, 0xe0, 0x92, 0x34, 7, 0x20, 0x10]);
        assert_eq!(
            (key.temporal, key.starts, key.key, key.id, key.tl0),
            (0, true, true, Some(0x1234), 7)
        );
        assert_eq!(key.climb, Some((0, ALL_LAYERS)));
        let sync = Picture::of(Codec::VP8, &[0x90, 0xe0, 0x92, 0x35, 7, 0x60, 0x11]);
        assert_eq!((sync.temporal, sync.key, sync.climb), (1, false, Some((0, 1))));
        let other = Picture::of(Codec::VP8, &[0x80, 0xe0, 0x92, 0x35, 7, 0x40, 0x11]);
        assert_eq!((other.temporal, other.starts, other.climb), (1, false, None));
        assert_eq!(Picture::of(Codec::VP8, &[0x90]), Picture::default());
    }
}
