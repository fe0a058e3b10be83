//! What every packet of a virtual person says of itself, inside its payload, so that whoever gets it knows the truth.

use crate::client::RED;
use vardrum_codecs::red;

/// Which frame of which encoding: enough to tell any two frames of a visit apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// The person, a new number for each join.
    pub by: u32,
    pub track: u8,
    pub layer: u8,
    /// Counts from 1; sound counts its packets.
    pub number: u32,
}

/// One packet of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub frame: Frame,
    /// This packet's place in its frame, and how many there are.
    pub part: u8,
    pub parts: u8,
    pub temporal: u8,
    pub key: bool,
    /// Numbers of the frames that it can't be decoded without; 0 for none.
    pub needs: [u32; 2],
    /// The source's extended sequence number.
    pub sequence: u32,
    /// When it was captured, in virtual microseconds.
    pub captured: u64,
}

const MAGIC: [u8; 4] = *b"\xc3SIM";
pub const LEN: usize = 4 + 10 + 4 + 8 + 4 + 8;

impl Content {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.frame.by.to_be_bytes());
        out.extend_from_slice(&[self.frame.track, self.frame.layer]);
        out.extend_from_slice(&self.frame.number.to_be_bytes());
        out.extend_from_slice(&[self.part, self.parts, self.temporal, u8::from(self.key)]);
        out.extend_from_slice(&self.needs[0].to_be_bytes());
        out.extend_from_slice(&self.needs[1].to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.captured.to_be_bytes());
    }

    /// The contents of a packet's frames, in their order: of pictures one, of sound as many as were joined. Of RED
    /// only the primary block counts.
    pub fn of(payload_type: u8, payload: &[u8]) -> Vec<Content> {
        let frames = match payload_type {
            RED => red::primary(payload).expect("RED is well formed"),
            _ => payload,
        };
        let starts = frames.windows(4).enumerate().filter(|(_, four)| *four == MAGIC);
        starts.filter_map(|(at, _)| Content::read(&frames[at + 4..])).collect()
    }

    /// The content of a picture's packet.
    pub fn find(payload: &[u8]) -> Option<Content> {
        Content::of(0, payload).first().copied()
    }

    fn read(bytes: &[u8]) -> Option<Content> {
        let bytes = bytes.get(..LEN - 4)?;
        let u32_at = |i: usize| u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        Some(Content {
            frame: Frame {
                by: u32_at(0),
                track: bytes[4],
                layer: bytes[5],
                number: u32_at(6),
            },
            part: bytes[10],
            parts: bytes[11],
            temporal: bytes[12],
            key: bytes[13] != 0,
            needs: [u32_at(14), u32_at(18)],
            sequence: u32_at(22),
            captured: u64::from(u32_at(26)) << 32 | u64::from(u32_at(30)),
        })
    }
}
