//! When the pacer lets go: held repairs and pictures go out, from their publishers' stores.

use crate::clock::Micros;
use crate::counters::Count;
use crate::event::Event;
use crate::pacer::Held;
use crate::peer::Peer;
use crate::shard::Shard;

impl Shard {
    /// Sends what waits for its turn in a viewer's pacer, as far as there is room for it.
    pub(crate) fn release(&mut self, now: Micros, viewer: &mut Peer) {
        let dropped = viewer.pacer.dropped() as u64;
        self.counters.add(Count::DropHeld, dropped);
        if !viewer.pacer.is_waiting() || !viewer.ready() {
            return;
        }
        let shed = viewer.pacer.shed_old(now) as u64;
        self.counters.add(Count::DropHeldTooLong, shed);
        let probe = viewer.probe.bits_per_second();
        while viewer.pacer.may_send(now, probe) && self.outbox.room().is_some() {
            if let Some((slot, sequence)) = viewer.pacer.next_repair(now) {
                let sent = self.repair(now, viewer, slot, sequence);
                self.counters.one(sent.err().unwrap_or(Count::RtxOut));
            } else if let Some(slot) = viewer.pacer.next_anew() {
                match viewer.pacer.descends(slot) {
                    true => viewer.slots[slot].wait(),
                    false => viewer.slots[slot].begin_anew(),
                }
            } else if let Some(held) = viewer.pacer.next() {
                let sent = self.release_one(now, viewer, &held);
                self.counters.one(sent.err().unwrap_or(Count::RtpOut));
            } else {
                break;
            }
        }
    }

    /// Tells in which of a viewer's slots the first whole picture has gone out.
    pub(crate) fn tell_of_pictures(&mut self, viewer: &mut Peer) {
        let peer = viewer.id;
        for (number, slot) in viewer.slots.iter_mut().enumerate() {
            if slot.take_seen() {
                let slot = number as u8;
                self.event(Event::Picture { peer, slot });
            }
        }
    }

    fn release_one(&mut self, now: Micros, viewer: &mut Peer, held: &Held) -> Result<(), Count> {
        let Self {
            peers,
            outbox,
            clock,
            counters,
            ..
        } = self;
        let slot = held.slot;
        if held.anew {
            viewer.slots[slot].rest();
        }
        let (feed, life) = held.source;
        let track = peers
            .get(feed.peer)
            .and_then(Option::as_ref)
            .and_then(|publisher| publisher.tracks.get(usize::from(feed.track)));
        // Muted is muted at once, whatever was still on its way.
        if track.map_or(false, |track| track.muted) {
            return Err(Count::DropMuted);
        }
        let packet = track
            .and_then(|track| track.layers.get(usize::from(feed.layer)))
            .filter(|layer| layer.life == life)
            .and_then(|layer| layer.store.get(held.sequence));
        match packet {
            Some(packet) => {
                let late = viewer.pacer.is_late(slot, now.saturating_sub(held.since));
                viewer.slots[slot].hurry(late);
                let waited = viewer.slots[slot].waits_for_key_frame();
                viewer.forward_now(now, clock, slot, held.source, &packet, outbox)?;
                counters.add(
                    Count::Switches,
                    u64::from(waited && !viewer.slots[slot].waits_for_key_frame()),
                );
                Ok(())
            }
            None => {
                // What follows refers to it.
                if viewer.slots[slot].showing() == Some(held.source) {
                    viewer.slots[slot].begin_anew();
                }
                Err(Count::DropHeldTooLong)
            }
        }
    }
}
