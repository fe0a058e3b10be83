//! A virtual person: a browser-like end with an address, ICE, keys, what it sends and what it receives.

use crate::client::{self, RED, TRANSPORT_CC};
use crate::network::MS;
use crate::receiving::Slot;
use crate::sending::{Outgoing, Sending};
use crate::testing::Random;
use vardrum_codecs::red;
use vardrum_engine::address::Address;
use vardrum_engine::command::Keys;
use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::rtcp::{self, Packet, SenderInfo};
use vardrum_engine::srtp::{OpenError, Receiver, Sender};
use vardrum_engine::twcc::Arrivals;
use vardrum_engine::{rtp, stun, Micros};

/// Until the first answer, and then to keep consent.
const CHECK: Micros = 50 * MS;
const KEEP: Micros = 1_000 * MS;
const FEEDBACK: Micros = 100 * MS;
const REPORT: Micros = 500 * MS;

pub struct Person {
    pub id: u32,
    /// As the server sees it: a NAT may change it.
    pub address: Address,
    pub sending: Sending,
    pub slots: Vec<Slot>,
    srtp: Receiver,
    /// ICE passwords as keys: the server's and this person's.
    theirs: HmacSha1,
    own: HmacSha1,
    username: String,
    checks: u32,
    next_check: Micros,
    /// The first check was answered.
    pub answered: bool,
    /// The handshake is done.
    pub secured: bool,
    arrivals: Arrivals,
    next_feedback: Micros,
    next_report: Micros,
    round_trip: Micros,
    clock_offset: u64,
}

impl Person {
    /// `round_trip`: what this person would measure, for its NACKs.
    pub fn new(id: u32, address: Address, keys: &Keys, round_trip: Micros, now: Micros, mut random: Random) -> Person {
        let srtp = Sender::new(keys.profile, &keys.rx_key, &keys.rx_salt).unwrap();
        let base = id * 100;
        Person {
            id,
            address,
            clock_offset: random.next() >> 8,
            sending: Sending::new(id, srtp, now, random),
            slots: (1..=4)
                .map(|n| Slot::new(n > 2, base + n, if n > 2 { base + 10 + n } else { 0 }))
                .collect(),
            srtp: Receiver::new(keys.profile, &keys.tx_key, &keys.tx_salt).unwrap(),
            theirs: HmacSha1::new(client::credentials("srv", id).1.as_bytes()),
            own: HmacSha1::new(client::credentials("cli", id).1.as_bytes()),
            username: format!(
                "{}:{}",
                client::credentials("srv", id).0,
                client::credentials("cli", id).0
            ),
            checks: 0,
            next_check: now,
            answered: false,
            secured: false,
            arrivals: Arrivals::new(),
            next_feedback: now,
            next_report: now,
            round_trip,
        }
    }

    /// Does what time brings.
    pub fn wake(&mut self, now: Micros, out: &mut Vec<Outgoing>) {
        if now >= self.next_check {
            self.next_check = now + if self.answered { KEEP } else { CHECK };
            out.push(self.check());
        }
        if !self.secured {
            return;
        }
        self.sending.capture(now, out);
        let mut compound = Vec::new();
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.reports(now, &mut compound);
        }
        let ssrc = self.sending.streams[0].ssrc;
        for slot in &mut self.slots {
            let mut lost = Vec::new();
            slot.due(now, self.round_trip, &mut lost);
            if !lost.is_empty() {
                rtcp::nack(&mut compound, ssrc, slot.ssrc, &lost);
            }
            if slot.key_frame_due(now, self.round_trip) {
                rtcp::pli(&mut compound, ssrc, slot.ssrc);
            }
        }
        if now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK;
            self.arrivals.build(&mut compound, ssrc, self.slots[0].ssrc, now);
        }
        if !compound.is_empty() {
            out.push(self.sending.control(&compound));
        }
    }

    fn reports(&mut self, now: Micros, compound: &mut Vec<u8>) {
        let blocks: Vec<_> = self.slots.iter_mut().filter_map(|slot| slot.report(now)).collect();
        let ntp = self
            .clock_offset
            .wrapping_add(((u128::from(now) << 32) / 1_000_000) as u64);
        let mut first = true;
        for stream in self.sending.streams.iter().filter(|stream| stream.packets > 0) {
            let info = SenderInfo {
                ntp,
                rtp: stream.rtp_time(now),
                packets: stream.packets,
                octets: stream.octets,
            };
            rtcp::sender_report(compound, stream.ssrc, &info, if first { &blocks } else { &[] });
            first = false;
        }
    }

    /// A check with USE-CANDIDATE.
    pub fn check(&mut self) -> Outgoing {
        self.checks += 1;
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&self.checks.to_be_bytes());
        transaction[4..8].copy_from_slice(&self.id.to_be_bytes());
        let mut bytes = Vec::new();
        client::write_check(&mut bytes, &transaction, &self.username, true, &self.theirs);
        Outgoing { bytes, content: None }
    }

    /// Takes a datagram that the server sent to this person's address.
    pub fn take(&mut self, now: Micros, bytes: &mut [u8], out: &mut Vec<Outgoing>) {
        if bytes[0] < 4 {
            self.stun(bytes, out);
        } else if rtp::is_rtcp(bytes) {
            match self.srtp.open_rtcp(bytes) {
                Ok(len) => self.control(now, &bytes[..len], out),
                Err(OpenError::Replay) => {}
                Err(error) => panic!("SRTCP of the server: {error:?}"),
            }
        } else {
            self.media(now, bytes);
        }
    }

    fn stun(&mut self, bytes: &[u8], out: &mut Vec<Outgoing>) {
        let message = stun::Message::parse(bytes).expect("the server's STUN is well formed");
        match message.class() {
            stun::Class::Request => {
                assert!(message.verify_integrity(&self.own), "a check of somebody else");
                let mut bytes = Vec::new();
                stun::write_binding_success(&mut bytes, &message.transaction(), self.address.socket, &self.own);
                out.push(Outgoing { bytes, content: None });
            }
            stun::Class::Success => {
                assert!(message.verify_integrity(&self.theirs), "an answer of somebody else");
                self.answered = true;
            }
            _ => {}
        }
    }

    fn media(&mut self, now: Micros, bytes: &mut [u8]) {
        let header = rtp::parse(bytes).expect("the server's RTP is well formed");
        let len = match self.srtp.open_rtp(bytes, header.header_len) {
            Ok((len, _)) => len,
            Err(OpenError::Replay) => return,
            Err(error) => panic!("SRTP of the server: {error:?} {header:?}"),
        };
        let packet = &bytes[..len];
        if let Some(&[high, low]) = rtp::extension(packet, &header, TRANSPORT_CC) {
            self.arrivals.record(u16::from_be_bytes([high, low]), now);
        }
        let payload = &packet[rtp::payload(packet, &header).expect("padding is well formed")];
        for slot in &mut self.slots {
            if header.ssrc == slot.ssrc {
                slot.take(now, &header, header.sequence, payload, false);
                if header.payload_type == RED {
                    slot.recover(header.sequence, red::parse(payload).expect("RED of the server"));
                }
            } else if header.ssrc == slot.rtx_ssrc && payload.len() >= 2 {
                let number = u16::from_be_bytes([payload[0], payload[1]]);
                slot.take(now, &header, number, &payload[2..], true);
            }
        }
    }

    fn control(&mut self, now: Micros, compound: &[u8], out: &mut Vec<Outgoing>) {
        for packet in rtcp::packets(compound) {
            match packet.expect("the server's RTCP is well formed") {
                Packet::SenderReport { ssrc, info, .. } => {
                    for slot in self.slots.iter_mut().filter(|slot| slot.ssrc == ssrc) {
                        slot.on_sender_report(info.ntp, now);
                    }
                }
                Packet::ReceiverReport { blocks, .. } => {
                    for block in blocks {
                        for stream in self.sending.streams.iter_mut().filter(|s| s.ssrc == block.ssrc) {
                            stream.introduced = true;
                        }
                    }
                }
                Packet::Nack { media, lost, .. } => {
                    out.extend(lost.filter_map(|sequence| self.sending.repair(media, sequence)));
                }
                Packet::Pli { .. } | Packet::Fir { .. } => self.sending.want_key_frame(),
                _ => {}
            }
        }
    }
}
