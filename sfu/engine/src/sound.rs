//! Sound on its way from a source's packet to a viewer's datagram, and once more where it was lost.

use crate::clock::{Micros, ServerClock};
use crate::counters::Count;
use crate::egress::{Envelope, Role};
use crate::outbox::Outbox;
use crate::packet::{Feed, Packet};
use crate::peer::Peer;
use crate::shard::Shard;

impl Peer {
    /// Sends a sound packet of `source` (a feed in its life) in slot number `slot`, if the slot shows it.
    ///
    /// Errors: why it was not sent.
    pub fn forward_sound(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        source: (Feed, u32),
        packet: &Packet<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        if !self.ready() {
            return Err(Count::DropNotConnected);
        }
        let payload_type = self.payload_type(packet.codec).ok_or(Count::DropCodecNotOffered)?;
        // Before the slot gives it a number: numbers that are never sent lead a receiver astray.
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let switches = self.slots[slot].waits_for_key_frame();
        let rewritten = self.slots[slot].accept(source.0, source.1, packet)?;
        let envelope = Envelope {
            role: Role::Media,
            ssrc: self.slots[slot].ssrc,
            payload_type,
            index: rewritten.index,
            timestamp: rewritten.timestamp,
            marker: packet.marker || switches,
            level: packet.level,
            padding: false,
        };
        let (to, len) = self.send(now, clock, slot, &envelope, &[packet.payload], None, outbox)?;
        if let Some(room) = outbox.room() {
            self.resends[slot].keep(rewritten.index, &room[..len], now);
        }
        outbox.commit(to, len);
        Ok(())
    }
}

impl Shard {
    /// Sends sound again that a viewer lacks: the sealed bytes as first sent.
    pub(crate) fn resend_sound(
        &mut self,
        now: Micros,
        peer: &mut Peer,
        slot: usize,
        sequence: u16,
    ) -> Result<(), Count> {
        let to = peer.path().ok_or(Count::DropNotConnected)?.0;
        let round_trip = peer.round_trip.get();
        let resends = &mut peer.resends[slot];
        let (index, _) = resends.sealed(sequence, now).ok_or(Count::DropResendUnavailable)?;
        if !resends.allow(index, now, round_trip) {
            return Err(Count::DropResendSuppressed);
        }
        match resends.sealed(sequence, now) {
            Some((_, sealed)) if self.outbox.push(to, sealed) => Ok(()),
            _ => Err(Count::DropOutboxFull),
        }
    }
}
