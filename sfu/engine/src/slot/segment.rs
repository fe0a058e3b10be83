//! A run of one source's packets under fixed offsets, and where that source stands.

use crate::packet::{Codec, Feed, Packet};

/// The end of a segment that goes on.
pub(super) const OPEN: u64 = u64::MAX;

#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub feed: Feed,
    pub life: u32,
    /// Extended sequence numbers, ours and the source's, of the first packet.
    pub out_first: u64,
    pub source_first: u64,
    /// The source's first number after it: dropped, or the next segment's.
    pub end: u64,
    pub timestamp_shift: u32,
    pub picture_shift: u16,
    pub tl0_shift: u8,
    /// The highest temporal layer that goes out.
    pub limit: u8,
}

impl Segment {
    pub fn out(&self, sequence: u64) -> u64 {
        self.out_first + (sequence - self.source_first)
    }
}

/// What is shown, as its newest packet left it.
#[derive(Clone, Copy, Default)]
pub(super) struct Newest {
    pub sequence: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub id: Option<u16>,
    pub codec: Option<Codec>,
}

pub(super) fn newest(packet: &Packet<'_>) -> Newest {
    Newest {
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        id: packet.picture.id,
        codec: Some(packet.codec),
    }
}

/// Which of a slot's two counts a codec's ids go on from.
pub(super) fn numbering(codec: Codec) -> usize {
    usize::from(id_mask(codec) != 0x7fff)
}

pub(super) fn id_mask(codec: Codec) -> u16 {
    match codec {
        Codec::VP8 | Codec::VP9 => 0x7fff,
        _ => 0xffff,
    }
}
