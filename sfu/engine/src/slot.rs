//! A fixed place that a peer receives into: one SSRC for life, whoever is shown in it.
//!
//! `select` (may this packet go out, is it where a new source begins?) and `rewrite` (under which sequence number,
//! timestamp and picture id?) are one table of *segments*: runs of one source's packets under fixed offsets. A picture
//! of a temporal layer that is not wanted ends its segment, and the next one goes on where that ended, so that no
//! number is missing for it.
//!
//! What is lost on the way to us has no layer yet. Between two pictures it may have been either, and it keeps its
//! numbers: if it comes and is wanted it goes out late, and if it comes and is not, padding goes out in its place. It
//! must not go out itself (a decoder would get a picture in part, or one whose references it lacks), and what never
//! comes stays a gap: padding would make a receiver believe that no picture is missing.

mod layers;
mod line;
mod numbers;
mod segment;

use std::collections::VecDeque;

use crate::clock::{Line, Micros};
use crate::command::Kind;
use crate::counters::Count;
use crate::packet::{Codec, Feed, Packet};
use crate::picture::ALL_LAYERS;
use crate::spent::Spent;
use segment::{id_mask, newest, numbering, Newest, Segment, OPEN};

/// Of pictures: at 30 a second, every second one dropped, 4 s of what a receiver may ask for again.
const SEGMENTS_VIDEO: usize = 64;
/// As many switches back can a receiver of sound still ask for a repair.
const SEGMENTS_AUDIO: usize = 16;
/// A leap of a source's numbers by more is a new beginning: a receiver that is led half around loses its SRTP
/// roll-over counter for good, and the slot with it.
const LEAP: u64 = 256;
/// So much of it each packet that goes out gives back: of a source that leaps all the time a receiver that loses a few
/// packets would be led around as well. Three of four may be missing for as long as it takes.
const GIVEN_BACK: u64 = 3;

/// How a packet goes out of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// SRTP packet index: roll-over counter, then sequence number.
    pub index: u64,
    pub timestamp: u32,
    /// Picture id and TL0PICIDX.
    pub picture: Option<(u16, u8)>,
    /// The number goes out with nothing but padding.
    pub padding: bool,
}

pub struct Slot {
    pub kind: Kind,
    pub mid: Vec<u8>,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    /// What Python wants shown.
    wanted: Option<Feed>,
    /// The highest temporal layer that Python wants.
    wanted_layer: u8,
    /// What goes out is late: of what can be left out nothing does.
    late: bool,
    /// What is shown: the newest segment's feed, while it is.
    showing: Option<(Feed, u32)>,
    /// Nothing whole of whom is wanted has gone out yet; then that it has, until somebody asks.
    unseen: bool,
    seen: bool,
    segments: VecDeque<Segment>,
    newest: Newest,
    /// What the next picture's id is shifted by: less with each that was dropped.
    picture_shift: u16,
    /// The highest temporal layer that goes out now.
    limit: u8,
    next: u64,
    /// The slot's first index, and the first of what is shown: from its key frame on.
    first: u64,
    began: u64,
    spent: Spent,
    /// How many numbers may be missing until the next packet.
    leap: u64,
    last_timestamp: Option<u32>,
    /// Of VP8 and VP9, and of what a dependency descriptor numbers: neither may go back.
    last_picture: [Option<(u16, u8)>; 2],
    pub line: Line,
    pub packets: u32,
    pub octets: u32,
    pub rtx_next: u64,
    /// When a key frame was last asked for on behalf of this slot.
    pub asked: Option<Micros>,
    /// What waits for a key frame waits for one of the layer that is wanted.
    only_wanted: bool,
    /// The receiver has reported on this SSRC, so it knows to which m-line it belongs.
    pub known_to_receiver: bool,
}

impl Slot {
    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.segments.capacity() * std::mem::size_of::<Segment>() + self.mid.capacity()
    }

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
            wanted_layer: ALL_LAYERS,
            late: false,
            showing: None,
            unseen: false,
            seen: false,
            segments: VecDeque::with_capacity(segments(kind)),
            newest: Newest::default(),
            picture_shift: 0,
            limit: ALL_LAYERS,
            next,
            first: next,
            began: next,
            spent: Spent::new(next - 1),
            leap: LEAP,
            last_timestamp: None,
            last_picture: [None; 2],
            line: Line { base, rate },
            packets: 0,
            octets: 0,
            rtx_next: u64::from(rtx_first & 0x7fff) + 1,
            asked: None,
            only_wanted: false,
            known_to_receiver: false,
        }
    }

    pub fn wanted(&self) -> Option<Feed> {
        self.wanted
    }

    /// Shows `feed` from its next key frame on. Another layer of the same track is shown until then; anybody
    /// else, or nobody, at once no more. `temporal`: the highest temporal layer that goes out.
    pub fn show(&mut self, feed: Option<Feed>, temporal: u8) {
        self.wanted_layer = temporal;
        if self.wanted == feed {
            return;
        }
        self.wanted = feed;
        self.asked = None;
        self.only_wanted = false;
        let same_track = match (self.showing, feed) {
            (Some((a, _)), Some(b)) => a.peer == b.peer && a.track == b.track,
            _ => false,
        };
        if !same_track {
            self.showing = None;
            self.unseen = feed.is_some();
            self.seen = false;
        }
    }

    /// A packet of a picture went out; `last`: the picture's last.
    pub fn went_out(&mut self, last: bool) {
        if self.unseen && last {
            self.unseen = false;
            self.seen = true;
        }
    }

    /// Whether a whole picture has gone out, the first since somebody else, or nobody, was to be shown.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// The same, once.
    pub fn take_seen(&mut self) -> bool {
        std::mem::take(&mut self.seen)
    }

    /// The peer at a place is gone; whoever takes the place is somebody else, of whom nothing may be repaired here.
    pub fn forget(&mut self, place: usize) {
        if self.wanted.map_or(false, |feed| feed.peer == place) {
            self.show(None, ALL_LAYERS);
        }
        for segment in self.segments.iter_mut().filter(|s| s.feed.peer == place) {
            segment.feed.peer = usize::MAX;
        }
    }

    /// Leaves all temporal layers but the lowest out while what goes out is late.
    pub fn hurry(&mut self, late: bool) {
        self.late = late;
    }

    /// Shows nothing until the next key frame (of sound: the next packet) of what is wanted.
    pub fn rest(&mut self) {
        self.showing = None;
        self.asked = None;
        self.only_wanted = false;
    }

    /// The same, but of no other layer: what was shown is still made, and two key frames would take its room.
    pub fn begin_anew(&mut self) {
        self.rest();
        self.only_wanted = true;
    }

    /// Shows nothing until the key frame that has been asked for already.
    pub fn wait(&mut self) {
        self.showing = None;
    }

    /// Whether a layer below what is shown is wanted.
    pub fn descends(&self) -> bool {
        match (self.wanted, self.showing) {
            (Some(wanted), Some((shown, _))) => wanted.is_below(shown),
            _ => false,
        }
    }

    /// Shows `feed` no more until its next key frame, or one of another layer of its track; `false` if it was not shown.
    pub fn leave(&mut self, feed: Feed) -> bool {
        if self.wanted == Some(feed) {
            self.only_wanted = false;
        }
        let shown = self.showing.map_or(false, |(shown, _)| shown == feed);
        if shown {
            self.rest();
        }
        shown
    }

    fn wants_track_of(&self, feed: Feed) -> bool {
        self.wanted
            .map_or(false, |wanted| wanted.peer == feed.peer && wanted.track == feed.track)
    }

    /// The layer that is wanted, where it is one below `feed` of the same track.
    pub fn wants_below(&self, feed: Feed) -> Option<usize> {
        self.wanted
            .filter(|wanted| wanted.is_below(feed))
            .map(|wanted| usize::from(wanted.layer))
    }

    pub fn waits_for_key_frame(&self) -> bool {
        self.wanted.is_some() && self.wanted != self.showing.map(|(feed, _)| feed)
    }

    /// Whether a packet of `feed` in its life number `life` is shown here; where it begins something, begins it.
    ///
    /// Errors: why it does not go out.
    fn choose(&mut self, feed: Feed, life: u32, packet: &Packet<'_>) -> Result<(), Count> {
        // Another codec has ids of its own, from its key frame on.
        let other_codec = packet.sequence > self.newest.sequence && self.newest.codec != Some(packet.codec);
        if self.showing == Some((feed, life)) {
            let missing = packet.sequence.saturating_sub(self.newest.sequence + 1);
            if other_codec || missing > self.leap {
                self.rest();
            } else {
                self.leap -= missing;
            }
        }
        if self.select(self.showing, (feed, life), packet)? {
            self.begin(feed, life, packet);
        } else if packet.sequence > self.newest.sequence {
            let goes_out = self.advance(packet);
            self.newest = newest(packet);
            if !goes_out {
                return Err(Count::DropTemporalLayer);
            }
        }
        Ok(())
    }

    /// What is shown: a feed in one of its lives.
    pub fn showing(&self) -> Option<(Feed, u32)> {
        self.showing
    }

    /// Whether a packet would begin a new source where `showing` is shown; `false` where it goes on.
    ///
    /// Errors: why it would not be taken.
    pub fn select(
        &self,
        showing: Option<(Feed, u32)>,
        source: (Feed, u32),
        packet: &Packet<'_>,
    ) -> Result<bool, Count> {
        if showing == Some(source) {
            return Ok(false);
        }
        // The first picture of somebody may be of another layer: a small one now is better than the right one later.
        if self.wanted != Some(source.0) && (showing.is_some() || self.only_wanted || !self.wants_track_of(source.0)) {
            return Err(Count::DropNoListener);
        }
        if !packet.picture.key {
            return Err(Count::DropAwaitingKeyFrame);
        }
        // A repair of what was shown before another layer was: nobody wants to see that again.
        let known = self.rewrite(source.0, source.1, packet);
        if known.map_or(false, |known| known.index < self.next) {
            return Err(Count::DropBeforeSwitch);
        }
        Ok(true)
    }

    /// Decides on one packet of `feed` in its life number `life` (SSRCs of one layer count its lives).
    ///
    /// Errors: why it does not go out.
    pub fn accept(&mut self, feed: Feed, life: u32, packet: &Packet<'_>) -> Result<Rewritten, Count> {
        self.choose(feed, life, packet)?;
        let rewritten = self.rewrite(feed, life, packet)?;
        // Shown again, but not what was missing when it was left: its number may have been filled since.
        if rewritten.index < self.began {
            return Err(Count::DropBeforeSwitch);
        }
        if !self.spent.take(rewritten.index) {
            return Err(Count::DropIndexSpent);
        }
        self.leap = (self.leap + GIVEN_BACK).min(LEAP);
        if rewritten.index >= self.next {
            self.next = rewritten.index + 1;
            if let Some(picture) = rewritten.picture {
                self.last_picture[numbering(packet.codec)] = Some(picture);
            }
        }
        let later = |last: u32| rewritten.timestamp.wrapping_sub(last) as i32 > 0;
        if self.last_timestamp.map_or(true, later) {
            self.last_timestamp = Some(rewritten.timestamp);
        }
        self.packets = self.packets.wrapping_add(1);
        if !rewritten.padding {
            self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        }
        Ok(rewritten)
    }

    /// The source's packet behind a sequence number the receiver asks for again. Of what is not shown now only what was
    /// sent: what came when its source was muted may have a number, and a place in the store, too.
    pub fn trace(&self, sequence: u16) -> Option<(Feed, u32, u64)> {
        let index = self.index_of(sequence)?;
        let segment = self.segments.iter().rev().find(|s| s.out_first <= index)?;
        if self.showing != Some((segment.feed, segment.life)) && !self.spent.has(index) {
            return None;
        }
        Some((
            segment.feed,
            segment.life,
            segment.source_first + (index - segment.out_first),
        ))
    }

    /// Whether a receiver asks for the number of a packet that was on its way to us when its source was left, and will
    /// not go out any more; and its index.
    pub fn void(&self, sequence: u16) -> Option<u64> {
        let past = self.first..self.began;
        self.index_of(sequence)
            .filter(|index| past.contains(index) && !self.spent.has(*index))
    }

    /// Whether a number is of what went out before the key frame that what is shown began with.
    pub fn is_past(&self, sequence: u16) -> bool {
        self.index_of(sequence).map_or(false, |index| index < self.began)
    }

    /// The index nearest below the next one that ends in a sequence number.
    fn index_of(&self, sequence: u16) -> Option<u64> {
        let last = self.next - 1;
        last.checked_sub(u64::from((last as u16).wrapping_sub(sequence)))
    }

    /// The codec of what was shown last.
    pub fn codec(&self) -> Option<Codec> {
        self.newest.codec
    }

    /// The same as `accept` gave, for a repair; only while the segment is remembered.
    ///
    /// Errors: why it has no number.
    pub fn rewrite(&self, feed: Feed, life: u32, packet: &Packet<'_>) -> Result<Rewritten, Count> {
        let place = self
            .segments
            .iter()
            .rposition(|s| s.feed == feed && s.life == life && s.source_first <= packet.sequence)
            .ok_or(Count::DropBeforeSwitch)?;
        let segment = &self.segments[place];
        if packet.sequence >= segment.end {
            return Err(Count::DropTemporalLayer);
        }
        // What came after a switch away has no number left: they are the next source's.
        if self
            .segments
            .get(place + 1)
            .map_or(false, |next| segment.out(packet.sequence) >= next.out_first)
        {
            return Err(Count::DropBeforeSwitch);
        }
        Ok(Rewritten {
            index: segment.out(packet.sequence),
            timestamp: packet.timestamp.wrapping_add(segment.timestamp_shift),
            picture: packet.picture.id.map(|id| {
                (
                    id.wrapping_add(segment.picture_shift) & id_mask(packet.codec),
                    packet.picture.tl0.wrapping_add(segment.tl0_shift),
                )
            }),
            padding: packet.picture.temporal > segment.limit,
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
        self.began = self.next;
        self.limit = self.wanted_layer;
        self.picture_shift = 0;
        let mut tl0_shift = 0;
        if let (Some(id), Some((last, last_tl0))) = (packet.picture.id, self.last_picture[numbering(packet.codec)]) {
            self.picture_shift = last.wrapping_add(1).wrapping_sub(id);
            tl0_shift = last_tl0.wrapping_add(1).wrapping_sub(packet.picture.tl0);
        }
        self.push(Segment {
            feed,
            life,
            out_first: self.next,
            source_first: packet.sequence,
            end: OPEN,
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
            picture_shift: self.picture_shift,
            tl0_shift,
            limit: self.limit,
        });
        self.newest = newest(packet);
        self.showing = Some((feed, life));
    }

    fn close(&mut self, end: u64) {
        if let Some(segment) = self.segments.back_mut() {
            segment.end = end;
        }
    }

    fn push(&mut self, segment: Segment) {
        if self.segments.len() == segments(self.kind) {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }
}

fn segments(kind: Kind) -> usize {
    match kind {
        Kind::Audio => SEGMENTS_AUDIO,
        Kind::Video => SEGMENTS_VIDEO,
    }
}
