//! RED opened (RFC 2198): sound that was lost on its way up is taken from the packets behind it.

use vardrum_codecs::{opus, red};

use crate::clock::Micros;
use crate::ingress::Arrived;
use crate::packet::{Codec, Packet};
use crate::peer::Peer;

/// What one packet can bring back.
const MOST: usize = red::MOST_REDUNDANT;

/// What one packet brought back, the newest first.
pub type Recovered<'a> = [Option<Packet<'a>>; MOST];

impl Peer {
    /// Takes what a RED packet, which `ingest` has taken, brings of sound that has not come otherwise.
    pub fn recover<'a>(&mut self, now: Micros, carrier: &Arrived<'a>) -> Recovered<'a> {
        let mut found = [None; MOST];
        let mut blocks = [None; MOST];
        let layer = &mut self.tracks[carrier.track].layers[carrier.layer];
        let mut count = 0;
        for block in carrier.red.iter().flat_map(red::Blocks::redundant).take(MOST) {
            blocks[count] = Some(block);
            count += 1;
        }
        let mut newer = 0;
        for (back, block) in blocks[..count].iter().rev().flatten().enumerate() {
            let is_opus = self.payloads.get(block.payload_type).map(|p| Codec(p.codec)) == Some(Codec::OPUS);
            // Only what ends where the next begins is known to have the number before the next one's.
            let ends = opus::duration(block.data).map(|duration| u32::from(block.offset).wrapping_sub(duration));
            if !is_opus || ends != Some(newer) {
                break;
            }
            newer = u32::from(block.offset);
            let timestamp = carrier.packet.timestamp.wrapping_sub(newer);
            let sequence = carrier.packet.sequence.saturating_sub(back as u64 + 1);
            if layer.recover(sequence, now) {
                found[back] = Some(Packet {
                    sequence,
                    timestamp,
                    marker: false,
                    payload: block.data,
                    level: None,
                    capture: layer.clock.capture(timestamp, now),
                    ..carrier.packet
                });
            }
        }
        found
    }
}
