//! One media packet between ingress and egress: opened, unwrapped, and told whose it is.

use crate::clock::Instant;
use crate::command::Payload;
use crate::picture::Picture;

/// Codecs are numbered below this.
const CODECS: usize = 8;

/// What a payload type carries; numbered as on the border (`codecs/catalogue.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec(pub u8);

impl Codec {
    pub const OPUS: Codec = Codec(0);
    pub const RED: Codec = Codec(1);
    pub const VP8: Codec = Codec(2);
    pub const H264_PM1: Codec = Codec(3);
    pub const H264_PM0: Codec = Codec(4);
    pub const VP9: Codec = Codec(5);
    pub const AV1: Codec = Codec(6);

    pub fn is_audio(self) -> bool {
        self.0 <= Codec::RED.0
    }

    /// Only a dependency descriptor tells layer and number of its pictures.
    pub fn needs_descriptor(self) -> bool {
        matches!(self, Codec::AV1 | Codec::H264_PM0 | Codec::H264_PM1)
    }

    pub fn clock_rate(self) -> u32 {
        if self.is_audio() {
            48_000
        } else {
            90_000
        }
    }
}

/// Where a packet comes from: a layer of a track of a peer, in one of the layer's lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The peer's place in the shard.
    pub peer: usize,
    pub track: u8,
    pub layer: u8,
}

impl Feed {
    /// Whether it is a smaller layer than `other` of the same track: they are offered from the lowest up.
    pub fn is_below(&self, other: Feed) -> bool {
        (self.peer, self.track) == (other.peer, other.track) && self.layer < other.layer
    }
}

#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// Extended sequence number of the source.
    pub sequence: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    pub payload: &'a [u8],
    /// The dependency descriptor, of codecs whose payloads don't say what it says.
    pub dependency: &'a [u8],
    /// Loudness in -dBov with the voice flag, as in RFC 6464.
    pub level: Option<u8>,
    /// What it says of its picture; all sound is a key frame.
    pub picture: Picture,
    pub capture: Instant,
}

/// What one peer's payload types mean, both ways.
pub struct PayloadTable {
    by_type: [Option<Payload>; 128],
    by_codec: [Option<u8>; CODECS],
}

impl PayloadTable {
    pub fn new(payloads: &[Payload]) -> Self {
        let mut by_type = [None; 128];
        for payload in payloads {
            by_type[usize::from(payload.payload_type & 0x7f)] = Some(*payload);
        }
        let mut by_codec = [None; CODECS];
        // The first of several types for one codec is the one the peer likes best.
        for payload in payloads.iter().rev().filter(|p| p.apt.is_none()) {
            if let Some(place) = by_codec.get_mut(usize::from(payload.codec)) {
                *place = Some(payload.payload_type);
            }
        }
        Self { by_type, by_codec }
    }

    pub fn get(&self, payload_type: u8) -> Option<Payload> {
        self.by_type[usize::from(payload_type & 0x7f)]
    }

    /// The payload type for `codec`, where the peer offered it.
    pub fn of(&self, codec: Codec) -> Option<u8> {
        self.by_codec.get(usize::from(codec.0)).copied().flatten()
    }

    /// An RTX payload type, for what repairs nothing.
    pub fn rtx(&self) -> Option<u8> {
        self.by_type
            .iter()
            .flatten()
            .find(|p| p.apt.is_some())
            .map(|p| p.payload_type)
    }

    /// The RTX payload type that repairs `payload_type`.
    pub fn rtx_of(&self, payload_type: u8) -> Option<u8> {
        self.by_type
            .iter()
            .flatten()
            .find(|p| p.apt == Some(payload_type))
            .map(|p| p.payload_type)
    }
}
