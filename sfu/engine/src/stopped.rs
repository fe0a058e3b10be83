//! Layers that their encoder has stopped, by what came first-hand of them and of the others.

use crate::clock::Micros;
use crate::command::TRACKS;
use crate::layer::Layer;
use crate::packet::Feed;
use crate::shard::Shard;
use crate::track::Track;

/// A layer of which nothing has come for so long, while others of its track have, was stopped, if its encoder needn't
/// have made up for a key frame meanwhile: one that is asked for another then makes up for that too, and so on. A picture
/// that is seen again after it and a round trip has stood still for less than half a second.
const STOPPED: Micros = 250_000;

impl Shard {
    /// An encoder stops a layer when its uplink has no room for it, from the top. Who watches it takes what comes of
    /// the others, long before it counts as gone, and nothing of it is asked for again: that would take the room of what
    /// still comes. The lowest only leaves frames out, when it is asked to be small.
    pub(crate) fn leave_stopped_layers(&mut self, now: Micros, place: usize) {
        for number in 0..TRACKS {
            let track = match &self.peers[place] {
                Some(peer) => &peer.tracks[number],
                None => return,
            };
            let newest = newest(track);
            if now >= newest + STOPPED {
                continue;
            }
            let layers: Vec<usize> = (1..track.layers.len())
                .filter(|&layer| has_stopped(&track.layers[layer], newest))
                .collect();
            for layer in layers {
                let feed = Feed {
                    peer: place,
                    track: number as u8,
                    layer: layer as u8,
                };
                self.leave(feed);
            }
        }
    }

    /// Whether nothing comes of a feed any more, while other layers of its track do.
    pub(crate) fn has_stopped(&self, now: Micros, feed: Feed) -> bool {
        let track = self.peers[feed.peer]
            .as_ref()
            .map(|peer| &peer.tracks[usize::from(feed.track)]);
        track.map_or(false, |track| {
            let layer = track.layers.get(usize::from(feed.layer));
            let newest = newest(track);
            now < newest + STOPPED && layer.map_or(false, |layer| has_stopped(layer, newest))
        })
    }

    fn leave(&mut self, feed: Feed) {
        let listeners = match &mut self.peers[feed.peer] {
            Some(peer) => {
                let track = &mut peer.tracks[usize::from(feed.track)];
                track.layers[usize::from(feed.layer)].gaps.forget();
                track.listeners.clone()
            }
            None => return,
        };
        for (viewer, slot) in listeners {
            if let Some(peer) = &mut self.peers[viewer] {
                if peer.slots[slot].leave(feed) {
                    // It asks for a key frame at once.
                    self.timetable.hurry(viewer, 0);
                }
            }
        }
    }
}

/// When a packet of any layer last came first-hand.
fn newest(track: &Track) -> Micros {
    track.layers.iter().map(|layer| layer.last_sent).max().unwrap_or(0)
}

fn has_stopped(layer: &Layer, newest: Micros) -> bool {
    layer.alive && newest >= (layer.last_sent + STOPPED).max(layer.ahead.until())
}
