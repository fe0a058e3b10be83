//! What a bot sends: sound every 20 ms, and numbered pictures in one or more layers, paced as a browser paces them.

use std::collections::VecDeque;

use vardrum_engine::crypto::random;
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::Micros;

/// At the end of each payload: when it was sent (microseconds since 1970), the source's SSRC, its packet's number.
pub const STAMP: usize = 16;
/// A VP8 payload descriptor with 15-bit picture id, TL0PICIDX and TID (RFC 7741, section 4.2).
const DESCRIPTOR: usize = 6;
/// Frame tag, start code and size of a VP8 key frame (RFC 6386, section 9.1).
const KEY_HEADER: usize = 10;
/// Opus: hybrid, full band, 20 ms, one frame (RFC 6716, section 3.1).
const OPUS_TOC: u8 = 0x78;
const SOUND: Micros = 20_000;
/// A browser's pacer sends at 2.5 times the rate.
const PACE: f64 = 2.5;
/// A key frame is so many times as large as the others.
const KEY_SIZE: usize = 4;
/// Two key frames are at least so far apart, whoever asks.
const KEY_AGAIN: Micros = 300_000;
/// How many packets can be asked for again.
const KEPT: usize = 128;

/// Ids of header extensions, 0 where there is none.
#[derive(Clone, Copy, Default)]
pub struct Extensions {
    pub mid: u8,
    pub rid: u8,
    pub repaired_rid: u8,
    pub transport: u8,
    pub send_time: u8,
    pub level: u8,
}

pub enum Kind {
    /// Bytes of an Opus packet.
    Sound { size: usize },
    Picture {
        /// Bits a second, pixels, pictures a second, and bytes of a packet's payload at most.
        bitrate: f64,
        width: u16,
        height: u16,
        rate: f64,
        packet: usize,
    },
}

pub struct Stream {
    pub ssrc: u32,
    pub payload_type: u8,
    /// SSRC and payload type of its repetitions.
    pub rtx: Option<(u32, u8)>,
    pub mid: String,
    pub rid: String,
    pub kind: Kind,
    pub active: bool,
    /// Packets say mid and rid, until a report tells that the stream is known.
    pub named: bool,
    /// When the next packet is due.
    pub next: Micros,
    /// What sender reports say.
    pub packets: u32,
    pub octets: u32,
    pub timestamp: u32,
    pub captured: Micros,
    index: u64, // SRTP index of the next packet
    rtx_index: u64,
    base: u32, // RTP time at 0
    picture: Picture,
    kept: VecDeque<Record>,
}

#[derive(Default)]
struct Picture {
    number: u32,
    tl0: u8,
    temporal: u8,
    key: bool,
    part: usize,
    parts: usize,
    size: usize, // of each part's payload
    planned: Micros,
    key_wanted: bool,
    key_at: Micros,
}

/// Everything that makes a packet what it was, so that it can be written again.
#[derive(Clone, Copy)]
pub struct Record {
    index: u64,
    timestamp: u32,
    marker: bool,
    size: usize,
    counter: u32,
    stamp: u64,
    transport: u16,
    named: bool,
    picture: (u32, u8, u8, bool, bool), // number, TL0PICIDX, TID, first part, key frame
}

/// How a packet is to be sealed: bytes, of which header, and roll-over counter.
pub struct Written {
    pub len: usize,
    pub header_len: usize,
    pub roll_over: u32,
}

impl Stream {
    pub fn new(ssrc: u32, payload_type: u8, kind: Kind, now: Micros) -> Stream {
        let mut bytes = [0; 8];
        random(&mut bytes);
        let random = u64::from_ne_bytes(bytes);
        Stream {
            ssrc,
            payload_type,
            rtx: None,
            mid: String::new(),
            rid: String::new(),
            kind,
            active: true,
            named: true,
            // Everybody at another time.
            next: now + random % 50_000,
            packets: 0,
            octets: 0,
            timestamp: 0,
            captured: now,
            // Not near the end of the first round, so that nobody has to guess.
            index: random >> 16 & 0x7fff,
            rtx_index: random >> 32 & 0x7fff,
            base: (random >> 8) as u32,
            picture: Picture {
                key_wanted: true,
                ..Picture::default()
            },
            kept: VecDeque::with_capacity(KEPT),
        }
    }

    pub fn is_sound(&self) -> bool {
        matches!(self.kind, Kind::Sound { .. })
    }

    pub fn owns(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc || self.rtx.map_or(false, |(rtx, _)| rtx == ssrc)
    }

    /// The clock of RTP timestamps (Hz).
    pub fn rate(&self) -> u64 {
        if self.is_sound() {
            48_000
        } else {
            90_000
        }
    }

    pub fn want_key_frame(&mut self) {
        self.picture.key_wanted = true;
    }

    /// Pictures begun so far.
    pub fn pictures(&self) -> u32 {
        self.picture.number
    }

    /// Stops, or goes on with a key frame.
    pub fn set_active(&mut self, active: bool, now: Micros) {
        if active && !self.active {
            self.next = self.next.max(now);
            self.picture.part = 0;
            self.picture.key_wanted = true;
            self.picture.key_at = 0;
        }
        self.active = active;
    }

    /// The next packet, which is due: what is in it, and when the one after it is due.
    pub fn advance(&mut self, now: Micros, stamp: u64, transport: u16) -> Record {
        let planned = self.next;
        let rate = self.rate();
        let first = self.picture.part == 0;
        let (size, marker);
        match self.kind {
            Kind::Sound { size: bytes } => {
                self.next = planned + SOUND;
                // The first after a pause (RFC 7587, section 4.2), which nobody of ours looks at.
                size = bytes;
                marker = false;
                self.captured = planned;
            }
            Kind::Picture {
                bitrate,
                rate: pictures,
                packet,
                ..
            } => {
                let picture = &mut self.picture;
                if first {
                    picture.key = picture.key_wanted && (picture.key_at == 0 || now >= picture.key_at + KEY_AGAIN);
                    if picture.key {
                        picture.key_wanted = false;
                        picture.key_at = now;
                    }
                    picture.number += 1;
                    // L1T2: each second picture may be left out, a key frame never.
                    picture.temporal = u8::from(!picture.key && picture.temporal == 0);
                    picture.tl0 = picture.tl0.wrapping_add(1 - picture.temporal);
                    let bytes = (bitrate / 8.0 / pictures) as usize * if picture.key { KEY_SIZE } else { 1 };
                    picture.parts = (bytes + packet - 1) / packet;
                    picture.parts = picture.parts.max(1);
                    picture.size = (bytes / picture.parts).clamp(DESCRIPTOR + KEY_HEADER + STAMP, packet);
                    picture.planned = planned;
                    self.captured = planned;
                }
                picture.part += 1;
                marker = picture.part == picture.parts;
                size = picture.size;
                self.next = if marker {
                    picture.part = 0;
                    (picture.planned + (1e6 / pictures) as Micros).max(planned + 1)
                } else {
                    planned + ((size * 8) as f64 / (PACE * bitrate) * 1e6) as Micros
                };
            }
        }
        // Who was held up for long does not make up for it.
        self.next = self.next.max(now.saturating_sub(500_000));
        if first {
            self.timestamp = self.base.wrapping_add((self.captured * (rate / 1000) / 1000) as u32);
        }
        let record = Record {
            index: self.index,
            timestamp: self.timestamp,
            marker,
            size,
            counter: self.packets,
            stamp,
            transport,
            named: self.named,
            picture: (
                self.picture.number,
                self.picture.tl0,
                self.picture.temporal,
                first,
                self.picture.key,
            ),
        };
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(size as u32);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
        record
    }

    /// What was sent under this sequence number, if it is still kept.
    pub fn record(&self, sequence: u16) -> Option<Record> {
        let newest = self.kept.back()?;
        let behind = usize::from((newest.index as u16).wrapping_sub(sequence));
        self.kept.len().checked_sub(behind + 1).map(|at| self.kept[at])
    }

    /// Writes a packet as it was first sent. Written again it is the same, byte by byte: its SRTP index is.
    pub fn write(&self, record: &Record, ids: &Extensions, room: &mut [u8]) -> Written {
        let header = Header {
            marker: record.marker,
            payload_type: self.payload_type,
            sequence: record.index as u16,
            timestamp: record.timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        let header_len = self.header(room, &header, record, (record.transport, ids.rid, record.named), ids);
        self.payload(record, &mut room[header_len..header_len + record.size]);
        Written {
            len: header_len + record.size,
            header_len,
            roll_over: (record.index >> 16) as u32,
        }
    }

    /// Writes a packet's repetition (RFC 4588, section 4), where the stream has such.
    pub fn write_rtx(&mut self, record: &Record, transport: u16, ids: &Extensions, room: &mut [u8]) -> Option<Written> {
        let (ssrc, payload_type) = self.rtx?;
        let index = self.rtx_index;
        self.rtx_index += 1;
        let header = Header {
            marker: record.marker,
            payload_type,
            sequence: index as u16,
            timestamp: record.timestamp,
            ssrc,
            ..Header::default()
        };
        let header_len = self.header(room, &header, record, (transport, ids.repaired_rid, true), ids);
        let start = header_len + 2;
        room[header_len..start].copy_from_slice(&(record.index as u16).to_be_bytes());
        self.payload(record, &mut room[start..start + record.size]);
        Some(Written {
            len: start + record.size,
            header_len,
            roll_over: (index >> 16) as u32,
        })
    }

    fn header(
        &self,
        room: &mut [u8],
        header: &Header,
        record: &Record,
        (transport, rid, named): (u16, u8, bool),
        ids: &Extensions,
    ) -> usize {
        // 24 bits of seconds in 6.18 fixed point; 30 dB below full scale, speaking.
        let sent = (((record.stamp % 64_000_000) << 18) / 1_000_000) as u32;
        let (sent, transport, level) = (sent.to_be_bytes(), transport.to_be_bytes(), [0x80 | 30]);
        let mut elements: [(u8, &[u8]); 5] = [(0, &[]); 5];
        let mut count = 0;
        let mut put = |id: u8, data| {
            if id > 0 {
                elements[count] = (id, data);
                count += 1;
            }
        };
        put(ids.transport, &transport);
        put(ids.send_time, &sent[1..]);
        if self.is_sound() {
            put(ids.level, &level);
        }
        if named && !self.mid.is_empty() {
            put(ids.mid, self.mid.as_bytes());
        }
        if named && !self.rid.is_empty() {
            put(rid, self.rid.as_bytes());
        }
        rtp::write_header(room, header, &elements[..count])
    }

    fn payload(&self, record: &Record, out: &mut [u8]) {
        let (number, tl0, temporal, first, key) = record.picture;
        let stamp = out.len() - STAMP;
        match self.kind {
            Kind::Sound { .. } => {
                out[0] = OPUS_TOC;
                out[1..stamp].fill(0x55);
            }
            Kind::Picture { width, height, .. } => {
                let picture_id = (0x8000 | number as u16).to_be_bytes();
                let start = 0x80 | u8::from(first) << 4;
                out[..DESCRIPTOR].copy_from_slice(&[
                    start,
                    0xe0,
                    picture_id[0],
                    picture_id[1],
                    tl0,
                    temporal << 6 | 0x20,
                ]);
                out[DESCRIPTOR..stamp].fill(0xaa);
                if first {
                    let (width, height) = (width.to_le_bytes(), height.to_le_bytes());
                    // Frame tag (its lowest bit: not a key frame), start code, size.
                    let tag = 0x10 | u8::from(!key);
                    let size = [width[0], width[1], height[0], height[1]];
                    out[DESCRIPTOR..DESCRIPTOR + 6].copy_from_slice(&[tag, 0x02, 0, 0x9d, 0x01, 0x2a]);
                    out[DESCRIPTOR + 6..DESCRIPTOR + KEY_HEADER].copy_from_slice(&size);
                }
            }
        }
        out[stamp..stamp + 8].copy_from_slice(&record.stamp.to_be_bytes());
        out[stamp + 8..stamp + 12].copy_from_slice(&self.ssrc.to_be_bytes());
        out[stamp + 12..].copy_from_slice(&record.counter.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vardrum_codecs::vp8;

    fn pictures() -> Stream {
        let kind = Kind::Picture {
            bitrate: 500_000.0,
            width: 640,
            height: 360,
            rate: 20.0,
            packet: 1050,
        };
        let mut stream = Stream::new(7, 96, kind, 0);
        stream.rtx = Some((8, 97));
        stream
    }

    const IDS: Extensions = Extensions {
        mid: 4,
        rid: 10,
        repaired_rid: 11,
        transport: 3,
        send_time: 2,
        level: 1,
    };

    #[test]
    fn pictures_are_paced_and_keep_their_rate() {
        let mut stream = pictures();
        let start = stream.next;
        let (mut bytes, mut last) = (0, 0);
        while stream.next < start + 10_000_000 {
            let now = stream.next;
            assert!(now > last);
            last = now;
            bytes += stream.advance(now, 0, 0).size;
        }
        assert_eq!(stream.pictures(), 200);
        let rate = bytes * 8 / 10;
        assert!((490_000..520_000).contains(&rate), "{} bit/s", rate);
    }

    #[test]
    fn the_engine_s_parsers_read_what_is_written() {
        let mut stream = pictures();
        let mut room = [0; 1500];
        let first = stream.advance(stream.next, 5, 9);
        let written = stream.write(&first, &IDS, &mut room);
        let header = rtp::parse(&room[..written.len]).unwrap();
        assert_eq!((header.ssrc, header.header_len), (7, written.header_len));
        assert_eq!(rtp::extension(&room, &header, 3), Some(&[0, 9][..]));
        let payload = &room[written.header_len..written.len];
        assert!(vp8::starts_key_frame(payload));
        assert_eq!(vp8::key_frame_size(payload), Some((640, 360)));
        let second = stream.advance(stream.next, 6, 10);
        let written = stream.write(&second, &IDS, &mut room);
        let payload = &room[written.header_len..written.len];
        assert!(!vp8::Descriptor::parse(payload).unwrap().starts_frame());
        assert_eq!(payload[payload.len() - STAMP..payload.len() - 8], 6u64.to_be_bytes());
    }

    #[test]
    fn what_is_kept_can_be_sent_again() {
        let mut stream = pictures();
        let sent: Vec<Record> = (0..200).map(|i| stream.advance(stream.next, i, 0)).collect();
        let find = |stream: &Stream, record: &Record| stream.record(record.index as u16).map(|found| found.stamp);
        assert_eq!(find(&stream, &sent[199]), Some(199));
        assert_eq!(find(&stream, &sent[72]), Some(72));
        assert_eq!(find(&stream, &sent[71]), None);
        assert!(stream.record(sent[199].index.wrapping_add(1) as u16).is_none());
        let (mut first, mut again) = ([0; 1500], [0; 1500]);
        let written = stream.write(&sent[100], &IDS, &mut first);
        stream.write(&sent[100], &IDS, &mut again);
        assert_eq!(first[..written.len], again[..written.len]);
        let rtx = stream.write_rtx(&sent[100], 3, &IDS, &mut again).unwrap();
        assert_eq!(
            again[rtx.header_len + 2..rtx.len],
            first[written.header_len..written.len]
        );
    }
}
