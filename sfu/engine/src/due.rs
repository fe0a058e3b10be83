//! When a peer next has something to do that no packet brings about, so that a tick visits nobody in vain.

use crate::clock::Micros;
use crate::layer::Layer;
use crate::peer::Peer;

/// The shortest time between two ticks: what is due at a moment is done so much later at most.
pub const TICK: Micros = 5_000;
/// Every peer is visited so often at least: what only has to happen some time soon (a layer has fallen silent, somebody
/// is gone, a key frame never came) needs no time of its own in `Peer::due`.
pub const ROUND: Micros = 50_000;

/// What a peer holds back goes out at a tick so soon.
pub const HELD: Micros = 10_000;

/// When each place's peer is due, in one row of numbers: a tick reads eight bytes for a peer with nothing to do.
pub struct Timetable {
    due: Vec<Micros>,
    /// No place is due earlier.
    soonest: Micros,
}

impl Default for Timetable {
    fn default() -> Self {
        Timetable {
            due: Vec::new(),
            soonest: Micros::MAX,
        }
    }
}

impl Timetable {
    /// Makes `place` due at `at`, unless it is before that anyway.
    pub fn hurry(&mut self, place: usize, at: Micros) {
        if place >= self.due.len() {
            self.due.resize(place + 1, Micros::MAX);
        }
        if at < self.due[place] {
            self.due[place] = at;
            self.soonest = self.soonest.min(at);
        }
    }

    /// Makes `place` due at `at`, whenever it was before: it has been visited.
    pub fn set(&mut self, place: usize, at: Micros) {
        self.due[place] = at;
        self.soonest = self.soonest.min(at);
    }

    /// Nobody is there any more.
    pub fn clear(&mut self, place: usize) {
        if let Some(due) = self.due.get_mut(place) {
            *due = Micros::MAX;
        }
    }

    /// The next place from `from` on that is due.
    pub fn next(&self, from: usize, now: Micros) -> Option<usize> {
        let rest = self.due.get(from..)?;
        rest.iter().position(|&due| due <= now).map(|ahead| from + ahead)
    }

    /// When somebody is due next, never too late.
    pub fn soonest(&self) -> Micros {
        self.soonest
    }

    /// Looks up when that is, after a visit of all that were due.
    pub fn look_up(&mut self) {
        self.soonest = self.due.iter().copied().min().unwrap_or(Micros::MAX);
    }
}

impl Layer {
    /// When there is something to ask of its publisher, or to tell of it.
    pub fn due(&self) -> Micros {
        let news = self.news_at().unwrap_or(Micros::MAX);
        self.gaps.next_deadline().map_or(news, |gap| news.min(gap))
    }
}

impl Peer {
    /// When packets are to go out that it holds back, and that no other packet sends on its way.
    #[inline]
    pub fn held_until(&self, now: Micros) -> Option<Micros> {
        let pictures = self.pacer.next_deadline(now);
        if self.ways.waiting {
            return Some(pictures.map_or(now + HELD, |at| at.min(now + HELD)));
        }
        pictures
    }

    /// When it is next to be visited, seen from a visit at `now`. Whoever gives a visit more to do that can't wait for
    /// `ROUND` says here when.
    pub fn due(&self, now: Micros) -> Micros {
        let mut due = now + ROUND;
        if self.ready() {
            due = due.min(self.reports_at);
        }
        // One that is over had nothing to tell: the next packet brings it about.
        if self.feedback_at > now {
            due = due.min(self.feedback_at);
        }
        due = self.ice.next_deadline().map_or(due, |check| due.min(check));
        if self.probe.present() != 0 {
            due = due.min(now + TICK);
        }
        due = self.held_until(now).map_or(due, |held| due.min(held));
        for track in &self.tracks {
            due = track.layers.iter().fold(due, |due, layer| due.min(layer.due()));
            due = track.key_frame_at().map_or(due, |request| due.min(request));
        }
        // Not again in this tick, whatever is overdue: it could not be done now.
        due.max(now + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_due_are_found_and_the_others_passed_over() {
        let mut table = Timetable::default();
        assert_eq!((table.next(0, 1_000), table.soonest()), (None, Micros::MAX));
        for (place, at) in [(0, 50), (2, 20), (5, 30)] {
            table.hurry(place, at);
        }
        assert_eq!(table.soonest(), 20);
        assert_eq!(
            (table.next(0, 30), table.next(3, 30), table.next(6, 30)),
            (Some(2), Some(5), None)
        );
        table.hurry(2, 40);
        assert_eq!(table.next(0, 20), Some(2), "it is due at 20 all the same");
        table.set(2, 70);
        table.clear(5);
        table.look_up();
        assert_eq!(table.soonest(), 50);
        table.hurry(2, 10);
        assert_eq!((table.soonest(), table.next(0, 10)), (10, Some(2)));
    }
}
