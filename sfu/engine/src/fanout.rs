//! From a publisher's packet to all who listen to it, at once or when they ask for it again.

use crate::address::Address;
use crate::clock::Micros;
use crate::counters::Count;
use crate::packet::{Feed, Packet};
use crate::peer::Peer;
use crate::rtp;
use crate::shard::Shard;
use crate::track::Track;

impl Shard {
    pub(crate) fn rtp(&mut self, now: Micros, from: Address, bytes: &mut [u8]) {
        self.counters.one(Count::RtpIn);
        let (place, known) = match self.sender_of(now, from, bytes) {
            Ok(found) => found,
            Err(reason) => return self.counters.one(reason),
        };
        let mut peer = match self.peers[place].take() {
            Some(peer) => peer,
            None => return,
        };
        if let Err(reason) = self.take_rtp(now, place, &mut peer, from, bytes) {
            self.refuse(now, from, known, reason);
        }
        self.peers[place] = Some(peer);
        if !known {
            self.learn_addresses(now, place);
        }
    }

    fn take_rtp(
        &mut self,
        now: Micros,
        place: usize,
        peer: &mut Peer,
        from: Address,
        bytes: &mut [u8],
    ) -> Result<(), Count> {
        let ssrc = rtp::ssrc(bytes).ok_or(Count::DropRtpMalformed)?;
        let arrived = peer.ingest(now, from, bytes, &mut self.counters)?;
        // Whoever had it first keeps it: a participant who picks another's SSRC must not take its packets away.
        self.by_ssrc.entry(ssrc).or_insert(place);
        let track = &peer.tracks[arrived.track];
        let layer = &track.layers[arrived.layer];
        self.timetable.hurry(place, layer.due());
        if peer.feedback_at <= now {
            self.timetable.hurry(place, now);
        }
        // A repair of what was muted may come when it no longer is.
        if track.muted || arrived.packet.sequence <= layer.hidden {
            return Err(Count::DropMuted);
        }
        if track.listeners.is_empty() {
            return Err(Count::DropNoListener);
        }
        if arrived.packet.picture.is_awaited() {
            let round_trip = peer.round_trip.get();
            let track = &mut peer.tracks[arrived.track];
            if track.layers[arrived.layer].templates_are_due(now, round_trip) {
                track.need_key_frame();
                self.timetable.hurry(place, now);
            }
            return Err(Count::DropAwaitingTemplates);
        }
        let feed = Feed {
            peer: place,
            track: arrived.track as u8,
            layer: arrived.layer as u8,
        };
        let source = (feed, arrived.life);
        if arrived.red.is_some() {
            let recovered = peer.recover(now, &arrived);
            let track = &peer.tracks[arrived.track];
            let hidden = track.layers[arrived.layer].hidden;
            for packet in recovered.iter().rev().flatten().filter(|p| p.sequence > hidden) {
                self.counters.one(Count::RedRecovered);
                self.fan_out(now, track, source, packet, true);
            }
        }
        let track = &peer.tracks[arrived.track];
        // Sound begins with the newest: behind an older one the rest would seem to be lost.
        let newest = track.layers[arrived.layer].unwrapper.newest();
        let late = arrived.packet.codec.is_audio() && Some(arrived.packet.sequence) < newest;
        self.fan_out(now, track, source, &arrived.packet, late);
        if arrived.packet.picture.templates {
            peer.tracks[arrived.track].layers[arrived.layer].settle_late(arrived.packet.sequence);
        }
        Ok(())
    }

    /// Sends one packet to all who listen. `late`: it is an earlier one than has come, and begins nothing.
    fn fan_out(&mut self, now: Micros, track: &Track, source: (Feed, u32), packet: &Packet<'_>, late: bool) {
        let Self {
            peers,
            outbox,
            counters,
            clock,
            timetable,
            ..
        } = self;
        for &(place, slot) in &track.listeners {
            if let Some(viewer) = &mut peers[place] {
                let waited = viewer.slots[slot].waits_for_key_frame();
                let showed = if waited { viewer.shows_at_last(slot) } else { None };
                if waited && late {
                    counters.one(Count::DropBeforeSwitch);
                    continue;
                }
                // Chromium sends the largest VP8 layer first: who wants a smaller one has it a moment later.
                let below = viewer.slots[slot].wants_below(source.0);
                if waited && showed.is_none() && below.map_or(false, |layer| track.layers[layer].alive) {
                    counters.one(Count::DropAwaitingKeyFrame);
                    continue;
                }
                let sent = if packet.codec.is_audio() {
                    viewer.forward_sound(now, clock, slot, source, packet, outbox, counters)
                } else {
                    viewer.forward(now, clock, slot, source, packet, outbox)
                };
                counters.one(sent.err().unwrap_or(Count::RtpOut));
                if let Some(at) = viewer.held_until(now) {
                    timetable.hurry(place, at);
                }
                if viewer.slots[slot].is_seen() {
                    timetable.hurry(place, 0);
                }
                match (waited, viewer.slots[slot].waits_for_key_frame()) {
                    (true, false) => counters.one(Count::Switches),
                    // It has begun anew, and asks for a key frame at once.
                    (false, true) => timetable.hurry(place, 0),
                    _ => {}
                }
                let begun = waited && viewer.shows_at_last(slot) != showed;
                if begun || packet.picture.templates {
                    // A key frame whose first packet was late: the rest of it, and what followed, has come before.
                    let store = &track.layers[usize::from(source.0.layer)].store;
                    let later = (packet.sequence + 1..=store.newest()).filter_map(|sequence| store.get(sequence));
                    for later in later.filter(|later| later.picture.goes_on(begun)) {
                        let sent = viewer.forward(now, clock, slot, source, &later, outbox);
                        counters.one(sent.err().unwrap_or(Count::RtpOut));
                    }
                }
            }
        }
    }

    /// What a viewer needs of a publisher to repair a loss.
    pub(crate) fn repair(&mut self, now: Micros, viewer: &mut Peer, slot: usize, sequence: u16) -> Result<(), Count> {
        let Self {
            peers, outbox, clock, ..
        } = self;
        let (feed, life, number) = match viewer.slots[slot].trace(sequence) {
            Some(found) => found,
            None => return viewer.fill(now, clock, slot, sequence, outbox),
        };
        let layer = peers
            .get(feed.peer)
            .and_then(Option::as_ref)
            .and_then(|p| p.tracks.get(usize::from(feed.track)))
            .and_then(|t| t.layers.get(usize::from(feed.layer)))
            .filter(|layer| layer.life == life)
            .ok_or(Count::DropResendUnavailable)?;
        let packet = layer.store.get(number).filter(|packet| !packet.picture.is_awaited());
        let packet = packet.ok_or(Count::DropResendUnavailable)?;
        viewer.repair(now, clock, slot, (feed, life), &packet, outbox)
    }
}
