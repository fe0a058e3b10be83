//! Who may see and hear whom, as the commands to the shard say, and since when: the truth for the witness.

use std::collections::{HashMap, HashSet};

use vardrum_engine::Micros;

/// What a slot shows: person, track and layer.
pub type Shown = (u32, u8, u8);

#[derive(Default)]
pub struct House {
    shown: HashMap<(u32, u8), Shown>,
    muted: HashMap<(u32, u8), bool>,
    /// When what a slot may get last changed: another person or track, muted or not.
    changes: HashMap<(u32, u8), Vec<Micros>>,
    /// Who ever was to be sent no more than so much: the pacer gives up pictures that wait too long.
    paced: HashSet<u32>,
}

impl House {
    pub fn shown(&self, viewer: u32, slot: u8) -> Option<Shown> {
        self.shown.get(&(viewer, slot)).copied()
    }

    pub fn is_muted(&self, person: u32, track: u8) -> bool {
        self.muted.get(&(person, track)).copied().unwrap_or(false)
    }

    pub fn show(&mut self, now: Micros, viewer: u32, slot: u8, shown: Option<Shown>) {
        let before = match shown {
            Some(shown) => self.shown.insert((viewer, slot), shown),
            None => self.shown.remove(&(viewer, slot)),
        };
        if before.map(|(by, track, _)| (by, track)) != shown.map(|(by, track, _)| (by, track)) {
            self.changed(now, viewer, slot);
        }
    }

    pub fn mute(&mut self, now: Micros, person: u32, track: u8, muted: bool) {
        self.muted.insert((person, track), muted);
        let of = |shown: &Shown| (shown.0, shown.1) == (person, track);
        let places: Vec<(u32, u8)> = self
            .shown
            .iter()
            .filter(|(_, s)| of(s))
            .map(|(&place, _)| place)
            .collect();
        for (viewer, slot) in places {
            self.changed(now, viewer, slot);
        }
    }

    pub fn leave(&mut self, now: Micros, person: u32) {
        let of = |place: &(u32, u8), shown: &Shown| shown.0 == person || place.0 == person;
        let ended = self.shown.iter().filter(|(place, shown)| of(place, shown));
        let ended: Vec<(u32, u8)> = ended.map(|(&place, _)| place).collect();
        for (viewer, slot) in ended {
            self.show(now, viewer, slot, None);
        }
    }

    /// Sound goes to a viewer in another way: what was missing has no number any more.
    pub fn sound(&mut self, now: Micros, viewer: u32) {
        (0..2).for_each(|slot| self.changed(now, viewer, slot));
    }

    pub fn pace(&mut self, viewer: u32) {
        self.paced.insert(viewer);
    }

    pub fn is_paced(&self, viewer: u32) -> bool {
        self.paced.contains(&viewer)
    }

    fn changed(&mut self, now: Micros, viewer: u32, slot: u8) {
        self.changes.entry((viewer, slot)).or_default().push(now);
    }

    /// When what the slot may get next changed after `at`.
    pub fn next_change(&self, viewer: u32, slot: u8, at: Micros) -> Micros {
        let changes = self.changes.get(&(viewer, slot));
        changes
            .and_then(|times| times.iter().copied().find(|&t| t >= at))
            .unwrap_or(Micros::MAX)
    }

    /// Whether the slot may get media of this track now.
    pub fn allows(&self, viewer: u32, slot: u8, by: u32, track: u8) -> bool {
        let shown = self
            .shown(viewer, slot)
            .map_or(false, |shown| (shown.0, shown.1) == (by, track));
        shown && !self.is_muted(by, track)
    }
}
