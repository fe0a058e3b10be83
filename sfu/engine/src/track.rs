//! A microphone, a camera or a screen of one peer: its layers, who listens, and when it was asked for a key frame.

use crate::clock::Micros;
use crate::command::{TrackOffer, TRACKS};
use crate::layer::Layer;
use crate::packet::Codec;

/// Chromium makes at most one key frame each 300 ms; asking more often only costs packets.
const KEY_FRAME_INTERVAL: Micros = 300_000;

pub const MICROPHONE: usize = 0;

pub struct Track {
    pub mid: Vec<u8>,
    pub rids: Vec<Vec<u8>>,
    pub layers: Vec<Layer>,
    /// Peers' places and their slots that show, or wait for, a layer of this track.
    pub listeners: Vec<(usize, usize)>,
    pub muted: bool,
    /// Smoothed loudness, 0 (silence) to 127 (full scale), from RFC 6464 levels.
    pub loudness: f64,
    asked: Option<Micros>,
    pending: bool,
}

impl Track {
    pub fn new(number: usize, offer: TrackOffer) -> Self {
        debug_assert!(number < TRACKS);
        let codec = if number == MICROPHONE { Codec::OPUS } else { Codec::VP8 };
        let layers = offer.rids.len().max(1);
        Self {
            mid: offer.mid,
            rids: offer.rids,
            layers: (0..layers).map(|_| Layer::new(codec)).collect(),
            listeners: Vec::new(),
            muted: false,
            loudness: 0.0,
            asked: None,
            pending: false,
        }
    }

    pub fn listen(&mut self, peer: usize, slot: usize) {
        if !self.listeners.contains(&(peer, slot)) {
            self.listeners.push((peer, slot));
        }
    }

    pub fn hush(&mut self, peer: usize, slot: usize) {
        self.listeners.retain(|listener| *listener != (peer, slot));
    }

    pub fn on_level(&mut self, level: u8) {
        let loudness = f64::from(127 - (level & 0x7f));
        let weight = if loudness > self.loudness { 0.3 } else { 0.1 };
        self.loudness += weight * (loudness - self.loudness);
    }

    /// Whether there is anybody to ask for a key frame that somebody would get.
    pub fn can_be_asked(&self) -> bool {
        !self.muted && self.layers.iter().any(|layer| layer.alive && !layer.codec.is_audio())
    }

    /// Somebody needs a key frame; one PLI brings them on all layers.
    pub fn need_key_frame(&mut self) {
        self.pending = true;
    }

    pub fn on_key_frame(&mut self) {
        self.pending = false;
    }

    /// From when on a PLI may be sent; `None` while none is needed, or nobody is there to be asked.
    pub fn key_frame_at(&self) -> Option<Micros> {
        if !self.pending {
            return None;
        }
        self.whom_to_ask()?;
        Some(self.asked.map_or(0, |asked| asked + KEY_FRAME_INTERVAL))
    }

    /// The SSRC to send a PLI for now, if one is needed and it is time.
    pub fn key_frame_due(&mut self, now: Micros) -> Option<u32> {
        self.key_frame_at().filter(|&at| now >= at)?;
        let ssrc = self.whom_to_ask()?;
        self.asked = Some(now);
        self.pending = false;
        Some(ssrc)
    }

    fn whom_to_ask(&self) -> Option<u32> {
        let alive = self.layers.iter().filter(|layer| layer.alive);
        alive.filter_map(|layer| layer.ssrc).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_requests_become_one_each_interval() {
        let mut track = Track::new(1, TrackOffer::default());
        track.need_key_frame();
        assert_eq!(track.key_frame_due(0), None, "nothing has come yet, whom to ask?");
        track.layers[0].adopt(7, Codec::VP8);
        track.layers[0].alive = true;
        assert_eq!(track.key_frame_due(0), Some(7));
        track.need_key_frame();
        track.need_key_frame();
        assert_eq!(track.key_frame_due(KEY_FRAME_INTERVAL - 1), None);
        assert_eq!(track.key_frame_due(KEY_FRAME_INTERVAL), Some(7));
        assert_eq!(
            track.key_frame_due(10 * KEY_FRAME_INTERVAL),
            None,
            "asked and not needed again"
        );
    }
}
