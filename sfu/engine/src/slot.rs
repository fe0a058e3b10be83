//! A fixed place that a peer receives into: one SSRC for life, whoever is shown in it.
//!
//! `select` (may this packet go out, is it where a new source begins?) and `rewrite` (under which sequence number,
//! timestamp and VP8 picture id?) are one table of *segments*: runs of one source's packets under fixed offsets.

use std::collections::VecDeque;

use vardrum_codecs::vp8;

use crate::clock::{Line, Micros};
use crate::command::Kind;
use crate::counters::Count;
use crate::packet::{Codec, Feed, Packet};

/// As many switches back can a receiver still ask for a repair.
const SEGMENTS: usize = 16;
/// A source whose clock has moved from the slot's line by more is put back on it, at a new frame.
const OFF_LINE_VIDEO: u32 = 90 * 20;
const OFF_LINE_AUDIO: u32 = 48 * 40;
/// Indices this far back are known to be spent or not; older packets are not sent.
const SPENT: u64 = 1024;
/// A leap of a source's numbers by more is a new beginning: a receiver that is led half around loses its SRTP
/// roll-over counter for good, and the slot with it.
const LEAP: u64 = 256;

#[derive(Clone, Copy)]
struct Segment {
    feed: Feed,
    life: u32,
    /// Extended sequence numbers, ours and the source's, of the first packet.
    out_first: u64,
    source_first: u64,
    timestamp_shift: u32,
    picture_shift: u16,
    tl0_shift: u8,
}

impl Segment {
    fn out(&self, sequence: u64) -> u64 {
        self.out_first + (sequence - self.source_first)
    }
}

/// How a packet goes out of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// SRTP packet index: roll-over counter, then sequence number.
    pub index: u64,
    pub timestamp: u32,
    /// VP8 picture id and TL0PICIDX.
    pub picture: Option<(u16, u8)>,
}

/// Which indices have been sealed: none is ever sealed over two different packets (DESIGN, "Sound is repaired").
struct Spent {
    newest: u64,
    bits: [u64; (SPENT / 64) as usize],
}

impl Spent {
    fn take(&mut self, index: u64) -> bool {
        if index > self.newest {
            let from = self.newest + 1;
            if index - self.newest >= SPENT {
                self.bits = [0; (SPENT / 64) as usize];
            } else {
                for i in from..index {
                    self.bits[(i % SPENT / 64) as usize] &= !(1 << (i % 64));
                }
            }
            self.newest = index;
        } else if self.newest - index >= SPENT || self.bits[(index % SPENT / 64) as usize] & 1 << (index % 64) != 0 {
            return false;
        }
        self.bits[(index % SPENT / 64) as usize] |= 1 << (index % 64);
        true
    }
}

pub struct Slot {
    pub kind: Kind,
    pub mid: Vec<u8>,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    /// What Python wants shown.
    wanted: Option<Feed>,
    /// What is shown: the newest segment's feed, while it is.
    showing: Option<(Feed, u32)>,
    segments: VecDeque<Segment>,
    next: u64,
    spent: Spent,
    last_timestamp: Option<u32>,
    last_picture: Option<(u16, u8)>,
    pub line: Line,
    pub packets: u32,
    pub octets: u32,
    pub rtx_next: u64,
    /// When a key frame was last asked for on behalf of this slot.
    pub asked: Option<Micros>,
    /// The receiver has reported on this SSRC, so it knows to which m-line it belongs.
    pub known_to_receiver: bool,
}

impl Slot {
    /// `first` and `rtx_first` are the first sequence numbers; below 2^15, so that a loss of the first packets can't
    /// make the receiver's guess of the roll-over counter wrong (RFC 3711, section 3.3.1).
    pub fn new(
        kind: Kind,
        mid: Vec<u8>,
        ssrc: u32,
        rtx_ssrc: Option<u32>,
        first: u16,
        rtx_first: u16,
        base: u32,
    ) -> Self {
        let rate = if kind == Kind::Audio { 48_000 } else { 90_000 };
        let next = u64::from(first & 0x7fff) + 1;
        Self {
            kind,
            mid,
            ssrc,
            rtx_ssrc,
            wanted: None,
            showing: None,
            segments: VecDeque::with_capacity(SEGMENTS),
            next,
            spent: Spent {
                newest: next - 1,
                bits: [0; (SPENT / 64) as usize],
            },
            last_timestamp: None,
            last_picture: None,
            line: Line { base, rate },
            packets: 0,
            octets: 0,
            rtx_next: u64::from(rtx_first & 0x7fff) + 1,
            asked: None,
            known_to_receiver: false,
        }
    }

    pub fn wanted(&self) -> Option<Feed> {
        self.wanted
    }

    /// Shows `feed` from its next key frame on. Another layer of the same track is shown until then; anybody
    /// else, or nobody, at once no more.
    pub fn show(&mut self, feed: Option<Feed>) {
        self.wanted = feed;
        self.asked = None;
        let same_track = match (self.showing, feed) {
            (Some((a, _)), Some(b)) => a.peer == b.peer && a.track == b.track,
            _ => false,
        };
        if !same_track {
            self.showing = None;
        }
    }

    /// The peer at a place is gone; whoever takes the place is somebody else, of whom nothing may be repaired here.
    pub fn forget(&mut self, place: usize) {
        if self.wanted.map_or(false, |feed| feed.peer == place) {
            self.show(None);
        }
        for segment in self.segments.iter_mut().filter(|s| s.feed.peer == place) {
            segment.feed.peer = usize::MAX;
        }
    }

    /// Shows nothing until the next key frame (of sound: the next packet) of what is wanted.
    pub fn rest(&mut self) {
        self.showing = None;
        self.asked = None;
    }

    fn wants_track_of(&self, feed: Feed) -> bool {
        self.wanted
            .map_or(false, |wanted| wanted.peer == feed.peer && wanted.track == feed.track)
    }

    pub fn waits_for_key_frame(&self) -> bool {
        self.wanted.is_some() && self.wanted != self.showing.map(|(feed, _)| feed)
    }

    /// Decides on one packet of `feed` in its life number `life` (SSRCs of one layer count its lives).
    ///
    /// Errors: why it does not go out.
    pub fn accept(&mut self, feed: Feed, life: u32, packet: &Packet<'_>) -> Result<Rewritten, Count> {
        let mut shown = self.showing == Some((feed, life));
        let leaps = |s: &Segment| packet.sequence >= s.source_first && s.out(packet.sequence) > self.next + LEAP;
        if shown && self.segments.back().map_or(false, leaps) {
            self.rest();
            shown = false;
        }
        // The first picture of somebody may be of another layer: a small one now is better than the right one later.
        let switch = !shown && (self.wanted == Some(feed) || self.showing.is_none() && self.wants_track_of(feed));
        if !shown && !switch {
            return Err(Count::DropNoListener);
        }
        if switch {
            if !packet.starts_key_frame {
                return Err(Count::DropAwaitingKeyFrame);
            }
            self.begin(feed, life, packet);
        } else {
            self.keep_on_line(packet);
        }
        let rewritten = self.rewrite(feed, life, packet).ok_or(Count::DropBeforeSwitch)?;
        if !self.spent.take(rewritten.index) {
            return Err(Count::DropIndexSpent);
        }
        if rewritten.index >= self.next {
            self.next = rewritten.index + 1;
            self.last_timestamp = Some(rewritten.timestamp);
            self.last_picture = rewritten.picture.or(self.last_picture);
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        Ok(rewritten)
    }

    /// The source's packet behind a sequence number the receiver asks for again.
    pub fn trace(&self, sequence: u16) -> Option<(Feed, u32, u64)> {
        let last = self.next - 1;
        let back = u64::from((last as u16).wrapping_sub(sequence));
        let index = last.checked_sub(back)?;
        let segment = self.segments.iter().rev().find(|s| s.out_first <= index)?;
        Some((
            segment.feed,
            segment.life,
            segment.source_first + (index - segment.out_first),
        ))
    }

    /// The same as `accept` gave, for a repair; only while the segment is remembered.
    pub fn rewrite(&self, feed: Feed, life: u32, packet: &Packet<'_>) -> Option<Rewritten> {
        let place = self
            .segments
            .iter()
            .rposition(|s| s.feed == feed && s.life == life && s.source_first <= packet.sequence)?;
        let segment = &self.segments[place];
        // What came after a switch away has no number left: they are the next source's.
        if self
            .segments
            .get(place + 1)
            .map_or(false, |next| segment.out(packet.sequence) >= next.out_first)
        {
            return None;
        }
        let picture = match packet.codec {
            Codec::VP8 => picture_of(packet).map(|(picture, tl0)| {
                (
                    picture.wrapping_add(segment.picture_shift) & 0x7fff,
                    tl0.wrapping_add(segment.tl0_shift),
                )
            }),
            _ => None,
        };
        Some(Rewritten {
            index: segment.out(packet.sequence),
            timestamp: packet.timestamp.wrapping_add(segment.timestamp_shift),
            picture,
        })
    }

    fn begin(&mut self, feed: Feed, life: u32, packet: &Packet<'_>) {
        let mut timestamp = self.line.at(packet.capture);
        if let Some(last) = self.last_timestamp {
            // Never back, and never a frame under the former frame's time.
            if timestamp.wrapping_sub(last) as i32 <= 0 {
                timestamp = last.wrapping_add(self.line.rate / 1000);
            }
        }
        let (mut picture_shift, mut tl0_shift) = (0, 0);
        if let (Some((picture, tl0)), Some((last, last_tl0))) = (picture_of(packet), self.last_picture) {
            picture_shift = last.wrapping_add(1).wrapping_sub(picture) & 0x7fff;
            tl0_shift = last_tl0.wrapping_add(1).wrapping_sub(tl0);
        }
        self.push(Segment {
            feed,
            life,
            out_first: self.next,
            source_first: packet.sequence,
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
            picture_shift,
            tl0_shift,
        });
        self.showing = Some((feed, life));
    }

    /// Moves the present source back onto the slot's line at a new frame, where its clock has left it.
    fn keep_on_line(&mut self, packet: &Packet<'_>) {
        let segment = match self.segments.back() {
            Some(segment) => *segment,
            None => return,
        };
        let out = segment.timestamp_shift.wrapping_add(packet.timestamp);
        let last = self.last_timestamp.unwrap_or(out);
        if packet.sequence < segment.source_first || segment.out(packet.sequence) < self.next || out == last {
            return;
        }
        let on_line = self.line.at(packet.capture);
        let off = on_line.wrapping_sub(out) as i32;
        let limit = if self.kind == Kind::Audio {
            OFF_LINE_AUDIO
        } else {
            OFF_LINE_VIDEO
        };
        if off.unsigned_abs() <= limit {
            return;
        }
        let forward = on_line.wrapping_sub(last) as i32 > 0;
        let timestamp = match self.kind {
            _ if forward => on_line,
            // Sound can't be squeezed: it waits for a pause.
            Kind::Audio => return,
            Kind::Video => last.wrapping_add(self.line.rate / 1000),
        };
        self.push(Segment {
            out_first: segment.out(packet.sequence),
            source_first: packet.sequence,
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
            ..segment
        });
    }

    fn push(&mut self, segment: Segment) {
        if self.segments.len() == SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }
}

fn picture_of(packet: &Packet<'_>) -> Option<(u16, u8)> {
    if packet.codec != Codec::VP8 {
        return None;
    }
    let descriptor = vp8::Descriptor::parse(packet.payload).ok()?;
    Some((descriptor.picture_id()?, descriptor.tl0_pic_idx().unwrap_or(0)))
}
