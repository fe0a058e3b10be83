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
use crate::peer::{Peer, CONNECTED};
use crate::rng::Rng;
use crate::rtp;
use crate::strangers::Strangers;

/// Peers of one shard; more are refused (Python spreads rooms over shards long before).
const MAX_PEERS: usize = 4096;
/// With so many datagrams on their way out they are sent before more are made.
pub const HALF_FULL: usize = MAX_DATAGRAMS / 2;

pub struct Shard {
    pub(crate) peers: Vec<Option<Box<Peer>>>,
    by_id: HashMap<PeerId, usize>,
    pub(crate) by_address: HashMap<Address, usize, Keyed>,
    by_ufrag: HashMap<String, usize>,
    /// Media SSRC to the peer that sends it, for packets from a new address.
    pub(crate) by_ssrc: HashMap<u32, usize, Keyed>,
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

    pub(crate) fn place_of(&self, id: PeerId) -> Option<usize> {
        self.by_id.get(&id).copied()
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
