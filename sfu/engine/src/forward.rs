//! Pictures on their way from a source's packet to a viewer's datagram, and their repair (RFC 4588).

use crate::clock::{Micros, ServerClock};
use crate::counters::Count;
use crate::egress::{Envelope, Role};
use crate::outbox::Outbox;
use crate::packet::{Codec, Feed, Packet};
use crate::patch::Patch;
use crate::peer::Peer;
use crate::slot::Rewritten;

/// A payload of padding alone: its last byte counts it (RFC 3550, section 5.1).
const PADDING: &[u8] = &[1];

impl Peer {
    /// Sends a picture packet of `source` (a feed in its life) in slot number `slot`, if the slot shows it.
    ///
    /// Errors: why it was not sent.
    pub fn forward(
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
        if self.is_backlogged() {
            return Err(Count::DropTcpBacklog);
        }
        if self.pacer.holds(now, self.probe.bits_per_second()) {
            return Err(self.hold(now, slot, source, packet));
        }
        self.slots[slot].hurry(false);
        self.forward_now(now, clock, slot, source, packet, outbox)
    }

    /// What a slot will have shown last when all that waits in it has gone out.
    pub fn shows_at_last(&self, slot: usize) -> Option<(Feed, u32)> {
        self.pacer.end_of(slot, self.slots[slot].showing())
    }

    /// Lets a packet wait for its turn, if the slot would take it behind all that waits in it; says what became of it.
    fn hold(&mut self, now: Micros, slot: usize, source: (Feed, u32), packet: &Packet<'_>) -> Count {
        let end = self.shows_at_last(slot);
        if let Err(reason) = self.slots[slot].select(end, source, packet) {
            return reason;
        }
        self.pacer.hold(now, slot, source, packet);
        Count::Held
    }

    /// The same as `forward`, once the pacer lets go.
    pub fn forward_now(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        source: (Feed, u32),
        packet: &Packet<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        let payload_type = self.payload_type(packet.codec).ok_or(Count::DropCodecNotOffered)?;
        // Before the slot gives it a number: numbers that are never sent lead a receiver astray.
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let rewritten = self.slots[slot].accept(source.0, source.1, packet)?;
        let envelope = Envelope {
            role: Role::Media,
            ssrc: self.slots[slot].ssrc,
            payload_type,
            index: rewritten.index,
            timestamp: rewritten.timestamp,
            marker: packet.marker && !rewritten.padding,
            level: None,
            padding: rewritten.padding,
        };
        let (payload, patch) = match rewritten.padding {
            true => (PADDING, None),
            false => (packet.payload, patch(packet, &rewritten)),
        };
        let (to, len) = self.send(now, clock, slot, &envelope, &[payload], patch, outbox)?;
        outbox.commit(to, len);
        self.pacer.on_picture(now, slot, source, packet);
        self.slots[slot].went_out(packet.marker);
        Ok(())
    }

    /// Sends a repair of a picture packet as RTX.
    pub fn repair(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        source: (Feed, u32),
        packet: &Packet<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        if self.is_backlogged() {
            return Err(Count::DropTcpBacklog);
        }
        let media = self.payload_type(packet.codec).ok_or(Count::DropResendUnavailable)?;
        let payload_type = self.payloads.rtx_of(media).ok_or(Count::DropResendUnavailable)?;
        let round_trip = self.round_trip.get();
        let place = &mut self.slots[slot];
        let ssrc = place.rtx_ssrc.ok_or(Count::DropResendUnavailable)?;
        let rewritten = place
            .rewrite(source.0, source.1, packet)
            .map_err(|_| Count::DropResendUnavailable)?;
        let copies = match self.resends[slot].copies(rewritten.index, now, round_trip) {
            0 => return Err(Count::DropResendSuppressed),
            // What goes twice counts twice.
            2 if !self.take_repair(now) => 1,
            copies => u64::from(copies),
        };
        let place = &mut self.slots[slot];
        let first = place.rtx_next;
        place.rtx_next += copies;
        let mut envelope = Envelope {
            role: Role::Repair,
            ssrc,
            payload_type,
            index: first,
            timestamp: rewritten.timestamp,
            marker: packet.marker && !rewritten.padding,
            level: None,
            padding: false,
        };
        // The sequence number of the repaired packet stands in front (RFC 4588, section 4); alone where that was
        // padding.
        let osn = (rewritten.index as u16).to_be_bytes();
        let (payload, patch) = match rewritten.padding {
            true => (&[][..], None),
            false => (packet.payload, patch(packet, &rewritten)),
        };
        for index in first..first + copies {
            envelope.index = index;
            let (to, len) = self.send(now, clock, slot, &envelope, &[&osn[..], payload], patch, outbox)?;
            outbox.commit(to, len);
        }
        Ok(())
    }

    /// Answers for a packet that will never come with its number alone, as of padding: all that followed it began with
    /// a key frame, so that no decoder believes that it has a picture that it lacks.
    ///
    /// Errors: why it was not sent.
    pub fn fill(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        sequence: u16,
        outbox: &mut Outbox,
    ) -> Result<(), Count> {
        let round_trip = self.round_trip.get();
        let place = &mut self.slots[slot];
        let media = place.codec().and_then(|codec| self.payloads.of(codec));
        let payload_type = media.and_then(|media| self.payloads.rtx_of(media));
        let (payload_type, ssrc, index) = match (payload_type, place.rtx_ssrc, place.void(sequence)) {
            (Some(payload_type), Some(ssrc), Some(index)) => (payload_type, ssrc, index),
            _ => return Err(Count::DropResendUnavailable),
        };
        if self.resends[slot].copies(index, now, round_trip) == 0 {
            return Err(Count::DropResendSuppressed);
        }
        let envelope = Envelope {
            role: Role::Repair,
            ssrc,
            payload_type,
            index: place.rtx_next,
            timestamp: place.line.at(now as i64),
            marker: false,
            level: None,
            padding: false,
        };
        place.rtx_next += 1;
        let (to, len) = self.send(now, clock, slot, &envelope, &[&sequence.to_be_bytes()], None, outbox)?;
        outbox.commit(to, len);
        Ok(())
    }
}

fn patch<'a>(packet: &Packet<'a>, rewritten: &Rewritten) -> Option<Patch<'a>> {
    let (picture, tl0) = rewritten.picture?;
    match packet.codec {
        Codec::VP8 => Some(Patch::Vp8 { picture, tl0 }),
        Codec::VP9 => Some(Patch::Vp9 { picture, tl0 }),
        Codec::AV1 => Some(Patch::Av1 {
            descriptor: packet.dependency,
            number: picture,
        }),
        _ => None,
    }
}
