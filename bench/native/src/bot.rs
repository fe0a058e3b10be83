//! One bot: its socket, ICE, DTLS, keys, what it sends, what it hears, and its reports.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use vardrum_engine::demux::{protocol, Protocol};
use vardrum_engine::rtcp::{self, Packet, ReportBlock, SenderInfo};
use vardrum_engine::rtp;
use vardrum_engine::srtp::{OpenError, Receiver, Sender};
use vardrum_engine::twcc::Arrivals;
use vardrum_engine::Micros;

use crate::ear::{Arrival, Ear};
use crate::figures::Figures;
use crate::ice::{Agent, Credentials};
use crate::io::{wall, Inbox, Outbox, Socket, BATCH};
use crate::stream::{Extensions, Stream};
use crate::tls::{Context, Handshake, Progress, FINGERPRINT};

/// Between two transport-cc feedbacks, between two reports, and how long a handshake's timer may sleep.
const FEEDBACK: Micros = 100_000;
const REPORT: Micros = 1_000_000;
const HANDSHAKE: Micros = 20_000;
/// Without an answer to a check for so long the path is gone (RFC 7675, section 5.1).
const CONSENT_LOST: Micros = 15_000_000;
/// From 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What all bots of the process use in turn.
pub struct Shared {
    /// Since the process began, and the moment of that on the wall clock.
    pub now: Micros,
    pub start: u64,
    pub outbox: Outbox,
    pub figures: Figures,
    /// Lines for standard output.
    pub said: Vec<String>,
    pub report: Vec<u8>,
    pub lost: Vec<u16>,
}

/// How a bot comes to be.
pub struct Plan {
    pub id: u32,
    pub from: IpAddr,
    pub server: SocketAddr,
    pub local: Credentials,
    pub remote: Credentials,
    pub fingerprint: [u8; FINGERPRINT],
    pub extensions: Extensions,
    pub streams: Vec<Stream>,
    pub ears: Vec<Ear>,
}

pub struct Bot {
    pub socket: Socket,
    pub inside: Inside,
}

/// Everything but the socket, which is read while this is written.
pub struct Inside {
    pub id: u32,
    pub server: SocketAddr,
    pub from: IpAddr,
    pub agent: Agent,
    handshake: Option<Handshake>,
    expected: [u8; FINGERPRINT],
    seal: Option<Sender>,
    open: Option<Receiver>,
    extensions: Extensions,
    pub streams: Vec<Stream>,
    pub ears: Vec<Ear>,
    arrivals: Arrivals,
    transport: u16,
    pub overflow: u32,
    feedback_at: Micros,
    report_at: Micros,
    due: Micros,
    gone: bool,
}

impl Bot {
    pub fn new(plan: Plan, now: Micros) -> Result<Bot, String> {
        let socket = Socket::connect(plan.from, plan.server).map_err(|e| e.to_string())?;
        let phase = Micros::from(plan.id) * 7919;
        Ok(Bot {
            socket,
            inside: Inside {
                id: plan.id,
                server: plan.server,
                from: plan.from,
                agent: Agent::new(&plan.local, &plan.remote, now),
                handshake: None,
                expected: plan.fingerprint,
                seal: None,
                open: None,
                extensions: plan.extensions,
                streams: plan.streams,
                ears: plan.ears,
                arrivals: Arrivals::new(),
                transport: 0,
                overflow: 0,
                feedback_at: now + phase % FEEDBACK,
                report_at: now + phase % REPORT,
                due: now,
                gone: false,
            },
        })
    }

    /// Reads what has come.
    pub fn receive(&mut self, context: &Context, inbox: &mut Inbox, shared: &mut Shared) {
        loop {
            let inside = &mut self.inside;
            let came = inbox.receive(&self.socket, |at, overflow, bytes| {
                inside.overflow = inside.overflow.max(overflow);
                inside.datagram(context, at, bytes, shared);
            });
            self.flush(shared);
            if came < BATCH {
                return;
            }
        }
    }

    /// Does what is due.
    pub fn act(&mut self, shared: &mut Shared) {
        if shared.now < self.inside.due {
            return;
        }
        let inside = &mut self.inside;
        inside.agent.poll(shared.now, &mut shared.outbox);
        inside.shake(shared);
        inside.listen(shared);
        self.flush(shared);
        self.send(shared);
        self.inside.due = self.inside.next(shared.now);
    }

    /// Sends the packets that are due, one picture's next part or sound at a time.
    fn send(&mut self, shared: &mut Shared) {
        let inside = &mut self.inside;
        let seal = match &mut inside.seal {
            Some(seal) => seal,
            None => return,
        };
        let (mut begun, mut packets) = (0, 0);
        for stream in &mut inside.streams {
            while stream.active && stream.next <= shared.now {
                let room = match shared.outbox.room() {
                    Some(room) => room,
                    None => break,
                };
                let stamp = wall();
                begun = if begun == 0 { stamp } else { begun };
                shared
                    .figures
                    .late
                    .add((stamp - shared.start).saturating_sub(stream.next));
                let before = stream.pictures();
                let record = stream.advance(shared.now, stamp, inside.transport);
                shared.figures.pictures_sent += u64::from(stream.pictures() - before);
                inside.transport = inside.transport.wrapping_add(1);
                let written = stream.write(&record, &inside.extensions, room);
                if let Ok(len) = seal.seal_rtp(room, written.len, written.header_len, written.roll_over) {
                    shared.outbox.commit(len);
                    shared.figures.sent += 1;
                    shared.figures.sent_bytes += len as u64;
                    packets += 1;
                }
            }
        }
        if packets > 0 {
            self.flush(shared);
            shared.figures.sending.add(wall().saturating_sub(begun));
        }
    }

    fn flush(&mut self, shared: &mut Shared) {
        shared.figures.refused += shared.outbox.send(&self.socket);
    }

    /// Says goodbye.
    pub fn close(&mut self, shared: &mut Shared) {
        if let Some(handshake) = &mut self.inside.handshake {
            handshake.close();
            handshake.out(|bytes| shared.outbox.push(bytes));
        }
        self.flush(shared);
        shared.figures.lost_before += self.inside.lost();
        shared.figures.overflow_before += u64::from(self.inside.overflow);
    }

    /// A NAT that rebinds: all goes on from another port of ours.
    pub fn rebind(&mut self, quiet: bool, now: Micros) -> Result<(), String> {
        self.inside.overflow = 0;
        self.socket = Socket::connect(self.inside.from, self.inside.server).map_err(|e| e.to_string())?;
        if !quiet {
            self.inside.agent.restart(None, now);
        }
        Ok(())
    }
}

impl Inside {
    pub fn lost(&self) -> u64 {
        self.ears.iter().map(Ear::lost).sum()
    }

    pub fn connected(&self) -> bool {
        self.seal.is_some() && !self.gone
    }

    fn next(&self, now: Micros) -> Micros {
        let streams = self.streams.iter().filter(|_| self.seal.is_some());
        let streams = streams.filter(|stream| stream.active).map(|stream| stream.next).min();
        let handshake = (self.handshake.is_some() && self.seal.is_none()).then(|| now + HANDSHAKE);
        let gaps = self.ears.iter().filter_map(|ear| ear.gaps.next_deadline()).min();
        [streams, handshake, gaps]
            .into_iter()
            .flatten()
            .chain([self.agent.next, self.feedback_at])
            .min()
            .unwrap_or(now)
    }

    /// What arrives may bring something to do forward.
    fn hurry(&mut self) {
        self.due = 0;
    }

    fn shake(&mut self, shared: &mut Shared) {
        if self.agent.connected.is_some() && shared.now > self.agent.heard + CONSENT_LOST && !self.gone {
            self.gone = true;
            self.say(shared, "lost", "");
        }
        if self.seal.is_some() {
            return;
        }
        if let Some(handshake) = &mut self.handshake {
            if handshake.timeout() == Some(0) {
                handshake.repeat();
                handshake.out(|bytes| shared.outbox.push(bytes));
            }
        }
    }

    fn datagram(&mut self, context: &Context, arrived_wall: u64, bytes: &mut [u8], shared: &mut Shared) {
        shared.figures.received_bytes += bytes.len() as u64;
        let arrived = arrived_wall.saturating_sub(shared.start);
        match protocol(bytes) {
            Protocol::Stun => {
                if self.agent.take(arrived.max(1), self.server, bytes, &mut shared.outbox) {
                    self.hurry();
                    self.gone = false;
                    if self.handshake.is_none() {
                        match Handshake::new(context, self.expected) {
                            Ok(handshake) => self.handshake = Some(handshake),
                            Err(error) => self.say(shared, "failed", &error),
                        }
                        self.dtls(&[], shared);
                    } else {
                        self.say(shared, "path", "");
                    }
                }
            }
            Protocol::Dtls => self.dtls(bytes, shared),
            Protocol::Rtp => self.rtp(
                Arrival {
                    at: arrived,
                    wall: arrived_wall,
                },
                bytes,
                shared,
            ),
            Protocol::Rtcp => self.rtcp(arrived, bytes, shared),
            Protocol::Unknown => shared.figures.strange += 1,
        }
    }

    fn dtls(&mut self, bytes: &[u8], shared: &mut Shared) {
        let handshake = match &mut self.handshake {
            Some(handshake) => handshake,
            None => return,
        };
        let progress = handshake.take(bytes);
        handshake.out(|bytes| shared.outbox.push(bytes));
        match progress {
            Ok(Progress::Keys(keys)) => {
                self.seal = Sender::new(keys.profile, &keys.up.0, &keys.up.1).ok();
                self.open = Receiver::new(keys.profile, &keys.down.0, &keys.down.1).ok();
                for stream in &mut self.streams {
                    stream.next = stream.next.max(shared.now + u64::from(stream.ssrc) % 20_000);
                }
                self.hurry();
                self.say(shared, "connected", &format!("{:?}", keys.profile));
            }
            Ok(Progress::Closed) if !self.gone => {
                self.gone = true;
                self.say(shared, "closed", "");
            }
            Ok(_) => {}
            Err(error) => {
                self.gone = true;
                self.say(shared, "failed", &error);
            }
        }
    }

    fn rtp(&mut self, arrival: Arrival, bytes: &mut [u8], shared: &mut Shared) {
        let figures = &mut shared.figures;
        let (open, header) = match (&mut self.open, rtp::parse(bytes)) {
            (Some(open), Ok(header)) => (open, header),
            _ => return figures.strange += 1,
        };
        let len = match open.open_rtp(bytes, header.header_len) {
            Ok((len, _)) => len,
            Err(OpenError::Replay) => return figures.duplicates += 1,
            Err(_) => return figures.strange += 1,
        };
        let packet = &bytes[..len];
        if let Some(&[high, low]) = rtp::extension(packet, &header, self.extensions.transport) {
            self.arrivals.record(u16::from_be_bytes([high, low]), arrival.at);
        }
        let range = match rtp::payload(packet, &header) {
            Ok(range) => range,
            Err(_) => return figures.strange += 1,
        };
        let payload = &packet[range];
        let of = |ear: &Ear| ear.ssrc == header.ssrc || ear.rtx == Some(header.ssrc);
        let ear = match self.ears.iter_mut().find(|ear| of(ear)) {
            Some(ear) => ear,
            None => return figures.strange += 1,
        };
        let first = if ear.ssrc == header.ssrc {
            ear.take(arrival, &header, header.sequence, payload, false, figures)
        } else if payload.len() > 2 {
            let original = u16::from_be_bytes([payload[0], payload[1]]);
            ear.take(arrival, &header, original, &payload[2..], true, figures)
        } else {
            figures.padding += 1;
            false
        };
        let missing = ear.gaps.next_deadline().is_some();
        let ssrc = ear.ssrc;
        if missing {
            self.hurry();
        }
        if first {
            self.say(shared, "picture", &ssrc.to_string());
        }
    }

    fn rtcp(&mut self, arrived: Micros, bytes: &mut [u8], shared: &mut Shared) {
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
    fn listen(&mut self, shared: &mut Shared) {
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

    /// A line for whoever drives us; `what` is a detail of the event.
    fn say(&self, shared: &mut Shared, event: &str, what: &str) {
        let mut line = format!(
            "{{\"event\":\"{event}\",\"bot\":{},\"at\":{},\"what\":",
            self.id,
            wall()
        );
        crate::json::quote(&mut line, what);
        line.push('}');
        shared.said.push(line);
    }

    /// Appends what this bot has sent and heard, as a JSON object.
    pub fn describe(&self, out: &mut String) {
        let _ = write!(
            out,
            "{{\"bot\":{},\"overflow\":{},\"streams\":[",
            self.id, self.overflow
        );
        for (i, stream) in self.streams.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{{\"ssrc\":{},\"packets\":{}}}",
                stream.ssrc, stream.packets
            );
        }
        out.push_str("],\"ears\":[");
        for (i, ear) in self.ears.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{{\"ssrc\":{},\"received\":{},\"lost\":{},\"source\":{},\"counter\":{},\"skipped\":{},\
                 \"switches\":{},\"pictures\":{},\"jitter\":{}}}",
                ear.ssrc,
                ear.received(),
                ear.lost(),
                ear.source,
                ear.counter,
                ear.skipped,
                ear.switches,
                ear.pictures,
                ear.reception.jitter(),
            );
        }
        out.push_str("]}");
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
