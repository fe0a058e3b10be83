//! One participant's transport: its ICE agent, keys, what it sends and the slots it receives into.

use std::collections::HashMap;

use crate::address::Address;
use crate::bucket::{Bucket, Rate};
use crate::clock::{Micros, PublisherClock};
use crate::command::{AddPeer, Keys, Kind, PeerId, EXTENSIONS, TRACKS};
use crate::counters::{Count, Counters};
use crate::event::Consent;
use crate::hash::Keyed;
use crate::history::History;
use crate::ice::Agent;
use crate::meter::Meter;
use crate::outbox::Outbox;
use crate::pacer::Pacer;
use crate::packet::{Codec, PayloadTable};
use crate::patience::Patience;
use crate::probe::Probe;
use crate::reports::SlotReception;
use crate::resend::Resends;
use crate::rng::Rng;
use crate::round_trip::RoundTrip;
use crate::slot::Slot;
use crate::sound::Ways;
use crate::srtp;
use crate::track::Track;
use crate::twcc::Arrivals;

/// Streams one peer may have: three tracks of three layers with RTX, and as many again after changes.
const MAX_STREAMS: usize = 32;
/// Handshake datagrams of one peer a second: a ClientHello has two, a lost flight repeats.
const DTLS_PER_SECOND: u32 = 50;
/// "connected" in the contract: something authentic came within.
pub const CONNECTED: Micros = 5_000_000;

/// RFC 7675, section 5.1.
const CONSENT: Micros = 30_000_000;
/// Checks and packets from unknown addresses that are tried against a peer's keys (a NAT that rebinds).
const ATTEMPTS: Rate = Rate {
    burst: 100,
    every: 10_000,
};
/// Those that are tried although their address has got too much wrong: somebody else behind it may have.
const RESERVE: Rate = Rate {
    burst: 5,
    every: 200_000,
};
/// Checks from a peer's own addresses; browsers send some ten a second at most.
const CHECKS: Rate = Rate {
    burst: 100,
    every: 20_000,
};
/// Packets from a peer's own addresses, before any cryptography: a browser with camera, screen and probes sends some
/// 1,500 a second at its busiest, and a network may hold a second of them back.
const PACKETS: Rate = Rate {
    burst: 10_000,
    every: 100,
};
/// Repairs one peer may ask for in an interval: more is no repair but a flood.
const MAX_REPAIRS: usize = 256;
const REPAIR_INTERVAL: Micros = 50_000;

/// What an SSRC of a peer is, once learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub track: usize,
    pub layer: usize,
    pub rtx: bool,
}

pub struct Peer {
    pub id: PeerId,
    pub ice: Agent,
    /// Addresses in the shard's table that lead here.
    pub addresses: Vec<Address>,
    /// User fragments in the shard's table that lead here.
    pub ufrags: Vec<String>,
    pub srtp_in: Option<srtp::Receiver>,
    srtp_out: Option<srtp::Sender>,
    pub payloads: PayloadTable,
    pub extensions: [u8; EXTENSIONS],
    /// Pictures' packets are padded to multiples of so many bytes.
    pub grain: usize,
    pub tracks: [Track; TRACKS],
    pub streams: HashMap<u32, Stream, Keyed>,
    pub slots: Vec<Slot>,
    pub resends: Vec<Resends>,
    /// By slot, as `resends`.
    pub patience: Vec<Patience>,
    pub ways: Ways,
    pub clock: PublisherClock,
    pub arrivals: Arrivals,
    pub feedback_at: Micros,
    pub reports_at: Micros,
    /// What was sent, by transport-cc number.
    pub history: History,
    pub meter: Meter,
    pub probe: Probe,
    pub pacer: Pacer,
    /// What was last said of each slot's reception.
    pub receptions: Vec<SlotReception>,
    pub round_trip: RoundTrip,
    pub last_received: Micros,
    pub connected: bool,
    /// The connection that more waits for than it takes.
    pub backlogged: Option<Address>,
    /// Something was heard from where media goes, within `CONSENT`.
    consent: bool,
    attempts: Bucket,
    reserve: Bucket,
    checks: Bucket,
    packets: Bucket,
    repairs: (Micros, usize),
    dtls_second: Micros,
    dtls_count: u32,
    /// Sender SSRC of feedback and reports without media.
    pub rtcp_ssrc: u32,
}

impl Peer {
    pub fn new(offer: AddPeer, now: Micros, rng: &mut Rng) -> Self {
        let ufrag = offer.local.ufrag().to_string();
        let mut streams = HashMap::with_hasher(Keyed::new(|bytes| rng.fill(bytes)));
        for (number, track) in offer.tracks.iter().enumerate() {
            // Where there are rids, the order of declared SSRCs says nothing about layers.
            if let (true, Some(&(primary, rtx))) = (track.rids.is_empty(), track.ssrcs.first()) {
                streams.insert(
                    primary,
                    Stream {
                        track: number,
                        layer: 0,
                        rtx: false,
                    },
                );
                if rtx != 0 {
                    streams.insert(
                        rtx,
                        Stream {
                            track: number,
                            layer: 0,
                            rtx: true,
                        },
                    );
                }
            }
        }
        let slots: Vec<Slot> = offer
            .slots
            .into_iter()
            .map(|s| {
                let rtx = if s.rtx_ssrc == 0 { None } else { Some(s.rtx_ssrc) };
                Slot::new(
                    s.kind,
                    s.mid,
                    s.ssrc,
                    rtx,
                    rng.u32() as u16,
                    rng.u32() as u16,
                    rng.u32(),
                )
            })
            .collect();
        let mut number = 0;
        Self {
            id: offer.peer,
            ice: Agent::new(&offer.local, &offer.remote),
            addresses: Vec::new(),
            ufrags: vec![ufrag],
            srtp_in: None,
            srtp_out: None,
            payloads: PayloadTable::new(&offer.payloads),
            extensions: offer.extensions,
            grain: 1,
            tracks: offer.tracks.map(|track| {
                number += 1;
                Track::new(number - 1, track)
            }),
            streams,
            ways: Ways::new(slots.len()),
            pacer: Pacer::new(slots.len()),
            receptions: slots.iter().map(|_| SlotReception::default()).collect(),
            patience: vec![Patience::default(); slots.len()],
            resends: slots.iter().map(|slot| Resends::new(slot.kind)).collect(),
            slots,
            clock: PublisherClock::default(),
            arrivals: Arrivals::new(),
            feedback_at: now,
            reports_at: now,
            history: History::default(),
            meter: Meter::default(),
            probe: Probe::default(),
            round_trip: RoundTrip::default(),
            last_received: now,
            connected: false,
            backlogged: None,
            consent: true,
            attempts: Bucket::default(),
            reserve: Bucket::default(),
            checks: Bucket::default(),
            packets: Bucket::default(),
            repairs: (now, 0),
            dtls_second: now,
            dtls_count: 0,
            rtcp_ssrc: rng.u32() | 1,
        }
    }

    /// Takes the handshake's keys; a later handshake over the same peer replaces them.
    pub fn set_keys(&mut self, keys: &Keys) -> bool {
        let receiver = srtp::Receiver::new(keys.profile, &keys.rx_key, &keys.rx_salt);
        let sender = srtp::Sender::new(keys.profile, &keys.tx_key, &keys.tx_salt);
        match (receiver, sender) {
            (Ok(receiver), Ok(sender)) => {
                self.srtp_in = Some(receiver);
                self.srtp_out = Some(sender);
                true
            }
            _ => false,
        }
    }

    /// Where to, and with what: `None` until ICE and DTLS are done.
    pub fn path(&mut self) -> Option<(Address, &mut srtp::Sender)> {
        let to = self.ice.selected().filter(|_| self.consent)?;
        self.srtp_out.as_mut().map(|srtp| (to, srtp))
    }

    pub fn ready(&self) -> bool {
        self.srtp_out.is_some() && self.consent && self.ice.selected().is_some()
    }

    /// Whether a picture would only wait there.
    pub fn is_backlogged(&self) -> bool {
        self.backlogged.is_some() && self.backlogged == self.ice.selected()
    }

    /// All slots begin anew with what comes next, without a gap.
    pub fn rest(&mut self) {
        self.slots.iter_mut().for_each(Slot::rest);
        self.pacer.clear();
    }

    /// Stops media to where nothing comes from any more; afterwards all slots begin anew. Says when it has changed.
    pub fn keep_consent(&mut self, now: Micros) -> Option<Consent> {
        let consent = self.ice.selected().is_none() || self.ice.heard(now, CONSENT);
        if consent == self.consent {
            return None;
        }
        self.consent = consent;
        if consent {
            return Some(Consent::Regained);
        }
        self.rest();
        Some(Consent::Lost)
    }

    /// Counts in a check or packet of an unknown address that may be this peer's. `trusted`: the address has not got
    /// too much wrong of late.
    pub fn take_attempt(&mut self, now: Micros, trusted: bool) -> bool {
        self.attempts.has(now, ATTEMPTS)
            && (trusted || self.reserve.take(now, RESERVE))
            && self.attempts.take(now, ATTEMPTS)
    }

    /// Counts in a check of a known address.
    pub fn take_check(&mut self, now: Micros) -> bool {
        self.checks.take(now, CHECKS)
    }

    /// Counts in a packet from a known address.
    #[inline]
    pub fn take_packet(&mut self, now: Micros) -> bool {
        self.packets.take(now, PACKETS)
    }

    /// Counts in a request for a repair.
    pub fn take_repair(&mut self, now: Micros) -> bool {
        if now >= self.repairs.0 + REPAIR_INTERVAL {
            self.repairs = (now, 0);
        }
        self.repairs.1 += 1;
        self.repairs.1 <= MAX_REPAIRS
    }

    /// Counts a handshake datagram in; `false` when there are too many this second.
    pub fn take_dtls(&mut self, now: Micros) -> bool {
        if now >= self.dtls_second + 1_000_000 {
            self.dtls_second = now;
            self.dtls_count = 0;
        }
        self.dtls_count += 1;
        self.dtls_count <= DTLS_PER_SECOND
    }

    /// An authenticated packet came from `from`.
    pub fn on_authentic(&mut self, now: Micros, from: Address) {
        self.last_received = now;
        self.ice.on_media(now, from);
    }

    pub fn learn(&mut self, ssrc: u32, stream: Stream) -> bool {
        if self.streams.len() >= MAX_STREAMS {
            return false;
        }
        self.streams.insert(ssrc, stream);
        true
    }

    /// Payload type for `codec` as this peer numbers it.
    pub fn payload_type(&self, codec: Codec) -> Option<u8> {
        self.payloads.of(codec)
    }

    /// Seals a compound and puts it on its way.
    pub fn send_rtcp(&mut self, compound: &[u8], outbox: &mut Outbox, counters: &mut Counters) {
        let sent = self.seal_rtcp(compound, outbox);
        counters.one(sent.err().unwrap_or(Count::RtcpOut));
    }

    fn seal_rtcp(&mut self, compound: &[u8], outbox: &mut Outbox) -> Result<(), Count> {
        let (to, srtp) = self.path().ok_or(Count::DropNotConnected)?;
        let room = outbox.room().ok_or(Count::DropOutboxFull)?;
        if compound.len() + 64 > room.len() {
            return Err(Count::DropTooLarge);
        }
        room[..compound.len()].copy_from_slice(compound);
        let len = srtp.seal_rtcp(room, compound.len()).map_err(|_| Count::DropSeal)?;
        outbox.commit(to, len);
        Ok(())
    }

    pub fn slot_of(&self, ssrc: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.ssrc == ssrc)
    }

    pub fn is_audio(&self, slot: usize) -> bool {
        self.slots[slot].kind == Kind::Audio
    }
}
