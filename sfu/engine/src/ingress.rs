//! From a sealed datagram to a packet of a known source: opened, identified, RTX and RED unwrapped, counted.

use vardrum_codecs::{av1, h264, red, vp8, vp9};

use crate::address::Address;
use crate::clock::Micros;
use crate::command::{EXT_AUDIO_LEVEL, EXT_DEPENDENCY, EXT_MID, EXT_REPAIRED_RID, EXT_RID, EXT_TRANSPORT_CC};
use crate::counters::{Count, Counters};
use crate::outbox::MAX_DATAGRAM;
use crate::packet::{Codec, Packet};
use crate::peer::{Peer, Stream};
use crate::rtp::{self, Header};
use crate::srtp::OpenError;
use crate::track::MICROPHONE;

/// What fits a datagram behind a viewer's header (44 bytes at most), the repaired number, and in front of the tag.
const MAX_PAYLOAD: usize = MAX_DATAGRAM - 64;

/// A packet and where it belongs.
pub struct Arrived<'a> {
    pub track: usize,
    pub layer: usize,
    pub life: u32,
    pub packet: Packet<'a>,
    /// What sound came with, where it came as RED.
    pub red: Option<red::Blocks<'a>>,
}

/// The name of the drop for a packet that could not be opened.
pub fn refusal(error: &OpenError) -> Count {
    match error {
        OpenError::Short => Count::DropRtpMalformed,
        OpenError::Authentication => Count::DropAuthentication,
        OpenError::Replay => Count::DropReplay,
        OpenError::TooManyStreams => Count::DropTooManyStreams,
    }
}

impl Peer {
    /// Takes one SRTP datagram that was sent to this peer's shard from `from`.
    ///
    /// Errors: the reason for which it goes no further.
    pub fn ingest<'a>(
        &mut self,
        now: Micros,
        from: Address,
        datagram: &'a mut [u8],
        counters: &mut Counters,
    ) -> Result<Arrived<'a>, Count> {
        let header = rtp::parse(datagram).map_err(|_| Count::DropRtpMalformed)?;
        let srtp = self.srtp_in.as_mut().ok_or(Count::DropBeforeKeys)?;
        let (len, _) = srtp.open_rtp(datagram, header.header_len).map_err(|e| refusal(&e))?;
        self.on_authentic(now, from);
        let packet: &'a [u8] = &datagram[..len];
        if let Some(&[high, low]) = self.extension(packet, &header, EXT_TRANSPORT_CC) {
            self.arrivals.record(u16::from_be_bytes([high, low]), now);
        }
        let mut payload = &packet[rtp::payload(packet, &header).map_err(|_| Count::DropRtpMalformed)?];
        let meaning = self
            .payloads
            .get(header.payload_type)
            .ok_or(Count::DropUnknownPayloadType)?;
        let stream = match self.identify(packet, &header, meaning.apt.is_some()) {
            Some(stream) => stream,
            // Bandwidth probes before any media come on an RTX payload type without a rid.
            None if meaning.apt.is_some() => return Err(Count::DropProbe),
            None => return Err(Count::DropUnknownSource),
        };
        let (mut codec, mut number) = (Codec(meaning.codec), header.sequence);
        if let Some(apt) = meaning.apt {
            counters.one(Count::RtxIn);
            if payload.len() < 2 {
                return Err(Count::DropProbe);
            }
            number = u16::from_be_bytes([payload[0], payload[1]]);
            payload = &payload[2..];
            codec = Codec(self.payloads.get(apt).ok_or(Count::DropUnknownPayloadType)?.codec);
        }
        if codec.is_audio() != (stream.track == MICROPHONE) {
            return Err(Count::DropUnknownSource);
        }
        let mut blocks = None;
        if codec == Codec::RED {
            let read = red::parse(payload).map_err(|_| Count::DropRedMalformed)?;
            payload = read.primary().data;
            blocks = Some(read);
            codec = Codec::OPUS;
        }
        let level = self
            .extension(packet, &header, EXT_AUDIO_LEVEL)
            .and_then(|level| level.first().copied());
        let descriptor = match codec.is_audio() {
            true => None,
            false => self.extension(packet, &header, EXT_DEPENDENCY),
        };
        if payload.len() + descriptor.map_or(0, <[u8]>::len) > MAX_PAYLOAD {
            return Err(Count::DropTooLarge);
        }
        let mut arrived = self.take(now, stream, header, number, codec, payload, descriptor, level)?;
        arrived.red = blocks;
        Ok(arrived)
    }

    #[allow(clippy::too_many_arguments)]
    fn take<'a>(
        &mut self,
        now: Micros,
        stream: Stream,
        header: Header,
        number: u16,
        codec: Codec,
        payload: &'a [u8],
        descriptor: Option<&'a [u8]>,
        level: Option<u8>,
    ) -> Result<Arrived<'a>, Count> {
        let track = &mut self.tracks[stream.track];
        let layer = &mut track.layers[stream.layer];
        if stream.rtx {
            if layer.ssrc.is_none() {
                return Err(Count::DropProbe);
            }
            layer.rtx_ssrc = Some(header.ssrc);
        } else if layer.ssrc != Some(header.ssrc) {
            layer.adopt(header.ssrc, codec);
        }
        layer.codec = codec;
        let sequence = layer.unwrapper.unwrap(number);
        let picture = layer.picture(codec, sequence, payload, descriptor);
        let packet = Packet {
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            codec,
            payload,
            dependency: descriptor.filter(|_| codec.needs_descriptor()).unwrap_or(&[]),
            level,
            picture,
            capture: layer.clock.capture(header.timestamp, now),
        };
        let taken = layer.take(&packet, stream.rtx, now).ok_or(Count::DropDuplicate)?;
        if let Some(sample) = taken.round_trip {
            self.round_trip.on_repair(sample);
        }
        layer.alive = true;
        if picture.key && !codec.is_audio() {
            layer.size = key_frame_size(codec, payload).unwrap_or(layer.size);
        }
        let life = layer.life;
        if picture.key && !codec.is_audio() {
            track.on_key_frame();
        }
        if let Some(level) = level {
            track.on_level(level);
        }
        Ok(Arrived {
            track: stream.track,
            layer: stream.layer,
            life,
            packet,
            red: None,
        })
    }

    fn extension<'a>(&self, packet: &'a [u8], header: &Header, number: usize) -> Option<&'a [u8]> {
        match self.extensions[number] {
            0 => None,
            id => rtp::extension(packet, header, id),
        }
    }

    /// Which stream an SSRC is: as learned, else by mid and rid (browsers stop sending them after their first
    /// receiver report), else, for sound, because there is only one microphone.
    fn identify(&mut self, packet: &[u8], header: &Header, rtx: bool) -> Option<Stream> {
        if let Some(stream) = self.streams.get(&header.ssrc) {
            return if stream.rtx == rtx { Some(*stream) } else { None };
        }
        let track = match self.extension(packet, header, EXT_MID) {
            Some(mid) => self.tracks.iter().position(|track| track.mid == mid)?,
            None if !rtx && Codec(self.payloads.get(header.payload_type)?.codec).is_audio() => MICROPHONE,
            None => return None,
        };
        let rids = &self.tracks[track].rids;
        let layer = if rids.is_empty() {
            0
        } else {
            let rid = self.extension(packet, header, if rtx { EXT_REPAIRED_RID } else { EXT_RID })?;
            rids.iter().position(|known| known == rid)?
        };
        let stream = Stream { track, layer, rtx };
        if self.learn(header.ssrc, stream) {
            Some(stream)
        } else {
            None
        }
    }
}

fn key_frame_size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
    match codec {
        Codec::VP8 => vp8::key_frame_size(payload),
        Codec::H264_PM0 | Codec::H264_PM1 => h264::key_frame_size(payload),
        Codec::VP9 => vp9::key_frame_size(payload),
        Codec::AV1 => av1::key_frame_size(payload),
        _ => None,
    }
}
