//! What Python reads ten times a second: a row for each layer that was ever sent to us, and for each peer with keys.
//!
//! Rows are numbers (f64) in the order of the names beside them; `sfu/engine.py` says what they mean.

use std::sync::Mutex;

use crate::clock::Micros;
use crate::layer::Layer;
use crate::peer::Peer;
use crate::shard::Shard;
use crate::track::Track;

/// Rows that one table can have; a shard has fewer peers, and layers, by far.
const MOST_ROWS: usize = 1 << 14;

macro_rules! table {
    ($names:ident, fn $row:ident($($of:ident: $type:ty),*) { $($name:literal = $value:expr,)* }) => {
        pub const $names: &[&str] = &[$($name,)*];

        fn $row(out: &mut Vec<f64>, $($of: $type),*) {
            // The buffer never grows: Python may hold on to it.
            if out.len() + $names.len() <= out.capacity() {
                out.extend_from_slice(&[$($value,)*]);
            }
        }
    };
}

table! {
    UPLINK,
    fn uplink(peer: &Peer, track: (usize, &Track), layer: (usize, &Layer)) {
        "peer" = f64::from(peer.id),
        "track" = track.0 as f64,
        "layer" = layer.0 as f64,
        "alive" = f64::from(u8::from(layer.1.alive)),
        "packets" = layer.1.received() as f64,
        "lost" = layer.1.lost() as f64,
        "bytes" = layer.1.bytes as f64,
        "loudness" = if track.1.muted { 0.0 } else { track.1.loudness },
        "round_trip_us" = peer.round_trip.get() as f64,
        "frames" = layer.1.frames as f64,
        "key_frames" = layer.1.key_frames as f64,
        "jitter_us" = layer.1.jitter_us(),
        "repaired" = layer.1.repaired as f64,
    }
}

table! {
    DOWNLINK,
    fn downlink(peer: &Peer, now: Micros) {
        "peer" = f64::from(peer.id),
        "sent_packets" = peer.history.sent.packets as f64,
        "sent_bytes" = peer.history.sent.bytes as f64,
        "acked_packets" = peer.history.acked.packets as f64,
        "acked_bytes" = peer.history.acked.bytes as f64,
        "lost_packets" = peer.history.lost as f64,
        "round_trip_us" = peer.round_trip.get() as f64,
        "queue_delay_us" = peer.meter.queue_delay(),
        "trend" = peer.meter.trend(),
        "acked_rate_bps" = peer.meter.acked_rate(now),
        "sound_loss" = peer.told_loss(now, true),
        "picture_loss" = peer.told_loss(now, false),
        "remb_bps" = peer.meter.remb as f64,
        "probe_id" = f64::from(peer.probe.id),
        "probe_rate_bps" = peer.probe.result(),
        "held_packets" = peer.pacer.held() as f64,
        "target_bps" = peer.pacer.target() as f64,
        "nacks" = peer.meter.nacks as f64,
        "feedback_age_us" = peer.meter.feedback_age(now).map_or(f64::NAN, |age| age as f64),
        "in_flight_bytes" = peer.history.in_flight() as f64,
        "sound_acked" = peer.history.sound_acked as f64,
        "sound_lost" = peer.history.sound_lost as f64,
    }
}

impl Shard {
    /// Writes a row of `UPLINK` for each layer that has ever sent.
    pub fn uplinks(&self, out: &mut Vec<f64>) {
        out.clear();
        for peer in self.all_peers() {
            for track in peer.tracks.iter().enumerate() {
                let sent = |layer: &(usize, &Layer)| layer.1.ssrc.is_some();
                for layer in track.1.layers.iter().enumerate().filter(sent) {
                    uplink(out, peer, track, layer);
                }
            }
        }
    }

    /// Writes a row of `DOWNLINK` for each peer that has keys.
    pub fn downlinks(&self, now: Micros, out: &mut Vec<f64>) {
        out.clear();
        for peer in self.all_peers().filter(|peer| peer.srtp_in.is_some()) {
            downlink(out, peer, now);
        }
    }
}

/// Both tables of one shard, on their way to their reader.
pub struct Tables {
    pub uplinks: Handover,
    pub downlinks: Handover,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            uplinks: Handover::new(UPLINK.len()),
            downlinks: Handover::new(DOWNLINK.len()),
        }
    }
}

/// Hands a table from the shard's thread to its reader, without copying: one buffer is written, one is ready, one is
/// read, and handing over is to change places. Their memory stays where it is for as long as this lives.
pub struct Handover {
    columns: usize,
    ready: Mutex<(Vec<f64>, bool)>,
    read: Mutex<Vec<f64>>,
}

impl Handover {
    /// For tables of so many columns.
    pub fn new(columns: usize) -> Handover {
        Handover {
            columns,
            ready: Mutex::new((Self::buffer(columns), false)),
            read: Mutex::new(Self::buffer(columns)),
        }
    }

    /// The first buffer to write.
    pub fn first(&self) -> Vec<f64> {
        Self::buffer(self.columns)
    }

    fn buffer(columns: usize) -> Vec<f64> {
        // Reserved, and not touched before there are rows.
        Vec::with_capacity(MOST_ROWS * columns)
    }

    /// Gives away what was written; `written` is another buffer afterwards.
    pub fn publish(&self, written: &mut Vec<f64>) {
        let mut ready = self.ready.lock().unwrap_or_else(|e| e.into_inner());
        std::mem::swap(&mut ready.0, written);
        ready.1 = true;
    }

    /// The newest table: where it is and how many numbers it has. It is left alone until the next call.
    pub fn newest(&self) -> (*const f64, usize) {
        let mut read = self.read.lock().unwrap_or_else(|e| e.into_inner());
        let mut ready = self.ready.lock().unwrap_or_else(|e| e.into_inner());
        if std::mem::replace(&mut ready.1, false) {
            std::mem::swap(&mut ready.0, &mut *read);
        }
        (read.as_ptr(), read.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_stays_as_it_is_until_the_next_is_fetched() {
        let handover = Handover::new(1);
        let mut writing = handover.first();
        let capacity = writing.capacity();
        let mut places = vec![handover.newest().0];
        for round in 1..10 {
            writing.clear();
            writing.push(f64::from(round));
            handover.publish(&mut writing);
            assert_ne!(writing.as_ptr(), *places.last().unwrap(), "it is being read");
            if round % 3 == 0 {
                let (at, len) = handover.newest();
                assert_eq!(len, 1);
                assert_eq!(handover.newest().0, at, "nothing new");
                places.push(at);
            }
            assert_eq!(writing.capacity(), capacity);
        }
        places.sort();
        places.dedup();
        assert!(places.len() <= 3);
    }
}
