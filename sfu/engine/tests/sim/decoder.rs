//! A VP8 decoder's judgement without its pictures: which frames it would be given, and which of those it can decode.
//!
//! What the packets *say* (start, marker, picture id, TL0PICIDX, temporal layer, sync) decides, as in libwebrtc's
//! frame buffer; what the content says is the truth that it is compared with.

use std::collections::{BTreeMap, VecDeque};

use crate::content::{Content, Frame};
use vardrum_codecs::vp8::Descriptor;
use vardrum_engine::Micros;

/// A received packet of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub content: Content,
    pub timestamp: u32,
    pub marker: bool,
    pub starts: bool,
    pub key: bool,
    pub picture: u16,
    /// TL0PICIDX, temporal layer, sync.
    pub temporal: Option<(u8, u8, bool)>,
}

impl Piece {
    pub fn read(payload: &[u8], timestamp: u32, marker: bool) -> Piece {
        let descriptor = Descriptor::parse(payload).expect("a VP8 payload");
        let temporal = match (descriptor.tl0_pic_idx(), descriptor.tid) {
            (Some(tl0), Some(tid)) => Some((tl0, tid, descriptor.layer_sync)),
            _ => None,
        };
        Piece {
            content: Content::find(payload).expect("a payload of ours"),
            timestamp,
            marker,
            starts: descriptor.starts_frame(),
            key: vardrum_codecs::vp8::starts_key_frame(payload),
            picture: descriptor.picture_id().expect("a picture id"),
            temporal,
        }
    }
}

/// What the numbers have said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    picture: u16,
    /// TL0PICIDX of the newest frame of the base.
    tl0: Option<u8>,
    /// Picture id of the newest frame of the upper layer.
    upper: Option<u16>,
}

#[derive(Default)]
pub struct Decoder {
    /// Index of the last packet of the newest decoded frame.
    done: Option<u64>,
    known: Known,
    /// Picture ids of the newest decoded frames.
    recent: VecDeque<u16>,
    /// The truth: the newest frame, and the numbers of those in the buffers of base and upper layer.
    source: Option<Frame>,
    buffers: [u32; 2],
    pub newest: Option<Content>,
    pub decoded_at: Option<Micros>,
    pub frames: u64,
}

impl Decoder {
    /// Decodes all that can be by now. Panics where a decoder would show a broken picture, or wait for nothing.
    pub fn run(&mut self, got: &BTreeMap<u64, Piece>, now: Micros) {
        while let Some((last, first)) = self.next(got) {
            self.decode(got[&first]);
            self.done = Some(last);
            self.decoded_at = Some(now);
            self.frames += 1;
        }
    }

    /// The next frame that is whole and decodable: indices of its last and first packet.
    fn next(&self, got: &BTreeMap<u64, Piece>) -> Option<(u64, u64)> {
        let from = self.done.map_or(0, |done| done + 1);
        let mut start: Option<u64> = None;
        let mut expected = 0;
        for (&index, piece) in got.range(from..) {
            if piece.starts {
                start = Some(index);
            } else if index != expected {
                start = None;
            }
            expected = index + 1;
            if let Some(first) = start {
                let head = &got[&first];
                assert_eq!(head.content.frame, piece.content.frame, "one frame mixes sources");
                assert_eq!(u64::from(piece.content.part), index - first, "parts in another order");
                assert_eq!(head.timestamp, piece.timestamp, "one frame has two times");
                assert_eq!(head.picture, piece.picture, "one frame has two picture ids");
                if piece.marker {
                    assert_eq!(piece.content.part + 1, head.content.parts, "a frame ends too soon");
                    start = None;
                    if self.decodes(head, first) {
                        return Some((index, first));
                    }
                }
            }
        }
        None
    }

    /// Whether the numbers say that all it needs is there; checked against the truth.
    fn decodes(&self, head: &Piece, first: u64) -> bool {
        let known = &self.known;
        let said = head.key
            || self.source.is_some()
                && match head.temporal {
                    None => head.picture == (known.picture + 1) & 0x7fff,
                    Some((tl0, 0, _)) => known.tl0 == Some(tl0.wrapping_sub(1)),
                    Some((tl0, _, true)) => known.tl0 == Some(tl0),
                    Some((tl0, _, false)) => known.tl0 == Some(tl0) && self.has_all_since_upper(head.picture),
                };
        let content = &head.content;
        let of = |frame: Frame| Frame { number: 0, ..frame };
        let has = |need: u32, buffer: u32| need == 0 || need == buffer;
        let possible = content.key
            || self.source.map(of) == Some(of(content.frame))
                && has(content.needs[0], self.buffers[0])
                && has(content.needs[1], self.buffers[1]);
        let place = || {
            format!(
                "at {first}: {head:?}, {known:?}, buffers {:?} of {:?}",
                self.buffers, self.source
            )
        };
        assert!(possible || !said, "a broken picture {}", place());
        assert!(said || !possible, "a good picture is hidden {}", place());
        said
    }

    fn has_all_since_upper(&self, picture: u16) -> bool {
        let mut id = match self.known.upper {
            Some(upper) => (upper + 1) & 0x7fff,
            None => return false,
        };
        while id != picture && self.recent.contains(&id) {
            id = (id + 1) & 0x7fff;
        }
        id == picture
    }

    fn decode(&mut self, head: Piece) {
        let content = head.content;
        if content.key {
            self.known.upper = None;
            self.buffers = [0, 0];
            self.recent.clear();
        }
        self.known.picture = head.picture;
        match head.temporal {
            Some((_, tid, _)) if tid > 0 => {
                self.known.upper = Some(head.picture);
                self.buffers[1] = content.frame.number;
            }
            temporal => {
                self.known.tl0 = temporal.map(|(tl0, _, _)| tl0);
                self.buffers[0] = content.frame.number;
            }
        }
        if self.recent.len() == 64 {
            self.recent.pop_front();
        }
        self.recent.push_back(head.picture);
        self.source = Some(content.frame);
        self.newest = Some(content);
    }
}
