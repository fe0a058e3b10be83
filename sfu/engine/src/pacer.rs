//! Holds pictures back so that a downlink is sent no more than its target: what does not fit now waits its turn.
//!
//! What waits are references: a payload stays in its publisher's store, and the slot gives a packet its number when it
//! goes out (`release.rs`), so that numbers are those of what is really sent. Sound is never held back, nor are its
//! repairs, but they use up the rate. Repairs of pictures go before pictures. What has waited too long is dropped by
//! whole pictures, up to the next key frame (`shedding.rs`): a decoder gets none whose references it lacks, and a part of
//! one only where a smaller layer is awaited behind it.

mod allowance;
mod shedding;

use std::collections::VecDeque;
use std::mem::size_of;

use crate::clock::Micros;
use crate::packet::{Feed, Packet};
use allowance::Allowance;

/// About 3 s of 2 Mbit/s.
const MOST_HELD: usize = 512;
const MOST_REPAIRS: usize = 128;
/// A repair that has waited for so long is asked for again, if it is still of use.
const LONGEST_REPAIR: Micros = 200_000;
/// Behind what has waited so long the upper temporal layers are left out,
const LATE: Micros = 400_000;
/// until what goes out has waited less than this: frames are missed more than a quarter of a second is.
const LATE_NO_MORE: Micros = 200_000;
/// What has hardly waited goes out even where a key frame comes behind it.
const IN_TIME: Micros = 50_000;
/// A picture packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub slot: usize,
    pub source: (Feed, u32),
    /// Extended sequence number of the source.
    pub sequence: u64,
    /// Pictures in front of it are missing: the slot begins anew with it.
    pub anew: bool,
    timestamp: u32,
    key: bool,
    bytes: u16,
    pub since: Micros,
}

impl Held {
    fn picture(&self) -> Option<((Feed, u32), u32)> {
        Some((self.source, self.timestamp))
    }
}

/// What waits in one slot.
#[derive(Clone, Copy, Default)]
struct Line {
    held: usize,
    /// What the slot will be showing once all that waits has gone out.
    end: Option<(Feed, u32)>,
    /// Pictures behind all that waits are missing: the slot begins anew there.
    anew: bool,
    /// What goes out has waited for long.
    late: bool,
    /// A layer below what goes out is awaited.
    descends: bool,
    /// The picture of the newest packet that has gone out, its source and timestamp; and when that was.
    present: Option<((Feed, u32), u32)>,
    present_at: Micros,
    key_at: Option<Micros>,
    /// Bytes that have gone out after they had waited, counted from where the others were when it began to wait.
    spent: u64,
}

impl Line {
    /// Whether the smaller layer that is awaited has come, and waits.
    fn begins_below(&self) -> bool {
        let below = |end: (Feed, u32)| self.present.map_or(false, |((feed, _), _)| end.0.is_below(feed));
        self.descends && self.end.map_or(false, below)
    }
}

/// One downlink's pacer; without a target it is out of the way.
#[derive(Default)]
pub struct Pacer {
    allowance: Allowance,
    held: VecDeque<Held>,
    /// Slot and number that wait, and since when.
    repairs: VecDeque<(usize, u16, Micros)>,
    lines: Vec<Line>,
    /// The slot that a packet last went out in.
    begun: Option<usize>,
    /// What had been spent by the line whose picture was the last to begin.
    spent: u64,
    /// Some line is to begin anew.
    anew: bool,
    /// Dropped for another reason than age, and not counted yet.
    dropped: usize,
}

impl Pacer {
    pub fn new(slots: usize) -> Self {
        Self {
            lines: vec![Line::default(); slots],
            ..Self::default()
        }
    }

    /// Paces to `bits_per_second` on the wire from now on; 0: not at all, and what is held goes out soon.
    pub fn set_target(&mut self, now: Micros, bits_per_second: u32) {
        self.allowance.set_target(now, u64::from(bits_per_second));
    }

    /// bit/s; 0 for none.
    pub fn target(&self) -> u64 {
        self.allowance.target()
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.held.capacity() * size_of::<Held>()
            + self.repairs.capacity() * size_of::<(usize, u16, Micros)>()
            + self.lines.capacity() * size_of::<Line>()
    }

    /// How many packets wait.
    pub fn held(&self) -> usize {
        self.held.len() + self.repairs.len()
    }

    pub fn is_waiting(&self) -> bool {
        self.anew || !self.held.is_empty() || !self.repairs.is_empty()
    }

    /// Takes note of `bytes` that went out, whatever they are.
    #[inline]
    pub fn on_sent(&mut self, bytes: usize) {
        self.allowance.spend(bytes);
    }

    /// Whether a packet may go out now. `probe`: bit/s of a running one, which raises the target.
    pub fn may_send(&mut self, now: Micros, probe: Option<u64>) -> bool {
        self.allowance.is_left(now, probe)
    }

    /// Whether a picture packet, or a picture's repair, must wait.
    #[inline]
    pub fn holds(&mut self, now: Micros, probe: Option<u64>) -> bool {
        self.is_waiting() || !self.may_send(now, probe)
    }

    /// When something that waits may go out.
    pub fn next_deadline(&self, now: Micros) -> Option<Micros> {
        if !self.is_waiting() {
            return None;
        }
        Some(self.allowance.next(now))
    }

    /// What a slot will be showing behind all that waits in it; `present`: what it shows now.
    pub fn end_of(&self, slot: usize, present: Option<(Feed, u32)>) -> Option<(Feed, u32)> {
        let line = &self.lines[slot];
        if line.held == 0 && !line.anew {
            present
        } else {
            line.end
        }
    }

    /// Whether a key frame of `wanted` waits its turn in a slot that doesn't show it yet: another would only replace it.
    pub fn waits_with(&self, slot: usize, wanted: Option<Feed>) -> bool {
        let line = &self.lines[slot];
        line.held > 0 && !line.anew && line.end.map(|(feed, _)| feed) == wanted
    }

    /// Lets a packet wait that the slot would take behind all that waits in it.
    pub fn hold(&mut self, now: Micros, slot: usize, source: (Feed, u32), packet: &Packet<'_>) {
        if packet.picture.key && self.makes_useless(now, slot, source, packet) {
            // What waits would only keep this one waiting.
            self.dropped += self.drop_behind_present(slot, |_| false);
            let line = &mut self.lines[slot];
            line.anew |= line.end == Some(source);
        }
        if self.held.len() >= MOST_HELD {
            let fullest = (0..self.lines.len()).max_by_key(|&slot| self.lines[slot].held);
            self.dropped += fullest.map_or(0, |slot| self.shed(now, slot));
            let line = &mut self.lines[slot];
            if self.held.len() >= MOST_HELD || line.anew && !packet.picture.key {
                line.anew = true;
                line.end = None;
                self.anew = true;
                self.dropped += 1;
                return;
            }
        }
        let line = &mut self.lines[slot];
        if line.held == 0 {
            // Who didn't wait has saved nothing up.
            line.spent = line.spent.max(self.spent);
        }
        line.held += 1;
        line.end = Some(source);
        self.held.push_back(Held {
            slot,
            source,
            sequence: packet.sequence,
            // Whatever goes out behind a gap is a key frame's first packet: no other is held there.
            anew: std::mem::replace(&mut line.anew, false),
            timestamp: packet.timestamp,
            key: packet.picture.key,
            bytes: packet.payload.len() as u16,
            since: now,
        });
    }

    /// Whether a key frame makes what waits in its slot useless: pictures of a layer above, for which there is no room,
    /// and of its own that wait already.
    fn makes_useless(&self, now: Micros, slot: usize, source: (Feed, u32), packet: &Packet<'_>) -> bool {
        let mut waiting = self.held.iter().filter(|held| held.slot == slot);
        let (oldest, newest) = match (waiting.next(), self.lines[slot].end) {
            (Some(oldest), Some(_)) => (oldest, waiting.next_back().unwrap_or(oldest)),
            _ => return false,
        };
        source.0.is_below(newest.source.0)
            || newest.source == source && newest.timestamp != packet.timestamp && now > oldest.since + IN_TIME
    }

    /// A layer below is wanted in a slot. What waits there, and repairs of what went out, would only keep it waiting
    /// longer, where there is no room for either: the picture that is going out ends, if it can, and what waited behind it
    /// never goes out.
    pub fn descend(&mut self, slot: usize) {
        let before = self.repairs.len();
        self.repairs.retain(|repair| repair.0 != slot);
        self.dropped += before - self.repairs.len();
        let waits = self.lines[slot].held > 0;
        self.dropped += self.drop_behind_present(slot, |_| false);
        let line = &mut self.lines[slot];
        line.descends = true;
        if waits {
            line.end = None;
            line.anew = true;
            self.anew = true;
        }
    }

    /// Whether a layer below what goes out in a slot is awaited.
    pub fn descends(&self, slot: usize) -> bool {
        self.lines[slot].descends
    }

    /// Lets a repair wait: the number that a receiver asks for, however often it does. `false` where too many wait, or
    /// it would be of no use.
    pub fn hold_repair(&mut self, now: Micros, slot: usize, sequence: u16) -> bool {
        if self.descends(slot) {
            return false;
        }
        if self.repairs.iter().any(|held| (held.0, held.1) == (slot, sequence)) {
            return true;
        }
        let room = self.repairs.len() < MOST_REPAIRS;
        if room {
            self.repairs.push_back((slot, sequence, now));
        }
        room
    }

    /// The next repair in line, which goes out now; those that have waited for too long are dropped.
    pub fn next_repair(&mut self, now: Micros) -> Option<(usize, u16)> {
        while let Some((slot, sequence, since)) = self.repairs.pop_front() {
            if now <= since + LONGEST_REPAIR {
                return Some((slot, sequence));
            }
            self.dropped += 1;
        }
        None
    }

    /// The next packet in line, which goes out now: the next of a picture that has begun to go out, for half of two
    /// pictures is nothing to see; else one of the slot that has been sent the least while it waited (start-time fair
    /// queueing, P. Goyal et al., ACM SIGCOMM 1996). A picture that is shown larger from now on fills the line for half
    /// a second, and the others' small ones would be too old behind it. One that stands still until a smaller layer
    /// begins comes before another frame of one that moves.
    pub fn next(&mut self) -> Option<Held> {
        let begun = self.begun.filter(|&slot| self.lines[slot].held > 0).and_then(|slot| {
            let at = self.held.iter().position(|held| held.slot == slot)?;
            Some(at).filter(|&at| self.held[at].picture() == self.lines[slot].present)
        });
        let place = begun.or_else(|| {
            let places = self.held.iter().enumerate();
            let (place, next) = places.min_by_key(|(place, held)| {
                let line = &self.lines[held.slot];
                (!line.begins_below(), line.spent, *place)
            })?;
            let line = &self.lines[next.slot];
            if !line.begins_below() {
                // Whose turn it was says how far all are; who came first did so out of turn.
                self.spent = line.spent;
            }
            Some(place)
        });
        let held = self.held.remove(place?)?;
        let line = &mut self.lines[held.slot];
        line.held -= 1;
        line.spent += u64::from(held.bytes);
        self.begun = Some(held.slot);
        Some(held)
    }

    /// Takes note of a picture packet that went out in a slot.
    #[inline]
    pub fn on_picture(&mut self, now: Micros, slot: usize, source: (Feed, u32), packet: &Packet<'_>) {
        let line = &mut self.lines[slot];
        // Also without a target, which may come before the picture's end.
        let picture = Some((source, packet.timestamp));
        let begins = packet.picture.key && line.present != picture;
        line.present = picture;
        line.present_at = now;
        if packet.picture.key {
            line.key_at = Some(now);
            line.descends = false;
        }
        if begins && !self.repairs.is_empty() {
            // Whatever is missing in front of a key frame is of no use any more.
            let before = self.repairs.len();
            self.repairs.retain(|repair| repair.0 != slot);
            self.dropped += before - self.repairs.len();
        }
    }

    /// Whether what goes out in a slot after `waited` is late.
    pub fn is_late(&mut self, slot: usize, waited: Micros) -> bool {
        let line = &mut self.lines[slot];
        line.late = waited > if line.late { LATE_NO_MORE } else { LATE };
        line.late
    }

    /// How many packets were dropped since the last call for another reason than age: too many waited, or they were not
    /// wanted any more.
    pub fn dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    /// A slot that begins anew now, because nothing waits in it any more.
    pub fn next_anew(&mut self) -> Option<usize> {
        if !self.anew {
            return None;
        }
        let due = self.lines.iter().position(|line| line.anew && line.held == 0);
        if let Some(slot) = due {
            self.lines[slot].anew = false;
        }
        self.anew = self.lines.iter().any(|line| line.anew);
        due
    }

    /// Forgets what waits in a slot, which begins anew, or shows somebody else: it is not to be seen.
    pub fn forget(&mut self, slot: usize) {
        let before = self.held();
        self.held.retain(|held| held.slot != slot);
        self.repairs.retain(|repair| repair.0 != slot);
        self.dropped += before - self.held();
        self.lines[slot] = Line::default();
        self.anew = self.lines.iter().any(|line| line.anew);
    }

    /// Another layer is wanted in a slot that shows `showing`. Where one waits to take its place, that may not be wanted
    /// any more, and of what is shown packets are missing since: it goes on with a key frame, whichever comes first.
    pub fn reconsider(&mut self, slot: usize, showing: Option<(Feed, u32)>) {
        let line = &mut self.lines[slot];
        line.descends = false;
        if line.held == 0 || line.end == showing {
            return;
        }
        line.end = None;
        line.anew = true;
        self.anew = true;
        let before = self.held.len();
        self.held
            .retain(|held| held.slot != slot || Some(held.source) == showing);
        let dropped = before - self.held.len();
        self.lines[slot].held -= dropped;
        self.dropped += dropped;
    }

    /// Forgets all that waits.
    pub fn clear(&mut self) {
        self.dropped += self.held();
        self.held.clear();
        self.repairs.clear();
        self.anew = false;
        self.lines.iter_mut().for_each(|line| *line = Line::default());
    }
}

#[cfg(test)]
mod tests;
