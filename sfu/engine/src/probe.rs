//! A probe: for a moment a peer is sent as much as we would like to send it, padding where media don't fill it, and
//! its feedback tells how fast that came through.

use crate::clock::{Micros, ServerClock};
use crate::command::EXT_TRANSPORT_CC;
use crate::counters::{Count, Counters};
use crate::egress::{Envelope, Role};
use crate::history::Sent;
use crate::outbox::Outbox;
use crate::peer::Peer;

/// A burst is at most so long; `due.rs` visits at least as often.
const BURST: Micros = 5_000;
/// After a late tick no more is caught up with.
const MOST_CAUGHT_UP: Micros = 20_000;
/// Nobody who needs to be measured has more; bit/s.
const MOST: u64 = 100_000_000;
/// A feedback that tells of a probe's end comes in so long, or never.
const PATIENCE: Micros = 2_000_000;
/// RFC 3550, section 5.1: padding's length is one byte.
const PADDING: usize = 255;
const PADDING_BYTES: [u8; PADDING] = {
    let mut bytes = [0; PADDING];
    bytes[PADDING - 1] = PADDING as u8;
    bytes
};

/// The newest probe of one downlink.
#[derive(Default)]
pub struct Probe {
    /// As Python numbers them; 0 before the first.
    pub id: u16,
    running: bool,
    bits_per_second: u64,
    from: Micros,
    until: Micros,
    sent: u64,
    /// Behind the transport-cc number of its last packet.
    last: u64,
    first_arrival: Option<i64>,
    last_arrival: i64,
    /// That arrived after the first packet.
    bytes: u64,
    done: bool,
}

impl Probe {
    /// Ends the former probe and begins this one: `milliseconds` at `bits_per_second` on the wire, media included.
    pub fn start(&mut self, now: Micros, id: u16, bits_per_second: u32, milliseconds: u16) {
        *self = Probe {
            id,
            running: id != 0 && bits_per_second > 0,
            bits_per_second: u64::from(bits_per_second).min(MOST),
            from: now,
            until: now + u64::from(milliseconds) * 1000,
            ..Probe::default()
        };
    }

    /// What a packet that is sent now belongs to: a probe, or 0.
    pub fn present(&self) -> u16 {
        if self.running {
            self.id
        } else {
            0
        }
    }

    /// bit/s that the downlink is sent while a probe runs.
    pub fn bits_per_second(&self) -> Option<u64> {
        Some(self.bits_per_second).filter(|_| self.running)
    }

    /// Takes note of a packet of `bytes` on the wire with the transport-cc number `number`.
    #[inline]
    pub fn on_sent(&mut self, number: u64, bytes: usize) {
        if self.running {
            self.sent += bytes as u64;
            self.last = number + 1;
        }
    }

    /// Bytes to be sent now; the probe ends by itself.
    pub fn due(&mut self, now: Micros) -> u64 {
        if !self.running {
            return 0;
        }
        let bytes = |time: Micros| self.bits_per_second * time / 8_000_000;
        let planned = bytes((now + BURST).min(self.until).saturating_sub(self.from));
        let due = planned.saturating_sub(self.sent).min(bytes(MOST_CAUGHT_UP));
        self.running = now < self.until;
        due
    }

    /// A packet arrived, by its receiver's clock.
    pub fn on_received(&mut self, sent: &Sent, arrival: i64) {
        if sent.probe != self.id || self.id == 0 || self.done {
            return;
        }
        match self.first_arrival {
            None => {
                self.first_arrival = Some(arrival);
                self.last_arrival = arrival;
            }
            Some(_) => {
                self.bytes += u64::from(sent.bytes);
                self.last_arrival = self.last_arrival.max(arrival);
            }
        }
    }

    /// A feedback was read; `told`: behind the newest number that was ever received.
    pub fn on_feedback(&mut self, now: Micros, told: u64) {
        self.done |= !self.running && self.id != 0 && (told >= self.last || now > self.until + PATIENCE);
    }

    /// bit/s at which the probe came through: what arrived after its first packet, over the time from that to the last
    /// arrival. 0 while feedback has not told of its end, and where fewer than two packets came.
    pub fn result(&self) -> f64 {
        let time = self.last_arrival - self.first_arrival.unwrap_or(self.last_arrival);
        if !self.done || time <= 0 {
            return 0.0;
        }
        self.bytes as f64 * 8_000_000.0 / time as f64
    }
}

impl Peer {
    /// Sends the padding that a running probe asks for now.
    pub fn send_padding(&mut self, now: Micros, clock: &ServerClock, outbox: &mut Outbox, counters: &mut Counters) {
        let due = self.probe.due(now);
        if due == 0 {
            return;
        }
        let goal = self.history.sent.bytes + due;
        while self.history.sent.bytes < goal {
            let sent = self.pad(now, clock, outbox);
            counters.one(sent.err().unwrap_or(Count::PaddingOut));
            if sent.is_err() {
                break;
            }
        }
    }

    /// Sends a packet of nothing on the RTX stream of a video slot: one that carries nothing else needs no number of a
    /// picture's, and receivers acknowledge it.
    fn pad(&mut self, now: Micros, clock: &ServerClock, outbox: &mut Outbox) -> Result<(), Count> {
        if self.extensions[EXT_TRANSPORT_CC] == 0 {
            return Err(Count::DropProbeUnsupported);
        }
        if self.is_backlogged() {
            return Err(Count::DropTcpBacklog);
        }
        if outbox.room().is_none() {
            return Err(Count::DropOutboxFull);
        }
        let payload_type = self.payloads.rtx().ok_or(Count::DropProbeUnsupported)?;
        let with_rtx = self.slots.iter().position(|slot| slot.rtx_ssrc.is_some());
        let number = with_rtx.ok_or(Count::DropProbeUnsupported)?;
        let slot = &mut self.slots[number];
        let envelope = Envelope {
            role: Role::Padding,
            ssrc: slot.rtx_ssrc.ok_or(Count::DropProbeUnsupported)?,
            payload_type,
            index: slot.rtx_next,
            timestamp: slot.line.at(now as i64),
            marker: false,
            level: None,
            padding: true,
        };
        // Whether or not it goes out: no index is ever sealed twice.
        slot.rtx_next += 1;
        let (to, len) = self.send(now, clock, number, &envelope, &[&PADDING_BYTES], None, outbox)?;
        outbox.commit(to, len);
        Ok(())
    }
}
