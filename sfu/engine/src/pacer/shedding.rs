//! What is dropped of what waits because it has waited too long.

use super::{Held, Pacer};
use crate::clock::Micros;

/// Held longer a picture is of no use,
pub(super) const LONGEST: Micros = 800_000;
/// except a key frame and what is behind it, which alone may take that long; the publisher's store forgets what is a
/// second old.
const LONGEST_AFTER_KEY: Micros = 900_000;
/// While a smaller layer is awaited, a picture that has stopped going out for so long does not end: mostly its beginning
/// went into a queue that overflowed, and once that has drained its end would only take the smaller one's place.
const LONGEST_END: Micros = 200_000;

impl Pacer {
    /// Drops pictures that have waited too long; returns how many packets.
    pub fn shed_old(&mut self, now: Micros) -> usize {
        let waited = self.held.front().map_or(0, |oldest| now.saturating_sub(oldest.since));
        if waited <= LONGEST_END {
            return 0;
        }
        let mut dropped = self.shed_ends(now);
        if waited <= LONGEST {
            return dropped;
        }
        for slot in 0..self.lines.len() {
            let line = self.lines[slot];
            let after_key = line.key_at.map_or(false, |at| now < at + LONGEST_AFTER_KEY);
            let waits = |held: &&Held| held.slot == slot && held.picture() != line.present;
            let too_long = self.held.iter().find(waits).map_or(false, |held| {
                // Another key frame would come later, and take as long.
                let longest = match after_key || held.key {
                    true => LONGEST_AFTER_KEY,
                    false => LONGEST,
                };
                now > held.since + longest
            });
            if too_long {
                dropped += self.shed(now, slot);
            }
        }
        dropped
    }

    /// Drops the ends of pictures that have stopped going out, and what waits behind them, up to a key frame.
    fn shed_ends(&mut self, now: Micros) -> usize {
        let mut dropped = 0;
        for slot in 0..self.lines.len() {
            let line = self.lines[slot];
            if !line.descends || now <= line.present_at + LONGEST_END {
                continue;
            }
            let first = self.held.iter().find(|held| held.slot == slot);
            if first.map_or(false, |held| held.picture() == line.present) {
                // Nothing is going out: its end is dropped like all the rest.
                self.lines[slot].present = None;
                dropped += self.shed(now, slot);
                self.lines[slot].present = line.present;
            }
        }
        dropped
    }

    /// Drops a slot's pictures, but not the one that is going out, nor what follows from a key frame on.
    pub(super) fn shed(&mut self, now: Micros, slot: usize) -> usize {
        let present = self.lines[slot].present;
        // One that has waited as long is no better.
        let begins =
            |held: &Held| held.slot == slot && held.key && held.picture() != present && now <= held.since + LONGEST;
        let key = self.held.iter().rposition(begins);
        if let Some(at) = key {
            self.held[at].anew = true;
        }
        let dropped = self.drop_behind_present(slot, |at| key.map_or(false, |key| at >= key));
        let line = &mut self.lines[slot];
        if key.is_none() {
            line.anew = true;
            line.end = None;
            self.anew = true;
        }
        dropped
    }

    /// Drops a slot's packets but those of the picture that is going out, and those at places to `keep`; how many.
    pub(super) fn drop_behind_present(&mut self, slot: usize, keep: impl Fn(usize) -> bool) -> usize {
        let present = self.lines[slot].present;
        let (before, mut at) = (self.held.len(), 0);
        self.held.retain(|held| {
            at += 1;
            held.slot != slot || held.picture() == present || keep(at - 1)
        });
        let dropped = before - self.held.len();
        self.lines[slot].held -= dropped;
        dropped
    }
}
