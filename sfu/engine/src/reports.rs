//! What a peer is told, and tells, by RTCP: reports, transport-cc, requests for repair and for key frames.

use crate::clock::{ntp_micros, Micros, ServerClock};
use crate::command::Kind;
use crate::counters::{Count, Counters};
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::rtcp::{self, ReportBlock, SenderInfo};

/// The server sends every peer something at least each 500 ms (CONTRACT, "A lost network").
const REPORT_INTERVAL: Micros = 400_000;
/// libwebrtc expects 50 to 250 ms,
const FEEDBACK_INTERVAL: Micros = 60_000;
const LONGEST_FEEDBACK_INTERVAL: Micros = 150_000;
/// and, as it does, feedback takes no more than a twentieth of a narrow way.
const FEEDBACK_SHARE: u64 = 20;
/// Bytes around RTCP: IPv4, UDP, SRTCP's index and tag.
const AROUND_RTCP: u64 = 20 + 8 + 4 + 10;
/// RFC 3550, section 6.4.1: five bits count the blocks.
const MAX_BLOCKS: usize = 31;

/// Older word of a slot's loss says nothing of the present; browsers report on sound each 5 s.
const RECENT: Micros = 11_000_000;

/// What a viewer last said of its reception of one slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotReception {
    at: Option<Micros>,
    highest: Option<u32>,
    /// Packets that the newest block is about.
    expected: u32,
    /// Lost of them, in 1/256.
    fraction: u8,
}

/// How long after feedback of so many bytes the next is due, on a way of so many bit/s; 0: unknown.
fn feedback_interval(bytes: u64, bits_per_second: u64) -> Micros {
    let bits = (bytes + AROUND_RTCP) * 8;
    let fair = (bits * FEEDBACK_SHARE * 1_000_000).checked_div(bits_per_second);
    fair.unwrap_or(0).clamp(FEEDBACK_INTERVAL, LONGEST_FEEDBACK_INTERVAL)
}

impl Peer {
    /// Share of packets lost, 0 to 1, in the newest reports on slots of sound or of pictures; NaN where there are none.
    pub fn told_loss(&self, now: Micros, sound: bool) -> f64 {
        let (mut lost, mut expected) = (0.0, 0.0);
        for (reception, slot) in self.receptions.iter().zip(&self.slots) {
            if (slot.kind == Kind::Audio) == sound && reception.at.map_or(false, |at| now < at + RECENT) {
                expected += f64::from(reception.expected);
                lost += f64::from(reception.expected) * f64::from(reception.fraction) / 256.0;
            }
        }
        lost / expected
    }

    /// Sends what is due by `now`. `scratch` is reused from call to call.
    pub fn send_due(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        scratch: &mut Vec<u8>,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) {
        scratch.clear();
        if now >= self.reports_at {
            self.reports_at = now + REPORT_INTERVAL;
            self.write_reports(now, clock, scratch);
        }
        self.write_repairs(now, scratch, counters);
        self.write_key_frame_requests(now, scratch, counters);
        if !scratch.is_empty() {
            self.send_rtcp(scratch, outbox, counters);
        }
        if now >= self.feedback_at {
            scratch.clear();
            let media = self.streams.keys().min().copied().unwrap_or(0);
            if self.arrivals.build(scratch, self.rtcp_ssrc, media, now) {
                self.feedback_at = now + feedback_interval(scratch.len() as u64, self.pacer.target());
                self.send_rtcp(scratch, outbox, counters);
            }
        }
    }

    /// Sends a PLI for each track that needs one now and may be asked again.
    pub fn send_key_frame_requests(
        &mut self,
        now: Micros,
        scratch: &mut Vec<u8>,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) {
        scratch.clear();
        self.write_key_frame_requests(now, scratch, counters);
        if !scratch.is_empty() {
            self.send_rtcp(scratch, outbox, counters);
        }
    }

    fn write_key_frame_requests(&mut self, now: Micros, out: &mut Vec<u8>, counters: &mut Counters) {
        for track in &mut self.tracks {
            if let Some(ssrc) = track.key_frame_due(now) {
                rtcp::pli(out, self.rtcp_ssrc, ssrc);
                counters.one(Count::PliOut);
            }
        }
    }

    fn write_repairs(&mut self, now: Micros, out: &mut Vec<u8>, counters: &mut Counters) {
        let mut lost = Vec::new();
        for layer in self.tracks.iter_mut().flat_map(|track| &mut track.layers) {
            let ssrc = match layer.ssrc {
                Some(ssrc) => ssrc,
                None => continue,
            };
            if !layer.wanted {
                layer.gaps.forget();
                continue;
            }
            lost.clear();
            layer.gaps.due(now, self.round_trip.get(), &mut lost);
            if !lost.is_empty() {
                counters.add(Count::NackOut, lost.len() as u64);
                rtcp::nack(out, self.rtcp_ssrc, ssrc, &lost);
            }
        }
    }

    fn write_reports(&mut self, now: Micros, clock: &ServerClock, out: &mut Vec<u8>) {
        let mut blocks = Vec::new();
        for layer in self.tracks.iter_mut().flat_map(|track| &mut track.layers) {
            if let (Some(ssrc), true, true) = (layer.ssrc, layer.alive, blocks.len() < MAX_BLOCKS) {
                blocks.extend(layer.reception.report(ssrc, now));
            }
        }
        rtcp::receiver_report(out, self.rtcp_ssrc, &blocks);
        for slot in self.slots.iter().filter(|slot| slot.packets > 0) {
            let info = SenderInfo {
                ntp: clock.ntp(now),
                rtp: slot.line.at(now as i64),
                packets: slot.packets,
                octets: slot.octets,
            };
            rtcp::sender_report(out, slot.ssrc, &info, &[]);
        }
    }

    /// A publisher's clock against its RTP time.
    pub fn on_sender_report(&mut self, now: Micros, ssrc: u32, info: &SenderInfo) {
        let stream = match self.streams.get(&ssrc) {
            Some(stream) if !stream.rtx => *stream,
            _ => return,
        };
        let layer = &mut self.tracks[stream.track].layers[stream.layer];
        if layer.ssrc != Some(ssrc) {
            return;
        }
        layer.reception.on_sender_report(rtcp::compact(info.ntp), now);
        let ahead = self.clock.on_sender_report(info.ntp, now);
        layer
            .clock
            .on_sender_report(info.rtp, ntp_micros(info.ntp).saturating_add(ahead));
    }

    /// A viewer's word on when our packets arrived.
    ///
    /// Errors: it is malformed.
    pub fn on_transport_feedback(&mut self, now: Micros, fci: &[u8]) -> Result<(), Count> {
        if let Some(sample) = self.meter.on_feedback(now, fci, &mut self.history, &mut self.probe)? {
            self.round_trip.on_report(sample);
        }
        Ok(())
    }

    /// A viewer's word on what it received.
    pub fn on_report_block(&mut self, now: Micros, clock: &ServerClock, block: &ReportBlock) {
        if let Some(slot) = self.slot_of(block.ssrc) {
            self.slots[slot].known_to_receiver = true;
            let reception = &mut self.receptions[slot];
            let expected = reception.highest.map_or(0, |before| block.highest.wrapping_sub(before));
            // Less than none is a receiver that began anew.
            reception.expected = if expected < 1 << 31 { expected } else { 0 };
            reception.highest = Some(block.highest);
            reception.fraction = block.fraction_lost;
            reception.at = Some(now);
            if let Some(compact) = block.round_trip(rtcp::compact(clock.ntp(now))) {
                self.round_trip.on_report((u64::from(compact) * 1_000_000) >> 16);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::feedback_interval;

    #[test]
    fn feedback_takes_no_more_than_a_twentieth_of_a_narrow_way() {
        for (way, interval) in [(0, 60_000), (1_000_000, 60_000), (150_000, 106_666), (50_000, 150_000)] {
            assert_eq!(feedback_interval(58, way), interval, "{way}");
        }
    }
}
