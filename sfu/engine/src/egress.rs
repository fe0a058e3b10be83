//! From a source's packet to a viewer's datagram: the slot's own header, the viewer's own numbers, sealed.

use vardrum_codecs::vp8;

use crate::clock::{Micros, ServerClock};
use crate::command::{EXT_ABS_SEND_TIME, EXT_AUDIO_LEVEL, EXT_MID, EXT_TRANSPORT_CC};
use crate::counters::Count;
use crate::outbox::Outbox;
use crate::packet::{Codec, Feed, Packet};
use crate::peer::Peer;
use crate::rtp::{self, Header};
use crate::slot::Rewritten;

/// Largest trailer of any SRTP profile.
const SEAL_ROOM: usize = 16;
/// The sequence number of the repaired packet in front of an RTX payload (RFC 4588, section 4).
const OSN: usize = 2;

/// Under what a packet goes out: a slot's media, or its repair.
struct Envelope {
    ssrc: u32,
    payload_type: u8,
    index: u64,
    timestamp: u32,
    marker: bool,
}

impl Peer {
    /// Sends a packet of `feed` in slot number `slot`, if the slot shows it.
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
        let payload_type = self.payload_type(packet.codec).ok_or(Count::DropCodecNotOffered)?;
        // Before the slot gives it a number: numbers that are never sent lead a receiver astray.
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let switches = self.slots[slot].waits_for_key_frame();
        let rewritten = self.slots[slot].accept(source.0, source.1, packet)?;
        let envelope = Envelope {
            ssrc: self.slots[slot].ssrc,
            payload_type,
            index: rewritten.index,
            timestamp: rewritten.timestamp,
            marker: packet.marker || (switches && packet.codec.is_audio()),
        };
        let sealed = self.send(now, clock, slot, &envelope, None, packet, &rewritten, outbox)?;
        if packet.codec.is_audio() {
            let (to, len) = sealed;
            if let Some(room) = outbox.room() {
                self.resends[slot].keep(rewritten.index, &room[..len], now);
            }
            outbox.commit(to, len);
        } else {
            outbox.commit(sealed.0, sealed.1);
        }
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
        let media = self.payload_type(packet.codec).ok_or(Count::DropResendUnavailable)?;
        let payload_type = self.payloads.rtx_of(media).ok_or(Count::DropResendUnavailable)?;
        let round_trip = self.round_trip;
        let place = &mut self.slots[slot];
        let ssrc = place.rtx_ssrc.ok_or(Count::DropResendUnavailable)?;
        let rewritten = place
            .rewrite(source.0, source.1, packet)
            .ok_or(Count::DropResendUnavailable)?;
        if !self.resends[slot].allow(rewritten.index, now, round_trip) {
            return Err(Count::DropResendSuppressed);
        }
        let index = place.rtx_next;
        place.rtx_next += 1;
        let envelope = Envelope {
            ssrc,
            payload_type,
            index,
            timestamp: rewritten.timestamp,
            marker: packet.marker,
        };
        let osn = (rewritten.index as u16).to_be_bytes();
        let (to, len) = self.send(now, clock, slot, &envelope, Some(osn), packet, &rewritten, outbox)?;
        outbox.commit(to, len);
        Ok(())
    }

    /// Writes and seals one packet in the outbox's room; the caller commits it.
    #[allow(clippy::too_many_arguments)]
    fn send(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        envelope: &Envelope,
        osn: Option<[u8; OSN]>,
        packet: &Packet<'_>,
        rewritten: &Rewritten,
        outbox: &mut Outbox,
    ) -> Result<(std::net::SocketAddr, usize), Count> {
        let room = outbox.room().ok_or(Count::DropOutboxFull)?;
        let transport = self.transport_sequence.to_be_bytes();
        // abs-send-time: 24 bits, seconds in 6.18 fixed point.
        let sent = ((clock.ntp(now) >> 14) as u32).to_be_bytes();
        let level = [packet.level.unwrap_or(0)];
        let mut extensions: [(u8, &[u8]); 4] = [(0, &[]); 4];
        let mut count = 0;
        let mut add = |id: u8, data| {
            if id != 0 {
                extensions[count] = (id, data);
                count += 1;
            }
        };
        add(self.extensions[EXT_TRANSPORT_CC], &transport[..]);
        if packet.codec.is_audio() {
            if packet.level.is_some() {
                add(self.extensions[EXT_AUDIO_LEVEL], &level[..]);
            }
        } else {
            add(self.extensions[EXT_ABS_SEND_TIME], &sent[1..]);
        }
        if !self.slots[slot].known_to_receiver && osn.is_none() {
            add(self.extensions[EXT_MID], &self.slots[slot].mid);
        }
        let header = Header {
            marker: envelope.marker,
            padding: false,
            payload_type: envelope.payload_type,
            sequence: envelope.index as u16,
            timestamp: envelope.timestamp,
            ssrc: envelope.ssrc,
            header_len: 0,
            extension_start: 0,
        };
        let header_len = rtp::write_header(room, &header, &extensions[..count]);
        let payload_at = header_len + osn.map_or(0, |_| OSN);
        let len = payload_at + packet.payload.len();
        if header_len == 0 || len + SEAL_ROOM > room.len() {
            return Err(Count::DropTooLarge);
        }
        if let Some(osn) = osn {
            room[header_len..payload_at].copy_from_slice(&osn);
        }
        room[payload_at..len].copy_from_slice(packet.payload);
        if let (Codec::VP8, Some((picture, tl0))) = (packet.codec, rewritten.picture) {
            vp8::rewrite(&mut room[payload_at..len], picture, tl0);
        }
        let (to, srtp) = self.path().ok_or(Count::DropNotConnected)?;
        let roll_over = (envelope.index >> 16) as u32;
        let room = outbox.room().ok_or(Count::DropOutboxFull)?;
        let sealed = srtp
            .seal_rtp(room, len, header_len, roll_over)
            .map_err(|_| Count::DropSeal)?;
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        Ok((to, sealed))
    }
}
