//! The last step of every RTP packet: the slot's own header, the payload, sealed for its viewer.

use crate::address::Address;
use crate::clock::{Micros, ServerClock};
use crate::command::{Kind, EXT_ABS_SEND_TIME, EXT_AUDIO_LEVEL, EXT_DEPENDENCY, EXT_MID, EXT_TRANSPORT_CC};
use crate::counters::Count;
use crate::history::overhead;
use crate::outbox::Outbox;
use crate::patch::{self, Patch};
use crate::peer::Peer;
use crate::rtp::{self, Header};

/// Largest trailer of any SRTP profile.
const SEAL_ROOM: usize = 16;
/// P of RFC 3550, section 5.1, in a packet's first byte.
const PADDING_BIT: u8 = 0x20;

/// What a packet is to the slot that it goes out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The slot's sound or picture, on its own SSRC.
    Media,
    /// A picture packet again, on the slot's RTX SSRC.
    Repair,
    /// Nothing, on the slot's RTX SSRC, to be acknowledged.
    Padding,
}

/// Under what a packet goes out.
pub struct Envelope {
    pub role: Role,
    pub ssrc: u32,
    pub payload_type: u8,
    /// SRTP packet index: roll-over counter, then sequence number.
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    /// Loudness of sound, as in RFC 6464.
    pub level: Option<u8>,
    /// The payload is padding.
    pub padding: bool,
}

/// Pads a packet of `len` bytes to a multiple of `grain` bytes (RFC 3550, section 5.1: the last byte counts), where
/// there is room; returns its length.
///
/// Senders split a picture evenly, and so into packets that differ by a byte; together to the kernel (UDP GSO) goes only
/// what is equally long.
fn rounded(room: &mut [u8], len: usize, grain: usize) -> usize {
    let padding = (grain - len % grain) % grain;
    match room.get_mut(len..len + padding) {
        Some(bytes) if padding > 0 => {
            bytes.fill(0);
            bytes[padding - 1] = padding as u8;
            room[0] |= PADDING_BIT;
            len + padding
        }
        _ => len,
    }
}

impl Peer {
    /// Writes and seals one packet of slot number `slot` in the outbox's room: `pieces` of payload, one behind the
    /// other. The caller commits it, to the address and with the length returned.
    ///
    /// Errors: why it was not sent.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn send(
        &mut self,
        now: Micros,
        clock: &ServerClock,
        slot: usize,
        envelope: &Envelope,
        pieces: &[&[u8]],
        patch: Option<Patch<'_>>,
        outbox: &mut Outbox,
    ) -> Result<(Address, usize), Count> {
        let room = outbox.room().ok_or(Count::DropOutboxFull)?;
        let number = self.history.next();
        let transport = (number as u16).to_be_bytes();
        // abs-send-time: 24 bits, seconds in 6.18 fixed point.
        let sent = ((clock.ntp(now) >> 14) as u32).to_be_bytes();
        let level = [envelope.level.unwrap_or(0)];
        let mut extensions: [(u8, &[u8]); 5] = [(0, &[]); 5];
        let mut count = 0;
        let mut add = |id: u8, data| {
            if id != 0 {
                extensions[count] = (id, data);
                count += 1;
            }
        };
        add(self.extensions[EXT_TRANSPORT_CC], &transport[..]);
        if self.slots[slot].kind == Kind::Audio {
            if envelope.level.is_some() {
                add(self.extensions[EXT_AUDIO_LEVEL], &level[..]);
            }
        } else {
            add(self.extensions[EXT_ABS_SEND_TIME], &sent[1..]);
        }
        // Nobody reports on an RTX stream, and Firefox takes nothing of it before a packet has told it the m-line.
        if envelope.role != Role::Media || !self.slots[slot].known_to_receiver {
            add(self.extensions[EXT_MID], &self.slots[slot].mid);
        }
        let descriptor = patch.map_or(&[][..], |patch| patch.descriptor());
        if !descriptor.is_empty() {
            add(self.extensions[EXT_DEPENDENCY], descriptor);
        }
        let header = Header {
            marker: envelope.marker,
            padding: envelope.padding,
            payload_type: envelope.payload_type,
            sequence: envelope.index as u16,
            timestamp: envelope.timestamp,
            ssrc: envelope.ssrc,
            header_len: 0,
            extension_start: 0,
        };
        let header_len = rtp::write_header(room, &header, &extensions[..count]);
        let end = room.len() - SEAL_ROOM;
        let payload = match room.get_mut(header_len..end) {
            Some(payload) if header_len > 0 => patch::write(payload, pieces, patch).ok_or(Count::DropTooLarge)?,
            _ => return Err(Count::DropTooLarge),
        };
        let mut len = header_len + payload;
        if envelope.role == Role::Media && self.slots[slot].kind == Kind::Video && !envelope.padding {
            len = rounded(&mut room[..end], len, self.grain);
        }
        if !descriptor.is_empty() {
            if let Some(patch) = patch {
                patch.renumber(&mut room[..header_len], self.extensions[EXT_DEPENDENCY]);
            }
        }
        let (to, srtp) = self.path().ok_or(Count::DropNotConnected)?;
        let roll_over = (envelope.index >> 16) as u32;
        let room = outbox.room().ok_or(Count::DropOutboxFull)?;
        let sealed = srtp
            .seal_rtp(room, len, header_len, roll_over)
            .map_err(|_| Count::DropSeal)?;
        let bytes = sealed + overhead(&to);
        let sound = self.slots[slot].kind == Kind::Audio;
        self.history.record(now, bytes, self.probe.present(), sound);
        self.probe.on_sent(number, bytes);
        self.pacer.on_sent(bytes);
        Ok((to, sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_makes_lengths_equal_and_is_taken_off_as_any_other() {
        let (mut room, header) = ([0xaa; 100], Header::default());
        for (payload, grain, expected) in [
            (20, 8, 32),
            (21, 8, 40),
            (27, 8, 40),
            (28, 8, 40),
            (21, 1, 33),
            (84, 8, 96),
        ] {
            assert_eq!(rtp::write_header(&mut room, &header, &[]), rtp::FIXED_LEN);
            let len = rounded(&mut room, rtp::FIXED_LEN + payload, grain);
            assert_eq!(len, expected, "{} bytes of payload", payload);
            let read = rtp::parse(&room[..len]).unwrap();
            assert_eq!(rtp::payload(&room[..len], &read).unwrap().len(), payload);
            room[..payload + rtp::FIXED_LEN + 1].fill(0xaa);
        }
        assert_eq!(rounded(&mut room[..38], 37, 8), 37, "no room, no padding");
    }
}
