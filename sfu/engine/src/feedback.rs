//! RTCP that comes in: what publishers say of their clocks, and what viewers miss.

use crate::address::Address;
use crate::clock::Micros;
use crate::counters::Count;
use crate::ingress::refusal;
use crate::packet::Feed;
use crate::peer::Peer;
use crate::rtcp::{self, Packet};
use crate::shard::Shard;

impl Shard {
    pub(crate) fn rtcp(&mut self, now: Micros, from: Address, bytes: &mut [u8]) {
        self.counters.one(Count::RtcpIn);
        let (place, known) = match self.sender_of(now, from, bytes) {
            Ok(found) => found,
            Err(reason) => return self.counters.one(reason),
        };
        let mut peer = match self.take_peer(place) {
            Some(peer) => peer,
            None => return,
        };
        let mut needs: Vec<Feed> = Vec::new();
        if let Err(reason) = self.take_rtcp(now, &mut peer, from, bytes, &mut needs) {
            self.refuse(now, from, known, reason);
        }
        self.put_peer(place, peer);
        if !known {
            self.learn_addresses(now, place);
        }
        for feed in needs {
            self.need_key_frame(now, feed);
        }
    }

    fn take_rtcp(
        &mut self,
        now: Micros,
        peer: &mut Peer,
        from: Address,
        bytes: &mut [u8],
        needs: &mut Vec<Feed>,
    ) -> Result<(), Count> {
        let srtp = peer.srtp_in.as_mut().ok_or(Count::DropBeforeKeys)?;
        let len = srtp.open_rtcp(bytes).map_err(|e| refusal(&e))?;
        peer.on_authentic(now, from);
        let clock = self.server_clock();
        for packet in rtcp::packets(&bytes[..len]) {
            match packet.map_err(|_| Count::DropRtcpMalformed)? {
                Packet::SenderReport { ssrc, info, blocks } => {
                    peer.on_sender_report(now, ssrc, &info);
                    blocks.for_each(|block| peer.on_report_block(now, &clock, &block));
                }
                Packet::ReceiverReport { blocks, .. } => {
                    blocks.for_each(|block| peer.on_report_block(now, &clock, &block));
                }
                Packet::Nack { media, lost, .. } => {
                    if let Some(slot) = peer.slot_of(media) {
                        for sequence in lost {
                            if !peer.take_repair(now) {
                                self.counters.one(Count::DropRepairRate);
                                break;
                            }
                            self.counters.one(Count::NackIn);
                            peer.meter.nacks += 1;
                            self.resend(now, peer, slot, sequence);
                        }
                    }
                }
                Packet::Pli { media, .. } => self.pli(now, peer, media, needs),
                Packet::Fir { targets, .. } => targets.for_each(|media| self.pli(now, peer, media, needs)),
                Packet::TransportFeedback { fci, .. } => peer.on_transport_feedback(now, fci)?,
                Packet::Remb { bitrate, .. } => peer.meter.remb = bitrate,
                _ => {}
            }
        }
        Ok(())
    }

    fn pli(&mut self, now: Micros, peer: &mut Peer, media: u32, needs: &mut Vec<Feed>) {
        self.counters.one(Count::PliIn);
        let slot = peer.slot_of(media);
        if let Some((slot, feed)) = slot.and_then(|slot| Some((slot, peer.slots[slot].wanted()?))) {
            match peer.patience[slot].take_broken(now) {
                Ok(true) if !needs.contains(&feed) => needs.push(feed),
                Ok(_) => {}
                Err(reason) => self.counters.one(reason),
            }
        }
    }

    fn resend(&mut self, now: Micros, peer: &mut Peer, slot: usize, sequence: u16) {
        let probe = peer.probe.bits_per_second();
        if !peer.is_audio(slot) && peer.pacer.holds(now, probe) {
            // A decoder begins with the key frame, whatever it lacks of what was before.
            let held = !peer.slots[slot].is_past(sequence) && peer.pacer.hold_repair(now, slot, sequence);
            return self.counters.one(if held { Count::Held } else { Count::DropHeld });
        }
        let (sent, count) = if peer.is_audio(slot) {
            (self.resend_sound(now, peer, slot, sequence), Count::AudioResent)
        } else {
            (self.repair(now, peer, slot, sequence), Count::RtxOut)
        };
        self.counters.one(sent.err().unwrap_or(count));
    }
}
