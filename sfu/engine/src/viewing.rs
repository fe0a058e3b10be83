//! Who is shown whom, and that those who wait for a key frame ask for one.

use crate::clock::Micros;
use crate::command::PeerId;
use crate::packet::Feed;
use crate::shard::Shard;
use crate::track::MICROPHONE;

/// How often a slot that waits for a key frame asks again.
const ASK_AGAIN: Micros = 500_000;

impl Shard {
    pub(crate) fn show(
        &mut self,
        now: Micros,
        viewer: PeerId,
        slot: u8,
        of: (PeerId, u8, u8),
        temporal: u8,
        asks: bool,
    ) {
        let (publisher, track, layer) = of;
        let number = usize::from(slot);
        let from = self.place_of(publisher);
        let (place, before) = match self.find(viewer) {
            Some((place, peer)) if number < peer.slots.len() => (place, peer.slots[number].wanted()),
            _ => return,
        };
        let feed = from
            .filter(|from| *from != place)
            .map(|peer| Feed { peer, track, layer })
            .filter(|feed| {
                self.peers[feed.peer]
                    .as_ref()
                    .and_then(|p| p.tracks.get(usize::from(track)))
                    .map_or(false, |t| usize::from(layer) < t.layers.len())
            });
        if let Some(peer) = before.and_then(|old| self.peers[old.peer].as_mut().map(|p| (p, old))) {
            peer.0.tracks[usize::from(peer.1.track)].hush(place, number);
        }
        if let Some(viewer) = &mut self.peers[place] {
            let former = viewer.slots[number].wanted();
            viewer.slots[number].show(feed, temporal);
            if !asks {
                viewer.slots[number].asked = Some(now);
            }
            let track_of = |feed: Feed| (feed.peer, feed.track);
            if former.map(track_of) != feed.map(track_of) {
                viewer.pacer.forget(number);
                viewer.ways.forget(number);
            } else if former != feed {
                viewer.pacer.reconsider(number, viewer.slots[number].showing());
                if viewer.slots[number].descends() {
                    viewer.pacer.descend(number);
                }
            }
        }
        if let Some(feed) = feed {
            if let Some(publisher) = &mut self.peers[feed.peer] {
                publisher.tracks[usize::from(track)].listen(place, number);
            }
            if asks {
                self.ask_for_waiting(now, place);
            }
        }
        for of in [before, feed].into_iter().flatten() {
            self.note_wanted(of);
        }
    }

    /// Notes which layers of a track somebody is to see; `of`: any of them.
    fn note_wanted(&mut self, of: Feed) {
        let wanted_by = |&(viewer, slot): &(usize, usize)| {
            let wanted = self.peers[viewer].as_ref()?.slots[slot].wanted()?;
            (wanted.peer == of.peer && wanted.track == of.track).then_some(usize::from(wanted.layer))
        };
        let track = self.peers[of.peer]
            .as_ref()
            .map(|peer| &peer.tracks[usize::from(of.track)]);
        let top = track.and_then(|track| track.listeners.iter().filter_map(wanted_by).max());
        if let (Some(top), Some(peer)) = (top, &mut self.peers[of.peer]) {
            for (number, layer) in peer.tracks[usize::from(of.track)].layers.iter_mut().enumerate() {
                layer.wanted = number <= top;
            }
        }
    }

    pub(crate) fn mute(&mut self, peer: PeerId, track: u8, muted: bool) {
        let listeners = match self
            .find(peer)
            .and_then(|(_, peer)| peer.tracks.get_mut(usize::from(track)))
        {
            Some(track) => {
                track.muted = muted;
                for layer in &mut track.layers {
                    layer.hidden = layer.unwrapper.newest().unwrap_or(0);
                }
                track.listeners.clone()
            }
            None => return,
        };
        for (place, slot) in listeners {
            // It asks for a key frame at once.
            self.timetable.hurry(place, 0);
            if let Some(viewer) = &mut self.peers[place] {
                // What is dropped meanwhile must not look like a loss: it begins anew when it is heard again.
                viewer.slots[slot].rest();
                viewer.pacer.forget(slot);
                viewer.ways.forget(slot);
            }
        }
    }

    /// Asks the publishers of all slots of a viewer that wait for a key frame, if the viewer could take one.
    pub(crate) fn ask_for_waiting(&mut self, now: Micros, place: usize) {
        let mut waiting: Vec<(usize, Feed, bool)> = Vec::new();
        if let Some(viewer) = self.peers[place]
            .as_mut()
            .filter(|viewer| viewer.ready() && !viewer.is_backlogged())
        {
            for (number, slot) in viewer.slots.iter_mut().enumerate() {
                let waits = slot.waits_for_key_frame() && !viewer.pacer.waits_with(number, slot.wanted());
                if let (Some(feed), true) = (slot.wanted(), waits) {
                    slot.asked = Some(now);
                    waiting.push((number, feed, slot.showing().is_some()));
                }
            }
        }
        for (slot, feed, seen) in waiting {
            // Somebody who sees another layer meanwhile gains nothing by a key frame of one that isn't made.
            if seen && self.has_stopped(now, feed) {
                continue;
            }
            // Only what costs the publisher anything uses patience up.
            let costs = self.peers[feed.peer].as_ref().map_or(false, |publisher| {
                publisher.tracks[usize::from(feed.track)].can_be_asked()
            });
            let viewer = self.peers[place].as_mut();
            if !costs || viewer.map_or(false, |viewer| viewer.patience[slot].take_switch(now)) {
                self.need_key_frame(now, feed);
            }
        }
    }

    pub(crate) fn ask_again(&mut self, now: Micros, place: usize) {
        let due = self.peers[place].as_ref().map_or(false, |viewer| {
            viewer.ready()
                && !viewer.is_backlogged()
                && viewer.slots.iter().enumerate().any(|(number, slot)| {
                    slot.waits_for_key_frame()
                        && slot.asked.map_or(true, |asked| now >= asked + ASK_AGAIN)
                        && !viewer.pacer.waits_with(number, slot.wanted())
                })
        });
        if due {
            self.ask_for_waiting(now, place);
        }
    }

    pub(crate) fn need_key_frame(&mut self, now: Micros, feed: Feed) {
        let Self {
            peers,
            scratch,
            outbox,
            counters,
            timetable,
            ..
        } = self;
        if let Some(publisher) = &mut peers[feed.peer] {
            let track = &mut publisher.tracks[usize::from(feed.track)];
            // Sound has none, and of what is muted it would cost the publisher and reach nobody.
            if track.muted || usize::from(feed.track) == MICROPHONE {
                return;
            }
            track.need_key_frame();
            publisher.send_key_frame_requests(now, scratch, outbox, counters);
            timetable.hurry(feed.peer, now);
        }
    }
}
