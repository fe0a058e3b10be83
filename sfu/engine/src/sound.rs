//! Sound on its way from a source's packet to a viewer's datagram, as the viewer's network needs it, and once more
//! where it was lost.

use vardrum_codecs::opus;
use vardrum_codecs::repacketizer::Repacketizer;

use crate::clock::{Micros, ServerClock};
use crate::command::{SoundMode, EXT_TRANSPORT_CC};
use crate::counters::{Count, Counters};
use crate::egress::{Envelope, Role};
use crate::outbox::Outbox;
use crate::packet::{Codec, Feed, Packet};
use crate::peer::Peer;
use crate::shard::Shard;

mod earlier;
mod silence;

use earlier::Earlier;
use silence::{Silence, Verdict};

/// 60 ms: what joined packets last, and how long the first of them waits for the others.
const JOINED: u32 = 2_880;
const JOINED_WAIT: Micros = 60_000;
/// Bytes of payload that we put together for one packet: as many as browsers send.
const LONGEST: usize = 1_200;
/// RFC 6464: the voice flag, and the level below it.
const VOICE: u8 = 0x80;

/// How sound goes to one viewer, and what each slot remembers of it.
pub struct Ways {
    mode: SoundMode,
    slots: Vec<Way>,
    /// Something waits for its time in a slot.
    pub waiting: bool,
}

impl Ways {
    pub fn new(slots: usize) -> Self {
        Self {
            mode: SoundMode::default(),
            slots: (0..slots).map(|_| Way::default()).collect(),
            waiting: false,
        }
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let of = |way: &Way| way.earlier.memory() + way.joined.capacity() + way.redundant.capacity();
        self.slots.capacity() * std::mem::size_of::<Way>() + self.slots.iter().map(of).sum::<usize>()
    }

    /// What a slot has gathered of somebody goes nowhere any more: it shows another, or that one is muted.
    pub fn forget(&mut self, slot: usize) {
        self.slots[slot].group.frames.clear();
        self.slots[slot].earlier.clear();
    }

    /// How often a packet that went out just now goes out again. On a way that loses packets one that stands alone
    /// does once more than the others: what would carry it again, or would tell that it is lost, comes as late as the
    /// next refresh of a pause (RFC 6716, section 2.1.9), and until then the receiver makes up sound.
    fn copies(&mut self, slot: usize, timestamp: u32, payload: &[u8]) -> u8 {
        let way = &mut self.slots[slot];
        let paused = |last| timestamp.wrapping_sub(last) as i32 > JOINED as i32;
        let alone = way.last.replace(timestamp).map_or(false, paused) || opus::is_silence(payload);
        let lossy = self.mode.redundancy > 0 || self.mode.copies > 0;
        self.mode.copies + u8::from(alone && lossy)
    }

    /// Takes effect with each slot's next packet.
    pub fn set(&mut self, mode: SoundMode) {
        self.mode = mode;
    }
}

#[derive(Default)]
struct Way {
    /// The packets that go out are not those that came, and have numbers of their own.
    renumbers: bool,
    silence: Silence,
    earlier: Earlier,
    /// The timestamp of what went out last.
    last: Option<u32>,
    group: Group,
    /// Where payloads are put together.
    joined: Vec<u8>,
    redundant: Vec<u8>,
}

/// Packets that become one.
#[derive(Default)]
struct Group {
    frames: Repacketizer,
    about: About,
    since: Micros,
}

/// What is known of a packet besides its payload.
#[derive(Clone, Copy, Default)]
struct About {
    timestamp: u32,
    marker: bool,
    level: Option<u8>,
}

impl Group {
    /// Takes a packet that goes on where the former ended; `false` where it doesn't, or can't be joined.
    fn push(&mut self, payload: &[u8], about: About, now: Micros) -> bool {
        if self.frames.is_empty() {
            self.about = about;
            self.since = now;
            return self.frames.push(payload, JOINED);
        }
        let next = self.about.timestamp.wrapping_add(self.frames.duration());
        let fits = self.frames.len() + payload.len() <= LONGEST;
        if !fits || about.timestamp != next || about.marker || !self.frames.push(payload, JOINED) {
            return false;
        }
        self.about.level = louder(self.about.level, about.level);
        true
    }

    fn is_full(&self) -> bool {
        self.frames.duration() >= JOINED
    }
}

fn louder(one: Option<u8>, other: Option<u8>) -> Option<u8> {
    match (one, other) {
        (Some(a), Some(b)) => Some((a | b) & VOICE | (a & !VOICE).min(b & !VOICE)),
        _ => one.or(other),
    }
}

impl Peer {
    /// Sends a sound packet of `source` (a feed in its life) in slot number `slot`, if the slot shows it.
    ///
    /// Errors: why it was not sent.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_sound(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        source: (Feed, u32),
        packet: &Packet<'_>,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) -> Result<(), Count> {
        if !self.ready() {
            return Err(Count::DropNotConnected);
        }
        if self.payload_type(packet.codec).is_none() {
            return Err(Count::DropCodecNotOffered);
        }
        // Before the slot gives it a number: numbers that are never sent lead a receiver astray.
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let switches = self.slots[slot].waits_for_key_frame();
        if switches {
            // What was another's, or from before a pause, is over.
            self.flush_joined(now, clock, slot, outbox, counters);
            self.ways.slots[slot].earlier.clear();
        }
        let mut about = About {
            timestamp: 0,
            marker: packet.marker || switches,
            level: packet.level,
        };
        if self.ways.mode.renumbers() {
            self.ways.slots[slot].renumbers = true;
            about.timestamp = self.slots[slot].accept_unnumbered(source.0, source.1, packet)?;
            return self.forward_renumbered(now, clock, slot, packet.payload, about, outbox, counters);
        }
        if self.ways.slots[slot].renumbers {
            self.flush_joined(now, clock, slot, outbox, counters);
            if outbox.room().is_none() {
                return Err(Count::DropOutboxFull);
            }
            if !self.slots[slot].continue_at(source.0, source.1, packet.sequence) {
                return Err(Count::DropSoundLate);
            }
            self.ways.slots[slot].renumbers = false;
        }
        let rewritten = self.slots[slot].accept(source.0, source.1, packet)?;
        about.timestamp = rewritten.timestamp;
        self.send_sound(now, clock, slot, rewritten.index, about, packet.payload, outbox)
    }

    /// Sends sound under the slot's own numbers: without its pauses, or joined.
    #[allow(clippy::too_many_arguments)]
    fn forward_renumbered(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        payload: &[u8],
        mut about: About,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) -> Result<(), Count> {
        if self.ways.mode.pauses_dropped {
            match self.ways.slots[slot].silence.judge(payload, about.level, now) {
                Verdict::Send => {}
                Verdict::Begin => about.marker = true,
                Verdict::Empty => {
                    self.flush_joined(now, clock, slot, outbox, counters);
                    // One frame of no bytes, of the same kind.
                    let empty = [payload.first().map_or(0, |toc| toc & 0xfc)];
                    return self.send_numbered(now, clock, slot, about, &empty, outbox);
                }
                Verdict::Drop => return Err(Count::DropSilence),
            }
        }
        if !self.ways.mode.joined {
            self.flush_joined(now, clock, slot, outbox, counters);
            return self.send_numbered(now, clock, slot, about, payload, outbox);
        }
        if !self.ways.slots[slot].group.push(payload, about, now) {
            self.flush_joined(now, clock, slot, outbox, counters);
            if !self.ways.slots[slot].group.push(payload, about, now) {
                // No Opus that we can read: as it is.
                return self.send_numbered(now, clock, slot, about, payload, outbox);
            }
        }
        self.ways.waiting = true;
        if self.ways.slots[slot].group.is_full() {
            self.send_joined(now, clock, slot, outbox)
        } else {
            Err(Count::AudioJoined)
        }
    }

    /// Sends what has been joined so far, if anything has, and counts it: it is not the packet that is in hand.
    fn flush_joined(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) {
        if !self.ways.slots[slot].group.frames.is_empty() {
            let sent = self.send_joined(now, clock, slot, outbox);
            counters.one(sent.err().unwrap_or(Count::RtpOut));
        }
    }

    /// Sends what has been joined so far.
    fn send_joined(&mut self, now: Micros, clock: &ServerClock, slot: usize, outbox: &mut Outbox) -> Result<(), Count> {
        let way = &mut self.ways.slots[slot];
        let mut payload = std::mem::take(&mut way.joined);
        payload.clear();
        way.group.frames.write(&mut payload);
        way.group.frames.clear();
        let about = way.group.about;
        let sent = self.send_numbered(now, clock, slot, about, &payload, outbox);
        self.ways.slots[slot].joined = payload;
        sent
    }

    fn send_numbered(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        about: About,
        payload: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let index = self.slots[slot].number(about.timestamp, payload.len());
        self.send_sound(now, clock, slot, index, about, payload, outbox)
    }

    #[allow(clippy::too_many_arguments)]
    fn send_sound(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        index: u64,
        about: About,
        payload: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        let opus = self.payload_type(Codec::OPUS).ok_or(Count::DropCodecNotOffered)?;
        let mut envelope = Envelope {
            role: Role::Media,
            ssrc: self.slots[slot].ssrc,
            payload_type: opus,
            index,
            timestamp: about.timestamp,
            marker: about.marker,
            level: about.level,
            padding: false,
        };
        let redundancy = self.ways.mode.redundancy;
        let sealed = match self.payload_type(Codec::RED).filter(|_| redundancy > 0) {
            None => self.send(now, clock, slot, &envelope, &[payload], None, outbox)?,
            Some(red) => {
                let way = &mut self.ways.slots[slot];
                let mut redundant = std::mem::take(&mut way.redundant);
                redundant.clear();
                let number = (index, about.timestamp);
                let carries = way.earlier.write(&mut redundant, number, payload, redundancy, opus);
                // What no datagram takes would be dropped, with the number that it has by now.
                let carries = carries && redundant.len() <= LONGEST;
                way.earlier.keep(index, about.timestamp, payload);
                if carries {
                    envelope.payload_type = red;
                }
                let payload = if carries { &redundant[..] } else { payload };
                let sent = self.send(now, clock, slot, &envelope, &[payload], None, outbox);
                self.ways.slots[slot].redundant = redundant;
                sent?
            }
        };
        let (to, len) = sealed;
        if let Some(room) = outbox.room() {
            self.resends[slot].keep(index, &room[..len], now);
        }
        outbox.commit(to, len);
        let copies = self.ways.copies(slot, about.timestamp, payload);
        self.resends[slot].send_again(index, copies, now);
        self.ways.waiting |= copies > 0;
        Ok(())
    }

    /// Sends what has waited for its time: copies, and joined packets whose others did not come.
    pub fn send_waiting_sound(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        outbox: &mut Outbox,
        counters: &mut Counters,
    ) {
        if !self.ways.waiting {
            return;
        }
        self.ways.waiting = false;
        for slot in 0..self.slots.len() {
            let group = &self.ways.slots[slot].group;
            if now >= group.since + JOINED_WAIT {
                self.flush_joined(now, clock, slot, outbox, counters);
            } else {
                self.ways.waiting |= !group.frames.is_empty();
            }
            let to = self.path().map(|(to, _)| to);
            while let Some(sealed) = self.resends[slot].copy_due(now) {
                counters.one(match to {
                    None => Count::DropNotConnected,
                    Some(to) if outbox.push(to, sealed) => {
                        let bytes = self.history.record_again(sealed, self.extensions[EXT_TRANSPORT_CC]);
                        self.pacer.on_sent(bytes);
                        Count::AudioCopied
                    }
                    Some(_) => Count::DropOutboxFull,
                });
            }
            self.ways.waiting |= self.resends[slot].waits();
        }
    }
}

impl Shard {
    /// Sends sound again that a viewer lacks: the sealed bytes as first sent.
    pub(crate) fn resend_sound(
        &mut self,
        now: Micros,
        peer: &mut Peer,
        slot: usize,
        sequence: u16,
    ) -> Result<(), Count> {
        let to = peer.path().ok_or(Count::DropNotConnected)?.0;
        let round_trip = peer.round_trip.get();
        let resends = &mut peer.resends[slot];
        let (index, _) = resends.sealed(sequence, now).ok_or(Count::DropResendUnavailable)?;
        match resends.copies(index, now, round_trip) {
            0 => return Err(Count::DropResendSuppressed),
            copies => resends.send_again(index, copies - 1, now),
        }
        peer.ways.waiting |= resends.waits();
        match resends.sealed(sequence, now) {
            Some((_, sealed)) if self.outbox.push(to, sealed) => {
                let bytes = peer.history.record_again(sealed, peer.extensions[EXT_TRANSPORT_CC]);
                peer.pacer.on_sent(bytes);
                Ok(())
            }
            _ => Err(Count::DropOutboxFull),
        }
    }
}
