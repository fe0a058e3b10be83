//! One person's browser, as far as a server's cost depends on it: a socket, keys, one source, and ears for the others.

use std::net::SocketAddr;

use vardrum_engine::crypto::random;
use vardrum_engine::demux::{protocol, Protocol};
use vardrum_engine::io::Socket;
use vardrum_engine::outbox::Outbox;
use vardrum_engine::rtcp::{self, ReportBlock};
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::srtp::{Profile, Receiver, Sender};
use vardrum_engine::stun::Transaction;
use vardrum_engine::Micros;

use crate::case::{Case, HEADER};
use crate::check;

/// Payload types and extension ids as Chromium numbers them.
pub const VP8: u8 = 96;
pub const OPUS: u8 = 111;
pub const AUDIO_LEVEL: u8 = 1;
pub const ABS_SEND_TIME: u8 = 2;
pub const TRANSPORT_CC: u8 = 3;
pub const MID: u8 = 4;

/// One in so many packets is opened and looked at; all of them would cost more than the server does.
const LOOK: u64 = 64;
/// A VP8 payload descriptor with picture id, TL0PICIDX and TID, and then the start of a frame.
const DESCRIPTOR: usize = 6;
const FRAME_START: usize = 10;

/// Both directions' master keys, as a handshake would have made them.
pub struct Keys {
    pub up: (Vec<u8>, Vec<u8>),
    pub down: (Vec<u8>, Vec<u8>),
}

impl Keys {
    pub fn new(profile: Profile) -> Keys {
        let bytes = |len| {
            let mut bytes = vec![0; len];
            random(&mut bytes);
            bytes
        };
        let pair = || (bytes(profile.key_len()), bytes(profile.salt_len()));
        Keys {
            up: pair(),
            down: pair(),
        }
    }
}

pub struct Person {
    pub keys: Keys,
    pub address: SocketAddr,
    pub password: String,
    /// The server has answered our check.
    pub answered: bool,
    /// Media packets that came.
    pub received: u64,
    /// Sources that were heard, by SSRC.
    pub heard: Vec<u32>,
    transaction: Transaction,
    socket: Socket,
    seal: Sender,
    open: Receiver,
    ssrc: u32,
    /// SRTP index of the next packet, and its transport-cc number.
    index: u64,
    pictures: u64,
    case: Case,
}

impl Person {
    pub fn new(case: &Case, place: usize) -> Result<Person, String> {
        let keys = Keys::new(case.profile);
        let seal = Sender::new(case.profile, &keys.up.0, &keys.up.1).map_err(|e| format!("{e:?}"))?;
        let open = Receiver::new(case.profile, &keys.down.0, &keys.down.1).map_err(|e| format!("{e:?}"))?;
        let socket = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|e| e.to_string())?;
        let mut transaction = [0; 12];
        random(&mut transaction);
        Ok(Person {
            keys,
            address: socket.local_address().map_err(|e| e.to_string())?,
            password: format!("{place:024}"),
            answered: false,
            received: 0,
            heard: Vec::new(),
            transaction,
            socket,
            seal,
            open,
            ssrc: ssrc(place),
            index: 1,
            pictures: 0,
            case: *case,
        })
    }

    /// Sends `packets` packets of one picture, or as many of sound.
    pub fn send(&mut self, to: SocketAddr, packets: usize, key: bool, now: Micros, outbox: &mut Outbox) {
        for i in 0..packets {
            let room = outbox.room().expect("an outbox has room for a run");
            let len = self.write(room, i, i + 1 == packets, key, now);
            let sealed = self
                .seal
                .seal_rtp(room, len, HEADER, (self.index >> 16) as u32)
                .expect("a whole packet");
            outbox.commit(to, sealed);
            self.index += 1;
        }
        self.pictures += 1;
        self.flush(outbox);
    }

    fn write(&mut self, room: &mut [u8], number: usize, last: bool, key: bool, now: Micros) -> usize {
        let sound = self.case.is_sound();
        let rate = if sound { 48 } else { 90 };
        let header = Header {
            marker: last && !sound,
            payload_type: if sound { OPUS } else { VP8 },
            sequence: self.index as u16,
            timestamp: (now * rate / 1000) as u32,
            ssrc: self.ssrc,
            ..Header::default()
        };
        let transport = (self.index as u16).to_be_bytes();
        // 24 bits of seconds in 6.18 fixed point, and 30 dB below full scale, speaking.
        let (sent, level) = ((((now << 18) / 1_000_000) as u32).to_be_bytes(), [0x80 | 30]);
        let second: (u8, &[u8]) = if sound {
            (AUDIO_LEVEL, &level)
        } else {
            (ABS_SEND_TIME, &sent[1..])
        };
        let header_len = rtp::write_header(room, &header, &[(TRANSPORT_CC, &transport), second]);
        assert_eq!(header_len, HEADER);
        let len = HEADER + self.case.payload() - self.case.shorter(self.pictures, number);
        let (first, payload) = (number == 0, &mut room[HEADER..len]);
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte = at as u8;
        }
        if !sound {
            let picture = (0x8000 | self.pictures as u16).to_be_bytes();
            let start = 0x80 | u8::from(first) << 4;
            payload[..DESCRIPTOR].copy_from_slice(&[start, 0xe0, picture[0], picture[1], self.pictures as u8, 0x20]);
            if first {
                // Frame tag (its lowest bit: not a key frame), start code, 640x360.
                let tag = 0x10 | u8::from(!key);
                payload[DESCRIPTOR..DESCRIPTOR + FRAME_START]
                    .copy_from_slice(&[tag, 0x02, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
            }
        }
        len
    }

    /// Asks the server for an answer from the address that we nominate.
    pub fn check(&mut self, to: SocketAddr, place: usize, outbox: &mut Outbox) {
        let check = check::nominating(&username(place), &self.password, &self.transaction);
        outbox.push(to, &check);
        self.flush(outbox);
    }

    /// A report on what is received. Until it comes, a server has to tell which line each source belongs to.
    pub fn report(&mut self, to: SocketAddr, outbox: &mut Outbox) {
        let blocks: Vec<ReportBlock> = self.heard.iter().map(|&ssrc| block(ssrc)).collect();
        let mut report = Vec::new();
        rtcp::receiver_report(&mut report, self.ssrc, &blocks);
        let room = outbox.room().expect("an empty outbox has room");
        room[..report.len()].copy_from_slice(&report);
        let sealed = self.seal.seal_rtcp(room, report.len()).expect("a whole report");
        outbox.commit(to, sealed);
        self.flush(outbox);
    }

    fn flush(&mut self, outbox: &mut Outbox) {
        let refused = self.socket.send(outbox).refused;
        assert_eq!(refused, 0, "the kernel refused a datagram to the server");
    }

    /// Takes what has come; returns how many packets of media that was.
    pub fn receive(&mut self) -> u64 {
        let Person {
            socket,
            open,
            received,
            heard,
            answered,
            password,
            transaction,
            case,
            ..
        } = self;
        let before = *received;
        loop {
            let came = socket.receive(|_, bytes| match protocol(bytes) {
                Protocol::Rtp => {
                    let ssrc = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
                    let new = !heard.contains(&ssrc);
                    if new {
                        heard.push(ssrc);
                    }
                    // The first of each source, so that its roll-over counter is followed from the start.
                    if new || *received % LOOK == 0 {
                        look(open, bytes, case);
                    }
                    *received += 1;
                }
                Protocol::Stun => *answered |= check::is_success(bytes, password, transaction),
                _ => {}
            });
            if came < vardrum_engine::io::BATCH {
                return *received - before;
            }
        }
    }
}

/// A packet must be authentic, and say what its sender said.
fn look(open: &mut Receiver, bytes: &mut [u8], case: &Case) {
    let header = rtp::parse(bytes).expect("an RTP header");
    let (len, _) = open.open_rtp(bytes, header.header_len).expect("an authentic packet");
    let payload = &bytes[rtp::payload(&bytes[..len], &header).expect("padding that fits")];
    let lengths = case.payload() - usize::from(!case.is_sound())..=case.payload();
    assert!(lengths.contains(&payload.len()), "{} bytes of payload", payload.len());
    let skip = if case.is_sound() { 0 } else { DESCRIPTOR + FRAME_START };
    let intact = payload
        .iter()
        .enumerate()
        .skip(skip)
        .all(|(at, &byte)| byte == at as u8);
    assert!(intact, "the payload is not what was sent");
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        ..ReportBlock::default()
    }
}

/// A person's source.
pub fn ssrc(place: usize) -> u32 {
    0x1000_0000 + place as u32
}

/// A person's user fragment, and the server's towards that person.
pub fn fragments(place: usize) -> (String, String) {
    (format!("c{place:05}"), format!("s{place:05}"))
}

fn username(place: usize) -> String {
    let (client, server) = fragments(place);
    format!("{server}:{client}")
}
