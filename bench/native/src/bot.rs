//! One bot: its socket, ICE, DTLS, keys, what it sends, what it hears, and its reports.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use vardrum_engine::demux::{protocol, Protocol};
use vardrum_engine::rtp;
use vardrum_engine::srtp::{OpenError, Receiver, Sender};
use vardrum_engine::twcc::Arrivals;
use vardrum_engine::Micros;

use crate::ear::{Arrival, Ear};
use crate::feedback::{FEEDBACK, REPORT};
use crate::figures::Figures;
use crate::ice::{Agent, Credentials};
use crate::io::{wall, Inbox, Outbox, Socket, BATCH};
use crate::lossy::Lossy;
use crate::stream::{Extensions, Stream};
use crate::tls::{Context, Handshake, Progress, FINGERPRINT};

/// How long a handshake's timer may sleep.
const HANDSHAKE: Micros = 20_000;
/// Without an answer to a check for so long the path is gone (RFC 7675, section 5.1).
const CONSENT_LOST: Micros = 15_000_000;

/// What all bots of the process use in turn.
pub struct Shared {
    /// Since the process began, and the moment of that on the wall clock.
    pub now: Micros,
    pub start: u64,
    pub outbox: Outbox,
    /// The network of all bots, both ways.
    pub lossy: Lossy,
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
    pub seal: Option<Sender>,
    pub open: Option<Receiver>,
    pub extensions: Extensions,
    pub streams: Vec<Stream>,
    pub ears: Vec<Ear>,
    pub arrivals: Arrivals,
    pub transport: u16,
    pub overflow: u32,
    pub feedback_at: Micros,
    pub report_at: Micros,
    due: Micros,
    gone: bool,
    /// In a dead zone: nothing is sent, and what comes is lost.
    deaf: bool,
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
                deaf: false,
            },
        })
    }

    /// Reads what has come.
    pub fn receive(&mut self, context: &Context, inbox: &mut Inbox, shared: &mut Shared) {
        loop {
            let inside = &mut self.inside;
            let came = inbox.receive(&self.socket, |at, overflow, bytes| {
                inside.overflow = inside.overflow.max(overflow);
                if !inside.deaf && !shared.lossy.takes() {
                    inside.datagram(context, at, bytes, shared);
                }
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
        if inside.deaf {
            inside.due = shared.now + FEEDBACK;
            return;
        }
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
        shared.figures.refused += shared.outbox.send(&self.socket, &mut shared.lossy);
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
    /// Enters a dead zone, or leaves it: everything goes on as after a pause, and the path is checked at once.
    pub fn set_deaf(&mut self, deaf: bool, now: Micros) {
        if self.deaf && !deaf {
            self.agent.restart(None, now);
            self.agent.heard = now;
            self.feedback_at = now;
            self.report_at = now;
            for stream in self.streams.iter_mut().filter(|stream| stream.active) {
                stream.set_active(false, now);
                stream.set_active(true, now);
            }
        }
        self.deaf = deaf;
        self.due = now;
    }

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
        let (ssrc, sound) = (ear.ssrc, ear.sound);
        if missing {
            self.hurry();
        }
        if first {
            let event = if sound { "sound" } else { "picture" };
            self.say(shared, event, &ssrc.to_string());
        }
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
    pub fn describe(&self, now: Micros, out: &mut String) {
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
                "{comma}{{\"ssrc\":{},\"sound\":{},\"received\":{},\"lost\":{},\"source\":{},\"counter\":{},\
                 \"skipped\":{},\"switches\":{},\"pictures\":{},\"freezes\":{},\"frozen_ms\":{},\"still_ms\":{},\
                 \"jitter\":{}}}",
                ear.ssrc,
                ear.sound,
                ear.received(),
                ear.lost(),
                ear.source,
                ear.counter,
                ear.skipped,
                ear.switches,
                ear.pictures,
                ear.freezes,
                ear.frozen_ms,
                ear.still_ms(now),
                ear.reception.jitter(),
            );
        }
        out.push_str("]}");
    }
}
