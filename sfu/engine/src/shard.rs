//! The shard: all peers of one UDP port, without I/O. Datagrams, commands and the time go in; datagrams, events
//! and figures come out.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use crate::address::Address;
use crate::clock::{Micros, ServerClock};
use crate::command::{AddPeer, Command, PeerId};
use crate::counters::{Count, Counters};
use crate::demux::{protocol, Protocol};
use crate::due::Timetable;
use crate::event::{Consent, Event, Events};
use crate::hash::Keyed;
use crate::layer::SILENCE;
use crate::outbox::{Outbox, MAX_DATAGRAMS};
use crate::packet::{Feed, Packet};
use crate::peer::{Peer, CONNECTED};
use crate::rng::Rng;
use crate::rtp;
use crate::strangers::Strangers;
use crate::track::{Track, MICROPHONE};

/// Peers of one shard; more are refused (Python spreads rooms over shards long before).
const MAX_PEERS: usize = 4096;
/// With so many datagrams on their way out they are sent before more are made.
pub const HALF_FULL: usize = MAX_DATAGRAMS / 2;
/// How often a slot that waits for a key frame asks again.
const ASK_AGAIN: Micros = 500_000;

pub struct Shard {
    pub(crate) peers: Vec<Option<Box<Peer>>>,
    by_id: HashMap<PeerId, usize>,
    pub(crate) by_address: HashMap<Address, usize, Keyed>,
    by_ufrag: HashMap<String, usize>,
    /// Media SSRC to the peer that sends it, for packets from a new address.
    by_ssrc: HashMap<u32, usize, Keyed>,
    pub(crate) timetable: Timetable,
    grain: usize,
    /// Where a tick that filled the outbox ended: the next one begins there, or who comes last would never be visited.
    tick_from: usize,
    pub(crate) clock: ServerClock,
    rng: Rng,
    pub(crate) strangers: Strangers,
    pub(crate) scratch: Vec<u8>,
    pub outbox: Outbox,
    pub events: Events,
    pub counters: Counters,
}

impl Shard {
    /// `seed` decides all randomness; `ntp_at_start` is the wall clock, as an NTP timestamp, when `now` was 0.
    pub fn new(seed: [u8; 16], ntp_at_start: u64) -> Self {
        let mut rng = Rng::new(seed);
        let keyed = Keyed::new(|bytes| rng.fill(bytes));
        Self {
            strangers: Strangers::new(&mut rng),
            peers: Vec::new(),
            by_id: HashMap::new(),
            by_address: HashMap::with_hasher(keyed),
            by_ufrag: HashMap::new(),
            by_ssrc: HashMap::with_hasher(keyed),
            timetable: Timetable::default(),
            grain: 1,
            tick_from: 0,
            clock: ServerClock { ntp_at_start },
            rng,
            scratch: Vec::with_capacity(2048),
            outbox: Outbox::default(),
            events: Events::default(),
            counters: Counters::default(),
        }
    }

    /// Pads pictures' packets for peers that come from now on to multiples of `grain` bytes, a power of two below 256, so
    /// that more of them are equally long; 1: not at all.
    pub fn round_sizes(&mut self, grain: usize) {
        self.grain = grain;
    }

    pub fn command(&mut self, now: Micros, command: Command) {
        match command {
            Command::AddPeer(offer) => self.add_peer(now, *offer),
            Command::RemovePeer { peer } => self.remove_peer(peer),
            Command::RestartIce { peer, local, remote } => {
                if let Some((place, peer)) = self.find(peer) {
                    let ufrag = local.ufrag().to_string();
                    peer.ice.restart(&local, &remote);
                    peer.ufrags.push(ufrag.clone());
                    let agent = &peer.ice;
                    let (known, stale): (Vec<_>, Vec<_>) = peer.ufrags.drain(..).partition(|u| agent.knows_ufrag(u));
                    peer.ufrags = known;
                    for old in stale {
                        self.by_ufrag.remove(&old);
                    }
                    self.by_ufrag.insert(ufrag, place);
                }
            }
            Command::SetKeys { peer, keys } => {
                if let Some((place, peer)) = self.find(peer) {
                    peer.set_keys(&keys);
                    self.ask_for_waiting(now, place);
                }
            }
            Command::SendDtls { peer, datagram } => self.send_dtls(peer, &datagram),
            Command::Show {
                viewer,
                slot,
                publisher,
                track,
                layer,
                temporal,
                asks,
            } => {
                self.show(now, viewer, slot, (publisher, track, layer), temporal, asks);
            }
            Command::Mute { peer, track, muted } => self.mute(peer, track, muted),
            Command::SetSound { peer, mode } => {
                if let Some((_, peer)) = self.find(peer) {
                    peer.ways.set(mode);
                }
            }
            Command::SetTarget { peer, bits_per_second } => {
                if let Some((_, peer)) = self.find(peer) {
                    peer.pacer.set_target(now, bits_per_second);
                }
            }
            Command::Probe {
                peer,
                id,
                bits_per_second,
                milliseconds,
            } => {
                if let Some((_, peer)) = self.find(peer) {
                    peer.probe.start(now, id, bits_per_second, milliseconds);
                }
            }
        }
    }

    /// Takes one datagram; its bytes are used as scratch.
    pub fn datagram(&mut self, now: Micros, from: Address, bytes: &mut [u8]) {
        self.counters.one(Count::PacketsIn);
        self.counters.add(Count::BytesIn, bytes.len() as u64);
        match protocol(bytes) {
            Protocol::Stun => self.stun(now, from, bytes),
            Protocol::Dtls => self.dtls(now, from, bytes),
            Protocol::Rtp => self.rtp(now, from, bytes),
            Protocol::Rtcp => self.rtcp(now, from, bytes),
            Protocol::Unknown => self.counters.one(Count::DropUnknownProtocol),
        }
    }

    /// Does what time brings; to be called at `next_deadline`, or each 10 ms or so. Where it fills the outbox, the rest
    /// is due at once.
    pub fn tick(&mut self, now: Micros) {
        let mut from = std::mem::take(&mut self.tick_from);
        while let Some(place) = self.timetable.next(from, now) {
            if self.outbox.waiting() >= HALF_FULL {
                self.tick_from = place;
                return;
            }
            from = place + 1;
            if let Some(mut peer) = self.peers[place].take() {
                self.tick_peer(now, &mut peer);
                self.timetable.set(place, peer.due(now));
                self.peers[place] = Some(peer);
                self.ask_again(now, place);
                self.leave_stopped_layers(now, place);
            }
        }
        self.timetable.look_up();
    }

    /// When `tick` next has something to do.
    pub fn next_deadline(&self) -> Micros {
        self.timetable.soonest()
    }

    pub(crate) fn all_peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().flatten().map(|peer| &**peer)
    }

    pub fn peers(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn find(&mut self, id: PeerId) -> Option<(usize, &mut Peer)> {
        let place = *self.by_id.get(&id)?;
        self.timetable.hurry(place, 0);
        self.peers[place].as_deref_mut().map(|peer| (place, peer))
    }

    pub(crate) fn event(&mut self, event: Event) {
        if !self.events.push(event) {
            self.counters.one(Count::DropEventQueueFull);
        }
    }

    fn add_peer(&mut self, now: Micros, offer: AddPeer) {
        if self.by_id.len() >= MAX_PEERS || self.by_id.contains_key(&offer.peer) {
            return;
        }
        let id = offer.peer;
        let mut peer = Box::new(Peer::new(offer, now, &mut self.rng));
        peer.grain = self.grain;
        let place = match self.peers.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                self.peers.push(None);
                self.peers.len() - 1
            }
        };
        self.by_id.insert(id, place);
        self.by_ufrag.insert(peer.ufrags[0].clone(), place);
        self.timetable.hurry(place, now);
        self.peers[place] = Some(peer);
    }

    fn remove_peer(&mut self, id: PeerId) {
        let place = match self.by_id.remove(&id) {
            Some(place) => place,
            None => return,
        };
        if let Some(gone) = self.peers[place].take() {
            remove_all(&mut self.by_address, gone.addresses.iter(), place);
            remove_all(&mut self.by_ufrag, gone.ufrags.iter(), place);
            remove_all(&mut self.by_ssrc, gone.streams.keys(), place);
        }
        self.timetable.clear(place);
        for peer in self.peers.iter_mut().flatten() {
            for track in &mut peer.tracks {
                track.listeners.retain(|(viewer, _)| *viewer != place);
            }
            for (number, slot) in peer.slots.iter_mut().enumerate() {
                if slot.wanted().map_or(false, |feed| feed.peer == place) {
                    peer.pacer.forget(number);
                    peer.ways.forget(number);
                }
                slot.forget(place);
            }
        }
    }

    fn show(&mut self, now: Micros, viewer: PeerId, slot: u8, of: (PeerId, u8, u8), temporal: u8, asks: bool) {
        let (publisher, track, layer) = of;
        let number = usize::from(slot);
        let from = self.by_id.get(&publisher).copied();
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

    fn mute(&mut self, peer: PeerId, track: u8, muted: bool) {
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

    fn ask_again(&mut self, now: Micros, place: usize) {
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

    fn tick_peer(&mut self, now: Micros, peer: &mut Peer) {
        let Self {
            rng,
            outbox,
            counters,
            scratch,
            clock,
            ..
        } = self;
        let mut full = 0;
        peer.ice.poll(now, &mut |bytes| rng.fill(bytes), &mut |to, check| {
            full += u64::from(!outbox.push(to, check));
        });
        counters.add(Count::DropOutboxFull, full);
        let consent = peer.keep_consent(now);
        if peer.ready() {
            peer.send_due(now, clock, scratch, outbox, counters);
            peer.send_waiting_sound(now, clock, outbox, counters);
        }
        self.release(now, peer);
        self.tell_of_pictures(peer);
        peer.send_padding(now, &self.clock, &mut self.outbox, &mut self.counters);
        if let Some(what) = consent {
            self.counters.add(Count::ConsentLost, u64::from(what == Consent::Lost));
            self.event(Event::Transport { peer: peer.id, what });
        }
        let connected = peer.srtp_in.is_some() && now < peer.last_received + CONNECTED;
        if connected != peer.connected {
            peer.connected = connected;
            self.counters.add(Count::MediaLost, u64::from(!connected));
            let id = peer.id;
            self.event(Event::Connection { peer: id, connected });
        }
        let id = peer.id;
        for (t, track) in peer.tracks.iter_mut().enumerate() {
            for (l, layer) in track.layers.iter_mut().enumerate() {
                if layer.alive && now > (layer.last_packet + SILENCE).max(layer.ahead.until()) {
                    layer.alive = false;
                    layer.store.forget();
                }
                // Never for each packet: a publisher may change its size or SSRC with every one.
                if let Some((alive, size)) = layer.news(now) {
                    self.event(layer_event(id, t, l, alive, size));
                }
            }
            if track.layers.iter().all(|layer| !layer.alive) {
                track.loudness = 0.0;
            }
        }
    }

    fn send_dtls(&mut self, id: PeerId, datagram: &[u8]) {
        let to = self.find(id).and_then(|(_, peer)| peer.ice.dtls_to());
        match to {
            Some(to) if self.outbox.push(to, datagram) => {}
            Some(_) => self.counters.one(Count::DropOutboxFull),
            None => self.counters.one(Count::DropNotConnected),
        }
    }

    fn dtls(&mut self, now: Micros, from: Address, bytes: &[u8]) {
        self.counters.one(Count::DtlsIn);
        let place = match self.by_address.get(&from) {
            Some(place) => *place,
            None => return self.counters.one(Count::DropUnknownAddress),
        };
        let passed = match self.peers[place].as_deref_mut() {
            None => Err(Count::DropUnknownAddress),
            Some(peer) => {
                if !peer.ice.on_dtls(from) {
                    Err(Count::DropDtlsAddress)
                } else if !peer.take_dtls(now) {
                    Err(Count::DropDtlsRate)
                } else {
                    Ok(peer.id)
                }
            }
        };
        match passed {
            Ok(peer) => self.event(Event::Dtls {
                peer,
                datagram: bytes.to_vec(),
            }),
            Err(reason) => self.counters.one(reason),
        }
    }

    fn rtp(&mut self, now: Micros, from: Address, bytes: &mut [u8]) {
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

    /// Whose packet this is: by its address (then `true` beside it), else, where a NAT has rebound, by its SSRC; the
    /// keys have the last word.
    pub(crate) fn sender_of(&mut self, now: Micros, from: Address, bytes: &[u8]) -> Result<(usize, bool), Count> {
        if let Some(&place) = self.by_address.get(&from) {
            let allowed = self.peer_mut(place).map_or(true, |peer| peer.take_packet(now));
            return if allowed {
                Ok((place, true))
            } else {
                Err(Count::DropPeerRate)
            };
        }
        let ssrc = rtp::ssrc(bytes).ok_or(Count::DropUnknownAddress)?;
        let place = *self.by_ssrc.get(&ssrc).ok_or(Count::DropUnknownAddress)?;
        if self.may_try(now, from, place, false) {
            Ok((place, false))
        } else {
            Err(Count::DropStrangerRate)
        }
    }

    /// Counts a packet that went no further; `known`: it came from its peer's address.
    pub(crate) fn refuse(&mut self, now: Micros, from: Address, known: bool, reason: Count) {
        if !known && matches!(reason, Count::DropAuthentication | Count::DropReplay) {
            self.strangers.failed(now, from.ip());
        }
        self.counters.one(reason);
    }

    pub(crate) fn place_of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(crate) fn place_of_address(&self, from: Address) -> Option<usize> {
        self.by_address.get(&from).copied()
    }

    pub(crate) fn path_chosen(&mut self, now: Micros, place: usize) {
        if let Some(peer) = &mut self.peers[place] {
            peer.meter.forget_delays();
            let id = peer.id;
            self.event(Event::Path { peer: id });
        }
        self.ask_for_waiting(now, place);
    }

    pub(crate) fn peer(&self, place: usize) -> Option<&Peer> {
        self.peers.get(place)?.as_deref()
    }

    pub(crate) fn peer_mut(&mut self, place: usize) -> Option<&mut Peer> {
        self.timetable.hurry(place, 0);
        self.peers.get_mut(place)?.as_deref_mut()
    }

    pub(crate) fn take_peer(&mut self, place: usize) -> Option<Box<Peer>> {
        self.peers.get_mut(place)?.take()
    }

    pub(crate) fn put_peer(&mut self, place: usize, peer: Box<Peer>) {
        self.timetable.hurry(place, 0);
        self.peers[place] = Some(peer);
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

    pub(crate) fn server_clock(&self) -> ServerClock {
        self.clock
    }
}

/// Removes those of `keys` that lead to `place`.
fn remove_all<'a, K: Eq + Hash + 'a, S: BuildHasher>(
    table: &mut HashMap<K, usize, S>,
    keys: impl Iterator<Item = &'a K>,
    place: usize,
) {
    for key in keys {
        if table.get(key) == Some(&place) {
            table.remove(key);
        }
    }
}

fn layer_event(peer: PeerId, track: usize, layer: usize, alive: bool, size: (u16, u16)) -> Event {
    Event::Layer {
        peer,
        track: track as u8,
        layer: layer as u8,
        alive,
        width: size.0,
        height: size.1,
    }
}
