//! What a virtual person sends: sound each 20 ms, pictures on two simulcast layers with temporal layers, repairs.

use std::collections::VecDeque;

use crate::client::{CAMERA, MICROPHONE, MID, OPUS, RED, REPAIRED_RID, RID, RTX, TRANSPORT_CC, VP8};
use crate::content::{Content, Frame};
use crate::network::MS;
use crate::testing::Random;
use vardrum_codecs::red::{self, Block};
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::srtp::Sender;
use vardrum_engine::Micros;

pub const LAYERS: u8 = 2;
pub const SOUND_PERIOD: Micros = 20 * MS;
/// Chromium answers no PLI sooner after a key frame.
const BETWEEN_KEY_FRAMES: Micros = 300 * MS;
/// How many packets of a stream can be sent again.
const HISTORY: usize = 600;
/// Opus, 20 ms, one frame: configuration 15, mono, code 0.
const TOC: u8 = 0x78;

/// A datagram, and what is in it where that is media.
#[derive(Clone)]
pub struct Outgoing {
    pub bytes: Vec<u8>,
    pub content: Option<Content>,
}

/// How an encoder's frames depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each frame on the one before; no temporal layers, and none in the descriptor.
    Flat,
    /// L1T2, and a viewer may begin with any frame of the upper layer.
    Sync,
    /// L1T2; every second frame of the upper layer needs the one before of its layer too.
    Deep,
}

struct Sent {
    index: u64,
    timestamp: u32,
    marker: bool,
    content: Content,
    payload: Vec<u8>,
    sealed: Vec<u8>,
}

/// One SSRC.
pub struct Stream {
    track: u8,
    layer: u8,
    pub ssrc: u32,
    rtx_ssrc: u32,
    next: u64,
    rtx_next: u64,
    /// The receiver has reported, so mid and rid are no longer sent.
    pub introduced: bool,
    sent: VecDeque<Sent>,
    pub packets: u32,
    pub octets: u32,
    time_base: u32,
}

impl Stream {
    pub fn rtp_time(&self, at: Micros) -> u32 {
        let rate = if self.track == MICROPHONE { 48 } else { 90 };
        self.time_base.wrapping_add((at * rate / 1000) as u32)
    }
}

#[derive(Default)]
struct Encoder {
    frames: u32,
    base: u32,
    upper: u32,
    picture: u16,
    tl0: u8,
}

pub struct Sending {
    id: u32,
    srtp: Sender,
    transport: u16,
    /// Sound, then the layers of the picture.
    pub streams: Vec<Stream>,
    encoders: Vec<Encoder>,
    pub pattern: Pattern,
    pub camera_on: bool,
    period: Micros,
    sounds: u32,
    /// Each packet of sound carries the one before it again.
    pub red: bool,
    last_sound: Vec<u8>,
    next_sound: Micros,
    next_frame: Micros,
    key_wanted: bool,
    last_key: Option<Micros>,
    random: Random,
}

impl Sending {
    pub fn new(id: u32, srtp: Sender, now: Micros, mut random: Random) -> Sending {
        let pattern = [Pattern::Flat, Pattern::Sync, Pattern::Deep][random.below(3)];
        let mut stream = |track, layer| Stream {
            track,
            layer,
            ssrc: id * 1000 + u32::from(track) * 10 + u32::from(layer),
            rtx_ssrc: id * 1000 + u32::from(track) * 10 + u32::from(layer) + 500,
            // As browsers do, below 2^15: then the loss of the first packets can't hide a roll-over.
            next: random.next() & 0x7fff,
            rtx_next: random.next() & 0x7fff,
            introduced: false,
            sent: VecDeque::new(),
            packets: 0,
            octets: 0,
            time_base: random.next() as u32,
        };
        let streams = vec![stream(MICROPHONE, 0), stream(CAMERA, 0), stream(CAMERA, 1)];
        let encoder = |random: &mut Random| Encoder {
            picture: [0x7ff0, 0, 126, random.next() as u16 & 0x7fff][random.below(4)],
            tl0: random.next() as u8,
            ..Encoder::default()
        };
        Sending {
            id,
            srtp,
            transport: random.next() as u16,
            streams,
            encoders: vec![encoder(&mut random), encoder(&mut random)],
            pattern,
            camera_on: true,
            period: [33, 50, 66][random.below(3)] * MS,
            sounds: 0,
            red: random.one_in(2),
            last_sound: Vec::new(),
            next_sound: now + random.below(20_000) as Micros,
            next_frame: now + random.below(50_000) as Micros,
            key_wanted: true,
            last_key: None,
            random,
        }
    }

    pub fn want_key_frame(&mut self) {
        self.key_wanted = true;
    }

    /// Appends what a microphone and a camera give by `now`.
    pub fn capture(&mut self, now: Micros, out: &mut Vec<Outgoing>) {
        while self.next_sound <= now {
            let captured = self.next_sound;
            self.next_sound += SOUND_PERIOD;
            self.sound(captured, out);
        }
        while self.next_frame <= now {
            let captured = self.next_frame;
            self.next_frame += self.period;
            if self.camera_on {
                let due = self.last_key.map_or(true, |last| captured >= last + BETWEEN_KEY_FRAMES);
                let key = self.key_wanted && due;
                if key {
                    self.key_wanted = false;
                    self.last_key = Some(captured);
                }
                (0..LAYERS).for_each(|layer| self.picture(layer, captured, key, out));
            }
        }
    }

    fn sound(&mut self, captured: Micros, out: &mut Vec<Outgoing>) {
        self.sounds += 1;
        let content = Content {
            frame: Frame {
                by: self.id,
                track: MICROPHONE,
                layer: 0,
                number: self.sounds,
            },
            part: 0,
            parts: 1,
            temporal: 0,
            key: true,
            needs: [0, 0],
            sequence: self.streams[0].next as u32,
            captured,
        };
        let mut payload = vec![TOC];
        content.write(&mut payload);
        let last = std::mem::replace(&mut self.last_sound, payload.clone());
        if !self.red || last.is_empty() {
            return out.push(self.packet(0, OPUS, false, content, payload));
        }
        let block = |offset, data| Block {
            payload_type: OPUS,
            offset,
            data,
        };
        let mut both = Vec::new();
        red::write(&mut both, &[block(960, &last)], block(0, &payload));
        out.push(self.packet(0, RED, false, content, both));
    }

    fn picture(&mut self, layer: u8, captured: Micros, key: bool, out: &mut Vec<Outgoing>) {
        let encoder = &mut self.encoders[usize::from(layer)];
        encoder.frames += 1;
        encoder.picture = (encoder.picture + 1) & 0x7fff;
        let number = encoder.frames;
        // After a key frame the pattern begins anew; upper frames stand between two of the base.
        let upper = self.pattern != Pattern::Flat && !key && number - encoder.base == 1;
        let sync = upper && (self.pattern == Pattern::Sync || encoder.upper == 0 || number % 4 < 2);
        let needs = match (key, upper, sync) {
            (true, _, _) => [0, 0],
            (_, true, false) => [encoder.base, encoder.upper],
            _ => [encoder.base, 0],
        };
        if upper {
            encoder.upper = number;
        } else {
            encoder.base = number;
            encoder.tl0 = encoder.tl0.wrapping_add(1);
        }
        if key {
            encoder.upper = 0;
        }
        let (picture, tl0) = (encoder.picture, encoder.tl0);
        let parts = if key {
            3
        } else {
            1 + self.random.below(2 + usize::from(layer)) as u8
        };
        for part in 0..parts {
            let stream = 1 + usize::from(layer);
            let content = Content {
                frame: Frame {
                    by: self.id,
                    track: CAMERA,
                    layer,
                    number,
                },
                part,
                parts,
                temporal: u8::from(upper),
                key,
                needs,
                sequence: self.streams[stream].next as u32,
                captured,
            };
            let mut payload = vec![if part == 0 { 0x90 } else { 0x80 }];
            let id = [0x80 | (picture >> 8) as u8, picture as u8];
            if self.pattern == Pattern::Flat {
                payload.extend_from_slice(&[0x80, id[0], id[1]]);
            } else {
                let layers = u8::from(upper) << 6 | u8::from(sync) << 5;
                payload.extend_from_slice(&[0xe0, id[0], id[1], tl0, layers]);
            }
            match (part, key) {
                (0, true) => payload.extend_from_slice(&[0, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]),
                (0, false) => payload.extend_from_slice(&[1, 0, 0]),
                _ => {}
            }
            content.write(&mut payload);
            payload.resize(payload.len() + self.random.below(60), layer);
            out.push(self.packet(stream, VP8, part + 1 == parts, content, payload));
        }
    }

    fn packet(
        &mut self,
        stream: usize,
        payload_type: u8,
        marker: bool,
        content: Content,
        payload: Vec<u8>,
    ) -> Outgoing {
        let place = &mut self.streams[stream];
        let (index, timestamp) = (place.next, place.rtp_time(content.captured));
        place.next += 1;
        place.packets += 1;
        place.octets += payload.len() as u32;
        let ssrc = place.ssrc;
        let sealed = self.seal(stream, ssrc, index, payload_type, timestamp, marker, &payload);
        let sent = &mut self.streams[stream].sent;
        if sent.len() == HISTORY {
            sent.pop_front();
        }
        sent.push_back(Sent {
            index,
            timestamp,
            marker,
            content,
            payload,
            sealed: sealed.clone(),
        });
        Outgoing {
            bytes: sealed,
            content: Some(content),
        }
    }

    /// What the server asks for again: of sound the same bytes, of pictures an RTX packet.
    pub fn repair(&mut self, ssrc: u32, sequence: u16) -> Option<Outgoing> {
        let stream = self.streams.iter().position(|stream| stream.ssrc == ssrc)?;
        let place = &mut self.streams[stream];
        let sent = place.sent.iter().find(|sent| sent.index as u16 == sequence)?;
        let content = sent.content;
        if place.track == MICROPHONE {
            return Some(Outgoing {
                bytes: sent.sealed.clone(),
                content: Some(content),
            });
        }
        let payload = [&sequence.to_be_bytes()[..], &sent.payload].concat();
        let (timestamp, marker, rtx_ssrc, index) = (sent.timestamp, sent.marker, place.rtx_ssrc, place.rtx_next);
        place.rtx_next += 1;
        Some(Outgoing {
            bytes: self.seal(stream, rtx_ssrc, index, RTX, timestamp, marker, &payload),
            content: Some(content),
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn seal(
        &mut self,
        stream: usize,
        ssrc: u32,
        index: u64,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        let stream = &self.streams[stream];
        self.transport = self.transport.wrapping_add(1);
        let transport = self.transport.to_be_bytes();
        let (mid, rid) = ([b'0' + stream.track], [[b'l', b'h'][usize::from(stream.layer)]]);
        let mut extensions: Vec<(u8, &[u8])> = vec![(TRANSPORT_CC, &transport)];
        // On RTX they stay until that SSRC is reported on, which never is.
        if payload_type == RTX {
            extensions.extend_from_slice(&[(MID, &mid[..]), (REPAIRED_RID, &rid[..])]);
        } else if !stream.introduced {
            extensions.push((MID, &mid));
            if stream.track != MICROPHONE {
                extensions.push((RID, &rid));
            }
        }
        let header = Header {
            marker,
            padding: false,
            payload_type,
            sequence: index as u16,
            timestamp,
            ssrc,
            header_len: 0,
            extension_start: 0,
        };
        let mut packet = vec![0; 60 + payload.len() + 16];
        let header_len = rtp::write_header(&mut packet, &header, &extensions);
        let len = header_len + payload.len();
        packet[header_len..len].copy_from_slice(payload);
        let sealed = self.srtp.seal_rtp(&mut packet, len, header_len, (index >> 16) as u32);
        packet.truncate(sealed.expect("there is room"));
        packet
    }

    /// A sealed RTCP compound.
    pub fn control(&mut self, compound: &[u8]) -> Outgoing {
        let mut packet = compound.to_vec();
        packet.resize(compound.len() + 64, 0);
        let sealed = self.srtp.seal_rtcp(&mut packet, compound.len()).expect("there is room");
        packet.truncate(sealed);
        Outgoing {
            bytes: packet,
            content: None,
        }
    }
}
