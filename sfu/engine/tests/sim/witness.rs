//! Sees every datagram that reaches or leaves the shard, with all keys, and says what must never be.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::content::{Content, Frame};
use crate::decoder::Piece;
use crate::house::House;
use vardrum_engine::address::Address;
use vardrum_engine::command::Keys;
use vardrum_engine::rtp::{self, Unwrapper};
use vardrum_engine::srtp::{Profile, Receiver};
use vardrum_engine::Micros;

/// A media packet as it left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    at: Micros,
    hash: u64,
    content: Content,
    /// The source's number of the last frame in it, where several are joined.
    last: u32,
    timestamp: u32,
    picture: Option<u16>,
}

#[derive(Default)]
struct Stream {
    unwrapper: Unwrapper,
    left: BTreeMap<u64, Left>,
    /// Numbers that went out with nothing but padding, by their hashes.
    padding: HashMap<u64, u64>,
    /// Where each of a source's packets went: never under two numbers.
    numbers: HashMap<(Frame, u32), u64>,
}

struct Viewer {
    id: u32,
    profile: Profile,
    srtp: Receiver,
    streams: HashMap<u32, Stream>,
    repairs: HashMap<(u32, u64), u64>,
    repair_numbers: HashMap<u32, Unwrapper>,
    controls: HashSet<(u32, u32)>,
}

#[derive(Default)]
pub struct Witness {
    viewers: HashMap<u32, Viewer>,
    addresses: HashMap<Address, u32>,
    /// Where media may go: proven by the handshake, or by an answer to a check.
    proven: HashSet<Address>,
    /// Who has sent a check.
    begun: HashSet<u32>,
    /// When a source's packet first reached the shard.
    arrived: HashMap<Frame, BTreeMap<u32, Micros>>,
    /// Of all that went in and out, in order: the same seed gives the same.
    pub log: u64,
    pub media: u64,
    pub repairs: u64,
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    // FNV-1a
    bytes.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn source(frame: Frame) -> Frame {
    Frame { number: 0, ..frame }
}

impl Witness {
    pub fn join(&mut self, id: u32, address: Address, keys: &Keys) {
        let viewer = Viewer {
            id,
            profile: keys.profile,
            srtp: Receiver::new(keys.profile, &keys.tx_key, &keys.tx_salt).unwrap(),
            streams: HashMap::new(),
            repairs: HashMap::new(),
            repair_numbers: HashMap::new(),
            controls: HashSet::new(),
        };
        self.viewers.insert(id, viewer);
        self.addresses.insert(address, id);
    }

    pub fn moved(&mut self, id: u32, address: Address) {
        self.addresses.insert(address, id);
    }

    /// A datagram reaches the shard.
    pub fn entered(&mut self, now: Micros, from: Address, bytes: &[u8], content: Option<&Content>) {
        self.log = hash(self.log ^ now ^ u64::from(from.port()), bytes);
        match (bytes[..2] == [0, 1], self.addresses.get(&from)) {
            // The first nominated address is proven by the handshake, any later one by its answer.
            (true, Some(id)) if self.begun.insert(*id) => drop(self.proven.insert(from)),
            _ if bytes[..2] == [1, 1] => drop(self.proven.insert(from)),
            _ => {}
        }
        if let Some(content) = content {
            let arrived = self.arrived.entry(source(content.frame)).or_default();
            arrived.entry(content.sequence).or_insert(now);
        }
    }

    /// A datagram leaves the shard.
    pub fn leaves(&mut self, now: Micros, to: Address, bytes: &[u8], house: &House) {
        self.log = hash(self.log ^ now ^ u64::from(to.port()), bytes);
        if bytes[0] < 4 {
            return;
        }
        assert!(
            self.proven.contains(&to),
            "media or DTLS to an address that has not answered"
        );
        let id = self.addresses[&to];
        let viewer = self.viewers.get_mut(&id).expect("proven by somebody");
        if rtp::is_rtcp(bytes) {
            viewer.control_leaves(bytes);
        } else {
            self.media += 1;
            self.repairs += u64::from(viewer.media_leaves(now, bytes, house));
        }
    }

    /// What can only be seen in the whole: no slot has gaps that its source had not, and time only goes on.
    pub fn close(&self, house: &House) {
        for viewer in self.viewers.values() {
            for (&ssrc, stream) in &viewer.streams {
                let slot = (ssrc - viewer.id * 100 - 1) as u8;
                let packets: Vec<(u64, Left)> = stream.left.iter().map(|(&index, &left)| (index, left)).collect();
                for (place, pair) in packets.windows(2).enumerate() {
                    let padding = (pair[0].0..pair[1].0)
                        .filter(|index| stream.padding.contains_key(index))
                        .count();
                    let holes = pair[1].0 - pair[0].0 - 1 - padding as u64;
                    self.follows(
                        viewer.id,
                        slot,
                        (pair[0].1, holes, pair[1].1),
                        &packets[place + 1..],
                        house,
                    );
                }
            }
        }
    }

    /// `b` goes out behind `a`, with so many numbers between them under which nothing went.
    fn follows(&self, viewer: u32, slot: u8, pair: (Left, u64, Left), rest: &[(u64, Left)], house: &House) {
        let (a, holes, b) = pair;
        let place = || format!("viewer {viewer}, slot {slot}: {a:?} and {b:?}");
        let (same_source, same_frame) = (
            source(a.content.frame) == source(b.content.frame),
            a.content.frame == b.content.frame,
        );
        let step = b.timestamp.wrapping_sub(a.timestamp);
        assert!(
            if same_frame {
                step == 0
            } else {
                step > 0 && step < 1 << 31
            },
            "time: {}",
            place()
        );
        if let (Some(before), Some(after)) = (a.picture, b.picture) {
            let step = u32::from(after.wrapping_sub(before) & 0x7fff);
            let most = match (same_frame, same_source) {
                (true, _) => 0,
                (_, true) => b.content.frame.number.wrapping_sub(a.content.frame.number),
                // What was lost at the end of the former source had ids of its own.
                _ => 1 + holes as u32,
            };
            assert!(step <= most && (step > 0 || same_frame), "picture ids: {}", place());
        }
        let given_up = slot > 1 && house.is_paced(viewer);
        if holes > 0 && !given_up {
            if !same_source {
                // Numbers that were kept for what came too late, or never.
                let arrived = &self.arrived[&source(a.content.frame)];
                let end = house.next_change(viewer, slot, a.at).min(b.at);
                let came = arrived.range(a.last + 1..).filter(|(_, &at)| at <= end);
                let newest = came.clone().map(|(&sequence, _)| sequence).max().unwrap_or(a.last);
                let lost = u64::from(newest - a.last) - came.count() as u64;
                return assert!(
                    holes <= lost,
                    "{holes} numbers without a packet, of which {lost} were lost: {}",
                    place()
                );
            }
            // Until when what was late could still be sent.
            let switched = rest
                .iter()
                .find(|(_, left)| source(left.content.frame) != source(b.content.frame));
            // What left as a repair only may have done so long after its time, when the slot had shown somebody else.
            let due = rest.iter().map(|(_, left)| left.at).min().unwrap_or(b.at);
            let end = house
                .next_change(viewer, slot, due)
                .min(switched.map_or(Micros::MAX, |(_, left)| left.at));
            let arrived = &self.arrived[&source(b.content.frame)];
            let between: Vec<(u32, Option<&Micros>)> = (a.last + 1..b.content.sequence)
                .map(|sequence| (sequence, arrived.get(&sequence)))
                .collect();
            let came = between
                .iter()
                .filter(|(_, at)| at.map_or(false, |&at| at < end))
                .count();
            let lost = (between.len() - came) as u64;
            assert!(
                holes <= lost,
                "{holes} numbers without a packet, of which {lost} were lost: {between:?} came until {end}, {}",
                place()
            );
        }
    }
}

impl Viewer {
    /// SRTCP never under one index twice (RFC 7714, section 9.1).
    fn control_leaves(&mut self, bytes: &[u8]) {
        let at = bytes.len()
            - 4
            - if self.profile == Profile::Aes128CmSha1_80 {
                10
            } else {
                0
            };
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        assert!(self.controls.insert((word(4), word(at))), "an SRTCP index twice");
    }

    /// Whether it is a repair.
    fn media_leaves(&mut self, now: Micros, bytes: &[u8], house: &House) -> bool {
        let header = rtp::parse(bytes).expect("well formed");
        let sealed = hash(0, bytes);
        let number = header.ssrc - self.id * 100;
        if number > 10 {
            self.repair_leaves(now, bytes, header, house);
            return true;
        }
        let stream = self.streams.entry(header.ssrc).or_default();
        let index = stream.unwrapper.unwrap(header.sequence);
        // What a repair brought before has no hash here yet.
        if let Some(before) = stream.left.get(&index).filter(|before| before.hash != 0) {
            assert_eq!(before.hash, sealed, "one SRTP index over two packets, slot {number}");
            return true;
        }
        let mut opened = bytes.to_vec();
        let (len, _) = self.srtp.open_rtp(&mut opened, header.header_len).expect("in order");
        let payload = &opened[rtp::payload(&opened[..len], &header).unwrap()];
        if payload.is_empty() {
            let before = stream.padding.insert(index, sealed);
            assert!(
                before.map_or(true, |before| before == sealed || before == 0),
                "one SRTP index over two paddings"
            );
            return false;
        }
        assert!(
            !stream.padding.contains_key(&index),
            "one SRTP index over padding and a packet"
        );
        let contents = Content::of(header.payload_type, payload);
        let content = *contents.first().expect("a payload of somebody");
        let (by, track) = (content.frame.by, content.frame.track);
        assert!(
            house.allows(self.id, number as u8 - 1, by, track),
            "viewer {} gets somebody in slot {} who is muted or not shown: {content:?}",
            self.id,
            number - 1
        );
        for content in &contents {
            let same = stream.numbers.insert((source(content.frame), content.sequence), index);
            // Who is shown again may begin anew with a key frame that was late.
            let again = same.map_or(true, |former| {
                house.next_change(self.id, number as u8 - 1, stream.left[&former].at) < now
            });
            assert!(again, "a packet under two numbers: {content:?}");
        }
        let picture = (number > 2).then(|| Piece::read(payload, header.timestamp, header.marker).picture);
        let left = Left {
            at: now,
            hash: sealed,
            content,
            last: contents.last().map_or(0, |content| content.sequence),
            timestamp: header.timestamp,
            picture,
        };
        stream.left.insert(index, left);
        false
    }

    /// RTX: an index of its own each time, and in it what was sent before.
    fn repair_leaves(&mut self, now: Micros, bytes: &[u8], header: rtp::Header, house: &House) {
        let (sealed, slot) = (hash(0, bytes), (header.ssrc - self.id * 100 - 11) as u8);
        let index = self
            .repair_numbers
            .entry(header.ssrc)
            .or_default()
            .unwrap(header.sequence);
        let before = self.repairs.insert((header.ssrc, index), sealed);
        assert!(before.is_none(), "an SRTP index of RTX twice");
        let mut opened = bytes.to_vec();
        let (len, _) = self.srtp.open_rtp(&mut opened, header.header_len).expect("in order");
        let payload = &opened[rtp::payload(&opened[..len], &header).unwrap()];
        if payload.len() < 2 {
            return; // padding alone
        }
        let stream = self.streams.entry(header.ssrc - 10).or_default();
        let sequence = u16::from_be_bytes([payload[0], payload[1]]);
        if payload.len() == 2 {
            let newest = stream.unwrapper.newest().expect("begun");
            let index = newest - u64::from((newest as u16).wrapping_sub(sequence));
            // Padding again, or in place of what was lost to us, or only ever went as a repair, and is shown no more.
            let sent = stream.left.get(&index).map_or(false, |left| left.hash != 0);
            assert!(!sent, "padding repairs a packet");
            return;
        }
        let content = Content::find(&payload[2..]).expect("a payload of somebody");
        let picture = Piece::read(&payload[2..], header.timestamp, header.marker).picture;
        let first = stream.left.iter().rev().find(|(&index, _)| index as u16 == sequence);
        let first = match first {
            Some((_, first)) => *first,
            None => {
                // What the pacer gave up for a key frame behind it, and yet belongs to that.
                let (by, track) = (content.frame.by, content.frame.track);
                assert!(
                    house.allows(self.id, slot, by, track),
                    "a repair of what is not shown: {content:?}"
                );
                let newest = stream.unwrapper.newest().expect("begun");
                let left = Left {
                    at: now,
                    hash: 0,
                    content,
                    last: content.sequence,
                    timestamp: header.timestamp,
                    picture: Some(picture),
                };
                let index = newest - u64::from((newest as u16).wrapping_sub(sequence));
                *stream.left.entry(index).or_insert(left)
            }
        };
        assert_eq!(first.content, content, "a repair of another packet");
        assert_eq!(first.timestamp, header.timestamp, "a repair under another time");
        assert_eq!(first.picture, Some(picture), "a repair under another picture id");
    }
}
