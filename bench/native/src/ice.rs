//! A browser's half of ICE towards a lite agent (RFC 8445): checks that nominate, consent (RFC 7675), answers.

use std::net::SocketAddr;

use vardrum_engine::crypto::{random, HmacSha1};
use vardrum_engine::stun::{self, Class, Message, Transaction};
use vardrum_engine::Micros;

use crate::io::Outbox;

const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const FIRST: Micros = 50_000;
/// Chromium's time between checks of a pair that works.
const CONSENT: Micros = 2_500_000;

/// One side's credentials.
#[derive(Clone, Default)]
pub struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

pub struct Agent {
    username: String, // of our checks
    remote: HmacSha1,
    local: HmacSha1,
    tie_breaker: [u8; 8],
    transaction: Transaction,
    sent: Micros,
    answered: bool,
    /// When `poll` next has something to do.
    pub next: Micros,
    /// Since when a check of the present credentials has been answered.
    pub connected: Option<Micros>,
    /// When the last answer came.
    pub heard: Micros,
    /// The last check's round trip.
    pub round_trip: Micros,
}

impl Agent {
    pub fn new(local: &Credentials, remote: &Credentials, now: Micros) -> Agent {
        let mut tie_breaker = [0; 8];
        random(&mut tie_breaker);
        Agent {
            username: format!("{}:{}", remote.ufrag, local.ufrag),
            remote: HmacSha1::new(remote.pwd.as_bytes()),
            local: HmacSha1::new(local.pwd.as_bytes()),
            tie_breaker,
            transaction: [0; 12],
            sent: 0,
            answered: true,
            next: now,
            connected: None,
            heard: now,
            round_trip: 0,
        }
    }

    /// An ICE restart, or a new address of ours: everything is checked anew.
    pub fn restart(&mut self, credentials: Option<(&Credentials, &Credentials)>, now: Micros) {
        if let Some((local, remote)) = credentials {
            *self = Agent::new(local, remote, now);
        }
        self.connected = None;
        self.answered = true;
        self.next = now;
    }

    /// Sends the check that is due.
    pub fn poll(&mut self, now: Micros, outbox: &mut Outbox) {
        if now < self.next {
            return;
        }
        // A check that waits for its answer is sent again as it was.
        if self.answered || now - self.sent > 1_000_000 {
            random(&mut self.transaction);
            self.sent = now;
            self.answered = false;
        }
        self.next = now + if self.connected.is_some() { CONSENT } else { FIRST };
        outbox.push(&self.check());
    }

    /// Takes a STUN datagram; `true` where it is the first answer to the present credentials.
    pub fn take(&mut self, now: Micros, server: SocketAddr, datagram: &[u8], outbox: &mut Outbox) -> bool {
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(_) => return false,
        };
        match message.class() {
            Class::Request if message.verify_integrity(&self.local) => {
                let mut answer = Vec::new();
                stun::write_binding_success(&mut answer, &message.transaction(), server, &self.local);
                outbox.push(&answer);
                false
            }
            Class::Success if message.transaction() == self.transaction && message.verify_integrity(&self.remote) => {
                self.answered = true;
                self.heard = now;
                self.round_trip = now - self.sent;
                let first = self.connected.is_none();
                if first {
                    self.connected = Some(now);
                    self.next = now + CONSENT;
                }
                first
            }
            _ => false,
        }
    }

    fn check(&self) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        out.extend_from_slice(&self.transaction);
        attribute(&mut out, USERNAME, self.username.as_bytes());
        attribute(&mut out, PRIORITY, &0x6e_ff_ff_ffu32.to_be_bytes());
        attribute(&mut out, ICE_CONTROLLING, &self.tie_breaker);
        attribute(&mut out, USE_CANDIDATE, &[]);
        // Both of the last are made over a length that already counts themselves.
        set_length(&mut out, 24);
        let integrity = self.remote.sign(&[&out]);
        attribute(&mut out, MESSAGE_INTEGRITY, &integrity);
        set_length(&mut out, 8);
        let fingerprint = crc32(&out) ^ FINGERPRINT_XOR;
        attribute(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
        out
    }
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize((out.len() + 3) / 4 * 4, 0);
    set_length(out, 0);
}

fn set_length(out: &mut [u8], more: usize) {
    let length = (out.len() - HEADER + more) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The CRC-32 of ITU V.42, bit by bit: checks are rare.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> Credentials {
        Credentials {
            ufrag: format!("{name}user"),
            pwd: format!("{name}{:0>22}", 1),
        }
    }

    #[test]
    fn the_engine_believes_a_check_and_is_believed() {
        use vardrum_engine::ice;
        let (ours, theirs) = (credentials("a"), credentials("b"));
        let as_engine = |one: &Credentials| ice::Credentials::new(one.ufrag.clone(), one.pwd.clone()).unwrap();
        let agent = Agent::new(&ours, &theirs, 0);
        let check = agent.check();
        let message = Message::parse(&check).unwrap();
        assert!(message.use_candidate() && message.has_fingerprint());
        assert_eq!(message.username(), Some("buser:auser"));
        assert!(message.verify_integrity(&HmacSha1::new(theirs.pwd.as_bytes())));
        assert_eq!(as_engine(&theirs).ufrag(), "buser");
    }
}
