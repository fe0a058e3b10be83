//! What a packet says of the picture that it is part of, whatever its codec: read once, where it arrives.

use vardrum_codecs::dependency::Frame;
use vardrum_codecs::{av1, h264, vp8, vp9};

use crate::packet::Codec;

/// Every temporal layer.
pub const ALL_LAYERS: u8 = u8::MAX;

/// Whether it is known of which picture a packet is: only a dependency descriptor may tell, and only with templates
/// that come with a key frame's first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    #[default]
    Known,
    /// It points at templates that have not come. Nobody can decode it before they do.
    Awaited,
    /// They have come since.
    Late,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    pub reading: Reading,
    /// The packet brought templates.
    pub templates: bool,
    /// Temporal layer; 0 where the stream has none.
    pub temporal: u8,
    /// The packet is the first of its picture.
    pub starts: bool,
    /// The picture can be decoded without another.
    pub key: bool,
    /// Whoever gets all layers up to `climb.0` may from this picture on get all up to `climb.1`.
    pub climb: Option<(u8, u8)>,
    /// Picture id of VP8 and VP9, 15 bits; else the dependency descriptor's frame number.
    pub id: Option<u16>,
    /// The payload says only the id's last 7 bits.
    pub narrow_id: bool,
    /// TL0PICIDX; 0 where there is none.
    pub tl0: u8,
}

impl Picture {
    /// Reads a packet's payload; nothing is known of a malformed one. `frame`: what its dependency descriptor says.
    pub fn of(codec: Codec, payload: &[u8], frame: Option<&Frame>) -> Picture {
        match codec {
            Codec::VP8 => vp8_picture(payload, frame),
            Codec::VP9 => vp9_picture(payload, frame),
            // An IDR picture without its parameter sets may belong to others than the decoder has.
            Codec::H264_PM0 | Codec::H264_PM1 => framed(h264::has_parameter_sets(payload), frame),
            Codec::AV1 => framed(av1::starts_key_frame(payload), frame),
            _ => framed(codec.is_audio(), None),
        }
    }

    /// Nothing is known of it yet, see `Reading`.
    pub fn is_awaited(&self) -> bool {
        self.reading == Reading::Awaited
    }

    /// Whether a packet goes out behind the late first one of a key frame: where a slot has just `begun` with that all
    /// that can be read, else what was waiting for its templates.
    pub fn goes_on(&self, begun: bool) -> bool {
        match self.reading {
            Reading::Known => begun,
            Reading::Awaited => false,
            Reading::Late => true,
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

/// A picture whose layer and number only a dependency descriptor can tell.
fn framed(key: bool, frame: Option<&Frame>) -> Picture {
    Picture {
        temporal: frame.map_or(0, |frame| frame.temporal),
        starts: key || frame.map_or(false, |frame| frame.start && frame.spatial == 0),
        key,
        climb: climb(key, frame),
        id: frame.map(|frame| frame.number),
        ..Picture::default()
    }
}

fn climb(key: bool, frame: Option<&Frame>) -> Option<(u8, u8)> {
    match frame {
        _ if key => Some((0, ALL_LAYERS)),
        Some(frame) => frame.switch_to.map(|to| (frame.temporal, to)),
        None => None,
    }
}

fn vp9_picture(payload: &[u8], frame: Option<&Frame>) -> Picture {
    let descriptor = match vp9::Descriptor::parse(payload) {
        Ok(descriptor) => descriptor,
        Err(_) => return Picture::default(),
    };
    let key = vp9::starts_key_frame(payload);
    let temporal = descriptor.tid.unwrap_or(0);
    Picture {
        temporal,
        starts: descriptor.starts_picture(),
        key,
        // libwebrtc sets U in some modes only; its dependency descriptor always tells.
        climb: climb(key, frame).or(if descriptor.switching_up {
            Some((temporal, ALL_LAYERS))
        } else {
            None
        }),
        id: descriptor.picture_id(),
        narrow_id: descriptor.picture.map_or(false, |id| !id.wide),
        tl0: descriptor.tl0.map_or(0, |tl0| tl0.value),
        ..Picture::default()
    }
}

/// libwebrtc leaves everything but N and S out of the payload's descriptor where a dependency descriptor goes along.
fn vp8_picture(payload: &[u8], frame: Option<&Frame>) -> Picture {
    let descriptor = match vp8::Descriptor::parse(payload) {
        Ok(descriptor) => descriptor,
        Err(_) => return Picture::default(),
    };
    let key = vp8::starts_key_frame(payload);
    let temporal = descriptor.tid.or(frame.map(|frame| frame.temporal)).unwrap_or(0);
    Picture {
        temporal,
        starts: descriptor.starts_frame(),
        key,
        climb: match temporal {
            _ if key || descriptor.tid.is_none() => climb(key, frame),
            // Y: needs nothing but layer 0. Later pictures of the layers between may need former ones of their own.
            1.. if descriptor.layer_sync => Some((temporal - 1, temporal)),
            _ => None,
        },
        id: descriptor.picture_id(),
        narrow_id: descriptor.picture.map_or(false, |id| !id.wide),
        tl0: descriptor.tl0_pic_idx().unwrap_or(0),
        ..Picture::default()
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
        let key = vp8_picture(&[0x90, 0xe0, 0x92, 0x34, 7, 0x20, 0x10], None);
        assert_eq!(
            (key.temporal, key.starts, key.key, key.id, key.tl0),
            (0, true, true, Some(0x1234), 7)
        );
        assert_eq!(key.climb, Some((0, ALL_LAYERS)));
        let sync = vp8_picture(&[0x90, 0xe0, 0x92, 0x35, 7, 0x60, 0x11], None);
        assert_eq!((sync.temporal, sync.key, sync.climb), (1, false, Some((0, 1))));
        let other = vp8_picture(&[0x80, 0xe0, 0x92, 0x35, 7, 0x40, 0x11], None);
        assert_eq!((other.temporal, other.starts, other.climb), (1, false, None));
        assert_eq!(Picture::of(Codec::VP8, &[0x90], None), Picture::default());
    }

    #[test]
    fn a_dependency_descriptor_tells_what_a_payload_does_not() {
        let frame = Frame {
            start: true,
            end: true,
            number: 0xfedc,
            temporal: 1,
            spatial: 0,
            switch_to: Some(2),
        };
        let av1 = Picture::of(Codec::AV1, &[0x10, 0x30, 1], Some(&frame));
        assert_eq!((av1.temporal, av1.starts, av1.key), (1, true, false));
        assert_eq!((av1.id, av1.climb), (Some(0xfedc), Some((1, 2))));
        let h264 = Picture::of(Codec::H264_PM1, &[0x41, 0x9a], Some(&frame));
        assert_eq!((h264.temporal, h264.climb), (1, Some((1, 2))));
        // S alone: libwebrtc's where the descriptor goes along.
        let vp8 = Picture::of(Codec::VP8, &[0x10, 0xb1, 0x1a], Some(&frame));
        assert_eq!((vp8.temporal, vp8.starts, vp8.key, vp8.id), (1, true, false, None));
        assert_eq!(vp8.climb, Some((1, 2)));
        // Layer 0, U not set; a picture id of 7 bits.
        let vp9 = Picture::of(
            Codec::VP9,
            &[0xf8, 5, 0x00, 3, 0x86],
            Some(&Frame { temporal: 0, ..frame }),
        );
        assert_eq!((vp9.temporal, vp9.id, vp9.narrow_id), (0, Some(5), true));
        assert_eq!(vp9.climb, Some((0, 2)));
        let vp9 = Picture::of(Codec::VP9, &[0xf8, 5, 0x30, 3, 0x86], None);
        assert_eq!((vp9.temporal, vp9.climb), (1, Some((1, ALL_LAYERS))));
    }
}
