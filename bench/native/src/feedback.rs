//! RTCP of one bot: reports, transport-cc feedback, requests for what is missing, and answers to the server's.

use vardrum_engine::rtcp::{self, Packet, ReportBlock, SenderInfo};
use vardrum_engine::srtp::Sender;
use vardrum_engine::Micros;

use crate::bot::{Inside, Shared};
use crate::io::Outbox;
use crate::stream::Stream;

/// Between two transport-cc feedbacks, and between two reports.
pub const FEEDBACK: Micros = 100_000;
pub const REPORT: Micros = 1_000_000;
/// From 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

impl Inside {
    /// Takes a compound: what the server reports and asks for.
    pub fn rtcp(&mut self, arrived: Micros, bytes: &mut [u8], shared: &mut Shared) {
        let (seal, open) = match (&mut self.seal, &mut self.open) {
            (Some(seal), Some(open)) => (seal, open),
            _ => return,
        };
        let len = match open.open_rtcp(bytes) {
            Ok(len) => len,
            Err(_) => return shared.figures.strange += 1,
        };
        for packet in rtcp::packets(&bytes[..len]).flatten() {
            match packet {
                Packet::SenderReport { ssrc, info, .. } => {
                    if let Some(ear) = self.ears.iter_mut().find(|ear| ear.ssrc == ssrc) {
                        ear.reception.on_sender_report(rtcp::compact(info.ntp), arrived);
                    }
                }
                Packet::ReceiverReport { blocks, .. } => {
                    // It knows these by now: names are no longer said.
                    for block in blocks {
                        let known = self.streams.iter_mut().filter(|stream| stream.ssrc == block.ssrc);
                        known.for_each(|stream| stream.named = false);
                    }
                }
                Packet::Pli { media, .. } => {
                    shared.figures.key_frames_asked += 1;
                    want_key_frame(&mut self.streams, media);
                }
                Packet::Fir { targets, .. } => {
                    for media in targets {
                        shared.figures.key_frames_asked += 1;
                        want_key_frame(&mut self.streams, media);
                    }
                }
                Packet::Nack { media, lost, .. } => {
                    let stream = match self.streams.iter_mut().find(|stream| stream.ssrc == media) {
                        Some(stream) => stream,
                        None => continue,
                    };
                    for sequence in lost {
                        shared.figures.nacked += 1;
                        let (record, room) = match (stream.record(sequence), shared.outbox.room()) {
                            (Some(record), Some(room)) => (record, room),
                            _ => continue,
                        };
                        let written = match stream.rtx {
                            Some(_) => {
                                self.transport = self.transport.wrapping_add(1);
                                stream.write_rtx(&record, self.transport.wrapping_sub(1), &self.extensions, room)
                            }
                            None => Some(stream.write(&record, &self.extensions, room)),
                        };
                        let sealed = written.and_then(|written| {
                            seal.seal_rtp(room, written.len, written.header_len, written.roll_over)
                                .ok()
                        });
                        if let Some(len) = sealed {
                            shared.outbox.commit(len);
                            shared.figures.resent += 1;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Reports, feedback, and requests for what is missing.
    pub fn listen(&mut self, shared: &mut Shared) {
        let now = shared.now;
        let seal = match &mut self.seal {
            Some(seal) => seal,
            None => {
                self.feedback_at = now + FEEDBACK;
                return;
            }
        };
        let own = self.streams.first().map_or(1, |stream| stream.ssrc);
        shared.report.clear();
        for ear in &mut self.ears {
            shared.lost.clear();
            ear.gaps.due(now, self.agent.round_trip, &mut shared.lost);
            rtcp::nack(&mut shared.report, own, ear.ssrc, &shared.lost);
            if ear.wants_key_frame(now) {
                rtcp::pli(&mut shared.report, own, ear.ssrc);
            }
        }
        post(seal, &shared.report, &mut shared.outbox);
        if now < self.feedback_at {
            return;
        }
        self.feedback_at = self.feedback_at.max(now.saturating_sub(FEEDBACK)) + FEEDBACK;
        let media = self.ears.first().map_or(0, |ear| ear.ssrc);
        loop {
            shared.report.clear();
            if !self.arrivals.build(&mut shared.report, own, media, now) {
                break;
            }
            post(seal, &shared.report, &mut shared.outbox);
        }
        if now < self.report_at {
            return;
        }
        self.report_at = self.report_at.max(now.saturating_sub(REPORT)) + REPORT;
        shared.report.clear();
        let wall = shared.start + now;
        let ntp = ((wall / 1_000_000 + NTP_TO_UNIX) << 32) | (((wall % 1_000_000) << 32) / 1_000_000);
        let sending = self.streams.iter().filter(|stream| stream.active && stream.packets > 0);
        for stream in sending {
            let since = now.saturating_sub(stream.captured);
            let info = SenderInfo {
                ntp,
                rtp: stream
                    .timestamp
                    .wrapping_add((since * (stream.rate() / 1000) / 1000) as u32),
                packets: stream.packets,
                octets: stream.octets,
            };
            rtcp::sender_report(&mut shared.report, stream.ssrc, &info, &[]);
        }
        let blocks: Vec<ReportBlock> = self
            .ears
            .iter_mut()
            .filter_map(|ear| ear.reception.report(ear.ssrc, now))
            .collect();
        rtcp::receiver_report(&mut shared.report, own, &blocks);
        rtcp::sdes_cname(&mut shared.report, own, "bot");
        post(seal, &shared.report, &mut shared.outbox);
    }
}

/// Of a camera all layers: browsers answer one PLI so.
fn want_key_frame(streams: &mut [Stream], media: u32) {
    let mid = streams
        .iter()
        .find(|stream| stream.owns(media))
        .map(|stream| stream.mid.clone());
    for stream in streams.iter_mut().filter(|stream| Some(&stream.mid) == mid.as_ref()) {
        stream.want_key_frame();
    }
}

fn post(seal: &mut Sender, report: &[u8], outbox: &mut Outbox) {
    if report.is_empty() {
        return;
    }
    if let Some(room) = outbox.room() {
        let len = report.len().min(room.len() - 64);
        room[..len].copy_from_slice(&report[..len]);
        if let Ok(len) = seal.seal_rtcp(room, len) {
            outbox.commit(len);
        }
    }
}
